// Settings of API keys through gRPC: all violations at once, masks (field report 11), limits (field report 12, admin part),
// inherited names (field report 3), and the same verdict on allowlist entries by every entrance (field report 7).
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { requireGrantable } from '../../src/admin/api-key-fields.ts'
import { footprint } from './admin-world.ts'
import { at, failure, fieldsOf, type KeyJson, type Reply, useKeyClient } from './key-client.ts'

const client = useKeyClient()

async function newKey(members: object = {}, profile = 'bitbybit'): Promise<KeyJson> {
  return (await client().key(await client().organization(profile), members)).apiKey
}

const update = (apiKey: object, paths?: readonly string[], more: object = {}) =>
  client().call('updateApiKey', { apiKey, ...(paths === undefined ? {} : { updateMask: { paths } }), ...more })
const read = (name: string) => client().call<KeyJson>('getApiKey', { name })

test('every faulty field of a creation is named at once, profile rules included', async () => {
  const error = await failure(
    client().key(await client().organization(), {
      displayName: 'a\nb',
      description: 'x'.repeat(2001),
      environment: 'staging',
      scopes: ['customers:READ', 'nope', 'constructor'],
      allowlist: [{ cidr: '10.0.0.0/8' }, { cidr: '203.0.113.5', label: 'x'.repeat(65) }],
      expireTime: at(Date.now() - 1000),
      rateLimit: { window: { seconds: 60 } },
      labels: { BAD: 'x', good: 'y'.repeat(256) },
    }),
  )
  expect(error.reason).toBe('FIELD_INVALID')
  expect(fieldsOf(error).sort()).toEqual(
    [
      'api_key.display_name FIELD_INVALID',
      'api_key.description FIELD_TOO_LONG',
      'api_key.labels FIELD_INVALID',
      'api_key.labels.good FIELD_TOO_LONG',
      'api_key.rate_limit.limit RATE_LIMIT_INVALID',
      'api_key.environment ENVIRONMENT_UNKNOWN',
      'api_key.scopes[1] SCOPE_UNKNOWN',
      'api_key.scopes[2] SCOPE_UNKNOWN',
      'api_key.allowlist[0].cidr PREFIX_TOO_SHORT',
      'api_key.allowlist[0].cidr PRIVATE_RANGE',
      'api_key.allowlist[1].label LABEL_TOO_LONG',
      'api_key.expire_time EXPIRE_TIME_PAST',
    ].sort(),
  )
})

test('what no scopes mean says the profile, and ALL is only granted where it allows', async () => {
  const reason = async (profile: string, members: object) =>
    fieldsOf(await failure(client().key(await client().organization(profile), members)))
  expect(await reason('bitbybit', { scopes: [] })).toEqual(['api_key.scopes SCOPES_EMPTY'])
  expect(await reason('bitbybit', { scopes: [], scopeMode: 'ALL' })).toEqual([
    'api_key.scope_mode SCOPE_MODE_NOT_ALLOWED',
  ])
  expect(await reason('bitgpt', { scopes: ['invoices.read'], scopeMode: 'ALL' })).toEqual([
    'api_key.scopes SCOPES_CONFLICT',
  ])
  expect(await reason('bitgpt', { scopes: [], scopeMode: 'LISTED' })).toEqual(['api_key.scopes SCOPES_EMPTY'])
  expect(await newKey({ scopes: [] }, 'bitgpt')).toMatchObject({ scopeMode: 'ALL', scopes: [] })
  expect(await newKey({ scopes: ['orders:READ', 'customers:READ', 'orders:READ'] })).toMatchObject({
    scopeMode: 'LISTED',
    scopes: ['customers:READ', 'orders:READ'],
  })
})

test('a class grants only what the vocabulary lets it grant', () => {
  const rules = client().world.profiles.byName('bitgpt')?.management
  if (rules === undefined) return expect.fail('no profile')
  const reserved = rules.scopes.find(scope => !scope.grantableBy.includes('developer'))?.name ?? ''
  requireGrantable(['invoices.read'], 'developer', rules)
  requireGrantable([reserved, 'left.the.vocabulary'], 'operator', rules)
  for (const scopes of [[reserved], ['left.the.vocabulary']]) {
    expect(() => requireGrantable(scopes, 'developer', rules)).toThrow(
      expect.objectContaining({ reason: 'SCOPE_NOT_GRANTABLE' }),
    )
  }
  expect(() => requireGrantable(['invoices.read'], null, rules)).toThrow()
})

test('field report 11: a mask means exactly the fields it names', async () => {
  const key = await newKey({
    allowlist: [{ cidr: '203.0.113.0/24' }],
    rateLimit: { limit: 500, window: { seconds: 60 } },
    labels: { team: 'a', stage: 'b' },
    expireTime: at(Date.now() + 86_400_000),
  })
  const { name } = key
  const settings = ({ displayName, description, scopes, allowlist, expireTime, rateLimit, labels }: KeyJson) => ({
    displayName,
    description,
    scopes,
    allowlist,
    expireTime,
    rateLimit,
    labels,
  })
  const before = settings(key)
  const changed = async (reply: Promise<Reply>) => settings((await reply).apiKey)
  expect(await changed(update({ name, allowlist: [] })), '(a)').toEqual(before)
  expect(await changed(update({ name, displayName: 'b' }, [])), '(b)').toEqual({ ...before, displayName: 'b' })
  expect(await changed(update({ name }, ['allowlist'])), '(c)').toEqual({ ...before, displayName: 'b', allowlist: [] })
  const now = settings(await read(name))
  const untouched = async (call: () => Promise<unknown>, ...fields: string[]) => {
    const trace = await footprint(client().world.client)
    expect(fieldsOf(await failure(call()))).toEqual(fields)
    expect(await footprint(client().world.client)).toEqual(trace)
    expect(settings(await read(name))).toEqual(now)
  }
  await untouched(() => update({ name, displayName: 'd' }, ['*']), 'api_key.scopes SCOPES_EMPTY')
  await untouched(() => update({ name }, ['allowlist', 'allow_list']), 'update_mask FIELD_MASK_INVALID')
  await untouched(() => update({ name }, ['Allowlist']), 'update_mask FIELD_MASK_INVALID')
  for (const path of ['state', 'environment', 'revision', 'name', 'key_hint', 'creator', 'etag']) {
    await untouched(() => update({ name }, [path]), 'update_mask FIELD_IMMUTABLE')
  }
  await untouched(() => update({ name }, ['scopes']), 'api_key.scopes SCOPES_EMPTY')
  await untouched(() => update({ name }, ['rate_limit.limit']), 'update_mask FIELD_MASK_INVALID')
  await untouched(() => update({ name }, ['labels.team']), 'update_mask FIELD_MASK_INVALID')
  await untouched(() => update({ name }, ['constructor']), 'update_mask FIELD_MASK_INVALID')
  await untouched(() => update({ name }, ['*', 'labels']), 'update_mask FIELD_MASK_INVALID')
  const twice = update({ name, displayName: 'k' }, ['display_name', 'display_name'])
  expect(await changed(twice), '(k)').toEqual({ ...now, displayName: 'k' })
  expect((await update({ name }, ['expire_time'])).apiKey.expireTime, '(m)').toBeNull()
  expect((await update({ name }, ['labels', 'rate_limit'])).apiKey).toMatchObject({ labels: {}, rateLimit: null })
})

test('* with every member takes them all', async () => {
  const { name } = await newKey({ labels: { a: 'b' }, description: 'd' })
  const { apiKey } = await update({ name, displayName: 'n', scopes: ['orders:READ'] }, ['*'])
  expect(apiKey).toMatchObject({ displayName: 'n', scopes: ['orders:READ'], labels: {}, description: '' })
})

test('a key read and written back is unchanged, also when it has expired', async () => {
  const key = await newKey({
    allowlist: [{ cidr: '203.0.113.0/24', label: 'x' }],
    expireTime: at(Date.now() + 86_400_000),
  })
  expect((await update(key)).revision).toBe(key.revision)
  await client().call('expireApiKey', { name: key.name })
  const expired = await read(key.name)
  expect((await update({ ...expired, displayName: 'late' })).apiKey).toMatchObject({
    displayName: 'late',
    state: 'EXPIRED',
  })
  const error = await failure(update({ ...expired, etag: '', expireTime: at(Date.now() + 86_400_000) }))
  expect(error.reason).toBe('KEY_EXPIRED')
})

test('ALL is never granted by silence, and never together with a list', async () => {
  const { name } = await newKey({}, 'bitgpt')
  expect(fieldsOf(await failure(update({ name, scopeMode: 'ALL' })))).toEqual(['update_mask FIELD_MASK_INVALID'])
  expect((await update({ name, scopeMode: 'ALL' }, ['scope_mode'])).apiKey).toMatchObject({
    scopeMode: 'ALL',
    scopes: [],
  })
  const conflict = await failure(update({ name, scopes: ['invoices.read'] }, ['scopes']))
  expect(fieldsOf(conflict)).toEqual(['api_key.scopes SCOPES_CONFLICT'])
  const both = update({ name, scopeMode: 'LISTED', scopes: ['invoices.read'] }, ['scope_mode', 'scopes'])
  expect((await both).apiKey).toMatchObject({ scopeMode: 'LISTED', scopes: ['invoices.read'] })
})

test('field report 12: absent, zero and too much are different limits', async () => {
  const parent = await client().organization('billoget')
  const limit = async (rateLimit: object) => {
    const error = await failure(client().key(parent, { rateLimit }))
    return fieldsOf(error)
  }
  expect((await client().key(parent)).apiKey.rateLimit).toBeNull()
  expect(await limit({ window: { seconds: 60 } })).toEqual(['api_key.rate_limit.limit RATE_LIMIT_INVALID'])
  expect(await limit({ limit: 5 })).toEqual(['api_key.rate_limit.window RATE_LIMIT_INVALID'])
  expect(await limit({ limit: -1, window: { seconds: 60 } })).toEqual(['api_key.rate_limit.limit RATE_LIMIT_INVALID'])
  expect(await limit({ limit: 1_000_001, window: { seconds: 3600 } })).toEqual([
    'api_key.rate_limit.limit RATE_LIMIT_INVALID',
  ])
  expect(await limit({ limit: 5, window: { seconds: 0, nanos: 500_000_000 } })).toEqual([
    'api_key.rate_limit.window RATE_LIMIT_INVALID',
  ])
  expect(await limit({ limit: 5, window: { seconds: 32 * 86_400 } })).toEqual([
    'api_key.rate_limit.window RATE_LIMIT_INVALID',
  ])
  expect(await limit({ limit: 1_000_000, window: { seconds: 1 } })).toEqual(['api_key.rate_limit RATE_LIMIT_INVALID'])
  const zero = { limit: 0, window: { seconds: 60 } }
  const { apiKey } = await client().key(parent, { rateLimit: zero })
  expect(apiKey.rateLimit).toMatchObject({ limit: '0', window: { seconds: '60' } })
  const { rows } = await client().world.client.query('SELECT rate_limit, rate_window_us FROM api_keys WHERE id = $1', [
    apiKey.name.split('/')[3],
  ])
  expect(rows[0]).toEqual({ rate_limit: 0n, rate_window_us: 60_000_000n })
  expect((await update({ name: apiKey.name }, ['rate_limit'])).apiKey.rateLimit).toBeNull()
})

test('field report 3: names that every object inherits are not scopes, environments or labels', async () => {
  const parent = await client().organization()
  const fields = async (members: object) => fieldsOf(await failure(client().key(parent, members)))
  expect(await fields({ scopes: ['constructor'] })).toEqual(['api_key.scopes[0] SCOPE_UNKNOWN'])
  expect(await fields({ environment: 'toString' })).toEqual(['api_key.environment ENVIRONMENT_UNKNOWN'])
  const hostile = JSON.parse('{"__proto__": "a"}')
  expect(await fields({ labels: hostile })).toEqual(['api_key.labels FIELD_INVALID'])
  await client().key(parent)
  const { apiKey } = await client().key(parent, { labels: { constructor: 'a' } })
  const list = (filter: string) => client().call<{ apiKeys: KeyJson[] }>('listApiKeys', { parent, filter })
  expect((await list('labels.constructor = "a"')).apiKeys.map(key => key.name)).toEqual([apiKey.name])
  const error = await failure(list('__proto__ = 1'))
  expect(fieldsOf(error)).toEqual(['filter FILTER_INVALID'])
  expect(error.message).toContain('character 0')
})

const lists: readonly [string, readonly { cidr: string; label?: string }[]][] = [
  ['good', [{ cidr: '203.0.113.5', label: 'Office' }, { cidr: '2001:DB8::/48' }]],
  [
    'lenient',
    ['203.0.113.0/', '203.0.113.0/0x18', '203.0.113/24', '２０３.0.113.0/24', '203.0.113.0/24\n', ''].map(cidr => ({
      cidr,
    })),
  ],
  ['private', [{ cidr: '10.0.0.0/8' }, { cidr: '192.168.1.1' }, { cidr: '::1' }]],
  ['broad', [{ cidr: '0.0.0.0/0' }, { cidr: '::/0' }, { cidr: '203.0.0.0/8' }]],
  ['host bits', [{ cidr: '203.0.113.7/24' }, { cidr: '203.0.113.9/24' }]],
  ['mapped', [{ cidr: '::ffff:203.0.113.5' }, { cidr: '203.0.113.5/32' }]],
]

test.each(['bitbybit', 'billoget', 'bitgpt'])(
  'field report 7: every entrance of %s accepts the same entries',
  async profile => {
    const parent = await client().organization(profile)
    const { apiKey } = await client().key(parent)
    const scopes = apiKey.scopes
    for (const [what, entries] of lists) {
      const verdict = await client().call<{
        entries: object[]
        violations: { index: number; reason: string }[]
      }>('validateIpAllowlist', { parent, entries })
      const expected = verdict.violations.map(violation => `[${violation.index}] ${violation.reason}`)
      const outcome = async (call: Promise<KeyJson>) => {
        const settled = await call.catch(error => error)
        if (!(settled instanceof Error)) return settled.allowlist
        return fieldsOf(settled as Parameters<typeof fieldsOf>[0]).map(text => text.replace(/^.*?(\[\d+\])\.\w+/, '$1'))
      }
      const wanted = expected.length > 0 ? expected : verdict.entries
      expect(
        await outcome(
          client()
            .key(parent, { allowlist: entries })
            .then(reply => reply.apiKey),
        ),
        what,
      ).toEqual(wanted)
      const updated = update({ name: apiKey.name, allowlist: entries }, ['allowlist']).then(reply => reply.apiKey)
      expect(await outcome(updated), what).toEqual(wanted)
      const prefix = client().world.profiles.byName(profile)?.management.environments[0]?.prefix ?? ''
      const row = {
        displayName: 'i',
        environment: 'live',
        digest: Buffer.alloc(32, randomUUID()),
        keyHint: `${prefix}…abcd`,
        scopes,
      }
      const imported = await client().stream<{
        results: { outcome: string; name?: string; error?: { message: string } }[]
      }>('importApiKeys', [{ header: { parent, requestId: randomUUID() } }, { row: { ...row, allowlist: entries } }])
      const [result] = imported.results
      expect(result?.outcome, what).toBe(expected.length > 0 ? 'error' : 'name')
      if (result?.name !== undefined && result.name !== '') {
        expect((await read(result.name)).allowlist, what).toEqual(verdict.entries)
      }
    }
  },
)

test('a caller that its list would keep out is warned, and not stopped', async () => {
  const parent = await client().organization()
  const members = { allowlist: [{ cidr: '203.0.113.0/24' }] }
  const codes = (reply: Reply) => reply.warnings.map(warning => warning.code)
  expect(codes(await client().key(parent, members, { callerAddress: '198.51.100.1' }))).toEqual(['EXCLUDES_CALLER'])
  expect(codes(await client().key(parent, members, { callerAddress: '203.0.113.9' }))).toEqual([])
  expect(codes(await client().key(parent, members, { callerAddress: 'nonsense' }))).toEqual([])
  const entries = members.allowlist
  const verdict = await client().call<{ excludesCaller: boolean }>('validateIpAllowlist', {
    profile: 'profiles/bitbybit',
    entries,
    callerAddress: '198.51.100.1',
  })
  expect(verdict.excludesCaller).toBe(true)
})

test('A09: the network that was meant is suggested', async () => {
  const verdict = await client().call<{ violations: { suggestion: string }[] }>('validateIpAllowlist', {
    profile: 'profiles/bitbybit',
    entries: [{ cidr: '203.0.113.7/24' }],
  })
  expect(verdict.violations.map(violation => violation.suggestion)).toEqual(['203.0.113.0/24'])
  const allowlist = [{ cidr: '203.0.113.7/24' }]
  const error = await failure(client().key(await client().organization(), { allowlist }))
  expect(error.reason).toBe('HOST_BITS_SET')
  expect(error.metadata.get('suggestion')).toBe('203.0.113.0/24')
})

test('an unknown profile or organization has no rules', async () => {
  const validate = (rules: object) => failure(client().call('validateIpAllowlist', { ...rules, entries: [] }))
  expect((await validate({ profile: 'profiles/nobody' })).reason).toBe('PROFILE_UNKNOWN')
  expect((await validate({ parent: 'organizations/nobody' })).reason).toBe('ORGANIZATION_UNKNOWN')
  expect(fieldsOf(await validate({}))).toEqual(['parent FIELD_REQUIRED'])
})

test('field report 16: each change of one field is one feed revision that names the key, set and set back are two', async () => {
  const { name } = await newKey({ labels: { team: 'a' } })
  const changes: readonly [object, string][] = [
    [{ scopes: ['orders:READ'] }, 'scopes'],
    [{ allowlist: [{ cidr: '203.0.113.5' }] }, 'allowlist'],
    [{ expireTime: at(Date.now() + 86_400_000) }, 'expire_time'],
    [{ expireTime: at(Date.now() + 43_200_000) }, 'expire_time'],
    [{}, 'expire_time'],
    [{ rateLimit: { limit: 5, window: { seconds: 60 } } }, 'rate_limit'],
    [{ rateLimit: { limit: 5, window: { seconds: 61 } } }, 'rate_limit'],
    [{}, 'rate_limit'],
    [{ labels: { team: 'b' } }, 'labels'],
    [{ labels: { team: 'a' } }, 'labels'],
    [{ displayName: 'other' }, 'display_name'],
  ]
  for (const [members, path] of changes) {
    const before = await footprint(client().world.client)
    const { revision } = await update({ name, ...members }, [path])
    const after = await footprint(client().world.client)
    expect(after.revision - before.revision, path).toBe(1n)
    expect(after.audit - before.audit, path).toBe(1n)
    const { rows } = await client().world.client.query(
      'SELECT k.id FROM changes c JOIN api_keys k USING (digest) WHERE c.revision = $1',
      [revision],
    )
    expect(rows, path).toEqual([{ id: name.split('/')[3] }])
  }
})

test('the audit row says what changed, and nothing else', async () => {
  const { name } = await newKey()
  await update({ name, labels: { team: 'b' }, displayName: 'New' })
  const { rows } = await client().world.client.query(
    'SELECT action, before, after FROM audit_events WHERE resource = $1 ORDER BY id',
    [name],
  )
  expect(rows[0]).toMatchObject({
    action: 'CreateApiKey',
    before: null,
    after: { display_name: 'A key', scopes: ['customers:READ'] },
  })
  expect(rows[1]).toEqual({
    action: 'UpdateApiKey',
    before: { display_name: 'A key', labels: {} },
    after: { display_name: 'New', labels: { team: 'b' } },
  })
})

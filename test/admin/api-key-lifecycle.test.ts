// The life of API keys through gRPC on a real database: every cell of the state table, with validate_only giving the same
// verdict; one audit row, one feed revision a mutation and none for a no-op; concurrent rotations; cascades.
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { checksumHolds, FORM_ISSUED, recognise } from '../../src/core/secret-grammar.ts'
import { digestSecret } from '../../src/keys/digest.ts'
import { footprint, testPepper } from './admin-world.ts'
import { at, failure, fieldsOf, type KeyJson, type Reply, useKeyClient } from './key-client.ts'

const client = useKeyClient()
const call = (method: string, request: object) => client().call(method, request)

async function newKey(members: object = {}, profile = 'bitbybit'): Promise<KeyJson> {
  return (await client().key(await client().organization(profile), members)).apiKey
}

const rotate = (name: string, more: object = {}) => call('rotateApiKey', { name, requestId: randomUUID(), ...more })

test.each(['bitbybit', 'billoget', 'bitgpt'])(
  'a new %s key has a secret of the issued form, whose digest is stored and nothing else of it',
  async profile => {
    const parent = await client().organization(profile)
    const before = await footprint(client().world.client)
    const { apiKey, secret, revision } = await client().key(parent)
    const compiled = client().world.profiles.byName(profile)
    if (compiled === undefined) return expect.fail('no profile')
    const octets = Buffer.from(secret, 'latin1')
    const { grammar } = compiled.policy
    expect(recognise(grammar, octets, 0, octets.length)).toBe(FORM_ISSUED)
    expect(checksumHolds(grammar, octets, 0, octets.length)).toBe(true)
    const { suffix } = grammar.forms.issued
    const prefix = compiled.management.environments[0]?.prefix ?? ''
    expect(apiKey.keyHint).toBe(`${prefix}…${secret.slice(0, secret.length - suffix.length).slice(-4)}`)
    expect(apiKey).toMatchObject({ state: 'ACTIVE', environment: 'live', form: 'ISSUED', pepperId: 'p1', revision })
    const { rows } = await client().world.client.query('SELECT digest, allowlist_binary FROM api_keys WHERE id = $1', [
      apiKey.name.split('/')[3],
    ])
    expect(rows[0].digest).toEqual(digestSecret(testPepper, octets))
    const after = await footprint(client().world.client)
    expect(after.audit - before.audit).toBe(1n)
    expect(after.revision - before.revision).toBe(1n)
    expect(await everyText()).not.toContain(secret.slice(prefix.length, -8))
  },
)

/** All that the database holds as text, octets as hex and as latin-1. */
async function everyText(): Promise<string> {
  const tables = ['api_keys', 'audit_events', 'idempotency', 'changes', 'feed_revision', 'organizations']
  const texts: string[] = []
  for (const table of tables) {
    const { rows } = await client().world.client.query(`SELECT t::text AS text FROM ${table} t`)
    texts.push(...rows.map(row => row.text))
    if (table !== 'idempotency') continue
    const replies = await client().world.client.query('SELECT reply FROM idempotency')
    texts.push(...replies.rows.map(row => row.reply.toString('latin1')))
  }
  return texts.join('\n')
}

test('a key can be read, and lives through suspension, resume, expiry, deletion and undeletion', async () => {
  const created = await newKey({ description: 'for tests', labels: { team: 'a' } })
  const { name } = created
  expect(await client().call<KeyJson>('getApiKey', { name })).toEqual(created)
  const suspended = await call('suspendApiKey', { name, reason: 'unpaid' })
  expect(suspended.apiKey).toMatchObject({ state: 'SUSPENDED', suspendReason: 'unpaid' })
  expect(Number(suspended.revision)).toBeGreaterThan(Number(created.revision))
  expect(suspended.apiKey.etag).not.toBe(created.etag)
  expect((await call('resumeApiKey', { name })).apiKey).toMatchObject({ state: 'ACTIVE', suspendReason: '' })
  expect((await call('expireApiKey', { name })).apiKey.state).toBe('EXPIRED')
  expect((await call('deleteApiKey', { name })).apiKey.state).toBe('DELETED')
  expect((await client().call<KeyJson>('getApiKey', { name })).state).toBe('DELETED')
  expect((await call('undeleteApiKey', { name })).apiKey.state).toBe('EXPIRED')
})

/** Brings a new key into a state. */
const intoState: Record<string, (key: KeyJson) => Promise<unknown>> = {
  ACTIVE: async () => undefined,
  SUSPENDED: ({ name }) => call('suspendApiKey', { name }),
  'SUSPENDED+': async ({ name }) => {
    await rotate(name)
    await call('suspendApiKey', { name })
  },
  ROTATING_OUT: ({ name }) => rotate(name),
  EXPIRED: ({ name }) => call('expireApiKey', { name }),
  'EXPIRED+': ({ name }) => rotate(name, { gracePeriod: { seconds: 0 } }),
  REVOKED: ({ name }) => call('revokeApiKey', { name, revokeReason: 'LEAKED' }),
  DELETED: ({ name }) => call('deleteApiKey', { name }),
}

const operations: Record<string, (key: KeyJson, more: object) => Promise<Reply>> = {
  update: ({ name }, more) => call('updateApiKey', { apiKey: { name, displayName: 'Another' }, ...more }),
  updateScopes: ({ name }, more) => call('updateApiKey', { apiKey: { name, scopes: ['orders:READ'] }, ...more }),
  rotate: ({ name }, more) => rotate(name, more),
  finish: ({ name }, more) => call('finishRotation', { name, ...more }),
  extend: ({ name }, more) => call('extendRotation', { name, graceEndTime: at(Date.now() + 3_600_000), ...more }),
  suspend: ({ name }, more) => call('suspendApiKey', { name, ...more }),
  resume: ({ name }, more) => call('resumeApiKey', { name, ...more }),
  expire: ({ name }, more) => call('expireApiKey', { name, ...more }),
  revoke: ({ name }, more) => call('revokeApiKey', { name, revokeReason: 'POLICY', ...more }),
  delete: ({ name }, more) => call('deleteApiKey', { name, ...more }),
  undelete: ({ name }, more) => call('undeleteApiKey', { name, ...more }),
}

/** `>`: the state afterwards; `=`: nothing changes; else the reason. `+`: the key has a successor. */
const columns = ['ACTIVE', 'SUSPENDED', 'SUSPENDED+', 'ROTATING_OUT', 'EXPIRED', 'EXPIRED+', 'REVOKED', 'DELETED']
const table: Record<string, string> = {
  update: '>ACTIVE >SUSPENDED >SUSPENDED >ROTATING_OUT >EXPIRED >EXPIRED >REVOKED KEY_DELETED',
  updateScopes: '>ACTIVE >SUSPENDED >SUSPENDED >ROTATING_OUT KEY_EXPIRED KEY_EXPIRED KEY_REVOKED KEY_DELETED',
  rotate:
    '>ROTATING_OUT KEY_SUSPENDED KEY_SUSPENDED KEY_ALREADY_ROTATED KEY_EXPIRED KEY_EXPIRED KEY_REVOKED KEY_DELETED',
  finish: 'KEY_NOT_ROTATING KEY_NOT_ROTATING >EXPIRED >EXPIRED KEY_NOT_ROTATING = KEY_REVOKED KEY_DELETED',
  extend: 'KEY_NOT_ROTATING KEY_NOT_ROTATING >SUSPENDED >ROTATING_OUT KEY_EXPIRED KEY_EXPIRED KEY_REVOKED KEY_DELETED',
  suspend: '>SUSPENDED = = >SUSPENDED KEY_EXPIRED KEY_EXPIRED KEY_REVOKED KEY_DELETED',
  resume: '= >ACTIVE >ROTATING_OUT = KEY_EXPIRED KEY_EXPIRED KEY_REVOKED KEY_DELETED',
  expire: '>EXPIRED >EXPIRED >EXPIRED >EXPIRED = = KEY_REVOKED KEY_DELETED',
  revoke: '>REVOKED >REVOKED >REVOKED >REVOKED >REVOKED >REVOKED = KEY_DELETED',
  delete: '>DELETED >DELETED >DELETED >DELETED >DELETED >DELETED >DELETED =',
  undelete:
    'KEY_NOT_DELETED KEY_NOT_DELETED KEY_NOT_DELETED KEY_NOT_DELETED KEY_NOT_DELETED KEY_NOT_DELETED KEY_NOT_DELETED >ACTIVE',
}

async function verdict(run: Promise<Reply>): Promise<string> {
  const reply = await run.catch(error => error)
  if (reply instanceof Error) return 'reason' in reply ? String(reply.reason) : String(reply)
  const key = reply.predecessor ?? reply.apiKey ?? reply.apiKeys[0]
  return `>${key.state}`
}

/** What an organization's mutations have left behind: audit rows, and feed records of its keys. */
async function traces(parent: string): Promise<{ readonly audit: bigint; readonly revisions: bigint }> {
  const { rows } = await client().world.pool.query(
    `SELECT (SELECT count(*) FROM audit_events WHERE organization_id = $1) AS audit,
            (SELECT count(DISTINCT c.revision) FROM changes c JOIN api_keys k USING (digest)
             WHERE k.organization_id = $1) AS revisions`,
    [parent.split('/')[1]],
  )
  return rows[0]
}

test.each(Object.keys(operations))(
  '%s: every state gives its verdict, one revision or none, alike when only validated',
  async name => {
    const operation = operations[name]
    const expected = table[name]?.split(' ') ?? []
    if (operation === undefined) return expect.fail(name)
    const cell = async (state: string, wanted: string) => {
      const parent = await client().organization()
      const { apiKey } = await client().key(parent)
      await intoState[state]?.(apiKey)
      const before = await traces(parent)
      const current = (await client().call<KeyJson>('getApiKey', { name: apiKey.name })).state
      const told = wanted === '=' ? `>${current}` : wanted
      expect(await verdict(operation(apiKey, { validateOnly: true })), `${state}, validated`).toBe(told)
      expect(await traces(parent), `${state}, validated`).toEqual(before)
      expect(await verdict(operation(apiKey, {})), state).toBe(told)
      const after = await traces(parent)
      const mutations = wanted.startsWith('>') ? 1n : 0n
      expect(after.audit - before.audit, state).toBe(mutations)
      expect(after.revisions - before.revisions, state).toBe(mutations)
    }
    const cells = columns.map((state, column) => [state, expected[column] ?? ''] as const)
    for (const half of [cells.slice(0, 4), cells.slice(4)]) {
      await Promise.all(half.map(([state, wanted]) => cell(state, wanted)))
    }
  },
)

test('a no-op answers with the last revision of the key', async () => {
  const key = await newKey()
  const reply = await call('resumeApiKey', { name: key.name })
  expect(reply.revision).toBe(key.revision)
  expect(reply.apiKey).toEqual(key)
})

test('rotation gives a successor that copies the settings, and a new secret', async () => {
  const settings = {
    description: 'd',
    scopes: ['orders:READ', 'customers:READ'],
    allowlist: [{ cidr: '203.0.113.5', label: 'Office' }],
    labels: { team: 'a' },
    rateLimit: { limit: 5, window: { seconds: 60 } },
    environment: 'test',
    expireTime: at(Date.now() + 90 * 86_400_000),
  }
  const old = await newKey(settings)
  const { apiKey, predecessor, secret, revision } = await rotate(old.name)
  const copied = [
    'displayName',
    'description',
    'scopes',
    'scopeMode',
    'allowlist',
    'labels',
    'rateLimit',
    'environment',
    'expireTime',
  ] as const
  for (const member of copied) expect(apiKey[member], member).toEqual(old[member])
  expect(apiKey).toMatchObject({ rotatedFrom: old.name, rotatedTo: '', state: 'ACTIVE', revision })
  expect(predecessor).toMatchObject({ name: old.name, rotatedTo: apiKey.name, state: 'ROTATING_OUT', revision })
  expect(secret.startsWith('bbb_test_')).toBe(true)
  const { rows } = await client().world.client.query('SELECT id, lineage_id FROM api_keys WHERE id = ANY ($1)', [
    [old.name, apiKey.name].map(name => name.split('/')[3]),
  ])
  expect(new Set(rows.map(row => row.lineage_id))).toEqual(new Set([old.name.split('/')[3]]))
})

test('rotation takes overrides by mask and refuses what the profile refuses', async () => {
  const old = await newKey({ labels: { team: 'a' } })
  const overrides = { displayName: 'Next', labels: {} }
  const { apiKey } = await rotate(old.name, { overrides, overridesMask: { paths: ['display_name', 'labels'] } })
  expect(apiKey).toMatchObject({ displayName: 'Next', labels: {}, scopes: old.scopes })
  const error = await failure(
    rotate(apiKey.name, { overrides: { scopes: ['nope'] }, gracePeriod: { seconds: 25 * 3600 } }),
  )
  expect(fieldsOf(error)).toEqual(['overrides.scopes[0] SCOPE_UNKNOWN', 'grace_period GRACE_OUT_OF_RANGE'])
})

test('at most two predecessors are in grace, and each keeps its own end', async () => {
  const first = await newKey()
  const second = (await rotate(first.name)).apiKey
  const ends = (await client().call<KeyJson>('getApiKey', { name: first.name })).graceEndTime
  const third = (await rotate(second.name)).apiKey
  expect((await client().call<KeyJson>('getApiKey', { name: first.name })).graceEndTime).toEqual(ends)
  expect((await failure(rotate(third.name))).reason).toBe('TOO_MANY_PREDECESSORS')
  await rotate(third.name, { gracePeriod: { seconds: 0 } })
})

test('two rotations at once: one succeeds, never two successors', async () => {
  for (let round = 0; round < 5; round++) {
    const key = await newKey()
    const outcomes = await Promise.allSettled([rotate(key.name), rotate(key.name), rotate(key.name)])
    expect(outcomes.filter(outcome => outcome.status === 'fulfilled')).toHaveLength(1)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected')
        expect(['KEY_ALREADY_ROTATED', 'CONCURRENT_CHANGE']).toContain(outcome.reason.reason)
    }
    const { rows } = await client().world.client.query('SELECT count(*) AS n FROM api_keys WHERE rotated_from = $1', [
      key.name.split('/')[3],
    ])
    expect(rows[0].n).toBe(1n)
  }
})

test('a revocation takes predecessors in grace along, keeps the successor, and goes further on request', async () => {
  const chain = async () => {
    const a = await newKey()
    const b = (await rotate(a.name)).apiKey
    const c = (await rotate(b.name)).apiKey
    return [a.name, b.name, c.name]
  }
  const states = async (names: readonly string[]) =>
    Promise.all(names.map(async name => (await client().call<KeyJson>('getApiKey', { name })).state))
  const revoke = (name: string | undefined, cascade?: string) =>
    call('revokeApiKey', { name, revokeReason: 'LEAKED', comment: 'seen', cascade })
  const first = await chain()
  const before = await footprint(client().world.client)
  const reply = await revoke(first[1])
  expect(reply.apiKeys.map(key => key.name)).toEqual([first[1], first[0]])
  expect(reply.apiKeys[0]).toMatchObject({ state: 'REVOKED', revokeReason: 'LEAKED' })
  expect(await states(first)).toEqual(['REVOKED', 'REVOKED', 'ACTIVE'])
  const after = await footprint(client().world.client)
  expect(after.audit - before.audit).toBe(1n)
  expect(after.changes - before.changes).toBe(2n)
  const second = await chain()
  await revoke(second[1], 'KEY_ONLY')
  expect(await states(second)).toEqual(['ROTATING_OUT', 'REVOKED', 'ACTIVE'])
  await revoke(second[1], 'LINEAGE')
  expect(await states(second)).toEqual(['REVOKED', 'REVOKED', 'REVOKED'])
})

test('a revocation of the whole lineage also reaches a successor that is being made', async () => {
  for (let round = 0; round < 5; round++) {
    const key = await newKey()
    const revoke = () => call('revokeApiKey', { name: key.name, revokeReason: 'LEAKED', cascade: 'LINEAGE' })
    await Promise.allSettled([rotate(key.name), revoke(), revoke()])
    const { rows } = await client().world.client.query(
      'SELECT count(*) AS n FROM api_keys WHERE lineage_id = $1 AND revoke_time IS NULL',
      [key.name.split('/')[3]],
    )
    expect(rows[0].n).toBe(0n)
  }
})

test('a key whose successor was purged can still be revoked', async () => {
  const key = await newKey()
  const successor = (await rotate(key.name)).apiKey
  await call('deleteApiKey', { name: successor.name })
  const sql = client().world.client
  const id = successor.name.split('/')[3]
  for (const statements of [
    ["UPDATE api_keys SET purge_time = now() - interval '1 s' WHERE id = $1"],
    [
      'INSERT INTO digest_tombstones (digest, pepper_id, api_key_id, organization_id) SELECT digest, pepper_id, id, organization_id FROM api_keys WHERE id = $1',
      'DELETE FROM api_keys WHERE id = $1',
    ],
  ]) {
    await sql.query('BEGIN')
    const { rows } = await sql.query('SELECT digest FROM api_keys WHERE id = $1', [id])
    for (const statement of statements) await sql.query(statement, [id])
    await sql.query('SELECT gw_record($1, $2, $3)', [[1], [rows[0].digest], [null]])
    await sql.query('COMMIT')
  }
  const revoked = await call('revokeApiKey', { name: key.name, revokeReason: 'LEAKED', cascade: 'LINEAGE' })
  expect(revoked.apiKeys.map(one => one.state)).toEqual(['REVOKED'])
})

test('an etag of another version is refused, before the state is looked at', async () => {
  const key = await newKey()
  await call('suspendApiKey', { name: key.name, etag: key.etag })
  const error = await failure(call('suspendApiKey', { name: key.name, etag: key.etag }))
  expect(error.reason).toBe('ETAG_MISMATCH')
  expect((await failure(rotate(key.name, { etag: key.etag }))).reason).toBe('ETAG_MISMATCH')
  expect((await failure(rotate(key.name))).reason).toBe('KEY_SUSPENDED')
})

test('refusals name the key, unknown keys are not found, a purged one neither', async () => {
  const parent = await client().organization()
  const { apiKey } = await client().key(parent)
  await call('revokeApiKey', { name: apiKey.name, revokeReason: 'CESSATION' })
  const refused = await failure(call('resumeApiKey', { name: apiKey.name }))
  expect(refused.preconditions[0]).toMatchObject({ type: 'KEY_REVOKED', subject: apiKey.name })
  const unknown = `${parent}/apiKeys/key_0197c0ec-a197-745e-a5bc-c425483bbf01`
  expect((await failure(client().call('getApiKey', { name: unknown }))).reason).toBe('API_KEY_UNKNOWN')
  const foreign = apiKey.name.replace(parent, await client().organization())
  expect((await failure(client().call('getApiKey', { name: foreign }))).reason).toBe('API_KEY_UNKNOWN')
  const gone = (await client().key(parent)).apiKey
  await call('deleteApiKey', { name: gone.name })
  await client().world.client.query('BEGIN')
  await client().world.client.query("UPDATE api_keys SET purge_time = now() - interval '1 second' WHERE id = $1", [
    gone.name.split('/')[3],
  ])
  const { rows } = await client().world.client.query('SELECT digest FROM api_keys WHERE id = $1', [
    gone.name.split('/')[3],
  ])
  await client().world.client.query('SELECT gw_record($1, $2, $3)', [[1], [rows[0].digest], [null]])
  await client().world.client.query('COMMIT')
  expect((await failure(client().call('getApiKey', { name: gone.name }))).reason).toBe('API_KEY_UNKNOWN')
  expect((await failure(call('undeleteApiKey', { name: gone.name }))).reason).toBe('API_KEY_UNKNOWN')
})

test('a suspended organization gets no new secrets, and its keys can still be ended', async () => {
  const parent = await client().organization()
  const { apiKey } = await client().key(parent)
  await client().call('suspendOrganization', { name: parent })
  expect((await failure(client().key(parent))).reason).toBe('ORGANIZATION_SUSPENDED')
  expect((await failure(rotate(apiKey.name))).reason).toBe('ORGANIZATION_SUSPENDED')
  expect((await call('revokeApiKey', { name: apiKey.name, revokeReason: 'LEAKED' })).apiKeys).toHaveLength(1)
})

test('no secret is handed out while a live sidecar lacks the pepper of its digest', async () => {
  const parent = await client().organization()
  const { apiKey } = await client().key(parent)
  const sidecar = randomUUID()
  const insert = (pepperIds: readonly string[], seenAgo: string) =>
    client().world.client.query(
      `INSERT INTO sidecars (id, applied_revision, applied_nonce, lease_ms, stale_cap_ms, confirm_age_ms, profiles, pepper_ids,
         version, started_at, seen_at)
       VALUES ($1, 0, 0, 7000, 0, 0, '{}', $2, 'test', now(), clock_timestamp() - $3::interval)
       ON CONFLICT (id) DO UPDATE SET pepper_ids = excluded.pepper_ids, seen_at = excluded.seen_at`,
      [sidecar, pepperIds, seenAgo],
    )
  try {
    await insert(['p0'], '0 s')
    for (const call of [() => client().key(parent), () => rotate(apiKey.name)]) {
      const error = await failure(call())
      expect(error.reason).toBe('PEPPER_NOT_PROPAGATED')
      expect(error.metadata.get('pepper_id')).toBe('p1')
      expect(error.metadata.get('sidecars')).toBe(`sidecars/${sidecar}`)
    }
    await insert(['p0', 'p1'], '0 s')
    await client().key(parent)
    await insert(['p0'], '1 hour')
    await client().key(parent)
  } finally {
    await client().world.client.query('DELETE FROM sidecars WHERE id = $1', [sidecar])
  }
})

test('an id may be given if it fits the template, and is never given twice', async () => {
  const parent = await client().organization()
  const apiKeyId = `key_${randomUUID().replace(/^(.{14})./, '$17')}`
  const { apiKey } = await client().key(parent, {}, { apiKeyId })
  expect(apiKey.name).toBe(`${parent}/apiKeys/${apiKeyId}`)
  expect((await failure(client().key(parent, {}, { apiKeyId }))).reason).toBe('ID_EXISTS')
  const wrong = await failure(client().key(parent, {}, { apiKeyId: 'mine' }))
  expect(fieldsOf(wrong)).toEqual(['api_key_id ID_TEMPLATE_MISMATCH'])
})

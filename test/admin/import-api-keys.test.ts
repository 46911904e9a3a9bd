// ImportApiKeys on a real database: rows one by one or all together, conflicts, dry runs, repeated requests, and bounds.
import { createHash, randomUUID } from 'node:crypto'
import { describe, expect, it, test } from 'vitest'
import { apiKeyAdmin } from '../../src/admin/api-key-admin.ts'
import type {
  ImportApiKeysRequest,
  ImportApiKeysRequest_Header,
} from '../../src/gen/gatewarden/admin/v1/api_key_admin.ts'
import { ApiKey } from '../../src/gen/gatewarden/admin/v1/resources.ts'
import { digestSecret } from '../../src/keys/digest.ts'
import { callWith, footprint, refusal, testPepper } from './admin-world.ts'
import { at, failure, fieldsOf, type KeyJson, useKeyClient } from './key-client.ts'

const client = useKeyClient()

interface ImportReply {
  readonly imported: number
  readonly skipped: number
  readonly failed: number
  readonly results: {
    readonly row: number
    readonly name?: string
    readonly error?: { readonly code: number; readonly message: string }
  }[]
  readonly revision: string
  readonly revisionToken: string
}

const hash = (secret: string) => createHash('sha256').update(secret).digest()
const row = (secret: string, members: object = {}) => ({
  displayName: secret,
  environment: 'live',
  digest: hash(secret),
  keyHint: `bbb_live_…${secret.slice(-4)}`,
  scopes: ['orders:READ'],
  ...members,
})
const secretOf = (name: string) => `bbb_live_${hash(`${name} ${randomUUID()}`).toString('hex').slice(0, 20)}`

const importRows = (parent: string, rows: readonly object[], header: object = {}) =>
  client().stream<ImportReply>('importApiKeys', [
    { header: { parent, requestId: randomUUID(), ...header } },
    ...rows.map(one => ({ row: one })),
  ])
const keysOf = async (parent: string) =>
  (await client().call<{ apiKeys: KeyJson[] }>('listApiKeys', { parent, pageSize: 1000 })).apiKeys

test('an imported key has the digest of its secret under the primary pepper, and its given past', async () => {
  const parent = await client().organization()
  const secret = secretOf('a')
  const createTime = at(Date.UTC(2025, 0, 1))
  const expireTime = at(Date.UTC(2025, 5, 1))
  const reply = await importRows(parent, [
    row(secret, { createTime, expireTime, description: 'd', labels: { a: 'b' } }),
  ])
  expect(reply).toMatchObject({ imported: 1, skipped: 0, failed: 0 })
  const [key] = await keysOf(parent)
  expect(key).toMatchObject({
    name: reply.results[0]?.name,
    form: 'IMPORTED',
    state: 'EXPIRED',
    keyHint: `bbb_live_…${secret.slice(-4)}`,
    description: 'd',
    revision: reply.revision,
  })
  expect(key?.createTime).toMatchObject({ seconds: createTime.seconds })
  const { rows } = await client().world.client.query('SELECT digest FROM api_keys WHERE organization_id = $1', [
    parent.split('/')[1],
  ])
  expect(rows[0].digest).toEqual(digestSecret(testPepper, Buffer.from(secret)))
})

test('an imported key rotates into an issued one', async () => {
  const parent = await client().organization()
  const { results } = await importRows(parent, [row(secretOf('a'))])
  const reply = await client().call('rotateApiKey', { name: results[0]?.name, requestId: randomUUID() })
  expect(reply.apiKey).toMatchObject({ form: 'ISSUED', rotatedFrom: results[0]?.name })
  expect(reply.predecessor).toMatchObject({ form: 'IMPORTED', state: 'ROTATING_OUT' })
})

test('a row that is wrong says all that is wrong, and the others go in', async () => {
  const parent = await client().organization()
  const bad = row(secretOf('bad'), {
    displayName: '',
    environment: 'staging',
    digest: Buffer.alloc(31),
    scopes: ['nope'],
    allowlist: [{ cidr: 'x' }],
    createTime: at(Date.now() + 86_400_000),
  })
  const reply = await importRows(parent, [
    row(secretOf('a')),
    bad,
    row(secretOf('b'), { keyHint: 'bbb_test_…abcd' }),
    row(secretOf('c'), { keyHint: 'bbb_live_…abcde' }),
    row(secretOf('d'), { environment: '' }),
    row(secretOf('e'), { scopes: [] }),
    row(secretOf('f'), { scopes: [], scopeMode: 'ALL' }),
  ])
  expect(reply).toMatchObject({ imported: 2, failed: 5 })
  const messages = Object.fromEntries(reply.results.map(result => [result.row, result.error?.message ?? '']))
  expect(messages[1]).toContain('6 fields')
  expect(messages[2]).toContain('bbb_live_')
  expect(messages[3]).toContain('last four')
  expect(messages[4]).toContain('environment')
  expect(messages[6]).toContain('scope_mode')
  const stored = (await keysOf(parent)).find(key => key.scopes.length === 0)
  expect(stored?.scopeMode).toBe('LISTED')
})

test('a digest that is known fails or is skipped, wherever it is known from', async () => {
  const parent = await client().organization()
  const [a, b] = [secretOf('a'), secretOf('b')]
  await importRows(parent, [row(a)])
  const elsewhere = await client().organization()
  const failed = await importRows(elsewhere, [row(a), row(b), row(b)])
  expect(failed).toMatchObject({ imported: 1, skipped: 0, failed: 2 })
  expect(failed.results.filter(result => result.error?.code === 6)).toHaveLength(2)
  const skipped = await importRows(elsewhere, [row(a), row(b), row(secretOf('c'))], { onConflict: 'SKIP' })
  expect(skipped).toMatchObject({ imported: 1, skipped: 2, failed: 0 })
})

test('an atomic import with one failure imports nothing, and can be repeated with its request id', async () => {
  const parent = await client().organization()
  const requestId = randomUUID()
  const before = await footprint(client().world.client)
  const reply = await importRows(parent, [row(secretOf('a')), row(secretOf('b'), { scopes: ['nope'] })], {
    atomic: true,
    requestId,
  })
  expect(reply).toMatchObject({ imported: 0, failed: 1, revision: '0' })
  expect(await footprint(client().world.client)).toEqual(before)
  const again = await importRows(parent, [row(secretOf('a')), row(secretOf('b'))], { atomic: true, requestId })
  expect(again).toMatchObject({ imported: 2, failed: 0 })
  const after = await footprint(client().world.client)
  expect(after.audit - before.audit).toBe(1n)
  expect(after.revision - before.revision).toBe(1n)
  expect(after.changes - before.changes).toBe(2n)
})

test('a repeated request gets the stored reply, another one under its id is refused', async () => {
  const parent = await client().organization()
  const requestId = randomUUID()
  const rows = [row(secretOf('a')), row(secretOf('b'))]
  const first = await importRows(parent, rows, { requestId })
  const before = await footprint(client().world.client)
  expect(await importRows(parent, rows, { requestId })).toEqual(first)
  expect((await failure(importRows(parent, rows.slice(0, 1), { requestId }))).reason).toBe('REQUEST_ID_REUSED')
  expect(await footprint(client().world.client)).toEqual(before)
})

test('a dry run gives the same verdict and writes nothing', async () => {
  const parent = await client().organization()
  const twice = secretOf('a')
  const rows = [row(twice), row(twice), row(secretOf('b'), { scopes: ['nope'] })]
  const before = await footprint(client().world.client)
  const dry = await importRows(parent, rows, { validateOnly: true })
  expect(dry).toMatchObject({ imported: 1, failed: 2, revision: '0', revisionToken: '' })
  expect(await footprint(client().world.client)).toEqual(before)
  expect(await importRows(parent, rows)).toMatchObject({ imported: 1, failed: 2 })
})

test('1200 rows go in by 500 a revision, conflicts across them found, successes listed up to 1000', async () => {
  const parent = await client().organization()
  const rows = Array.from({ length: 1199 }, (_, i) => row(secretOf(String(i))))
  const before = await footprint(client().world.client)
  const reply = await importRows(parent, [...rows, rows[0] ?? {}])
  expect(reply).toMatchObject({ imported: 1199, failed: 1 })
  expect(reply.results.filter(result => result.error !== undefined)).toHaveLength(1)
  expect(reply.results).toHaveLength(1001)
  const after = await footprint(client().world.client)
  expect(after.revision - before.revision).toBe(3n)
  expect(after.audit - before.audit).toBe(3n)
  expect(after.changes - before.changes).toBe(1199n)
}, 60_000)

describe('an import that broke off', () => {
  // Chunks of 500: the call has three transactions. Each fails before it began, or after its commit whose answer is lost.
  const breaks = [1, 2, 3].flatMap(at => [
    { at, lost: 'the work' as const },
    { at, lost: 'the answer' as const },
  ])
  it.each(breaks)(
    'at transaction $at, $lost lost, is finished by its request id as if it had not broken',
    async ({ at, lost }) => {
      const { context, rootKey, client: rows } = client().world
      const parent = await client().organization()
      const secrets = Array.from({ length: 1100 }, (_, i) => secretOf(String(i)))
      // Row 600 is the same as row 0, row 700 is wrong: what an earlier transaction did of them must be told again.
      const sent = secrets.map((secret, i) =>
        messageOf(i === 600 ? (secrets[0] ?? '') : secret, i === 700 ? ['nope'] : ['orders:READ']),
      )
      const header = { parent, requestId: randomUUID(), onConflict: 0, atomic: false, validateOnly: false } as const
      const stream = () => streamOf(header, sent)
      const before = await footprint(rows)
      let transactions = 0
      const store: typeof context.store = {
        ...context.store,
        async transact(work) {
          const breaksHere = ++transactions === at
          if (breaksHere && lost === 'the work') throw unavailable()
          const result = await context.store.transact(work)
          if (breaksHere) throw unavailable()
          return result
        },
      }
      const broken = await refusal(apiKeyAdmin({ ...context, store }).importApiKeys(stream(), callWith(rootKey)))
      expect(broken.reason).toBe('STORE_UNAVAILABLE')
      const sound = apiKeyAdmin(context)
      const reply = await sound.importApiKeys(stream(), callWith(rootKey))
      expect(reply).toMatchObject({ imported: 1098, skipped: 0, failed: 2 })
      const failed = reply.results.filter(({ outcome }) => outcome?.$case === 'error')
      expect(failed.map(result => result.row)).toEqual([600, 700])
      const after = await footprint(rows)
      expect(after.revision - before.revision).toBe(3n)
      expect(after.audit - before.audit).toBe(3n)
      expect(after.changes - before.changes).toBe(1098n)
      expect(reply.revision).toBe(after.revision)
      expect(await sound.importApiKeys(stream(), callWith(rootKey))).toMatchObject({
        imported: 1098,
        failed: 2,
        revision: reply.revision,
      })
      expect(await footprint(rows)).toEqual(after)
    },
  )

  it('is not taken for another import under its request id', async () => {
    const { context, rootKey } = client().world
    const parent = await client().organization()
    const sent = Array.from({ length: 600 }, (_, i) => messageOf(secretOf(String(i)), ['orders:READ']))
    const header = { parent, requestId: randomUUID(), onConflict: 0, atomic: false, validateOnly: false } as const
    let transactions = 0
    const store: typeof context.store = {
      ...context.store,
      transact: work => (++transactions === 2 ? Promise.reject(unavailable()) : context.store.transact(work)),
    }
    await refusal(apiKeyAdmin({ ...context, store }).importApiKeys(streamOf(header, sent), callWith(rootKey)))
    const other = streamOf(header, sent.toReversed())
    expect((await refusal(apiKeyAdmin(context).importApiKeys(other, callWith(rootKey)))).reason).toBe(
      'REQUEST_ID_REUSED',
    )
  })
})

/** As the store says it. */
const unavailable = () => Object.assign(new Error('the database is away'), { fault: 'unavailable' })

function messageOf(secret: string, scopes: string[]) {
  const { displayName, environment, digest, keyHint } = row(secret)
  const rest = { scopeMode: 0, allowlist: [], expireTime: undefined, createTime: undefined, description: '' } as const
  return { displayName, environment, digest, keyHint, scopes, ...rest, labels: new Map<string, string>() }
}

async function* streamOf(
  header: ImportApiKeysRequest_Header,
  rows: readonly ReturnType<typeof messageOf>[],
): AsyncGenerator<ImportApiKeysRequest> {
  yield { part: { $case: 'header', value: header } }
  for (const value of rows) yield { part: { $case: 'row', value } }
}

test('a stream is refused as a whole for what no row could mend', async () => {
  const parent = await client().organization()
  const noHeader = await failure(client().stream('importApiKeys', [{ row: row(secretOf('a')) }]))
  expect(fieldsOf(noHeader)).toEqual(['header FIELD_REQUIRED'])
  expect(fieldsOf(await failure(client().stream('importApiKeys', [])))).toEqual(['header FIELD_REQUIRED'])
  expect(fieldsOf(await failure(importRows(parent, [], { requestId: '' })))).toEqual(['request_id FIELD_REQUIRED'])
  expect((await failure(importRows('organizations/nobody', []))).reason).toBe('ORGANIZATION_UNKNOWN')
  const tooMany = Array.from({ length: 1001 }, (_, i) => row(String(i)))
  expect(fieldsOf(await failure(importRows(parent, tooMany, { atomic: true })))).toEqual(['row FIELD_INVALID'])
  const suspended = await client().organization()
  await client().call('suspendOrganization', { name: suspended })
  expect((await failure(importRows(suspended, [row(secretOf('a'))]))).reason).toBe('ORGANIZATION_SUSPENDED')
})

test('after a change of peppers an imported digest is still found under the old one, and new ones get the new', async () => {
  const { context, rootKey } = client().world
  const parent = await client().organization()
  const [old, fresh] = [secretOf('old'), secretOf('fresh')]
  await importRows(parent, [row(old)])
  const pepper = { id: 'p2', bytes: new Uint8Array(32).fill(9) }
  const after = apiKeyAdmin({ ...context, peppers: [pepper, testPepper] })
  const header = { parent, requestId: randomUUID(), onConflict: 0, atomic: false, validateOnly: false } as const
  const rows = [old, fresh].map(secret => messageOf(secret, ['orders:READ']))
  const reply = await after.importApiKeys(streamOf(header, rows), callWith(rootKey))
  expect(reply).toMatchObject({ imported: 1, failed: 1 })
  const name = reply.results.flatMap(({ outcome }) => (outcome?.$case === 'name' ? [outcome.value] : []))[0]
  expect(await client().call('getApiKey', { name })).toMatchObject({ displayName: fresh, pepperId: 'p2' })
})

test('a deployment may bound the keys of an organization', async () => {
  const { context, rootKey } = client().world
  const parent = await client().organization()
  const bounded = apiKeyAdmin({ ...context, keyQuota: 1 })
  const create = () =>
    bounded.createApiKey(
      {
        parent,
        apiKey: { ...ApiKey.decode(new Uint8Array(0)), displayName: 'A key', scopes: ['orders:READ'] },
        apiKeyId: '',
        requestId: randomUUID(),
        validateOnly: false,
        callerAddress: '',
      },
      callWith(rootKey),
    )
  const { apiKey } = await create()
  expect((await refusal(create())).reason).toBe('KEY_QUOTA')
  await client().call('deleteApiKey', { name: apiKey?.name })
  await create()
})

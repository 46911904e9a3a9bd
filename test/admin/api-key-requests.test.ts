// Request ids (field report 17): one retry never makes two keys and never shows a secret twice; failures and dry runs reserve
// nothing. Through gRPC on a real database, with two admin stores where two processes would be.
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { apiKeyAdmin } from '../../src/admin/api-key-admin.ts'
import { ApiKey } from '../../src/gen/gatewarden/admin/v1/resources.ts'
import { RpcFailure } from '../../src/rpc/client.ts'
import { createAdminStore } from '../../src/store/admin-store.ts'
import { adminSession, createPool } from '../../src/store/pool.ts'
import { callWith, footprint } from './admin-world.ts'
import { failure, type KeyJson, type Reply, useKeyClient } from './key-client.ts'

const client = useKeyClient()
const create = (parent: string, requestId: string, members: object = {}) =>
  client().call('createApiKey', {
    parent,
    requestId,
    apiKey: { displayName: 'A key', scopes: ['orders:READ'], ...members },
  })

async function keysOf(parent: string): Promise<number> {
  return (await client().call<{ apiKeys: KeyJson[] }>('listApiKeys', { parent, pageSize: 1000 })).apiKeys.length
}

test('50 creations at once with one request id make one key and show its secret once', async () => {
  const parent = await client().organization()
  const requestId = randomUUID()
  const before = await footprint(client().world.client)
  const refused = new Set<string>()
  /** As a client is told to: again, when the error says when. */
  const patient = async (): Promise<Reply> => {
    for (;;) {
      const outcome = await create(parent, requestId).catch(error => error)
      if (!(outcome instanceof RpcFailure)) return outcome
      refused.add(outcome.reason)
      expect(outcome.retryDelayMs).toBeGreaterThan(0)
      await new Promise(resolve => setTimeout(resolve, outcome.retryDelayMs))
    }
  }
  const replies = await Promise.all(Array.from({ length: 50 }, patient))
  expect(new Set(replies.map(reply => reply.apiKey.name)).size).toBe(1)
  expect(replies.filter(reply => reply.secret !== '')).toHaveLength(1)
  for (const reply of replies) expect(reply.secretAlreadyDelivered).toBe(reply.secret === '')
  // On a slow machine callers also wait in vain for a connection.
  for (const reason of refused) expect(['REQUEST_IN_PROGRESS', 'STORE_UNAVAILABLE']).toContain(reason)
  expect(await keysOf(parent)).toBe(1)
  const after = await footprint(client().world.client)
  expect(after.audit - before.audit).toBe(1n)
  expect(after.revision - before.revision).toBe(1n)
  const again = await create(parent, requestId)
  const first = replies.find(reply => reply.secret !== '')
  expect(again).toEqual({ ...first, secret: '', secretAlreadyDelivered: true })
})

test('two admin processes agree on one key', async () => {
  const { world } = client()
  const parent = await client().organization()
  const { host, port, user = 'postgres', database = '' } = world.client
  const pool = createPool(
    { servers: [{ host, port, user, database }] },
    { session: adminSession, connectionsMax: 4, onIdleError: () => undefined },
  )
  try {
    const other = apiKeyAdmin({ ...world.context, store: createAdminStore(pool) })
    const own = apiKeyAdmin(world.context)
    const requestId = randomUUID()
    const apiKey = { ...ApiKey.decode(new Uint8Array(0)), displayName: 'A key', scopes: ['orders:READ'] }
    const request = { parent, apiKey, apiKeyId: '', requestId, validateOnly: false, callerAddress: '' }
    const calls = Array.from({ length: 10 }, (_, i) =>
      (i % 2 === 0 ? own : other).createApiKey(request, callWith(world.rootKey)),
    )
    const replies = (await Promise.allSettled(calls)).flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
    expect(replies.filter(reply => reply.secret !== '')).toHaveLength(1)
    expect(await keysOf(parent)).toBe(1)
  } finally {
    await pool.end()
  }
})

test('a request id is bound to its request, whatever the order of map entries', async () => {
  const parent = await client().organization()
  const requestId = randomUUID()
  const { apiKey } = await create(parent, requestId, { labels: { a: '1', b: '2' } })
  const again = await create(parent, requestId, { labels: { b: '2', a: '1' } })
  expect(again).toMatchObject({ secret: '', secretAlreadyDelivered: true, apiKey: { name: apiKey.name } })
  expect((await failure(create(parent, requestId, { labels: { a: '1', b: '3' } }))).reason).toBe('REQUEST_ID_REUSED')
  const rotated = await failure(client().call('rotateApiKey', { name: apiKey.name, requestId }))
  expect(rotated.reason).toBe('REQUEST_ID_REUSED')
})

test('a repeated rotation answers without the secret, also after the successor was rotated', async () => {
  const { apiKey } = await client().key(await client().organization())
  const requestId = randomUUID()
  const rotate = (): Promise<Reply> => client().call('rotateApiKey', { name: apiKey.name, requestId })
  const first = await rotate()
  await client().call('rotateApiKey', { name: first.apiKey.name, requestId: randomUUID() })
  const again = await rotate()
  expect(again.apiKey.name).toBe(first.apiKey.name)
  expect(again.secret).toBe('')
  expect(again.secretAlreadyDelivered).toBe(true)
})

test('failures and dry runs reserve nothing', async () => {
  const parent = await client().organization()
  const requestId = randomUUID()
  expect((await failure(create(parent, requestId, { scopes: ['nope'] }))).reason).toBe('SCOPE_UNKNOWN')
  const before = await footprint(client().world.client)
  const dry = await client().call('createApiKey', {
    parent,
    requestId,
    validateOnly: true,
    apiKey: { displayName: 'A key', scopes: ['orders:READ'] },
  })
  expect(dry).toMatchObject({ secret: '', revision: '0', revisionToken: '', secretAlreadyDelivered: false })
  expect(await footprint(client().world.client)).toEqual(before)
  expect((await create(parent, requestId)).secret).not.toBe('')
  expect(await keysOf(parent)).toBe(1)
})

test('after 24 hours a request id is new again', async () => {
  const parent = await client().organization()
  const requestId = randomUUID()
  const first = await create(parent, requestId)
  await client().world.client.query(
    "UPDATE idempotency SET create_time = create_time - interval '25 hours' WHERE request_id = $1",
    [requestId],
  )
  const second = await create(parent, requestId)
  expect(second.secret).not.toBe('')
  expect(second.apiKey.name).not.toBe(first.apiKey.name)
})

test('creation and rotation demand a request id', async () => {
  const parent = await client().organization()
  const error = await failure(create(parent, ''))
  expect(error.violations.map(violation => `${violation.field} ${violation.reason}`)).toEqual([
    'request_id FIELD_REQUIRED',
  ])
  expect((await failure(create(parent, 'mine'))).reason).toBe('REQUEST_ID_INVALID')
})

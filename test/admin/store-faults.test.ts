// What a mutation leaves behind when the database fails under it: everything or nothing, and one error without a driver's text.
import { randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import { status } from '@grpc/grpc-js'
import type pg from 'pg'
import { expect, test } from 'vitest'
import type { AdminStore, AdminTx } from '../../src/admin/admin-store.ts'
import { organizationAdmin } from '../../src/admin/organization-admin.ts'
import { toRpcError, toRpcStatus } from '../../src/rpc/status.ts'
import { createAdminStore } from '../../src/store/admin-store.ts'
import { adminSession, createPool } from '../../src/store/pool.ts'
import { callWith, footprint, refusal, useWorld } from './admin-world.ts'

const world = useWorld()

function request() {
  return {
    organization: {
      name: '',
      displayName: 'Example',
      profile: 'profiles/bitbybit',
      suspendTime: undefined,
      labels: new Map<string, string>(),
      createTime: undefined,
      revision: 0n,
      etag: '',
    },
    organizationId: '',
    requestId: randomUUID(),
    validateOnly: false,
  }
}

/** A store whose transactions do something between two steps. */
function storeWith(inner: AdminStore, change: (tx: AdminTx) => AdminTx): AdminStore {
  return { read: inner.read, transact: work => inner.transact(tx => work(change(tx))) }
}

/** Ends every connection of admin to the database: what a crash of the process or of the server looks like to the rows. */
async function killConnections(client: pg.Client): Promise<void> {
  await client.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name = 'gatewarden admin' AND datname = current_database()`,
  )
}

const steps: [string, (tx: AdminTx) => AdminTx][] = [
  ['before the row', tx => ({ ...tx, claimRequest: (...given) => killThen(() => tx.claimRequest(...given)) })],
  [
    'after the row',
    tx => ({
      ...tx,
      organizations: {
        ...tx.organizations,
        insert: async row => {
          const inserted = await tx.organizations.insert(row)
          await killConnections(world().client)
          return inserted
        },
      },
    }),
  ],
  [
    'after the feed record',
    tx => ({
      ...tx,
      finish: async end => {
        const revision = await tx.finish(end)
        await killConnections(world().client)
        return revision
      },
    }),
  ],
]

async function killThen<Value>(work: () => Promise<Value>): Promise<Value> {
  await killConnections(world().client)
  return await work()
}

test.each(steps)('a connection lost %s leaves nothing, and the repeated call succeeds', async (_, change) => {
  const { context, client, rootKey } = world()
  const before = await footprint(client)
  const broken = { ...context, store: storeWith(context.store, change) }
  const given = request()
  const error = await refusal(organizationAdmin(broken).createOrganization(given, callWith(rootKey)))
  expect([error.reason, error.details.retryDelayMs]).toEqual(['STORE_UNAVAILABLE', 1000])
  expect(await footprint(client)).toEqual(before)
  const reply = await organizationAdmin(context).createOrganization(given, callWith(rootKey))
  expect(reply.revision).toBe(before.revision + 1n)
})

test('a reply lost after the commit is had again by the same request id', async () => {
  const { context, client, rootKey } = world()
  const before = await footprint(client)
  const deaf: AdminStore = {
    read: context.store.read,
    transact: async work => {
      await context.store.transact(work)
      throw Object.assign(new Error('the reply was lost'), { fault: 'unavailable' as const })
    },
  }
  const given = request()
  const lost = organizationAdmin({ ...context, store: deaf }).createOrganization(given, callWith(rootKey))
  expect((await refusal(lost)).reason).toBe('STORE_UNAVAILABLE')
  const reply = await organizationAdmin(context).createOrganization(given, callWith(rootKey))
  const after = await footprint(client)
  expect([reply.revision, after.revision, after.audit]).toEqual([
    before.revision + 1n,
    before.revision + 1n,
    before.audit + 1n,
  ])
})

test('a database that cannot be reached is UNAVAILABLE, without a word of the driver', async () => {
  const { context, rootKey } = world()
  const servers = [{ host: '127.0.0.1', port: 1, user: 'nobody', password: 'hunter2-canary', database: 'x' }] as const
  const pool = createPool(
    { servers: [...servers] },
    { session: adminSession, connectionsMax: 1, onIdleError: () => undefined },
  )
  const away = organizationAdmin({ ...context, store: createAdminStore(pool) })
  const error = await refusal(away.getOrganization({ name: 'organizations/x', minRevision: '' }, callWith(rootKey)))
  expect(error.reason).toBe('STORE_UNAVAILABLE')
  const sent = inspect(toRpcStatus(toRpcError(error), 'id'), { depth: 9 })
  expect(sent).not.toMatch(/ECONNREFUSED|127\.0\.0\.1|hunter2|SELECT/)
  await pool.end()
})

test('a statement that is wrong is INTERNAL, and a lock that is held too long ABORTED', async () => {
  const { context, client, rootKey } = world()
  const admin = (change: (tx: AdminTx) => AdminTx) =>
    organizationAdmin({ ...context, store: storeWith(context.store, change) })
  const wrong = admin(tx => ({
    ...tx,
    claimRequest: () => {
      throw Object.assign(new Error('syntax error at or near "canary"'), { code: '42601' })
    },
  }))
  const thrown = await wrong.createOrganization(request(), callWith(rootKey)).catch(error => error)
  expect(toRpcError(thrown).reason).toBe('INTERNAL')
  expect(toRpcError(thrown).message).not.toContain('canary')
  await client.query('BEGIN; SELECT * FROM feed_head FOR UPDATE')
  try {
    const error = await refusal(organizationAdmin(context).createOrganization(request(), callWith(rootKey)))
    expect(error.reason).toBe('CONCURRENT_CHANGE')
  } finally {
    await client.query('ROLLBACK')
  }
})

test('a full disk is told apart from a database that is away', async () => {
  const { context, client, rootKey } = world()
  const before = await footprint(client)
  await client.query(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON organizations FOR EACH ROW EXECUTE FUNCTION fail()`)
  try {
    const error = await refusal(organizationAdmin(context).createOrganization(request(), callWith(rootKey)))
    expect([error.reason, error.code]).toEqual(['STORE_FULL', status.RESOURCE_EXHAUSTED])
    expect(error.message).not.toContain('extend')
  } finally {
    await client.query('DROP FUNCTION fail CASCADE')
  }
  expect(await footprint(client)).toEqual(before)
})

test('a call whose caller has left is not committed', async () => {
  const { context, client, rootKey } = world()
  const before = await footprint(client)
  const left = new AbortController()
  const slow = storeWith(context.store, tx => ({
    ...tx,
    organizations: {
      ...tx.organizations,
      insert: async row => {
        const inserted = await tx.organizations.insert(row)
        left.abort(new Error('the caller left'))
        return inserted
      },
    },
  }))
  const call = organizationAdmin({ ...context, store: slow }).createOrganization(
    request(),
    callWith(rootKey, { signal: left.signal }),
  )
  await expect(call).rejects.toThrow('the caller left')
  expect(await footprint(client)).toEqual(before)
})

test('the reply does not depend on the words after the commit', async () => {
  const { context, rootKey } = world()
  const silent: AdminStore = {
    read: context.store.read,
    transact: async work => {
      const { value, point } = await context.store.transact(work)
      return { value, point: { revision: point.revision, nonce: null } }
    },
  }
  const reply = await organizationAdmin({ ...context, store: silent }).createOrganization(request(), callWith(rootKey))
  expect(reply.revision).toBeGreaterThan(0n)
  expect(reply.revisionToken).toBe('')
})

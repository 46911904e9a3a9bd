// Admin on a real database: a store, a ROOT made through the bootstrap, and calls made by hand.
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'
import { afterAll, beforeAll } from 'vitest'
import { accessAdmin } from '../../src/admin/access-admin.ts'
import type { AdminCall } from '../../src/admin/admin-call.ts'
import { issueBootstrapToken } from '../../src/admin/bootstrap.ts'
import { FailedAttempts } from '../../src/admin/failed-attempts.ts'
import { PageTokens } from '../../src/admin/page-token.ts'
import { createNames } from '../../src/core/names.ts'
import { loadDirectory } from '../../src/profile/load-directory.ts'
import type { ProfileSet } from '../../src/profile/profile-set.ts'
import { RpcError } from '../../src/rpc/errors.ts'
import { createAdminStore } from '../../src/store/admin-store.ts'
import { adminConnectionsMax, adminSession, createPool } from '../../src/store/pool.ts'
import { createUsageReads, usageConnectionsMax, usageSession } from '../../src/store/usage-queries.ts'
import { judgeHere } from '../profile/documents.ts'
import { useTestDatabase } from '../support/test-database.ts'

/** The shipped profiles. */
export async function shippedProfiles(): Promise<ProfileSet> {
  const compiled = import.meta.url.includes('/dist/')
  const folder = fileURLToPath(new URL(compiled ? '../../../profiles' : '../../profiles', import.meta.url))
  const { set, findings } = await loadDirectory(folder, {
    names: createNames(),
    deploymentEnvironment: 'production',
    acceptedEnvironments: null,
  })
  if (set === undefined) throw new Error(JSON.stringify(findings))
  return set
}

/** Pepper `p1` of the test vectors: octets 20..3f. */
export const testPepper = { id: 'p1', bytes: Uint8Array.from({ length: 32 }, (_, i) => 0x20 + i) }

export async function openWorld(database: Parameters<typeof createPool>[0]) {
  const pool = createPool(database, {
    session: adminSession,
    connectionsMax: adminConnectionsMax,
    onIdleError: () => undefined,
  })
  const usagePool = createPool(database, {
    session: usageSession,
    connectionsMax: usageConnectionsMax,
    onIdleError: () => undefined,
  })
  const profiles = await shippedProfiles()
  let nowMs = 0
  const context = {
    store: createAdminStore(pool),
    pepper: { id: 'a1', bytes: randomBytes(32) },
    peppers: [testPepper] as const,
    failures: new FailedAttempts(() => nowMs),
    pageTokens: new PageTokens(createHash('sha256').update('pages').digest()),
    random: (octets: number) => randomBytes(octets),
    findProfile: (name: string) => profiles.byName(name),
    keyQuota: null,
    usage: createUsageReads(usagePool),
    profiles: {
      list: () => profiles.profiles.map(profile => ({ profile, findingsCount: 0, loadedUnixMs: 1_780_000_000_000 })),
    },
    judgeProfile: judgeHere,
  }
  const passMs = (ms: number): void => {
    nowMs += ms
  }
  return { pool, usagePool, context, profiles, passMs }
}

export type World = Awaited<ReturnType<typeof openWorld>> & {
  /** Secret of the ROOT key. */
  readonly rootKey: string
  /** Superuser, for looking at rows. */
  readonly client: pg.Client
}

/** Registers hooks that open a world with a ROOT for the file. */
export function useWorld(): () => World {
  const database = useTestDatabase()
  let world: World | undefined
  beforeAll(async () => {
    const opened = await openWorld(database().database)
    const client = database().client()
    await client.connect()
    world = { ...opened, client, rootKey: await makeRoot(opened.context) }
  })
  afterAll(async () => {
    await world?.client.end()
    await world?.pool.end()
    await world?.usagePool.end()
  })
  return () => {
    if (world === undefined) throw new Error('the world exists only inside hooks and tests')
    return world
  }
}

export async function makeRoot(context: World['context'], breakGlass = false): Promise<string> {
  const token = await issueBootstrapToken(context, breakGlass)
  const root = {
    $case: 'adminKey',
    value: {
      name: '',
      displayName: 'first root',
      scopes: [],
      organizations: [],
      expireTime: undefined,
      allowlist: [],
      state: 0,
      keyHint: '',
      createTime: undefined,
      revokeTime: undefined,
      creator: '',
      etag: '',
    },
  } as const
  return (await accessAdmin(context).completeBootstrap({ token, root }, callWith())).secret
}

/** A call with an admin key, or without one. */
export function callWith(adminKey?: string, more: Partial<AdminCall> = {}): AdminCall {
  return {
    callId: randomUUID(),
    sourceAddress: '127.0.0.1',
    deadlineUnixMs: Date.now() + 5000,
    signal: AbortSignal.timeout(5000),
    header: name => (name === 'authorization' && adminKey !== undefined ? `Bearer ${adminKey}` : undefined),
    ...more,
  }
}

/** The error that a call ends with. */
export async function refusal(call: Promise<unknown>): Promise<RpcError> {
  const thrown = await call.then(
    value => new Error(`the call succeeded: ${String(value)}`),
    error => error,
  )
  if (thrown instanceof RpcError) return thrown
  throw thrown
}

/** How many rows the tables of a mutation hold. */
export async function footprint(client: pg.Client) {
  const { rows } = await client.query(
    `SELECT (SELECT count(*) FROM audit_events) AS audit, (SELECT revision FROM feed_head) AS revision,
            (SELECT count(*) FROM changes) AS changes, (SELECT count(*) FROM idempotency) AS idempotency,
            (SELECT count(*) FROM organizations) AS organizations`,
  )
  return rows[0] as Record<'audit' | 'revision' | 'changes' | 'idempotency' | 'organizations', bigint>
}

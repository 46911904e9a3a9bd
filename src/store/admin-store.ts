// Admin's store on PostgreSQL: one transaction a call, the end of a mutation in one statement, the hint after the commit.
// Guarantee: between the feed record, which takes the head's lock, and the commit there is no further round trip.
import type pg from 'pg'
import type { AdminReads, AdminStore, AdminTx, Ended, MutationEnd, Settled, StoredReply } from '../admin/admin-store.ts'
import type { Micros } from '../core/time.ts'
import { adminAccessRows } from './admin-access.ts'
import { adminApiKeyRows } from './admin-api-keys.ts'
import { faultOf } from './admin-fault.ts'
import { adminOrganizationRows } from './admin-organizations.ts'
import { adminPepperRows } from './admin-peppers.ts'
import { adminPropagationRows } from './admin-propagation.ts'
import { rowsOf } from './admin-query.ts'
import { timestamptzParameter } from './column-values.ts'
import { inTransaction } from './transaction.ts'

/** The store on a pool of the role gw_admin. */
export function createAdminStore(pool: pg.Pool): AdminStore {
  return {
    transact: work => transact(pool, work),
    read: work => read(pool, work),
  }
}

async function transact<Value>(pool: pg.Pool, work: (tx: AdminTx) => Promise<Ended<Value>>): Promise<Settled<Value>> {
  let revision = 0n
  const value = await settled(pool, async client => {
    const reads = await readsOf(client)
    const finish = async (end: MutationEnd) => {
      revision = await finishMutation(client, end)
      return revision
    }
    const claimRequest = (principal: string, requestId: string) => claim(client, principal, requestId)
    return await work({ ...reads, finish, claimRequest })
  })
  return { value, point: revision === 0n ? { revision, nonce: 0n } : await announce(pool, revision) }
}

function read<Value>(pool: pg.Pool, work: (tx: AdminReads) => Promise<Value>): Promise<Value> {
  return settled(pool, async client => {
    await rowsOf(client, 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY')
    return { end: 'commit', value: await work(await readsOf(client)) }
  })
}

/** Carries the value of a transaction that is to leave nothing out of it. */
class RolledBack<Value> extends Error {
  readonly value: Value
  constructor(value: Value) {
    super('rolled back on purpose')
    this.value = value
  }
}

/** Runs the work; what it throws passes, everything else that fails is a fault of the store. */
async function settled<Value>(pool: pg.Pool, work: (client: pg.ClientBase) => Promise<Ended<Value>>): Promise<Value> {
  let ownError: { readonly thrown: unknown } | undefined
  try {
    return await inTransaction(pool, async client => {
      try {
        const { end, value } = await work(client)
        if (end === 'rollback') throw new RolledBack(value)
        return value
      } catch (thrown) {
        ownError = { thrown }
        throw thrown
      }
    })
  } catch (thrown) {
    if (thrown instanceof RolledBack) return thrown.value as Value
    if (ownError !== undefined && ownError.thrown === thrown) throw thrown
    throw faultOf(thrown)
  }
}

async function readsOf(client: pg.ClientBase): Promise<AdminReads & Pick<AdminTx, 'peppers'>> {
  const [row] = await rowsOf<{ now: Micros }>(client, 'SELECT clock_timestamp() AS now')
  if (row === undefined) throw new Error('the database told no time')
  return {
    now: row.now,
    access: adminAccessRows(client),
    organizations: adminOrganizationRows(client),
    apiKeys: adminApiKeyRows(client),
    propagation: adminPropagationRows(client),
    peppers: adminPepperRows(client),
  }
}

/** How long a request id is remembered (admin-api.md section 1). */
const requestLifeHours = 24

async function claim(
  client: pg.ClientBase,
  principal: string,
  requestId: string,
): Promise<'busy' | 'new' | StoredReply> {
  const [lock] = await rowsOf<{ mine: boolean }>(
    client,
    'SELECT pg_try_advisory_xact_lock(hashtextextended($1, 1)) AS mine',
    [`${principal}\n${requestId}`],
  )
  if (lock?.mine !== true) return 'busy'
  await rowsOf(
    client,
    "DELETE FROM idempotency WHERE principal = $1 AND request_id = $2 AND create_time < clock_timestamp() - $3 * interval '1 hour'",
    [principal, requestId, requestLifeHours],
  )
  const [row] = await rowsOf<{ method: string; request_hash: Buffer; reply: Buffer | null; revision: bigint }>(
    client,
    'SELECT method, request_hash, reply, revision FROM idempotency WHERE principal = $1 AND request_id = $2',
    [principal, requestId],
  )
  if (row === undefined) return 'new'
  const { method, request_hash, reply, revision } = row
  return { method, requestHash: request_hash, reply: reply ?? Buffer.alloc(0), revision }
}

/** What stands before the first row of an audit chain. */
const chainStart = Buffer.alloc(32)

const finishStatement = `
WITH recorded AS MATERIALIZED (
  SELECT CASE WHEN cardinality($1::smallint[]) = 0 THEN 0 ELSE gw_record($1::smallint[], $2::bytea[], $3::text[]) END
         AS revision
), event AS (
  INSERT INTO audit_events (organization_id, id, time, actor, action, resource, before, after, request_id, source_ip,
                            revision, outcome, previous_hash, hash)
  SELECT $4, $5, $6::timestamptz, $7::jsonb, $8, $9, $10::jsonb, $11::jsonb, $12, $13, revision, $14, $15::bytea,
         sha256($15::bytea || convert_to($16::text || E'\\n' || revision::text, 'UTF8'))
  FROM recorded
), stored AS (
  INSERT INTO idempotency (principal, request_id, method, request_hash, reply, state, revision)
  SELECT $17::text, $18::text, $19::text, $20::bytea, $21::bytea, 'DONE', revision FROM recorded WHERE $17::text IS NOT NULL
)
SELECT revision FROM recorded`

async function finishMutation(client: pg.ClientBase, end: MutationEnd): Promise<bigint> {
  const { audit, idempotency, changes } = end
  const tail = await lockChain(client, audit.organization)
  const [row] = await rowsOf<{ revision: bigint }>(client, finishStatement, [
    changes.map(change => (change.kind === 'api_key' ? 1 : 2)),
    changes.map(change => (change.kind === 'api_key' ? change.digest : null)),
    changes.map(change => (change.kind === 'organization' ? change.organization : null)),
    audit.organization,
    tail.id + 1n,
    timestamptzParameter(audit.time),
    JSON.stringify(audit.actor),
    audit.action,
    audit.resource,
    audit.before === null ? null : JSON.stringify(audit.before),
    audit.after === null ? null : JSON.stringify(audit.after),
    audit.requestId,
    audit.sourceIp,
    audit.outcome,
    tail.hash,
    audit.text,
    idempotency?.principal ?? null,
    idempotency?.requestId ?? null,
    idempotency?.method ?? null,
    idempotency?.requestHash ?? null,
    idempotency?.reply ?? null,
  ])
  if (row === undefined) throw new Error('the feed gave no revision')
  return BigInt(row.revision)
}

/** Holds the end of an audit chain until the end of the transaction: taken before the head, by everyone in this order. */
async function lockChain(client: pg.ClientBase, organization: string): Promise<{ id: bigint; hash: Buffer }> {
  await rowsOf(client, 'SELECT pg_advisory_xact_lock(hashtextextended($1, 2))', [organization])
  const [last] = await rowsOf<{ id: bigint; hash: Buffer }>(
    client,
    'SELECT id, hash FROM audit_events WHERE organization_id = $1 ORDER BY id DESC LIMIT 1',
    [organization],
  )
  return last ?? { id: 0n, hash: chainStart }
}

/** How often the nonce of a committed revision is asked for: its reply may hold a secret that cannot be had again. */
const announceAttempts = 3

/** Sends the feed's hint and reads the nonce of what was committed. The change stands, so this never fails. */
async function announce(pool: pg.Pool, revision: bigint): Promise<{ revision: bigint; nonce: bigint | null }> {
  for (let attempt = 0; attempt < announceAttempts; attempt++) {
    const found = await pool
      .query<{ nonce: bigint }>(
        `SELECT nonce, pg_notify('gatewarden_feed', '') FROM feed_revision WHERE revision = $1`,
        [revision],
      )
      .catch(() => undefined) // a broken connection has left the pool: the next attempt takes another
    const nonce = found?.rows[0]?.nonce
    if (nonce !== undefined) return { revision, nonce }
  }
  return { revision, nonce: null }
}

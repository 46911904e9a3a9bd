// What admin clears away from time to time: old feed revisions, remembered requests, heartbeats of sidecars long gone.
// Each in a transaction of its own and in small portions, so that the head lock is never held for long. A sidecar that
// lags further behind than the retention reloads; nothing here can make it miss a change.
import type pg from 'pg'
import { inTransaction } from './transaction.ts'

/** What one round removed. */
export interface UpkeepCounts {
  readonly revisions: number
  readonly requests: number
  readonly sidecars: number
}

/** A sidecar may be stopped this long and come back without a reload; also how long a request id is remembered. */
const retention = "interval '24 hours'"
/** Revisions of one transaction, up to 1,000 changes each. */
const portionRevisions = 200
/** Rows of one transaction elsewhere: well under the statement's limit of 2 s on a slow disk. */
const portionRows = 5_000
/** Portions of one round: what is left waits for the next. */
const portionsMax = 500

const forgetRequests = `
DELETE FROM idempotency WHERE ctid IN (
  SELECT ctid FROM idempotency WHERE create_time < now() - ${retention} LIMIT ${portionRows} FOR UPDATE SKIP LOCKED)`
/** The row policy lets only those of the long gone go. */
const forgetSidecars = 'DELETE FROM sidecars'

/**
 * One round; call it every few minutes. Several processes may do so at once. `stopped` is asked between transactions:
 * a process that ends leaves the rest to the next round.
 */
export async function upkeep(pool: pg.Pool, stopped: () => boolean = () => false): Promise<UpkeepCounts> {
  const revisions = await inPortions(portionRevisions, stopped, () => pruneFeed(pool))
  const requests = await inPortions(portionRows, stopped, () => removed(pool, forgetRequests))
  const sidecars = stopped() ? 0 : await removed(pool, forgetSidecars)
  return { revisions, requests, sidecars }
}

/** Removes until a portion is not full. Resolves to how much went. */
async function inPortions(full: number, stopped: () => boolean, remove: () => Promise<number>): Promise<number> {
  let total = 0
  for (let portion = 0; portion < portionsMax && !stopped(); portion++) {
    const count = await remove()
    total += count
    if (count < full) break
  }
  return total
}

/**
 * Rule W6: under the head's lock the floor rises to the newest revision older than the retention, at most one portion
 * further; what lies below it is deleted. The row at the floor stays.
 */
function pruneFeed(pool: pg.Pool): Promise<number> {
  return inTransaction(pool, async client => {
    await client.query(
      `UPDATE feed_head SET floor = greatest(floor, coalesce(
         (SELECT max(old.revision) FROM (
            SELECT f.revision FROM feed_revision f
            WHERE f.revision >= feed_head.floor AND f.revision <= feed_head.revision
              AND f.committed_at < clock_timestamp() - ${retention}
            ORDER BY f.revision LIMIT ${portionRevisions + 1}) old), floor))`,
    )
    const gone = await client.query(
      'DELETE FROM feed_revision USING feed_head WHERE feed_revision.revision < feed_head.floor',
    )
    return gone.rowCount ?? 0
  })
}

async function removed(pool: pg.Pool, statement: string): Promise<number> {
  return inTransaction(pool, async client => (await client.query(statement)).rowCount ?? 0)
}

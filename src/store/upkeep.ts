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
/** Portions of one round: what is left waits for the next. */
const portionsMax = 500

/** One round; call it every few minutes. Several processes may do so at once. */
export async function upkeep(pool: pg.Pool): Promise<UpkeepCounts> {
  let revisions = 0
  for (let portion = 0; portion < portionsMax; portion++) {
    const removed = await pruneFeed(pool)
    revisions += removed
    if (removed < portionRevisions) break
  }
  const requests = await removed(pool, `DELETE FROM idempotency WHERE create_time < clock_timestamp() - ${retention}`)
  const sidecars = await removed(pool, 'DELETE FROM sidecars') // the row policy lets only those of the long gone go
  return { revisions, requests, sidecars }
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

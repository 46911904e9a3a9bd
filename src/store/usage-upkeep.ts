// What the owner of the usage log does from time to time: adds up counters, makes tomorrow's partition, takes away what is past
// its retention. In small portions, each a transaction of its own, so that neither sidecars nor readers wait for long. Several
// processes may do so at once.
import type pg from 'pg'
import type { Micros } from '../core/time.ts'
import { timestamptzParameter } from './column-values.ts'
import { sqlState, undefinedTable } from './store-error.ts'

/** How long rows are kept. */
export interface UsageRetention {
  /** Profile → milliseconds. Rows of a profile that is not here stay as long as those of the one with the longest. */
  readonly byProfile: ReadonlyMap<string, number>
  /** For the counters by the hour, milliseconds. */
  readonly countersMs: number
}

/** What one round took away. */
export interface UsageRetentionCounts {
  /** Names of the partitions dropped. */
  readonly partitions: readonly string[]
  readonly rows: number
  readonly counters: number
  /** Rows that told of losses. */
  readonly losses: number
}

/** Differences added up in one transaction. */
const foldPortion = 5000
/** Rows deleted in one transaction. */
const deletePortion = 5000
/** Transactions of one kind in one round; what is left waits for the next. */
const portionsMax = 200
/** Retention where no profile is loaded: the default of profiles. */
const defaultRetentionMs = 90 * 86_400_000

/** Adds up what was counted since the last time; call it at least twice a minute. @returns differences added */
export async function foldUsage(pool: pg.Pool): Promise<number> {
  let folded = 0
  for (let portion = 0; portion < portionsMax; portion++) {
    const { rows } = await pool.query<{ taken: number }>('SELECT gw_usage_fold($1) AS taken', [foldPortion])
    const taken = rows[0]?.taken ?? -1
    folded += Math.max(0, taken)
    if (taken < foldPortion) break
  }
  return folded
}

/** Makes the partition of tomorrow, so that midnight makes no sidecar wait. */
export async function prepareUsagePartition(pool: pg.Pool): Promise<void> {
  await pool.query(`SELECT gw_usage_partition((clock_timestamp() AT TIME ZONE 'UTC')::date + 1)`)
}

/** One round of retention; call it every few minutes. */
export async function retainUsage(pool: pg.Pool, retention: UsageRetention): Promise<UsageRetentionCounts> {
  const { rows: times } = await pool.query<{ now: Micros }>('SELECT clock_timestamp() AS now')
  const now = times[0]?.now
  if (now === undefined) throw new Error('the database told no time')
  const longestMs = Math.max(0, ...retention.byProfile.values()) || defaultRetentionMs
  const partitions = await dropPartitions(pool, now - longestMs * 1000)
  let rows = await deleteStrays(pool, now, longestMs)
  for (const [profile, keptMs] of retention.byProfile) {
    if (keptMs < longestMs) rows += await deleteRows(pool, 'profile = $3', [profile], now - keptMs * 1000)
  }
  const counters = await deleteCounters(pool, now - retention.countersMs * 1000)
  const losses = await deleteLosses(pool, now - longestMs * 1000)
  return { partitions, rows, counters, losses }
}

async function dropPartitions(pool: pg.Pool, before: Micros): Promise<string[]> {
  const dropped: string[] = []
  while (dropped.length < portionsMax) {
    const { rows } = await pool.query<{ name: string | null }>('SELECT gw_usage_drop($1::timestamptz) AS name', [
      timestamptzParameter(before),
    ])
    const name = rows[0]?.name
    if (name == null) break
    dropped.push(name)
  }
  return dropped
}

const dayMicros = 86_400_000_000

/** Rows outside of every day's partition: older than all retention, or of a clock that was far ahead. */
async function deleteStrays(pool: pg.Pool, now: Micros, longestMs: number): Promise<number> {
  const oldest = Math.floor((now - longestMs * 1000) / dayMicros) * dayMicros
  const ahead = `DELETE FROM usage_log WHERE time > $1::timestamptz`
  const gone = await pool.query(ahead, [timestamptzParameter(now + 31 * dayMicros)])
  return (gone.rowCount ?? 0) + (await deleteRows(pool, 'true', [], oldest))
}

/** From the oldest on; each portion begins where the one before ended, so that none looks at what is gone. */
async function deleteRows(
  pool: pg.Pool,
  condition: string,
  values: readonly unknown[],
  before: Micros,
): Promise<number> {
  const text = `WITH old AS MATERIALIZED (
      SELECT time, decision_id FROM usage_log
      WHERE time >= $1::timestamptz AND time < $2::timestamptz AND ${condition} ORDER BY time LIMIT ${deletePortion}
    ), gone AS (
      DELETE FROM usage_log l USING old WHERE l.time = old.time AND l.decision_id = old.decision_id RETURNING l.time)
    SELECT count(*) AS rows, max(time) AS reached FROM gone`
  let from: unknown = '-infinity'
  let deleted = 0
  for (let portion = 0; portion < portionsMax; portion++) {
    const { rows } = await pool.query<{ rows: bigint; reached: Micros | string | null }>(text, [
      from,
      timestamptzParameter(before),
      ...values,
    ])
    const [found] = rows
    if (found === undefined || found.rows === 0n) break
    deleted += Number(found.rows)
    if (found.rows < BigInt(deletePortion)) break
    from = typeof found.reached === 'number' ? timestamptzParameter(found.reached) : '-infinity'
  }
  return deleted
}

function deleteCounters(pool: pg.Pool, before: Micros): Promise<number> {
  return deleteOld(pool, 'usage_rollup', 'hour', before)
}

/** Losses of a time whose rows are gone as well. */
async function deleteLosses(pool: pg.Pool, before: Micros): Promise<number> {
  try {
    return await deleteOld(pool, 'usage_loss', 'to_time', before)
  } catch (error) {
    if (sqlState(error) === undefinedTable) return 0 // a schema one version older
    throw error
  }
}

async function deleteOld(pool: pg.Pool, table: string, column: string, before: Micros): Promise<number> {
  const text = `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM ${table} WHERE ${column} < $1::timestamptz ORDER BY ${column} LIMIT ${deletePortion}))`
  let deleted = 0
  for (let portion = 0; portion < portionsMax; portion++) {
    const count = (await pool.query(text, [timestamptzParameter(before)])).rowCount ?? 0
    deleted += count
    if (count < deletePortion) break
  }
  return deleted
}

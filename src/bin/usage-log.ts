// The usage log of the admin role, wired: a pool of readers, and the owner's work on the log at its intervals.
import type pg from 'pg'
import { countersKeptMicros } from '../admin/usage-metrics.ts'
import type { UsageReads } from '../admin/usage-rows.ts'
import type { Log } from '../observe/log.ts'
import type { ProfileSet } from '../profile/profile-set.ts'
import type { Database } from '../store/connection.ts'
import { createPool } from '../store/pool.ts'
import { createUsageReads, usageConnectionsMax, usageSession } from '../store/usage-queries.ts'
import { foldUsage, prepareUsagePartition, retainUsage } from '../store/usage-upkeep.ts'

export interface UsageLogPorts {
  readonly database: Database
  /** The profiles served now. */
  readonly profiles: () => ProfileSet
  readonly log: Log
}

export interface OpenUsageLog {
  readonly reads: UsageReads
  /** Stops the work; a round under way ends first. */
  close(): Promise<void>
}

/** Counters are added up this often: `last_used_time` lags by less than a minute. */
const foldMs = 20_000

/** Retention and tomorrow's partition are looked after this often. */
const retentionMs = 300_000

/** Opens the log; nothing connects before its first use. */
export function openUsageLog(ports: UsageLogPorts): OpenUsageLog {
  const pool = createPool(ports.database, {
    session: usageSession,
    connectionsMax: usageConnectionsMax,
    onIdleError: error => ports.log.warn('a database connection broke', { error }),
  })
  const rounds = [
    every(foldMs, () => foldUsage(pool), ports.log),
    every(retentionMs, () => keep(pool, ports), ports.log),
  ]
  return {
    reads: createUsageReads(pool),
    async close() {
      for (const round of rounds) await round.stop()
      await pool.end()
    },
  }
}

async function keep(pool: pg.Pool, { profiles, log }: UsageLogPorts): Promise<void> {
  await prepareUsagePartition(pool)
  const byProfile = new Map(profiles().profiles.map(({ name, usageLog }) => [name, usageLog.retentionMs]))
  const gone = await retainUsage(pool, { byProfile, countersMs: countersKeptMicros / 1000 })
  if (gone.partitions.length > 0 || gone.rows > 0) log.info('usage past its retention was deleted', { ...gone })
}

/** Repeats work, one round at a time; a round that fails is told and tried again at the next. */
function every(ms: number, work: () => Promise<unknown>, log: Log): { stop(): Promise<void> } {
  let running: Promise<void> = Promise.resolve()
  let busy = false
  const timer = setInterval(() => {
    if (busy) return
    busy = true
    running = work()
      .then(() => undefined)
      .catch((error: unknown) => log.warn('upkeep of the usage log failed; it is tried again', { error }))
      .finally(() => {
        busy = false
      })
  }, ms)
  timer.unref()
  return {
    stop: () => {
      clearInterval(timer)
      return running
    },
  }
}

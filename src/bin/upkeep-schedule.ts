// When the admin role clears away in the database: some minutes apart, never two rounds at once, in step with no other process.
// A round that fails is logged and counted, and tried again at the next one; a drain waits for the transaction under way.
import type { FeedTimers } from '../feed/feed-source.ts'
import type { Log } from '../observe/log.ts'
import { type Metrics, samplesOfMap } from '../observe/metrics.ts'

/** Rows that a round removed, by what they were. */
export type UpkeepCounts = Readonly<Record<string, number>>

export interface UpkeepSchedule {
  /** Shows what was done. */
  observe(metrics: Metrics): void
  /** No further round; resolves when the one under way has ended, at most one transaction later. */
  stop(): Promise<void>
}

/** Mean pause between two rounds; the first comes after a tenth, so that a process restarted every few minutes does its part. */
const pauseMs = 300_000
/** Pauses vary by this share to either side: several admin processes must not meet at the head's lock. */
const jitterShare = 0.2

/** Begins. `round` ends early when `stopped` says so. */
export function scheduleUpkeep(
  round: (stopped: () => boolean) => Promise<UpkeepCounts>,
  timers: Pick<FeedTimers, 'after' | 'random'>,
  log: Log,
): UpkeepSchedule {
  const runs = new Map([
    ['ok', 0],
    ['failed', 0],
  ])
  const removed = new Map<string, number>()
  let stopped = false
  let running: Promise<void> = Promise.resolve()
  let cancel = (): void => undefined

  const wait = (meanMs: number): void => {
    cancel = timers.after(meanMs * (1 + jitterShare * (2 * timers.random() - 1)), () => {
      running = run().finally(() => {
        if (!stopped) wait(pauseMs)
      })
    })
  }
  const run = async (): Promise<void> => {
    try {
      const counts = Object.entries(await round(() => stopped)).filter(([, count]) => count > 0)
      for (const [what, count] of counts) add(removed, what, count)
      add(runs, 'ok', 1)
      if (counts.length > 0) log.info('cleared away', Object.fromEntries(counts))
    } catch (error) {
      add(runs, 'failed', 1)
      log.warn('clearing away in the database failed; it is tried again', { error })
    }
  }
  wait(pauseMs / 10)

  return {
    observe(metrics) {
      metrics.read('gatewarden_upkeep_runs_total', () => samplesOfMap('outcome', runs))
      metrics.read('gatewarden_upkeep_removed_total', () => samplesOfMap('what', removed))
    },
    stop() {
      stopped = true
      cancel()
      return running
    },
  }
}

function add(counts: Map<string, number>, name: string, count: number): void {
  counts.set(name, (counts.get(name) ?? 0) + count)
}

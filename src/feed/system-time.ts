// The clocks, timers and randomness of the operating system, as the feed's ports want them.
// The monotonic clock is Node's: on Linux CLOCK_MONOTONIC, which stands still while the host sleeps; the wall clock does not.
import { performance } from 'node:perf_hooks'
import { setImmediate as immediate } from 'node:timers/promises'
import type { FeedClock, FeedTimers } from './feed-source.ts'

/** One per process. */
export function createSystemTime(): FeedClock & FeedTimers {
  return {
    mono: () => performance.now(),
    wall: () => Date.now(),
    after: (delayMs, task) => {
      const timer = setTimeout(task, delayMs)
      return () => clearTimeout(timer)
    },
    nextTurn: () => immediate(),
    random: () => Math.random(),
  }
}

// The clocks, timers and randomness of a real process; suites hand in others.
import type { FeedClock, FeedTimers } from '../feed/feed-source.ts'

export const systemClock: FeedClock = {
  mono: () => performance.now(),
  wall: () => Date.now(),
}

export const systemTimers: FeedTimers = {
  after: (delayMs, task) => {
    const timer = setTimeout(task, delayMs)
    return () => clearTimeout(timer)
  },
  nextTurn: () => new Promise(resolve => setImmediate(resolve)),
  random: () => Math.random(),
}

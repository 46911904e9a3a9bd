// Instants and durations between the wire and Micros. The wire has nanoseconds, we keep microseconds: finer parts are cut.
import { instantMax, instantMin } from '../core/instant.ts'
import { type Micros, unixMsFromMicros } from '../core/time.ts'
import type { Duration } from '../gen/google/protobuf/duration.ts'
import type { Timestamp } from '../gen/google/protobuf/timestamp.ts'

/** Seconds between the epoch of Micros and that of Unix. */
const epochSeconds = BigInt(unixMsFromMicros(0) / 1000)

/** The instant of a timestamp; `invalid`: no timestamp at all, `before` or `after`: outside of 1970 to 2299. */
export function microsOf(timestamp: Timestamp): Micros | 'invalid' | 'before' | 'after' {
  const { seconds, nanos } = timestamp
  if (!Number.isInteger(nanos) || nanos < 0 || nanos > 999_999_999) return 'invalid'
  if (seconds < 0n) return 'before'
  const micros = (seconds - epochSeconds) * 1_000_000n + BigInt(Math.floor(nanos / 1000))
  if (micros >= BigInt(instantMax)) return 'after'
  return micros < BigInt(instantMin) ? 'before' : Number(micros)
}

/** The timestamp of an instant. */
export function timestampOf(micros: Micros): Timestamp {
  const second = Math.floor(micros / 1_000_000)
  return { seconds: BigInt(second) + epochSeconds, nanos: (micros - second * 1_000_000) * 1000 }
}

/** The same for an instant that may be unset. */
export function optionalTimestamp(micros: Micros | null): Timestamp | undefined {
  return micros === null ? undefined : timestampOf(micros)
}

/** Longest duration read: 10,000 days are beyond every bound of ours and exact in microseconds. */
const durationSecondsMax = 864_000_000n

/** Microseconds of a duration; null when it is none, negative, or beyond 10,000 days. */
export function durationMicrosOf(duration: Duration): number | null {
  const { seconds, nanos } = duration
  if (!Number.isInteger(nanos) || nanos < 0 || nanos > 999_999_999) return null
  if (seconds < 0n || seconds > durationSecondsMax) return null
  return Number(seconds) * 1_000_000 + Math.floor(nanos / 1000)
}

/** The duration of microseconds. */
export function durationOf(micros: number): Duration {
  const seconds = Math.floor(micros / 1_000_000)
  return { seconds: BigInt(seconds), nanos: (micros - seconds * 1_000_000) * 1000 }
}

/** Unix milliseconds of an instant, whole: the time part of new ids. */
export function wholeUnixMs(micros: Micros): number {
  return Math.floor(unixMsFromMicros(micros))
}

// One unit of time for decisions: whole microseconds since 2020-01-01T00:00:00Z, exact below 2^53.
// Conversions only; nothing here reads a clock.

/** Whole microseconds since 2020-01-01T00:00:00Z; may be negative for earlier instants. */
export type Micros = number

/** 2020-01-01T00:00:00Z in Unix milliseconds. */
const EPOCH_UNIX_MS = 1_577_836_800_000

/** Microseconds of an instant given in Unix milliseconds (fractions are kept to the microsecond). */
export function microsFromUnixMs(unixMs: number): Micros {
  return Math.floor((unixMs - EPOCH_UNIX_MS) * 1000)
}

/** Unix milliseconds of an instant, with a fraction where it has one. */
export function unixMsFromMicros(micros: Micros): number {
  return micros / 1000 + EPOCH_UNIX_MS
}

/** Unix seconds of an instant, rounded up: the form of `x-ratelimit-reset`. */
export function unixSecondsCeil(micros: Micros): number {
  return Math.ceil(micros / 1_000_000) + EPOCH_UNIX_MS / 1000
}

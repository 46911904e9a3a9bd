// Medians, ranges and percentiles of what was measured.

/** The middle of rounds, and their range. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** @throws Error when there is nothing. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const [min, max] = [sorted[0], sorted.at(-1)]
  if (min === undefined || max === undefined) throw new Error('nothing was measured')
  const [low, high] = [sorted[(sorted.length - 1) >> 1] ?? min, sorted[sorted.length >> 1] ?? max]
  return { median: (low + high) / 2, min, max }
}

/** Latencies in microseconds. */
export interface Latency {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

/** Of latencies in nanoseconds, in any order; it sorts them in place. A percentile is the least value that so many do not exceed. */
export function latencyOf(nanos: Float64Array): Latency {
  nanos.sort()
  const at = (part: number) => (nanos[Math.max(0, Math.ceil(nanos.length * part) - 1)] ?? Number.NaN) / 1000
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1) }
}

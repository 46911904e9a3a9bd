// A fixed rate of requests, and the clock that it is meant on.

export interface Rate {
  readonly perSecond: number
  readonly count: number
  /** Nanoseconds of `monoNs` at which the first request is due. */
  readonly startNs: number
}

export const nanosOfSecond = 1e9

/** The machine's monotonic clock, the same in every thread. */
export function monoNs(): number {
  return Number(process.hrtime.bigint())
}

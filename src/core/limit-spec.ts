// What a rate limit states, compiled; the arithmetic is in rate-limit.ts, the counters live beside the key table.

/** The two algorithms of rate-limits.md section 2. */
export type LimitAlgorithm = 'window_from_first_request' | 'gcra'

/** One limit. Bounds: window 1 s to 31 d, limit 0 to 10^6 (0 denies always), burst 1 to limit. */
export interface LimitSpec {
  /** Which bucket of an API key's lineage this limit counts in: 0 is the key's own, others number the profile's route limits. */
  readonly bucket: number
  readonly algorithm: LimitAlgorithm
  /** Requests per window. */
  readonly limit: number
  readonly windowMicros: number
  /** gcra only: requests that may come at once. */
  readonly burst: number
}

// What one run of a load program brought, as it prints it: one line of JSON.
import type { Latency } from './distribution.ts'

export interface LoadResult {
  /** Right answers between the two readings of CPU time. */
  readonly answered: number
  /** Answers of the whole run that were not as they must be, and requests that got none. */
  readonly wrong: number
  readonly failed: number
  readonly wallNs: number
  /** CPU time of each process that was watched, in the order given. */
  readonly cpuNs: readonly number[]
  /** Of a run at a fixed rate, from the intended send times. */
  readonly latency?: Latency
}

/** What both load programs are told, as JSON in their first argument. */
export interface LoadOrder {
  readonly address: string
  readonly mix: string
  /** Requests at once in a closed loop; connections over HTTP/1.1. */
  readonly atOnce: number
  /** A fixed rate instead of a closed loop. */
  readonly perSecond?: number
  readonly warmUpMs: number
  readonly measureMs: number
  /** Processes whose CPU time is read. */
  readonly pids: readonly number[]
  /** Status of the answer to every request of HTTP/1.1: by the mix, of the key alone, or always 200. */
  readonly expected?: 'mix' | 'key' | 'none'
}

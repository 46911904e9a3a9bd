// The arithmetic of rate limits (rate-limits.md section 2): both algorithms, pure, on whole microseconds below 2^53.
// A bucket's state is two float64 beside each other in a typed array, all zero where nothing was counted yet:
//   window_from_first_request: start of the window, requests counted in it (>= 1 once something was);
//   gcra: theoretical arrival time, and minus the interval it was reckoned with (< 0), so that a change of limit can be carried over.
// A state of the other algorithm counts as nothing counted. Deciding stores nothing: the state after it is part of the outcome.
import type { LimitSpec } from './limit-spec.ts'
import type { Micros } from './time.ts'

/** Float64 numbers of a bucket's state. */
export const stateNumbers = 2

/** What a limit says of one request. One instance is reused; every field is written each time. */
export interface LimitOutcome {
  admitted: boolean
  /** Requests that would still pass after this one. */
  remaining: number
  /** When the bucket is as if nothing had been counted. */
  resetAt: Micros
  /** 0 when admitted. */
  retryAfterMicros: number
  /** The state afterwards: with the request counted if it was admitted, else the same budget reckoned under the present limit. */
  first: number
  second: number
}

/** An outcome to be filled. */
export function createOutcome(): LimitOutcome {
  return { admitted: false, remaining: 0, resetAt: 0, retryAfterMicros: 0, first: 0, second: 0 }
}

/** Whole seconds a client is told to wait: at least 1, and then the request passes. */
export function retryAfterSeconds(retryAfterMicros: number): number {
  return Math.max(1, Math.ceil(retryAfterMicros / 1_000_000))
}

/**
 * Decides a request of `cost` (>= 1) at `now`, which never goes back, from the state at `states[at]`.
 * `shares`: how many processes enforce this limit side by side; each admits `limit / shares`, rounded up.
 */
export function decideLimit(
  spec: LimitSpec,
  shares: number,
  states: Float64Array,
  at: number,
  cost: number,
  now: Micros,
  out: LimitOutcome,
): void {
  const limit = shares === 1 ? spec.limit : Math.ceil(spec.limit / shares)
  const first = states[at] ?? 0
  const second = states[at + 1] ?? 0
  if (spec.algorithm === 'gcra') {
    const burst = shares === 1 ? spec.burst : Math.ceil(spec.burst / shares)
    decideGcra(limit, spec.windowMicros, burst, first, second, cost, now, out)
  } else decideWindow(limit, spec.windowMicros, first, second, cost, now, out)
}

/** The window opens with the first request after the last one closed, and only a charged request opens it. */
function decideWindow(
  limit: number,
  window: number,
  lastStart: number,
  lastCount: number,
  cost: number,
  now: Micros,
  out: LimitOutcome,
): void {
  const isOpen = lastCount > 0 && now < lastStart + window
  const start = isOpen ? lastStart : now
  const count = isOpen ? lastCount : 0
  const passes = count + cost <= limit
  out.admitted = passes
  out.remaining = passes ? limit - count - cost : Math.max(0, limit - count)
  out.resetAt = start + window
  out.retryAfterMicros = passes ? 0 : cost > limit ? window : start + window - now
  out.first = start
  out.second = passes ? count + cost : count
}

/** Requests are spaced by an interval; a burst may come at once. */
function decideGcra(
  limit: number,
  window: number,
  burst: number,
  lastArrival: number,
  lastInterval: number,
  cost: number,
  now: Micros,
  out: LimitOutcome,
): void {
  if (limit === 0) {
    refuseAlways(window, lastArrival, lastInterval, now, out)
    return
  }
  const interval = Math.ceil(window / limit)
  const base = now + debtOf(lastArrival, lastInterval, interval, now)
  const next = base + cost * interval
  const tolerance = burst * interval
  const passes = next - now <= tolerance
  out.admitted = passes
  out.remaining = Math.max(0, Math.floor((tolerance - ((passes ? next : base) - now)) / interval))
  out.resetAt = passes ? next : base
  out.retryAfterMicros = passes ? 0 : cost > burst ? window : next - now - tolerance
  out.first = passes ? next : base
  out.second = -interval
}

/**
 * How far the theoretical arrival time lies ahead of `now`. After a change of limit the requests behind it, the begun one
 * included, are what stays; they are reckoned again with the new interval.
 */
function debtOf(lastArrival: number, lastInterval: number, interval: number, now: Micros): number {
  const debt = lastInterval < 0 ? lastArrival - now : 0
  if (debt <= 0) return 0
  return lastInterval === -interval ? debt : Math.ceil(debt / -lastInterval) * interval
}

/** Limit 0: no wait would help, and what was counted under another limit is kept for the next. */
function refuseAlways(window: number, lastArrival: number, lastInterval: number, now: Micros, out: LimitOutcome): void {
  out.admitted = false
  out.remaining = 0
  out.resetAt = now + window
  out.retryAfterMicros = window
  out.first = lastArrival
  out.second = lastInterval
}

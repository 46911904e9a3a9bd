// The counters of rate limits in this process: one bucket for each lineage of API keys and each limit it falls under.
// Guarantee: a request is charged against all of its limits or none; a budget survives rotation, reload and a change of limit;
// at most `capacity` buckets exist, and only the least recently used one is ever given up.
// It must never admit for want of room, and never reads a clock: time comes with each call and stands still when it goes back.
import type { ChargeResult, LimitCharger } from '../core/key-lookup.ts'
import type { LimitSpec } from '../core/limit-spec.ts'
import { createOutcome, decideLimit, type LimitOutcome } from '../core/rate-limit.ts'
import type { Micros } from '../core/time.ts'
import { BucketRows, NO_BUCKET, secondOf } from './bucket-rows.ts'

/** Most buckets: 64 MB, one for each of a million API keys active within their windows. */
export const bucketsDefault = 1_000_000

/** Fewest buckets that can be asked for: more than the limits of one request, so that a request never evicts its own. */
const bucketsMin = 1024

/** Places that remember which bucket a slot used last: a search spared where it is still that one. 256 KiB. */
const hintCount = 65_536

/** Whose budget a slot's requests count in; satisfied by the key table. */
export interface LineageSource {
  /** Word `i` (0–3) of the UUID of the key's lineage. */
  lineageWord(slot: number, i: number): number
  /** Number of the key's profile. */
  profile(slot: number): number
}

/** See the head of the file. */
export class LimitBuckets implements LimitCharger {
  private readonly keys: LineageSource
  private readonly rows: BucketRows
  /** By profile number: how many processes enforce its limits side by side; absent: one. */
  private readonly shares: number[] = []
  /** One for each limit of a request; grows to the longest list of limits a route rule has. */
  private readonly outcomes: LimitOutcome[] = [createOutcome()]
  /** The bucket of each limit of the request at hand. */
  private readonly found: number[] = [NO_BUCKET]
  private readonly hints = new Int32Array(hintCount)
  private latest: Micros = 0

  constructor(keys: LineageSource, capacity: number = bucketsDefault) {
    this.keys = keys
    this.rows = new BucketRows(Math.max(capacity, bucketsMin))
  }

  /** Buckets that exist. */
  get size(): number {
    return this.rows.size
  }

  get bytes(): number {
    return this.rows.bytes
  }

  /** How many buckets were given up while they still counted: `ratelimit_evicted_total`. */
  get evicted(): number {
    return this.rows.evicted
  }

  /** Has `processes` share the limits of a profile from now on; each enforces limit / processes, rounded up. */
  setShare(profile: number, processes: number): void {
    while (this.shares.length < profile) this.shares.push(1)
    this.shares[profile] = processes >= 1 ? Math.floor(processes) : 1
  }

  /** Forgets up to `budget` buckets that count nothing any more, and gives memory back. To be called every second or so. */
  sweep(now: Micros, budget: number): void {
    this.advance(now)
    this.rows.sweep(this.latest, budget)
  }

  charge(slot: number, own: LimitSpec | null, route: readonly LimitSpec[], now: Micros, out: ChargeResult): void {
    this.advance(now)
    const limits = this.judge(slot, own, route, out)
    if (out.admitted) this.count(slot, own, route, limits)
    else this.refuse(own, route, limits)
  }

  peek(slot: number, own: LimitSpec | null, route: readonly LimitSpec[], now: Micros, out: ChargeResult): void {
    this.advance(now)
    this.judge(slot, own, route, out)
  }

  /** Decides every limit, leaves the outcomes, and gives the number of limits. Charges nothing. */
  private judge(slot: number, own: LimitSpec | null, route: readonly LimitSpec[], out: ChargeResult): number {
    const now = this.latest
    const limits = route.length + (own === null ? 0 : 1)
    const shares = this.shares[this.keys.profile(slot)] ?? 1
    reportUnlimited(out)
    for (let i = 0; i < limits; i++) {
      const spec = specAt(own, route, i)
      if (spec === undefined) continue
      const outcome = this.outcomeAt(i)
      const row = this.find(slot, spec.bucket)
      this.found[i] = row
      decideLimit(spec, shares, this.rows.states(row), this.rows.stateAt(row), 1, now, outcome)
      const isOwn = i === 0 && own !== null
      if (outcome.admitted ? isOwn : out.admitted || outcome.retryAfterMicros > out.retryAfterMicros)
        report(spec, outcome, out)
    }
    return limits
  }

  /** Stores what an admitted request leaves behind in each bucket. */
  private count(slot: number, own: LimitSpec | null, route: readonly LimitSpec[], limits: number): void {
    const second = secondOf(this.latest)

    let hasAdded = false
    for (let i = 0; i < limits; i++) {
      const spec = specAt(own, route, i)
      if (spec === undefined) continue
      let row = this.found[i] ?? NO_BUCKET
      // A bucket that was added may have taken the row of another.
      if (row === NO_BUCKET || hasAdded) row = this.search(slot, spec.bucket)
      if (row === NO_BUCKET) {
        row = this.rows.add(this.latest)
        hasAdded = true
      }
      this.rows.store(row, this.outcomeAt(i), second)
    }
  }

  /** Keeps the buckets that refused from being forgotten, and their budgets in step with the present limits. */
  private refuse(own: LimitSpec | null, route: readonly LimitSpec[], limits: number): void {
    const second = secondOf(this.latest)

    for (let i = 0; i < limits; i++) {
      const outcome = this.outcomeAt(i)
      const row = this.found[i] ?? NO_BUCKET
      if (outcome.admitted || row === NO_BUCKET) continue
      if (specAt(own, route, i)?.limit === 0) this.rows.touch(row, second)
      else this.rows.store(row, outcome, second)
    }
  }

  /** The bucket of the slot's lineage for one of its limits, from where it was last or by search. */
  private find(slot: number, bucket: number): number {
    const { keys } = this
    const place = (slot + Math.imul(bucket, 0x9e3779b1)) & (hintCount - 1)
    const hint = this.hints[place] ?? 0
    const w0 = keys.lineageWord(slot, 0)
    const w1 = keys.lineageWord(slot, 1)
    const w2 = keys.lineageWord(slot, 2)
    if (this.rows.isAt(hint, w0, w1, w2, keys.lineageWord(slot, 3), bucket)) return hint
    const row = this.search(slot, bucket)
    if (row !== NO_BUCKET) this.hints[place] = row
    return row
  }

  /** The same by search; if there is none, `rows.add` adds it. */
  private search(slot: number, bucket: number): number {
    const { keys } = this
    return this.rows.find(
      keys.lineageWord(slot, 0),
      keys.lineageWord(slot, 1),
      keys.lineageWord(slot, 2),
      keys.lineageWord(slot, 3),
      bucket,
    )
  }

  private outcomeAt(i: number): LimitOutcome {
    const known = this.outcomes[i]
    if (known !== undefined) return known
    const outcome = createOutcome()
    this.outcomes.push(outcome)
    return outcome
  }

  private advance(now: Micros): void {
    if (now > this.latest) this.latest = now
  }
}

/** The limits of a request in order: its own first, where it has one. */
function specAt(own: LimitSpec | null, route: readonly LimitSpec[], i: number): LimitSpec | undefined {
  if (own === null) return route[i]
  return i === 0 ? own : route[i - 1]
}

/** What is said of a request without a limit of its own: admitted, and no figures. */
function reportUnlimited(out: ChargeResult): void {
  out.admitted = true
  out.limit = -1
  out.remaining = -1
  out.resetAt = 0
  out.retryAfterMicros = 0
}

function report(spec: LimitSpec, outcome: LimitOutcome, out: ChargeResult): void {
  out.admitted = outcome.admitted
  out.limit = spec.limit
  out.remaining = outcome.remaining
  out.resetAt = outcome.resetAt
  out.retryAfterMicros = outcome.retryAfterMicros
}

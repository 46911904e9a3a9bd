// What `usage tail` knows of the rows that it has shown, so that a row that comes late is shown and none is shown twice.
import type { UsageLog } from '../gen/gatewarden/admin/v1/usage_admin.ts'

/** How late a row may come: sidecars store theirs in batches, each at its own pace. */
const lateMs = 15_000
/** How far back a look reaches where the log is silent: one question may be about 31 days. */
const reachMs = 30 * 86_400_000
/** Rows that are remembered: 15 seconds of 60,000 a second, in some 150 MB. */
const shownMaxDefault = 1_000_000

/** Follows the log look by look: `begin`, `take` each row and `keepUp` after each page, then `settle` if nothing failed. */
export class Follower {
  private readonly shown = new Map<string, number>()
  private readonly shownMax: number
  private fromMs: number
  private nextMs: number
  private newestMs: number

  /** `whole`: `begun` is everything that there was. */
  constructor(begun: readonly UsageLog[], whole: boolean, nowMs: number, shownMax = shownMaxDefault) {
    this.shownMax = shownMax
    for (const log of begun) this.shown.set(log.decisionId, unixMs(log))
    this.newestMs = begun.length === 0 ? nowMs : Math.max(...this.shown.values())
    // What is older than the oldest row shown was left out on purpose, unless there was nothing older.
    if (whole) this.fromMs = Math.min(nowMs, this.newestMs) - lateMs
    else this.fromMs = begun.length === 0 ? nowMs : Math.max(this.newestMs - lateMs, Math.min(...this.shown.values()))
    this.nextMs = this.fromMs
  }

  /** Begins a look. @returns the instant from which on it is to ask */
  begin(nowMs: number): string {
    // As things are before the look: what is stored during it may lie behind where it reads. A clock that is ahead must
    // not make us deaf.
    this.nextMs = Math.min(this.newestMs, nowMs) - lateMs
    this.fromMs = Math.max(this.fromMs, nowMs - reachMs)
    return new Date(this.fromMs).toISOString()
  }

  /** Whether the row is to be shown. */
  take(log: UsageLog): boolean {
    if (this.shown.has(log.decisionId) || unixMs(log) < this.fromMs) return false
    this.shown.set(log.decisionId, unixMs(log))
    this.newestMs = Math.max(this.newestMs, unixMs(log))
    return true
  }

  /** After a page that ends with `last`. @returns false if rows of before it that are stored from now on are given up */
  keepUp(last: UsageLog): boolean {
    if (this.shown.size <= this.shownMax || unixMs(last) <= this.fromMs) return true
    this.forgetBefore(unixMs(last))
    return false
  }

  /** After a look that saw everything. */
  settle(): void {
    this.forgetBefore(this.nextMs)
  }

  private forgetBefore(ms: number): void {
    this.fromMs = Math.max(this.fromMs, ms)
    for (const [id, at] of this.shown) if (at < this.fromMs) this.shown.delete(id)
  }
}

/** When it was, in whole Unix milliseconds. */
export function unixMs({ time }: UsageLog): number {
  return time === undefined ? 0 : Number(time.seconds) * 1000 + Math.floor(time.nanos / 1e6)
}

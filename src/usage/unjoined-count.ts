// How many stored decisions never got their access-log half: counted by minute of the decision, told once they are old enough
// that no half is on its way. One sidecar may store a decision and another join it: then the sum over both is right.

/** After this long a decision without its half counts as never joined; it still leaves the count if the half comes. */
export const settledAfterMs = 600_000
const minuteMs = 60_000

export class UnjoinedCount {
  /** Minutes that are not settled: at most `settledAfterMs` of them and the current one. */
  private readonly minutes = new Map<number, number>()
  private settled = 0
  private readonly now: () => number

  /** @param now Unix milliseconds */
  constructor(now: () => number) {
    this.now = now
  }

  /** A decision was stored without its half. @param unixMs its time */
  missed(unixMs: number): void {
    this.add(unixMs, 1)
  }

  /** A decision that had been stored without its half has got it. */
  joined(unixMs: number): void {
    this.add(unixMs, -1)
  }

  value(): number {
    const settledMinute = this.settledMinute()
    for (const [minute, count] of this.minutes) {
      if (minute > settledMinute) continue
      this.settled += count
      this.minutes.delete(minute)
    }
    return this.settled
  }

  private add(unixMs: number, count: number): void {
    // A clock that runs ahead must not keep a minute open for ever.
    const minute = Math.floor(Math.min(unixMs, this.now()) / minuteMs)
    if (minute <= this.settledMinute()) this.settled += count
    else {
      if (!this.minutes.has(minute)) this.value()
      this.minutes.set(minute, (this.minutes.get(minute) ?? 0) + count)
    }
  }

  private settledMinute(): number {
    return Math.floor((this.now() - settledAfterMs) / minuteMs) - 1
  }
}

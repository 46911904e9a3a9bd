// When the next cycle starts: each second ± 20 %, sooner after a hint but never closer than 100 ms to the last start.
// A hint has no authority: ten or a hundred thousand of them make the same one cycle come sooner.
import { BACKOFF_MAX_MS, BACKOFF_MIN_MS, HINT_SPACING_MS, JITTER_SHARE, POLL_MS } from './constants.ts'
import type { FeedClock, FeedTimers } from './feed-source.ts'

export class Pace {
  private readonly clock: FeedClock
  private readonly timers: FeedTimers
  private startedAt = Number.NEGATIVE_INFINITY
  private hinted = false
  private hurried = false
  private stopped = false
  private errors = 0
  /** Ends the pause under way; `hurry` may replace its timer by an earlier one only if it is that of a poll. */
  private pause: { readonly end: () => void; readonly polls: boolean; cancel: () => void } | null = null

  constructor(clock: FeedClock, timers: FeedTimers) {
    this.clock = clock
    this.timers = timers
  }

  /** A cycle starts now. */
  begin(): void {
    this.startedAt = this.clock.mono()
    this.hurried = false
  }

  /** Whether a hint came since the last call. */
  takeHint(): boolean {
    const hinted = this.hinted
    this.hinted = false
    return hinted
  }

  /** The database says that there is something to read. */
  hint(): void {
    this.hinted = true
    this.hurry()
  }

  /** The next cycle shall come as soon as the spacing allows. */
  hurry(): void {
    if (this.hurried) return
    this.hurried = true
    const pause = this.pause
    if (pause === null || !pause.polls) return
    pause.cancel()
    pause.cancel = this.timers.after(this.untilSpaced(), pause.end)
  }

  /** Resolves when the next cycle may start. */
  untilNextCycle(): Promise<void> {
    if (this.hurried) return this.wait(this.untilSpaced(), true)
    const poll = this.vary(POLL_MS)
    return this.wait(Math.max(0, this.startedAt + poll - this.clock.mono()), true)
  }

  /** Resolves after the pause that an error in a row of errors costs: full jitter, doubling, bounded. */
  untilRetry(): Promise<void> {
    const bound = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(this.errors, 16))
    this.errors++
    return this.wait(this.timers.random() * bound, false)
  }

  /** A cycle or load went well: the next error is a first one. */
  succeeded(): void {
    this.errors = 0
  }

  /** Resolves after a pause of up to `boundMs`, full jitter. */
  upTo(boundMs: number): Promise<void> {
    return this.wait(this.timers.random() * boundMs, false)
  }

  /** Resolves after `ms` ± 20 %. */
  about(ms: number): Promise<void> {
    return this.wait(this.vary(ms), false)
  }

  /** Ends the pause under way and all later ones at once. */
  stop(): void {
    this.stopped = true
    this.pause?.cancel()
    this.pause?.end()
  }

  private vary(ms: number): number {
    return ms * (1 + JITTER_SHARE * (2 * this.timers.random() - 1))
  }

  private untilSpaced(): number {
    return Math.max(0, this.startedAt + HINT_SPACING_MS - this.clock.mono())
  }

  private wait(ms: number, polls: boolean): Promise<void> {
    if (this.stopped) return Promise.resolve()
    return new Promise(resolve => {
      const end = (): void => {
        this.pause = null
        resolve()
      }
      this.pause = { end, polls, cancel: this.timers.after(ms, end) }
    })
  }
}

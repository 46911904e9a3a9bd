// Database time on the monotonic clock (freshness.md section 8): the only clock that expiry knows.
// Guarantees an error of at most 1 s for what it answers; never reads the wall clock, never follows a single odd sample.
import { type Micros, microsFromUnixMs } from '../core/time.ts'
import {
  OFFSET_AGREEING,
  OFFSET_REFUSE_MS,
  OFFSET_RTT_MAX_MS,
  OFFSET_SAMPLES_MAX,
  OFFSET_STEP_MS,
  OFFSET_WINDOW_MS,
  READ_TIMEOUT_MS,
  SUSPEND_JUMP_MS,
} from './constants.ts'

/**
 * What a sample did. `ahead`: database time ran ahead of both own clocks, which a hypervisor that froze them explains.
 * `doubted`: a step that needs more samples. `refused`: a step beyond belief; time is unusable until it is gone.
 */
export type LearnVerdict = 'learned' | 'stepped' | 'ignored' | 'doubted' | 'ahead' | 'refused'

interface Sample {
  readonly at: number
  readonly rtt: number
  /** Database Unix milliseconds minus monotonic milliseconds. */
  readonly offset: number
}

export class DbTime {
  private current: Sample | null = null
  /** Samples of the window by age, each of a smaller round trip than all that are younger: the first is the best. */
  private window: Sample[] = []
  private candidates: Sample[] = []
  private refusing = false
  private relearning = false

  /** Whether `now` may decide an expiry. */
  usable(): boolean {
    return this.current !== null && !this.refusing
  }

  /** Database time at a monotonic instant. Infinity while nothing was learned: every end has passed. */
  now(mono: number): Micros {
    return this.current === null ? Number.POSITIVE_INFINITY : microsFromUnixMs(mono + this.current.offset)
  }

  /** The monotonic clock stood still for an unknown time: what was learned means nothing any more. */
  forget(): void {
    this.current = null
    this.window = []
    this.candidates = []
    this.refusing = false
    this.relearning = false
  }

  /** The next sample's step, up to 10 minutes, is believed at once: another server answers. */
  relearn(): void {
    this.relearning = true
    this.window = []
    this.candidates = []
  }

  /** Learns from one read: database Unix milliseconds, monotonic instants before sending and after the answer. */
  learn(dbTimeMs: number, sent: number, received: number): LearnVerdict {
    const rtt = received - sent
    const sample = { at: received, rtt, offset: dbTimeMs - (sent + rtt / 2) }
    if (!Number.isFinite(sample.offset) || rtt < 0 || rtt > this.slowest()) return 'ignored'
    if (this.current === null) return this.adopt([sample])
    const step = sample.offset - this.current.offset
    if (Math.abs(step) > OFFSET_REFUSE_MS) return this.refuse()
    this.refusing = false
    if (this.relearning) return this.adopt([sample])
    if (Math.abs(step) > OFFSET_STEP_MS) return this.doubt(sample, step)
    this.candidates = []
    this.keep(sample)
    return 'learned'
  }

  /** Until the first good sample a slow one stands in: its error, half its round trip, is still within 1 s. */
  private slowest(): number {
    const good = this.current !== null && this.current.rtt <= OFFSET_RTT_MAX_MS
    return good && !this.relearning ? OFFSET_RTT_MAX_MS : READ_TIMEOUT_MS
  }

  private refuse(): LearnVerdict {
    this.refusing = true
    this.candidates = []
    return 'refused'
  }

  private doubt(sample: Sample, step: number): LearnVerdict {
    const first = this.candidates[0]
    if (first === undefined || Math.abs(sample.offset - first.offset) > OFFSET_STEP_MS) this.candidates = []
    this.candidates.push(sample)
    if (this.candidates.length >= OFFSET_AGREEING) return this.adopt(this.candidates)
    return this.candidates.length === 1 && step > SUSPEND_JUMP_MS ? 'ahead' : 'doubted'
  }

  private adopt(samples: readonly Sample[]): LearnVerdict {
    const stepped = this.current !== null
    this.window = []
    this.candidates = []
    this.relearning = false
    for (const sample of samples) this.keep(sample)
    return stepped ? 'stepped' : 'learned'
  }

  private keep(sample: Sample): void {
    const window = this.window
    while (window.length > 0 && (window[window.length - 1]?.rtt ?? 0) >= sample.rtt) window.pop()
    if (window.length >= OFFSET_SAMPLES_MAX) window.pop()
    window.push(sample)
    while ((window[0]?.at ?? sample.at) < sample.at - OFFSET_WINDOW_MS) window.shift()
    this.current = window[0] ?? sample
  }
}

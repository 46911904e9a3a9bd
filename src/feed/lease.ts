// The confirm lease: whether the table may be used now (R10), and whether the process slept meanwhile (R11).
// Guarantees that nothing confirmed or begun before a suspend or a reload counts after it. Never waits, never does I/O.
import { LEASE_MS, SUSPEND_JUMP_MS } from './constants.ts'
import type { FeedClock } from './feed-source.ts'

/** The start of a cycle: what its confirm will count from. */
export interface CycleStart {
  readonly generation: number
  /** Monotonic instant before anything was sent (R1). */
  readonly mono: number
  /** Wall minus monotonic clock at that instant. */
  readonly base: number
}

/** Holds `confirmedAt`, `generation` and `clockBase` of freshness.md section 5. */
export class Lease {
  private readonly clock: FeedClock
  private readonly onSuspend: () => void
  private confirmedAt = Number.NEGATIVE_INFINITY
  private clockBase: number
  private generation = 0

  /** `onSuspend` runs within `fresh()` or `suspended()`: it must be quick, must not throw and may wake the feed. */
  constructor(clock: FeedClock, onSuspend: () => void) {
    this.clock = clock
    this.onSuspend = onSuspend
    this.clockBase = clock.wall() - clock.mono()
  }

  /** R10. Whether the table may be used for checks whose bytes are in memory by now. Once per batch. */
  fresh(): boolean {
    const mono = this.clock.mono()
    return !this.jumped(this.clock.wall() - mono) && mono - this.confirmedAt < LEASE_MS
  }

  /** R11. Whether the clocks have come apart since the last confirm; if so, everything before counts no more. */
  suspended(): boolean {
    const mono = this.clock.mono()
    return this.jumped(this.clock.wall() - mono)
  }

  /** R1. To be called before the cycle sends anything. */
  begin(): CycleStart {
    const mono = this.clock.mono()
    return { generation: this.generation, mono, base: this.clock.wall() - mono }
  }

  /** R4. Whether a cycle that began at `start` may still change anything. */
  holds(start: CycleStart): boolean {
    return start.generation === this.generation && !this.suspended()
  }

  /**
   * R9. Counts from the start of the cycle, on both clocks: the base, too, is the one of the start, so that from there
   * to the end of the lease no more than SUSPEND_JUMP_MS can hide, however the sleeps are spread.
   */
  confirm(start: CycleStart): void {
    if (start.generation !== this.generation || start.mono < this.confirmedAt) return
    this.confirmedAt = start.mono
    this.clockBase = start.base
  }

  /** UNCONFIRMED from now on, until the next confirm. */
  revoke(): void {
    this.confirmedAt = Number.NEGATIVE_INFINITY
  }

  /** UNCONFIRMED, and no cycle under way may confirm. */
  voidAll(): void {
    this.generation++
    this.revoke()
  }

  /** Milliseconds since the start of the cycle that last confirmed; Infinity: none counts. */
  ageMs(): number {
    return this.clock.mono() - this.confirmedAt
  }

  private jumped(base: number): boolean {
    if (Math.abs(base - this.clockBase) <= SUSPEND_JUMP_MS) return false
    this.voidAll()
    this.clockBase = base
    this.onSuspend()
    return true
  }
}

// Slows down guessing: after some failed authentications a source address is refused for the rest of the minute.
// Bounded whatever comes: with too many addresses the oldest are forgotten.

/** Failures of one address within a window until it is refused: far above the typos of a person or a stale script. */
const failuresMax = 30

/** Length of a window. */
const windowMs = 60_000

/** Addresses remembered: about 1 MB. */
const addressesMax = 10_000

/** Counts failures per address under a clock of its owner. */
export class FailedAttempts {
  private readonly clock: () => number
  private readonly windows = new Map<string, { readonly endMs: number; count: number }>()

  /** @param clock milliseconds that never go back */
  constructor(clock: () => number) {
    this.clock = clock
  }

  /** How long the address is still refused, in milliseconds; 0: it is not. */
  refusedForMs(address: string): number {
    const window = this.windows.get(address)
    if (window === undefined || window.count < failuresMax) return 0
    return Math.max(0, window.endMs - this.clock())
  }

  /** Notes one failure. */
  note(address: string): void {
    const now = this.clock()
    const window = this.windows.get(address)
    if (window !== undefined && window.endMs > now) {
      window.count++
      return
    }
    this.windows.delete(address)
    this.windows.set(address, { endMs: now + windowMs, count: 1 })
    const [oldest] = this.windows.keys()
    if (this.windows.size > addressesMax && oldest !== undefined) this.windows.delete(oldest)
  }
}

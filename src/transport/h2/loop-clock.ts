// Time that passes only while the event loop turns. After a stall, timers run before sockets are read: by the clock on the wall every
// request would be late whose octets lie in the kernel, and clients would pay for our own pause.

/** Most that passes from one reading to the next; readings are closer together while the loop turns. Milliseconds. */
const STEP_MAX = 500

export class LoopClock {
  private readonly read: () => number
  private time = 0
  private readAt: number

  /** `read`: milliseconds that never go back. */
  constructor(read: () => number) {
    this.read = read
    this.readAt = read()
  }

  now(): number {
    const at = this.read()
    this.time += Math.min(at - this.readAt, STEP_MAX)
    this.readAt = at
    return this.time
  }
}

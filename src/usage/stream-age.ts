// When a stream that has grown old may end: a moment after a message, because an Envoy that has just flushed does not flush
// again so soon, and what is sent while a stream ends is lost. A silent stream ends later, a busy one behind a message.

export interface AgeTimers {
  /** Runs `task` after `delayMs`; the returned function cancels. */
  after(delayMs: number, task: () => void): () => void
}

/** Behind a message: longer than the way between two processes, shorter than Envoy's flush interval. */
export const quietMs = 20
/** A stream on which nothing comes ends all the same. */
export const idleMs = 30_000
/** So does one that never is quiet, behind a message. */
export const busyMs = 5000

export class StreamAge {
  /** Whether the stream should end behind the message that was read last. */
  isOver = false
  private readonly timers: AgeTimers
  private readonly cancels: (() => void)[] = []
  private isOld = false
  /** A message has come since it is old, or nobody waits for one. */
  private isRipe = false
  private onOlder: () => void = () => undefined

  /** @param ageMs from now on, until the stream is old */
  constructor(timers: AgeTimers, ageMs: number) {
    this.timers = timers
    this.cancels.push(timers.after(ageMs, () => this.grow()))
  }

  /** Ends it in the next quiet moment. */
  end(): void {
    this.isRipe = true
    this.grow()
  }

  /** Resolves when `next` has settled: false; or when the stream may end and nothing came: true. */
  endsBefore(next: Promise<unknown>): Promise<boolean> {
    return new Promise(resolve => {
      let cancel = (): void => undefined
      const wait = () => {
        cancel()
        // Once more after a turn of the loop: what came while the process stood still is read first.
        cancel = this.timers.after(this.isRipe ? quietMs : idleMs, () => {
          cancel = this.timers.after(1, () => resolve(true))
        })
      }
      const came = () => {
        cancel()
        this.onOlder = () => undefined
        this.isRipe ||= this.isOld
        resolve(false)
      }
      if (this.isOld) wait()
      this.onOlder = wait
      next.then(came, came)
    })
  }

  /** No timer is left behind. */
  close(): void {
    for (const cancel of this.cancels.splice(0)) cancel()
  }

  private grow(): void {
    if (!this.isOld) {
      const over = () => {
        this.isOver = true
      }
      this.cancels.push(this.timers.after(busyMs, over))
    }
    this.isOld = true
    this.onOlder()
  }
}

// When a stream that has grown old may end: as soon as nothing comes for a moment, or behind a message at the latest. What an
// Envoy has sent by then has been read, so that ending a stream loses nothing but what is sent in that very moment.

export interface AgeTimers {
  /** Runs `task` after `delayMs`; the returned function cancels. */
  after(delayMs: number, task: () => void): () => void
}

/** Silence on a stream: longer than the way between two processes on a machine, shorter than Envoy's flush interval. */
export const quietMs = 20
/** A stream that is never silent ends all the same, behind a message. */
const quietWithinMs = 5000

export class StreamAge {
  /** Whether the stream should end behind the message that was read last. */
  isOver = false
  private readonly timers: AgeTimers
  private readonly cancels: (() => void)[] = []
  private isOld = false
  private onOld: () => void = () => undefined

  /** @param ageMs from now on, until the stream is old */
  constructor(timers: AgeTimers, ageMs: number) {
    this.timers = timers
    this.cancels.push(timers.after(ageMs, this.end))
  }

  /** Makes it old now. */
  readonly end = (): void => {
    if (this.isOld) return
    this.isOld = true
    const over = () => {
      this.isOver = true
    }
    this.cancels.push(this.timers.after(quietWithinMs, over))
    this.onOld()
  }

  /** Resolves when `next` has settled: false; or when the stream is old and nothing came: true. */
  endsBefore(next: Promise<unknown>): Promise<boolean> {
    return new Promise(resolve => {
      let cancelQuiet = (): void => undefined
      const waitForQuiet = () => {
        cancelQuiet = this.timers.after(quietMs, () => resolve(true))
      }
      const came = () => {
        this.onOld = () => undefined
        cancelQuiet()
        resolve(false)
      }
      if (this.isOld) waitForQuiet()
      else this.onOld = waitForQuiet
      next.then(came, came)
    })
  }

  /** No timer is left behind. */
  close(): void {
    for (const cancel of this.cancels.splice(0)) cancel()
  }
}

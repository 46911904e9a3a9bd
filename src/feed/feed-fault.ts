// A failure outside this process: the database did not answer, or not in time. It changes no state of the feed
// and costs the connection. Any other exception in the feed is a bug and is treated as one.
import type { FaultCause, FeedStep } from './feed-observer.ts'
import type { FeedTimers } from './feed-source.ts'

/** `fault` counts it, `step` says during what. The message is for logs; the adapter's error is the `cause`. */
export class FeedFault extends Error {
  readonly fault: FaultCause
  readonly step: FeedStep

  constructor(fault: FaultCause, step: FeedStep, cause?: unknown) {
    super(fault === step ? `feed ${step} failed` : `feed ${step} failed: ${fault}`, { cause })
    this.name = 'FeedFault'
    this.fault = fault
    this.step = step
  }
}

/**
 * Awaits an answer for at most `limitMs`. Rejections and timeouts become a FeedFault; an answer that comes later goes to
 * `late` or nowhere.
 * @throws FeedFault
 */
export function ask<T>(
  timers: FeedTimers,
  step: FeedStep,
  limitMs: number,
  question: () => Promise<T>,
  late: (value: T) => void = () => undefined,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let open = true
    const cancel = timers.after(limitMs, () => {
      open = false
      reject(new FeedFault('timeout', step))
    })
    const failed = (error: unknown): void => {
      cancel()
      reject(new FeedFault(step, step, error)) // after a timeout this says nothing new, and is not heard
    }
    const answered = (value: T): void => {
      cancel()
      if (open) resolve(value)
      else late(value)
    }
    try {
      question().then(answered, failed)
    } catch (error) {
      failed(error)
    }
  })
}

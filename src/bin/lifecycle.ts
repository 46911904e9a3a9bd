// One process from its first signal to its last: waits, drains its parts together, and knows when to give up.
// SIGTERM drains with notice, SIGINT and SIGHUP without; a second signal or 15 s ends the process at once with exit 1.
import { type ExitCode, exitFailed, exitOk } from '../cli/command.ts'
import type { Log } from '../observe/log.ts'
import type { DrainTimes } from '../rpc/drain.ts'

/** A part that answers and can be drained. */
export interface Part {
  drain(times: DrainTimes): Promise<void>
}

/** At least one health interval of Envoy: time to look elsewhere before connections close. */
const noticeMs = 5000
/** From GOAWAY until what still hangs is cut. */
const drainDeadlineMs = 2000
/** A drain that takes longer than this is stuck (faults.md section 5). */
const giveUpMs = 15_000

/** Times of an end that nobody waits for: a start that failed. */
export const closeTimes: DrainTimes = { noticeMs: 0, deadlineMs: 500 }

/** What ends a process beside signals. */
export interface Ending {
  /** Called when a part cannot go on: drains and exits with 1. */
  readonly fail: (error: unknown) => void
  /** Resolves with the reason to end. */
  readonly wanted: Promise<{ readonly signal: NodeJS.Signals | 'failure' }>
}

/** Begins to listen for the end. Call before anything is started, so that a signal during the start is not lost. */
export function awaitEnding(log: Log, hardExit: (code: ExitCode) => void): Ending {
  let resolve: (reason: { signal: NodeJS.Signals | 'failure' }) => void = () => undefined
  const wanted = new Promise<{ signal: NodeJS.Signals | 'failure' }>(settle => {
    resolve = settle
  })
  let signals = 0
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      signals += 1
      if (signals > 1) hardExit(exitFailed)
      resolve({ signal })
    })
  }
  // Of a worker: its parent is gone, and nobody else would end it.
  process.once('disconnect', () => resolve({ signal: 'SIGTERM' }))
  process.channel?.unref()
  // Node would print the error as it is, past the redaction of the log.
  process.on('uncaughtException', error => {
    log.error('an unforeseen error ends this process', { error })
    hardExit(exitFailed)
  })
  const fail = (error: unknown) => {
    log.error('this process cannot go on', { error })
    resolve({ signal: 'failure' })
  }
  return { fail, wanted }
}

/** Waits for the end and drains all parts together. What they stand on is closed by whoever opened it. */
export async function runUntilEnded(
  ending: Ending,
  parts: readonly Part[],
  log: Log,
  hardExit: (code: ExitCode) => void,
): Promise<ExitCode> {
  const { signal } = await ending.wanted
  log.info('draining', { signal })
  const timer = setTimeout(() => {
    log.error('the drain took too long')
    hardExit(exitFailed)
  }, giveUpMs)
  timer.unref() // not cleared: it also covers the closing of what the parts stood on
  const times = { noticeMs: signal === 'SIGTERM' ? noticeMs : 0, deadlineMs: drainDeadlineMs }
  await Promise.all(parts.map(part => part.drain(times)))
  log.info('drained', { signal })
  return signal === 'failure' ? exitFailed : exitOk
}

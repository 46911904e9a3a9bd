// Judges profile texts in a thread of their own, so that no text, however hostile, holds up the one that answers checks.
// Guarantee: every job ends within the time limit times the jobs before it, in a verdict or in the reason why there is none;
// a text that takes too long or too much memory costs that thread, nothing else. The thread ends when it has had no job for a while.
import { Worker } from 'node:worker_threads'
import {
  type JudgeText,
  type LintJob,
  type LintOutcome,
  type Unfinished,
  verdictOf,
  type WireVerdict,
} from './lint-job.ts'

/** Milliseconds for one text, the start of the thread included: twenty times what the largest profile takes on a slow machine. */
export const JUDGE_MS_MAX = 10_000
/** MiB of heap for the same: five times what the largest profile takes. */
export const JUDGE_HEAP_MIB_MAX = 256
/** Jobs that wait; whoever comes then is told to come again. */
export const JOBS_WAITING_MAX = 16
/** Milliseconds without a job after which the thread, which holds some 20 MiB, ends. */
const IDLE_MS_MAX = 10_000

export interface LintThreadOptions {
  /** lint-worker.ts, built. */
  readonly script: URL
  /** Defaults: the constants above. */
  readonly timeMsMax?: number
  readonly heapMibMax?: number
  readonly waitingMax?: number
  readonly idleMsMax?: number
}

export interface LintThread {
  readonly judge: JudgeText
  /** Ends the thread; what is not judged yet ends as `closed`. */
  close(): Promise<void>
}

/** No thread is started before the first job. */
export function createLintThread(options: LintThreadOptions): LintThread {
  const thread = new Thread(options)
  return { judge: job => thread.judge(job), close: () => thread.close() }
}

interface Waiting {
  readonly job: LintJob
  readonly settle: (outcome: LintOutcome) => void
}

class Thread {
  private readonly options: LintThreadOptions
  private readonly waiting: Waiting[] = []
  private running: Waiting | undefined
  private worker: Worker | undefined
  /** Ends the running job's time, or the idle thread. */
  private timer: NodeJS.Timeout | undefined
  private closed = false

  constructor(options: LintThreadOptions) {
    this.options = options
  }

  judge(job: LintJob): Promise<LintOutcome> {
    if (this.closed) return Promise.resolve(closed)
    if (this.waiting.length >= (this.options.waitingMax ?? JOBS_WAITING_MAX)) return Promise.resolve(busy)
    return new Promise(settle => {
      this.waiting.push({ job, settle })
      this.next()
    })
  }

  async close(): Promise<void> {
    this.closed = true
    for (const { settle } of this.waiting.splice(0)) settle(closed)
    await this.stop(closed)
  }

  private next(): void {
    if (this.running !== undefined) return
    this.running = this.waiting.shift()
    if (this.running === undefined) {
      // A thread without a job keeps no process alive.
      this.worker?.unref()
      this.after(this.options.idleMsMax ?? IDLE_MS_MAX, closed)
      return
    }
    const timeMsMax = this.options.timeMsMax ?? JUDGE_MS_MAX
    try {
      this.worker ??= this.start()
      this.worker.ref()
      this.worker.postMessage(this.running.job)
      this.after(timeMsMax, unfinished('costly', `it took longer than ${timeMsMax} ms`))
    } catch (error) {
      this.settle(unfinished('failed', causeOf(error)))
    }
  }

  private start(): Worker {
    const { script, heapMibMax = JUDGE_HEAP_MIB_MAX } = this.options
    // Neither settings nor secrets of the process are for this thread.
    const worker = new Worker(script, { env: {}, resourceLimits: { maxOldGenerationSizeMb: heapMibMax } })
    worker.on('message', (wire: WireVerdict) => {
      if (worker === this.worker) this.settle({ kind: 'judged', verdict: verdictOf(wire) })
    })
    const ended = (outcome: LintOutcome) => {
      if (worker === this.worker) void this.stop(outcome)
    }
    const large = unfinished('costly', `it took more than ${heapMibMax} MiB`)
    worker.on('error', error => ended(isMemory(error) ? large : unfinished('failed', causeOf(error))))
    worker.on('exit', () => ended(unfinished('failed', 'the thread ended')))
    return worker
  }

  /** Gives the running job its outcome and goes on with the next. */
  private settle(outcome: LintOutcome): void {
    const { running } = this
    this.running = undefined
    running?.settle(outcome)
    if (!this.closed) this.next()
  }

  private async stop(outcome: LintOutcome): Promise<void> {
    const { worker } = this
    clearTimeout(this.timer)
    this.worker = undefined
    if (this.running !== undefined) this.settle(outcome)
    await worker?.terminate()
  }

  private after(ms: number, outcome: LintOutcome): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => void this.stop(outcome), ms)
    this.timer.unref()
  }
}

function unfinished(reason: Unfinished, cause: string): LintOutcome {
  return { kind: 'unfinished', reason, cause }
}

const closed = unfinished('closed', 'the process is ending')
const busy = unfinished('busy', 'too many others wait to be judged')

function isMemory(error: Error): boolean {
  return 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY'
}

function causeOf(error: unknown): string {
  return `the thread failed: ${error instanceof Error ? error.message : String(error)}`
}

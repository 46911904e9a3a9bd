// Open-loop load, bounded in count and time: one request each interval whether or not the last was answered. Answers are counted
// by what they were, so that a suite can say that nothing else occurred.
import { setTimeout as sleep } from 'node:timers/promises'

export interface Load {
  /** How often each answer came. */
  readonly answers: ReadonlyMap<string, number>
  readonly sent: () => number
  /** Stops sending and waits for what is under way. */
  stop(): Promise<void>
}

/** More than any suite needs: a load that nobody stops ends by itself. */
const requestsMax = 30_000

/** Calls `ask` `perSecond` times a second; its answer, or the message of its error, is counted. */
export function startLoad(perSecond: number, ask: (number: number) => Promise<string>): Load {
  const answers = new Map<string, number>()
  const underWay = new Set<Promise<void>>()
  let sent = 0
  let stopped = false
  const count = (answer: string) => {
    answers.set(answer, (answers.get(answer) ?? 0) + 1)
  }
  const began = performance.now()
  const running = (async () => {
    while (!stopped && sent < requestsMax) {
      const due = Math.floor(((performance.now() - began) / 1000) * perSecond)
      for (; sent < due; sent += 1) {
        const call: Promise<void> = ask(sent)
          .then(count, error => count(error instanceof Error ? error.message : String(error)))
          .finally(() => underWay.delete(call))
        underWay.add(call)
      }
      await sleep(1000 / perSecond)
    }
  })()
  return {
    answers,
    sent: () => sent,
    async stop() {
      stopped = true
      await running
      await Promise.all(underWay)
    },
  }
}

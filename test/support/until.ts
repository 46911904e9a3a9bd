// Waiting in tests: for a condition, with a deadline, never for a length of time.
import { setTimeout as sleep } from 'node:timers/promises'

const pollMs = 5

/**
 * Asks until the answer is neither false nor undefined nor an error, and returns it.
 * @throws Error naming what was awaited, with the last error as its cause, after `limitMs`.
 */
export async function until<T>(
  what: string,
  ask: () => T | false | undefined | Promise<T | false | undefined>,
  limitMs = 10_000,
): Promise<T> {
  const deadline = performance.now() + limitMs
  let last: unknown
  for (;;) {
    try {
      const answer = await ask()
      if (answer !== false && answer !== undefined) return answer
      last = undefined
    } catch (error) {
      last = error
    }
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what}`, { cause: last })
    await sleep(pollMs)
  }
}

// What every corpus and fuzz target shares: where its randomness comes from, how long it goes on, and the line that says what was tried.
// A longer run is `FUZZ_SCALE=20`, a repeated one `TEST_SEED=…`; the seed is printed with every line.
import { expect } from 'vitest'
import { type Random, seededRandom } from '../oracle/random-worlds.ts'

export const seed = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000)

const scale = Number(process.env['FUZZ_SCALE'] ?? 1)

/** How often to go round, for a number that fits into CI. */
export function times(inCi: number): number {
  return Math.max(1, Math.round(inCi * scale))
}

/** A generator of its own for each use, so that changing one does not change the others. */
export function randomFor(name: string): Random {
  let state = seed
  for (const character of name) state = (Math.imul(state, 31) + (character.codePointAt(0) ?? 0)) >>> 0
  return seededRandom(state)
}

/** A whole number in [0, below). */
export function below(random: Random, count: number): number {
  return Math.floor(random() * count)
}

/** Bypasses that are shown; one is enough to fail. */
const shownMax = 5

/** Counts the inputs of one corpus. */
export class Tally {
  private readonly name: string
  private readonly bypasses: string[] = []
  private bypassed = 0
  tried = 0
  accepted = 0

  constructor(name: string) {
    this.name = name
  }

  /** Notes one input; `tell` is asked only for a bypass. */
  note(accepted: boolean, bypass: boolean, tell: () => string): void {
    this.tried++
    if (accepted) this.accepted++
    if (!bypass) return
    this.bypassed++
    if (this.bypasses.length < shownMax) this.bypasses.push(tell())
  }

  /** Prints the line and fails on any bypass, or when so little was tried that nothing was shown. */
  finish(triedMin: number, acceptedMin = 1): void {
    const { name, tried, accepted, bypassed } = this
    process.stdout.write(`${name}: inputs tried ${tried}, accepted ${accepted}, bypasses ${bypassed} (seed ${seed})\n`)
    expect(this.bypasses, `${name}, seed ${seed}`).toEqual([])
    expect(tried, name).toBeGreaterThanOrEqual(triedMin)
    expect(accepted, `${name}: accepted, so that the corpus can fail`).toBeGreaterThanOrEqual(acceptedMin)
  }
}

// Where the buckets of rate limits lie: rows in pages, found by lineage and limit, in order of use.
// Guarantee: never more rows than the capacity; a new one takes the place of one that ended, else of the least recently used.
// It knows no algorithm: a state is two numbers and the instant from which they mean nothing.
import type { LimitOutcome } from '../core/rate-limit.ts'
import type { Micros } from '../core/time.ts'
import { HashIndex, NO_ROW } from './hash-index.ts'
import { numberRows, wordRows } from './row-pages.ts'
import { hashWords } from './word-pool.ts'

/** No such bucket. */
export const NO_BUCKET = NO_ROW

/** Words of a row: lineage and limit; neighbours in order of use; second of the last use. */
const keyWords = 5
const NEWER = 5
const OLDER = 6
const USED = 7
const rowWords = 8

/** Numbers of a row: the state, and the instant from which it means nothing. */
const END = 2
const rowNumbers = 3

/** The state of no bucket. */
const NOTHING = new Float64Array(rowNumbers)

const microsPerSecond = 1_000_000

/** See the head of the file. */
export class BucketRows {
  private readonly capacity: number
  private readonly rows = wordRows(rowWords)
  private readonly numbers = numberRows(rowNumbers)
  private readonly index = new HashIndex(row => this.hashOf(row))
  private readonly wanted = new Int32Array(keyWords)
  private readonly hashed = new Int32Array(keyWords)
  private count = 0
  private newest = NO_ROW
  private oldest = NO_ROW
  private cursor = 0
  private givenUp = 0

  constructor(capacity: number) {
    this.capacity = capacity
  }

  get size(): number {
    return this.count
  }

  get bytes(): number {
    return this.rows.bytes + this.numbers.bytes + this.index.bytes
  }

  /** How many rows were taken from buckets that still counted. */
  get evicted(): number {
    return this.givenUp
  }

  /** The row of a lineage (four words) and a limit, or `NO_BUCKET`; `add` is about the one looked for last. */
  find(w0: number, w1: number, w2: number, w3: number, limit: number): number {
    const { wanted } = this
    wanted[0] = w0
    wanted[1] = w1
    wanted[2] = w2
    wanted[3] = w3
    wanted[4] = limit
    let row = this.index.first(hashWords(wanted, keyWords))
    while (row !== NO_ROW && !this.isWanted(row)) row = this.index.next()
    return row
  }

  /** Adds the bucket that `find` did not find, in nobody's state, as the newest. */
  add(now: Micros): number {
    const row = this.room(now)
    const page = this.rows.page(row)
    const at = this.rows.at(row)
    for (let i = 0; i < keyWords; i++) page[at + i] = this.wanted[i] ?? 0
    this.index.insert(hashWords(this.wanted, keyWords), row)
    this.write(row, USED, secondOf(now))
    this.numbers.page(row)[this.numbers.at(row) + END] = now
    this.link(row)
    return row
  }

  /** Whether a row is that of a lineage and a limit, for callers that remember where it was. */
  isAt(row: number, w0: number, w1: number, w2: number, w3: number, limit: number): boolean {
    if (row < 0 || row >= this.count) return false
    const page = this.rows.page(row)
    const at = this.rows.at(row)
    return (
      page[at] === w0 && page[at + 1] === w1 && page[at + 2] === w2 && page[at + 3] === w3 && page[at + 4] === limit
    )
  }

  /** The array that holds a row's state, from `stateAt(row)`; zeros for `NO_BUCKET`. */
  states(row: number): Float64Array {
    return row === NO_BUCKET ? NOTHING : this.numbers.page(row)
  }

  stateAt(row: number): number {
    return row === NO_BUCKET ? 0 : this.numbers.at(row)
  }

  /** Writes the state of an outcome, which means nothing from its `resetAt` on, and counts as a use in `second`. */
  store(row: number, outcome: LimitOutcome, second: number): void {
    const page = this.numbers.page(row)
    const at = this.numbers.at(row)
    page[at] = outcome.first
    page[at + 1] = outcome.second
    page[at + END] = outcome.resetAt
    this.touch(row, second)
  }

  /** Makes a row the newest, at most once a second: a busy bucket is not moved about for each request. */
  touch(row: number, second: number): void {
    if (this.read(row, USED) === second) return
    this.write(row, USED, second)
    if (row === this.newest) return
    this.unlink(row)
    this.link(row)
  }

  /** Looks at up to `budget` rows, from where it stopped last, and forgets those that ended. */
  sweep(now: Micros, budget: number): void {
    const looks = Math.min(budget, this.count)
    for (let looked = 0; looked < looks && this.count > 0; looked++) {
      if (this.cursor >= this.count) this.cursor = 0
      if (this.hasEnded(this.cursor, now)) this.drop(this.cursor)
      else this.cursor++
    }
    this.rows.fit(this.count)
    this.numbers.fit(this.count)
  }

  /** A row that is in no list and in no index: a fresh one, or that of the least recently used bucket. */
  private room(now: Micros): number {
    const full = this.count >= this.capacity
    if (this.oldest === NO_ROW || !(full || this.hasEnded(this.oldest, now))) {
      this.rows.fit(this.count + 1)
      this.numbers.fit(this.count + 1)
      return this.count++
    }
    const row = this.oldest
    if (!this.hasEnded(row, now)) this.givenUp++
    this.index.remove(this.hashOf(row), row)
    this.unlink(row)
    return row
  }

  /** Takes a row out and moves the last one into its place, so that the pages behind can go. */
  private drop(row: number): void {
    this.index.remove(this.hashOf(row), row)
    this.unlink(row)
    const last = --this.count
    if (row === last) return
    this.index.renumber(this.hashOf(last), last, row)
    this.rows.copy(last, row)
    this.numbers.copy(last, row)
    this.relink(row)
  }

  private hasEnded(row: number, now: Micros): boolean {
    return now >= (this.numbers.page(row)[this.numbers.at(row) + END] ?? 0)
  }

  private isWanted(row: number): boolean {
    const page = this.rows.page(row)
    const at = this.rows.at(row)
    for (let i = 0; i < keyWords; i++) if (page[at + i] !== this.wanted[i]) return false
    return true
  }

  private hashOf(row: number): number {
    for (let i = 0; i < keyWords; i++) this.hashed[i] = this.read(row, i)
    return hashWords(this.hashed, keyWords)
  }

  private link(row: number): void {
    this.write(row, NEWER, NO_ROW)
    this.write(row, OLDER, this.newest)
    if (this.newest === NO_ROW) this.oldest = row
    else this.write(this.newest, NEWER, row)
    this.newest = row
  }

  private unlink(row: number): void {
    const newer = this.read(row, NEWER)
    const older = this.read(row, OLDER)
    if (newer === NO_ROW) this.newest = older
    else this.write(newer, OLDER, older)
    if (older === NO_ROW) this.oldest = newer
    else this.write(older, NEWER, newer)
  }

  /** Tells the neighbours of a row that was copied where it stands now. */
  private relink(row: number): void {
    const newer = this.read(row, NEWER)
    const older = this.read(row, OLDER)
    if (newer === NO_ROW) this.newest = row
    else this.write(newer, OLDER, row)
    if (older === NO_ROW) this.oldest = row
    else this.write(older, NEWER, row)
  }

  private read(row: number, word: number): number {
    return this.rows.page(row)[this.rows.at(row) + word] ?? 0
  }

  private write(row: number, word: number, value: number): void {
    this.rows.page(row)[this.rows.at(row) + word] = value
  }
}

/** The second of an instant: the grain in which use is ordered. */
export function secondOf(now: Micros): number {
  return Math.floor(now / microsPerSecond)
}

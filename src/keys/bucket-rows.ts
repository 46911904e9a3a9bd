// Where the buckets of rate limits lie: rows in pages, found by lineage and limit, in order of use.
// Guarantee: never more rows than the capacity; a new one takes the place of one that ended, else of the least recently used.
// It knows no algorithm: a state is two numbers and the instant from which they mean nothing.
import type { Micros } from '../core/time.ts'
import { HashIndex, NO_ROW } from './hash-index.ts'
import { getNumber, putNumber, RowPages } from './row-pages.ts'
import { hashWords } from './word-pool.ts'

/** No such bucket. */
export const NO_BUCKET = NO_ROW

/** Words of a row: lineage and limit; neighbours in order of use; second of the last use; state; its end. */
const keyWords = 5
const NEWER = 5
const OLDER = 6
const USED = 7
const FIRST = 8
const SECOND = 10
const END = 12
const rowWords = 14

const microsPerSecond = 1_000_000

/** See the head of the file. */
export class BucketRows {
  private readonly capacity: number
  private readonly rows = new RowPages(rowWords)
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
    return this.rows.bytes + this.index.bytes
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
    this.link(row)
    return row
  }

  /** Reads a state into `out`; zeros for `NO_BUCKET`. */
  load(row: number, out: Float64Array): void {
    out[0] = row === NO_BUCKET ? 0 : getNumber(this.rows.page(row), this.rows.at(row) + FIRST)
    out[1] = row === NO_BUCKET ? 0 : getNumber(this.rows.page(row), this.rows.at(row) + SECOND)
  }

  /** Writes a state that means nothing from `end` on, and counts as a use. */
  store(row: number, first: number, second: number, end: Micros, now: Micros): void {
    const page = this.rows.page(row)
    const at = this.rows.at(row)
    putNumber(page, at + FIRST, first)
    putNumber(page, at + SECOND, second)
    putNumber(page, at + END, end)
    this.touch(row, now)
  }

  /** Makes a row the newest, at most once a second: a busy bucket is not moved about for each request. */
  touch(row: number, now: Micros): void {
    const second = secondOf(now)
    if (this.read(row, USED) === second) return
    this.write(row, USED, second)
    if (row === this.newest) return
    this.unlink(row)
    this.link(row)
  }

  /** Looks at up to `budget` rows, from where it stopped last, and forgets those that ended. */
  sweep(now: Micros, budget: number): void {
    for (let looked = 0; looked < budget && this.count > 0; looked++) {
      if (this.cursor >= this.count) this.cursor = 0
      if (this.hasEnded(this.cursor, now)) this.drop(this.cursor)
      else this.cursor++
    }
    this.rows.fit(this.count)
  }

  /** A row that is in no list and in no index: a fresh one, or that of the least recently used bucket. */
  private room(now: Micros): number {
    const full = this.count >= this.capacity
    if (this.oldest === NO_ROW || !(full || this.hasEnded(this.oldest, now))) {
      this.rows.fit(this.count + 1)
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
    this.relink(row)
  }

  private hasEnded(row: number, now: Micros): boolean {
    return now >= getNumber(this.rows.page(row), this.rows.at(row) + END)
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

function secondOf(now: Micros): number {
  return Math.floor(now / microsPerSecond)
}

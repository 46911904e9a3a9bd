// Sequences of 32-bit words, each distinct one stored once and counted: allowlists and what else many API keys have in common.
// Guarantee: a sequence that nobody holds is gone, its room reused, so churn does not leak. Growth adds a page and copies nothing.
// A number is good while it is held; reading one that was released is a mistake of the caller.
import { HashIndex, NO_ROW } from './hash-index.ts'

/** Blocks are cut in units of four words, so that numbers of blocks fit the index up to 1 GiB. */
const unitWords = 4
const pageUnits = 4096
const pageUnitShift = 12

/** Before the words of a block: how many hold it (free: 0), its hash (free: the next free block), its length. */
const HOLDERS = 0
const HASH = 1
const LENGTH = 2
const headWords = 3

/** Longest sequence: a block lies in one page. */
export const poolWordsMax = pageUnits * unitWords - headWords

const NO_PAGE = new Int32Array(0)

/** See the head of the file. Words are read as `page(number)[at(number) + i]`. */
export class WordPool {
  private readonly pages: Int32Array[] = []
  /** First free block by size in units; 0: none. */
  private readonly free: number[] = []
  private readonly index = new HashIndex(number => this.head(number, HASH))
  /** First unit nobody has had yet. Unit 0 is never given out: number 0 means no sequence. */
  private fresh = 1

  /** How many distinct sequences are held. */
  get size(): number {
    return this.index.size
  }

  get bytes(): number {
    return this.pages.length * pageUnits * unitWords * 4 + this.index.bytes + this.free.length * 8
  }

  page(number: number): Int32Array {
    return this.pages[number >>> pageUnitShift] ?? NO_PAGE
  }

  at(number: number): number {
    return (number & (pageUnits - 1)) * unitWords + headWords
  }

  /** Holds the sequence `words[0, length)` and gives its number (>= 1). @throws RangeError beyond `poolWordsMax`. */
  hold(words: Int32Array, length: number): number {
    if (length > poolWordsMax) throw new RangeError(`a sequence has at most ${poolWordsMax} words, not ${length}`)
    const hash = hashWords(words, length)
    for (let number = this.index.first(hash); number !== NO_ROW; number = this.index.next()) {
      if (this.equals(number, words, length)) return this.heldAgain(number)
    }
    const number = this.store(words, length, hash)
    this.index.insert(hash, number)
    return number
  }

  /** Gives one hold back; 0 is ignored. */
  release(number: number): void {
    if (number === 0) return
    const holders = this.head(number, HOLDERS) - 1
    this.setHead(number, HOLDERS, holders)
    if (holders > 0) return
    this.index.remove(this.head(number, HASH), number)
    this.setFree(number, unitsFor(this.head(number, LENGTH)))
  }

  clear(): void {
    this.pages.length = 0
    this.free.length = 0
    this.index.clear()
    this.fresh = 1
  }

  private heldAgain(number: number): number {
    this.setHead(number, HOLDERS, this.head(number, HOLDERS) + 1)
    return number
  }

  private store(words: Int32Array, length: number, hash: number): number {
    const number = this.allocate(unitsFor(length))
    this.setHead(number, HOLDERS, 1)
    this.setHead(number, HASH, hash)
    this.setHead(number, LENGTH, length)
    const page = this.page(number)
    const at = this.at(number)
    for (let i = 0; i < length; i++) page[at + i] = words[i] ?? 0
    return number
  }

  private allocate(units: number): number {
    const reused = this.free[units] ?? 0
    if (reused !== 0) {
      this.free[units] = this.head(reused, HASH)
      return reused
    }
    const left = pageUnits - (this.fresh & (pageUnits - 1))
    this.reach(this.fresh)
    if (left < units) {
      this.setFree(this.fresh, left)
      this.fresh += left
      this.reach(this.fresh)
    }
    const number = this.fresh
    this.fresh += units
    return number
  }

  /** Makes the page of a unit exist. */
  private reach(unit: number): void {
    while (this.pages.length <= unit >>> pageUnitShift) this.pages.push(new Int32Array(pageUnits * unitWords))
  }

  private setFree(number: number, units: number): void {
    while (this.free.length <= units) this.free.push(0)
    this.setHead(number, HOLDERS, 0)
    this.setHead(number, HASH, this.free[units] ?? 0)
    this.free[units] = number
  }

  private equals(number: number, words: Int32Array, length: number): boolean {
    if (this.head(number, LENGTH) !== length) return false
    const page = this.page(number)
    const at = this.at(number)
    for (let i = 0; i < length; i++) {
      if (page[at + i] !== words[i]) return false
    }
    return true
  }

  private head(number: number, word: number): number {
    return this.page(number)[this.at(number) - headWords + word] ?? 0
  }

  private setHead(number: number, word: number, value: number): void {
    this.page(number)[this.at(number) - headWords + word] = value
  }
}

function unitsFor(length: number): number {
  return Math.ceil((length + headWords) / unitWords)
}

/** Mixes words into 32 bits, every one of which depends on all of them. */
export function hashWords(words: Int32Array, length: number): number {
  let hash = length
  for (let i = 0; i < length; i++) {
    hash = Math.imul(hash ^ (words[i] ?? 0), 0x85ebca6b)
    hash ^= hash >>> 15
  }
  hash = Math.imul(hash, 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

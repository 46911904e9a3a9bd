// Remembers in which slot recent secrets were found, so that the next check of one is spared its digest and search.
// It holds no state of a key and no secret: SHA-256 under a salt of this process, every bit of it compared, with a slot and
// the stamp the slot had. The table must hold that stamp against the slot's: any write to a slot makes it forget.
import { randomFillSync } from 'node:crypto'
import { hashAfterBlock, hashWords, stateAfterBlock } from './sha256.ts'

/** No slot is remembered. */
export const NOT_REMEMBERED = -1

/** Words of an entry: the hash, the slot, and its stamp; a stamp of 0 marks an entry that was never written. */
const SLOT = 8
const STAMP = 9
const entryWords = 10

/** A hash may lie in either entry of its set: with as many sets as hot secrets, all but 3 % of those have room. */
const setWords = 2 * entryWords

/** Sets of a small table: 328 KB. */
const setsMin = 4096
/** Sets of a large one: 10 000 hot secrets fit; 1.3 MB, 7 octets for each of 200 000 keys. */
const setsMax = 16_384
/** Keys a set: between the two bounds the memo takes less than 7 octets a key. */
const keysPerSet = 12

/** See the head of the file. */
export class SecretMemo {
  private readonly salted: Int32Array
  private readonly hash = new Int32Array(hashWords)
  private entries = new Int32Array(setsMin * setWords)
  private mask = setsMin - 1
  /** Where the secret asked for last was found, or where it would be remembered. */
  private at = 0

  constructor() {
    this.salted = stateAfterBlock(randomFillSync(new Uint8Array(64)))
  }

  get bytes(): number {
    return this.entries.byteLength
  }

  /** The slot remembered for the secret `bytes[start, end)`, or `NOT_REMEMBERED`; good only while `stamp` is the slot's. */
  find(bytes: Uint8Array, start: number, end: number): number {
    hashAfterBlock(this.salted, bytes, start, end, this.hash)
    const first = ((this.hash[0] ?? 0) & this.mask) * setWords
    this.at = this.isAt(first) ? first : first + entryWords
    return this.at === first || this.isAt(this.at) ? (this.entries[this.at + SLOT] ?? 0) : NOT_REMEMBERED
  }

  /** The stamp noted beside the slot that `find` gave last. */
  get stamp(): number {
    return this.entries[this.at + STAMP] ?? 0
  }

  /** Remembers where the secret given to `find` last has been found, as the newer entry of its set. */
  remember(slot: number, stamp: number): void {
    const { entries, hash } = this
    const first = ((hash[0] ?? 0) & this.mask) * setWords
    // The older entry goes, unless it is the secret's own from before.
    if (!this.isAt(first)) entries.copyWithin(first + entryWords, first, first + entryWords)
    for (let i = 0; i < hashWords; i++) entries[first + i] = hash[i] ?? 0
    entries[first + SLOT] = slot
    entries[first + STAMP] = stamp
  }

  /** Has as many sets as a table of `keys` deserves. A change forgets every secret and copies nothing. */
  fit(keys: number): void {
    if (keys < (this.mask + 1) * 2 * keysPerSet) return
    let sets = setsMin
    while (sets < setsMax && keys >= sets * 2 * keysPerSet) sets *= 2
    if (sets > this.mask + 1) this.renew(sets)
  }

  /** Forgets every secret. */
  clear(): void {
    this.renew(setsMin)
  }

  private renew(sets: number): void {
    this.entries = new Int32Array(sets * setWords)
    this.mask = sets - 1
    this.at = 0
    this.hash.fill(0)
  }

  /** Compares all bits whatever the first say, so that time tells nothing of how many agree. */
  private isAt(at: number): boolean {
    const { entries, hash } = this
    let differs = 0
    for (let i = 0; i < hashWords; i++) differs |= (entries[at + i] ?? 0) ^ (hash[i] ?? 0)
    return differs === 0 && entries[at + STAMP] !== 0
  }
}

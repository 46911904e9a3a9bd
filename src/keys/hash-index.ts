// An open-addressing index from 32-bit hashes to row numbers, cut into segments that grow one at a time.
// Guarantee: no write moves more than one segment (about n/1024 entries, 1 ms at 10^7), so growth never stalls checks;
// a full load costs 6 to 12 octets an entry, an empty index nothing. It stores no keys: the owner compares the rows itself.

/** Bits of a row number in an entry: 67 million rows, at 100 octets each beyond what one process can hold. */
const rowBits = 26

/** Largest row number that fits. */
export const indexRowMax = 2 ** rowBits - 2

/** Segments: enough that doubling one stays far below 5 ms at 10^7 entries, few enough to cost nothing at 10^4. */
const segmentCount = 1024
const segmentShift = 22

/** Entries of the smallest segment in use. */
const segmentLengthMin = 8

/** A segment doubles beyond a load of 2/3 and halves below 1/8. */
const isFull = (count: number, length: number): boolean => count * 3 > length * 2
const isSparse = (count: number, length: number): boolean => count * 8 < length && length > segmentLengthMin

/** Six bits of the hash beside the row number spare most reads of rows that do not match. */
const tagShift = 16
const tagMask = 0x3f

/** What every segment is before its first entry: one empty place, never written to. */
const NO_SEGMENT: Uint32Array = new Uint32Array(1)

/** Row number of a search without (further) candidate. */
export const NO_ROW = -1

/** See the head of the file. Hashes are int32; all 32 bits should be well mixed. */
export class HashIndex {
  private readonly hashOf: (row: number) => number
  private readonly segments: Uint32Array[] = new Array<Uint32Array>(segmentCount).fill(NO_SEGMENT)
  private readonly counts = new Uint32Array(segmentCount)
  private entries = 0
  private words = 0
  // Where the search under way stands. Searches are synchronous and do not nest.
  private segment: Uint32Array = NO_SEGMENT
  private at = 0
  private tag = 0

  /** `hashOf` gives the hash of a row that is in the index; it is called only by writes. */
  constructor(hashOf: (row: number) => number) {
    this.hashOf = hashOf
  }

  get size(): number {
    return this.entries
  }

  /** Octets of all arrays. */
  get bytes(): number {
    return this.words * 4 + this.counts.byteLength + segmentCount * 8
  }

  /** The first row that may have this hash, or `NO_ROW`. The caller compares, and asks `next` if it is another one. */
  first(hash: number): number {
    const segment = this.segments[hash >>> segmentShift] ?? NO_SEGMENT
    this.segment = segment
    this.at = hash & (segment.length - 1)
    this.tag = (hash >>> tagShift) & tagMask
    return this.next()
  }

  /** The next row that may have the hash given to `first`, or `NO_ROW`. */
  next(): number {
    const segment = this.segment
    const mask = segment.length - 1
    for (let at = this.at; ; at = (at + 1) & mask) {
      const entry = segment[at] ?? 0
      if (entry === 0) return NO_ROW
      if (entry >>> rowBits === this.tag) {
        this.at = (at + 1) & mask
        return rowOf(entry)
      }
    }
  }

  /** Adds a row that is not in the index. @throws RangeError beyond `indexRowMax`. */
  insert(hash: number, row: number): void {
    if (row > indexRowMax) throw new RangeError(`an index holds at most ${indexRowMax} rows`)
    const number = hash >>> segmentShift
    const count = (this.counts[number] ?? 0) + 1
    const length = this.segments[number]?.length ?? 0
    if (isFull(count, length)) this.resize(number, Math.max(segmentLengthMin, length * 2))
    place(this.segments[number] ?? NO_SEGMENT, hash, row)
    this.counts[number] = count
    this.entries++
  }

  /** Takes out a row; `hash` is the row's. A row that is not there changes nothing. */
  remove(hash: number, row: number): void {
    const number = hash >>> segmentShift
    const segment = this.segments[number] ?? NO_SEGMENT
    const at = positionOf(segment, hash, row)
    if (at < 0) return
    this.closeGap(segment, at)
    const count = (this.counts[number] ?? 0) - 1
    this.counts[number] = count
    this.entries--
    if (isSparse(count, segment.length)) this.resize(number, segment.length / 2)
  }

  /** Gives a row another number; its hash stays. */
  renumber(hash: number, from: number, to: number): void {
    const segment = this.segments[hash >>> segmentShift] ?? NO_SEGMENT
    const at = positionOf(segment, hash, from)
    if (at >= 0) segment[at] = entryOf(hash, to)
  }

  /** Makes room for `rows` evenly spread rows, so that filling the index grows nothing. */
  reserve(rows: number): void {
    const mean = Math.min(rows, indexRowMax) / segmentCount
    const most = mean + 4 * Math.sqrt(mean)
    let length = segmentLengthMin
    while (isFull(most, length)) length *= 2
    for (let number = 0; number < segmentCount; number++) {
      if ((this.segments[number]?.length ?? 0) < length) this.resize(number, length)
    }
  }

  clear(): void {
    this.segments.fill(NO_SEGMENT)
    this.counts.fill(0)
    this.segment = NO_SEGMENT
    this.entries = 0
    this.words = 0
  }

  private resize(number: number, length: number): void {
    const old = this.segments[number] ?? NO_SEGMENT
    const segment = new Uint32Array(length)
    for (const entry of old) {
      if (entry !== 0) place(segment, this.hashOf(rowOf(entry)), rowOf(entry))
    }
    this.segments[number] = segment
    this.words += length - (old === NO_SEGMENT ? 0 : old.length)
  }

  /** Moves later entries of the run back over the gap, so that no search ends too early and no tombstone stays. */
  private closeGap(segment: Uint32Array, gap: number): void {
    const mask = segment.length - 1
    let hole = gap
    for (let at = (gap + 1) & mask; ; at = (at + 1) & mask) {
      const entry = segment[at] ?? 0
      if (entry === 0) break
      const home = this.hashOf(rowOf(entry)) & mask
      if (((at - home) & mask) < ((at - hole) & mask)) continue
      segment[hole] = entry
      hole = at
    }
    segment[hole] = 0
  }
}

function entryOf(hash: number, row: number): number {
  return ((((hash >>> tagShift) & tagMask) << rowBits) | (row + 1)) >>> 0
}

function rowOf(entry: number): number {
  return (entry & (2 ** rowBits - 1)) - 1
}

function place(segment: Uint32Array, hash: number, row: number): void {
  const mask = segment.length - 1
  let at = hash & mask
  while ((segment[at] ?? 0) !== 0) at = (at + 1) & mask
  segment[at] = entryOf(hash, row)
}

function positionOf(segment: Uint32Array, hash: number, row: number): number {
  const mask = segment.length - 1
  const wanted = entryOf(hash, row)
  for (let at = hash & mask; ; at = (at + 1) & mask) {
    const entry = segment[at] ?? 0
    if (entry === wanted) return at
    if (entry === 0) return -1
  }
}

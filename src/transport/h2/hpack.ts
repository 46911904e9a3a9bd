// Header blocks (RFC 7541): every representation, both tables, Huffman, size updates. Decoded fields go to a CallHead as role and
// verdict; the dynamic table keeps those, not texts. One decoder a connection, since the table is the connection's.
import { type CallHead, type FieldMeanings, METADATA, PATH } from './call-head.ts'
import { decodeHuffman } from './huffman.ts'
import { staticTable } from './static-table.ts'

/** Octets of the dynamic table that we allow: the default, which we never change. */
export const TABLE_SIZE_MAX = 4096
/** RFC 7541 section 4.1. */
const FIELD_OVERHEAD = 32
/** RFC 7541 section 4.2: a smallest and a last size, at the beginning of a block. */
const SIZE_UPDATES_MAX = 2
/** Entries that a full table can have; a power of two. */
const ENTRIES_MAX = TABLE_SIZE_MAX / FIELD_OVERHEAD

/**
 * Octets of a header block that are decoded; whoever calls keeps to it. More than an Envoy takes from one client by default (60 KiB),
 * since tracing hands on `tracestate` and `baggage`: such a call is refused for its list, and costs nobody else the connection.
 */
export const HEADER_BLOCK_MAX = 65_536
/** Room for the longest text of such a block, its codes being 5 bits at least. */
const TEXT_MAX = Math.ceil((HEADER_BLOCK_MAX * 8) / 5)

/** Decoded strings, each until the next: decoding is synchronous, so all connections share it. */
const scratch = Buffer.allocUnsafeSlow(TEXT_MAX)

/** A field as tables keep it. */
export interface Field {
  readonly role: number
  readonly verdict: number
  /** Of metadata. */
  readonly text: string | undefined
  readonly nameLength: number
  readonly size: number
}

/** What all decoders of a server share. */
export interface HpackTables {
  readonly meanings: FieldMeanings
  /** The static table, index 1 first. */
  readonly statics: readonly Field[]
}

export function createHpackTables(meanings: FieldMeanings): HpackTables {
  const statics = staticTable.map(([name, value]) => {
    const octets = Buffer.from(value, 'latin1')
    const role = meanings.roleOf(name)
    return {
      role,
      verdict: meanings.verdictOf(role, octets, 0, octets.length),
      text: value,
      nameLength: name.length,
      size: name.length + value.length + FIELD_OVERHEAD,
    }
  })
  return { meanings, statics }
}

export class HpackDecoder {
  private readonly meanings: FieldMeanings
  private readonly statics: readonly Field[]
  /** A ring: the newest is at `newest`. */
  private readonly entries: (Field | undefined)[] = new Array<Field | undefined>(ENTRIES_MAX).fill(undefined)
  private newest = 0
  private count = 0
  private size = 0
  private sizeMax = TABLE_SIZE_MAX
  private block: Buffer = Buffer.alloc(0)
  private at = 0
  private end = 0
  /** The string that was read last. */
  private text: Buffer = this.block
  private textStart = 0
  private textEnd = 0
  /** The last `:path` that came as a literal, as it was encoded, and what it meant: most calls repeat it. */
  private path = Buffer.allocUnsafeSlow(256)
  private pathLength = -1
  private pathVerdict = 0
  private pathSize = 0

  constructor({ meanings, statics }: HpackTables) {
    this.meanings = meanings
    this.statics = statics
  }

  /** Decodes a whole block; false is COMPRESSION_ERROR, and then the connection cannot go on. */
  decode(block: Buffer, start: number, end: number, head: CallHead): boolean {
    this.block = block
    this.at = start
    this.end = end
    let updates = 0
    let hasFields = false
    while (this.at < end) {
      const octet = block[this.at] ?? 0
      if (octet >= 0x20 && octet < 0x40) {
        if (hasFields || ++updates > SIZE_UPDATES_MAX || !this.resize(this.integer(5))) return false
        continue
      }
      hasFields = true
      if (octet >= 0x80) {
        const field = this.fieldAt(this.integer(7))
        if (field === undefined) return false
        head.take(field.role, field.verdict, field.text, field.size)
      } else if (!this.literal(octet >= 0x40, head)) return false
    }
    return true
  }

  private literal(isIndexed: boolean, head: CallHead): boolean {
    const index = this.integer(isIndexed ? 6 : 4)
    if (index < 0) return false
    let role: number
    let nameLength: number
    if (index === 0) {
      if (!this.string()) return false
      nameLength = this.textEnd - this.textStart
      role = this.meanings.roleOf(this.text.toString('latin1', this.textStart, this.textEnd))
    } else {
      const named = this.fieldAt(index)
      if (named === undefined) return false
      role = named.role
      nameLength = named.nameLength
    }
    if (role === PATH && !isIndexed) return this.literalPath(nameLength, head)
    if (!this.string()) return false
    const size = nameLength + this.textEnd - this.textStart + FIELD_OVERHEAD
    const verdict = this.meanings.verdictOf(role, this.text, this.textStart, this.textEnd)
    const text = role >= METADATA ? this.text.toString('latin1', this.textStart, this.textEnd) : undefined
    if (isIndexed) this.insert({ role, verdict, text, nameLength, size })
    head.take(role, verdict, text, size)
    return true
  }

  private literalPath(nameLength: number, head: CallHead): boolean {
    const start = this.at
    if (this.pathLength > 0 && start + this.pathLength <= this.end && this.isLastPath(start)) {
      this.at = start + this.pathLength
    } else {
      if (!this.string()) return false
      this.pathVerdict = this.meanings.verdictOf(PATH, this.text, this.textStart, this.textEnd)
      this.pathSize = nameLength + this.textEnd - this.textStart + FIELD_OVERHEAD
      const length = this.at - start
      this.pathLength = length <= this.path.length ? length : -1
      if (this.pathLength > 0) this.block.copy(this.path, 0, start, this.at)
    }
    head.take(PATH, this.pathVerdict, undefined, this.pathSize)
    return true
  }

  /** Equal octets are equal strings: the length that they begin with is part of them. */
  private isLastPath(start: number): boolean {
    const { block, path } = this
    for (let i = 0; i < this.pathLength; i++) if (block[start + i] !== path[i]) return false
    return true
  }

  /** RFC 7541 section 5.1; -1 where it is cut off, or larger than any index or length that we take. */
  private integer(prefix: number): number {
    const max = (1 << prefix) - 1
    let value = (this.block[this.at++] ?? 0) & max
    if (value < max) return value
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.at >= this.end) return -1
      const octet = this.block[this.at++] ?? 0
      value += (octet & 0x7f) << shift
      if (octet < 0x80) return value
    }
    return -1
  }

  /** RFC 7541 section 5.2. */
  private string(): boolean {
    if (this.at >= this.end) return false
    const isHuffman = (this.block[this.at] ?? 0) >= 0x80
    const length = this.integer(7)
    const start = this.at
    if (length < 0 || start + length > this.end) return false
    this.at = start + length
    if (!isHuffman) {
      this.text = this.block
      this.textStart = start
      this.textEnd = this.at
      return true
    }
    const decoded = decodeHuffman(this.block, start, this.at, scratch)
    this.text = scratch
    this.textStart = 0
    this.textEnd = decoded
    return decoded >= 0
  }

  private fieldAt(index: number): Field | undefined {
    if (index <= 0) return undefined
    if (index <= this.statics.length) return this.statics[index - 1]
    const age = index - this.statics.length - 1
    return age < this.count ? this.entries[(this.newest - age) & (ENTRIES_MAX - 1)] : undefined
  }

  private insert(field: Field): void {
    this.evict(this.sizeMax - field.size)
    if (field.size > this.sizeMax) return
    this.newest = (this.newest + 1) & (ENTRIES_MAX - 1)
    this.entries[this.newest] = field
    this.count++
    this.size += field.size
  }

  private resize(sizeMax: number): boolean {
    if (sizeMax < 0 || sizeMax > TABLE_SIZE_MAX) return false
    this.sizeMax = sizeMax
    this.evict(sizeMax)
    return true
  }

  private evict(sizeMax: number): void {
    while (this.count > 0 && this.size > sizeMax) {
      const oldest = (this.newest - this.count + 1) & (ENTRIES_MAX - 1)
      this.size -= this.entries[oldest]?.size ?? 0
      this.entries[oldest] = undefined
      this.count--
    }
  }
}

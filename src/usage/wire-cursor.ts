// Walks protobuf octets that a proxy sent, without making an object for each field. What is broken throws; a number beyond 2^53
// comes out inexact, which no caller takes for a count. Never reads outside the limit it is given.

const VARINT = 0
const FIXED64 = 1
const LENGTH = 2
const FIXED32 = 5
/** Octets of the longest varint. */
const varintLengthMax = 10

/** A message that is none. */
export class WireError extends Error {
  override readonly name = 'WireError'
}

export class WireCursor {
  readonly bytes: Buffer
  at = 0
  /** Number and wire type of the field that `next` found. */
  field = 0
  private wire = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  /** Finds the next field before `limit`. */
  next(limit: number): boolean {
    if (this.at >= limit) return false
    const tag = this.varint(limit)
    this.wire = tag % 8
    this.field = (tag - this.wire) / 8
    if (tag < 8 || tag > 0xffff_ffff) throw new WireError('no tag')
    return true
  }

  /** Enters the length-delimited value at hand: its octets come next. @returns where it ends */
  enter(limit: number): number {
    if (this.wire !== LENGTH) throw new WireError('no length where one should be')
    const length = this.varint(limit)
    if (length > limit - this.at) throw new WireError('a value reaches beyond its message')
    return this.at + length
  }

  /** The number at hand, read as unsigned. */
  number(limit: number): number {
    if (this.wire !== VARINT) throw new WireError('no number where one should be')
    return this.varint(limit)
  }

  /** Passes over the value at hand. Groups are refused: no schema of Envoy has one. */
  skip(limit: number): void {
    if (this.wire === LENGTH) this.at = this.enter(limit)
    else if (this.wire === VARINT) this.varint(limit)
    else if (this.wire === FIXED64) this.at += 8
    else if (this.wire === FIXED32) this.at += 4
    else throw new WireError('a group')
    if (this.at > limit) throw new WireError('a value reaches beyond its message')
  }

  private varint(limit: number): number {
    const { bytes } = this
    let value = 0
    let scale = 1
    for (let count = 0; count < varintLengthMax; count++) {
      if (this.at >= limit) break
      const octet = bytes[this.at++] ?? 0
      value += (octet & 0x7f) * scale
      if (octet < 0x80) return value
      scale *= 128
    }
    throw new WireError('a number without an end')
  }
}

/** Where a text stands in the octets of a message. */
export class Span {
  start = 0
  end = 0

  reset(): void {
    this.start = this.end = 0
  }

  /** Takes the length-delimited value at hand. */
  take(cursor: WireCursor, limit: number): void {
    this.end = cursor.enter(limit)
    this.start = cursor.at
    cursor.at = this.end
  }

  equals(bytes: Buffer, name: Buffer): boolean {
    const { start } = this
    const { length } = name
    if (this.end - start !== length) return false
    for (let i = 0; i < length; i++) if (bytes[start + i] !== name[i]) return false
    return true
  }

  /** At most `max` octets of it. */
  text(bytes: Buffer, max: number): string {
    return this.start === this.end ? '' : bytes.toString('utf8', this.start, Math.min(this.end, this.start + max))
  }
}

/** An entry of a map: its key and its value, wherever they stand. */
export class PairSpan {
  readonly key = new Span()
  readonly value = new Span()

  /** Reads the entry at hand; the cursor stands behind it. */
  take(cursor: WireCursor, limit: number): void {
    this.key.reset()
    this.value.reset()
    const end = cursor.enter(limit)
    while (cursor.next(end)) {
      if (cursor.field === 1) this.key.take(cursor, end)
      else if (cursor.field === 2) this.value.take(cursor, end)
      else cursor.skip(end)
    }
  }
}

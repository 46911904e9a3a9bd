// Reads protobuf fields one after the other from octets that nobody has checked. It never throws: what two decoders could
// read in two ways makes the reader unsound, and an unsound reader gives no further field.

const nothing = new Uint8Array(0)

const VARINT = 0
const FIXED64 = 1
const LENGTH = 2
const FIXED32 = 5

/** Octets of the longest varint. */
const varintLengthMax = 10

/** A cursor over one message. Reused; nested messages are read by the same cursor with a nearer limit. */
export class WireReader {
  bytes: Uint8Array = nothing
  /** Position of the next octet. */
  at = 0
  /** Number and wire type of the field found by `next`. */
  field = 0
  wire = 0
  /** Range of the value taken by `take`. */
  start = 0
  end = 0
  /** False once anything was wrong. */
  sound = true

  begin(bytes: Uint8Array, at: number): void {
    this.bytes = bytes
    this.at = at
    this.sound = true
  }

  /** Forgets the octets. */
  release(): void {
    this.bytes = nothing
  }

  // `next` and `take` read one octet themselves, which is what nearly all tags and lengths are, and are short so that they
  // can stand inside their callers.

  /** Reads the next tag before `limit`; false at the end and when unsound. */
  next(limit: number): boolean {
    const { at } = this
    if (!this.sound || at >= limit) return false
    const tag = this.bytes[at] ?? 0
    if (tag < 8 || tag >= 0x80) return this.nextLong(limit)
    this.at = at + 1
    this.field = tag >>> 3
    this.wire = tag & 7
    return true
  }

  /** Takes the length-delimited value of the field at hand. */
  take(limit: number): void {
    const start = this.at + 1
    const length = this.bytes[this.at] ?? 0
    const end = start + length
    if (this.wire !== LENGTH || length >= 0x80 || end > limit) {
      this.takeLong(limit)
      return
    }
    this.start = start
    this.end = this.at = end
  }

  private nextLong(limit: number): boolean {
    const tag = this.readNumber(limit)
    this.field = tag >>> 3
    this.wire = tag & 7
    // Field number 0 does not exist; -1 is a tag that could not be read.
    if (tag < 8) this.sound = false
    return this.sound
  }

  private takeLong(limit: number): void {
    const length = this.wire === LENGTH ? this.readNumber(limit) : -1
    this.start = this.end = this.at
    if (length < 0 || length > limit - this.at) {
      this.sound = false
      return
    }
    this.end = this.at += length
  }

  /** Takes the value as a nested message: its fields come next, up to the limit that is returned. */
  enter(limit: number): number {
    this.take(limit)
    this.at = this.start
    return this.end
  }

  /** Passes over the value of the field at hand. Groups are refused: no schema of ours has had one. */
  skip(limit: number): void {
    if (this.wire === LENGTH) {
      this.take(limit)
    } else if (this.wire === VARINT) {
      this.skipVarint(limit)
    } else {
      this.at += this.wire === FIXED64 ? 8 : this.wire === FIXED32 ? 4 : limit - this.at + 1
      if (this.at > limit) this.sound = false
    }
  }

  /** Notes that the field at hand came, in a set of field numbers up to 31; coming twice is unsound. */
  once(seen: number): number {
    const bit = 1 << this.field
    if ((seen & bit) !== 0) this.sound = false
    return seen | bit
  }

  /** A tag or length in the fewest octets it needs, below 2^32; -1 for anything else. */
  private readNumber(limit: number): number {
    const { bytes } = this
    const first = bytes[this.at] ?? 0
    if (first < 0x80 && this.at < limit) {
      this.at++
      return first
    }
    let value = 0
    let scale = 1
    for (let count = 0; count < 5 && this.at < limit; count++) {
      const octet = bytes[this.at++] ?? 0
      value += (octet & 0x7f) * scale
      scale *= 128
      // A last octet of zero says nothing: the number was written longer than need be.
      if (octet < 0x80) return octet === 0 || value > 0xffff_ffff ? -1 : value
    }
    return -1
  }

  private skipVarint(limit: number): void {
    for (let count = 0; count < varintLengthMax && this.at < limit; count++) {
      const octet = this.bytes[this.at++] ?? 0
      if (octet >= 0x80) continue
      // The tenth octet has one bit left; and a number is not padded.
      if ((count > 0 && octet === 0) || (count === varintLengthMax - 1 && octet > 1)) this.sound = false
      return
    }
    this.sound = false
  }
}

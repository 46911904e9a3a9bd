// The buffer a reply is written into, from its last octet to its first: so the length of every nested message is known
// when its turn comes, and nothing is measured or moved. Never grows; what does not fit is a RangeError for the caller.

/** Octets of the largest reply; Envoy takes at most 16 KiB a header and we send few. */
export const replyLengthMax = 64 * 1024

/** Above this many octets the built-in copy is faster than a loop. */
const loopLengthMax = 24

/** One buffer for all replies of a process. */
export class ReplyBuffer {
  readonly bytes: Buffer = Buffer.alloc(replyLengthMax)
  /** Start of what has been written; it ends at the end of the buffer. */
  at: number = replyLengthMax

  reset(): void {
    this.at = replyLengthMax
  }

  /** Writes octets in front. */
  prepend(part: Uint8Array): void {
    const { length } = part
    const at = this.claim(length)
    if (length > loopLengthMax) this.bytes.set(part, at)
    else for (let i = 0; i < length; i++) this.bytes[at + i] = part[i] ?? 0
  }

  /** Writes `source[0, length)` in front. */
  prependStart(source: Uint8Array, length: number): void {
    const at = this.claim(length)
    for (let i = 0; i < length; i++) this.bytes[at + i] = source[i] ?? 0
  }

  /** Writes printable ASCII in front; any other character becomes `?`, so that no value can end a line. */
  prependText(text: string): void {
    const at = this.claim(text.length)
    for (let i = 0; i < text.length; i++) {
      const character = text.charCodeAt(i)
      this.bytes[at + i] = character >= 0x20 && character <= 0x7e ? character : 0x3f
    }
  }

  /** Writes a whole number in decimal; 0 for anything that is none. */
  prependDecimal(value: number): void {
    let rest = Number.isSafeInteger(value) && value > 0 ? value : 0
    do {
      const quotient = Math.floor(rest / 10)
      this.prependOctet(0x30 + rest - quotient * 10)
      rest = quotient
    } while (rest > 0)
  }

  prependOctet(octet: number): void {
    this.bytes[this.claim(1)] = octet
  }

  /** Makes what has been written since the buffer's start stood at `end` a length-delimited field. `tag` is one octet. */
  wrap(tag: number, end: number): void {
    const length = end - this.at
    if (length < 0x80) {
      this.prependOctet(length)
    } else {
      const at = this.claim(length < 0x4000 ? 2 : 3)
      this.bytes[at] = (length & 0x7f) | 0x80
      this.bytes[at + 1] = length < 0x4000 ? length >>> 7 : ((length >>> 7) & 0x7f) | 0x80
      if (length >= 0x4000) this.bytes[at + 2] = length >>> 14
    }
    this.prependOctet(tag)
  }

  /** A copy of what has been written. */
  copy(): Buffer {
    return Buffer.from(this.bytes.subarray(this.at))
  }

  private claim(length: number): number {
    const at = this.at - length
    if (at < 0) throw new RangeError('the reply is larger than any reply may be')
    this.at = at
    return at
  }
}

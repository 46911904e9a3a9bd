// The octets that leave with the next write: one buffer, used again while the socket has taken all of it.

/** Enough for the replies of most reads. */
const INITIAL = 16 * 1024
/** A buffer that grew beyond this is not kept: an idle connection holds no more. */
const KEPT_MAX = 64 * 1024

export class Output {
  buffer = Buffer.allocUnsafeSlow(INITIAL)
  length = 0

  /** Makes room for `octets` more behind `length`. */
  reserve(octets: number): void {
    if (this.length + octets <= this.buffer.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.length + octets))
    this.buffer.copy(grown, 0, 0, this.length)
    this.buffer = grown
  }

  append(octets: Uint8Array): void {
    this.reserve(octets.length)
    this.buffer.set(octets, this.length)
    this.length += octets.length
  }

  /** What is to be written now. The caller says by `renew` or `reuse` what becomes of the memory. */
  taken(): Buffer {
    return this.buffer.subarray(0, this.length)
  }

  /** The memory is free again. */
  reuse(): void {
    this.length = 0
    if (this.buffer.length > KEPT_MAX) this.buffer = Buffer.allocUnsafeSlow(INITIAL)
  }

  /** The socket still holds the memory: goes on with another. */
  renew(): void {
    this.buffer = Buffer.allocUnsafeSlow(INITIAL)
    this.length = 0
  }
}

// The octets that leave with the next write: one buffer, used again while the socket has taken all of it. It grows to what the replies
// of a read need and stays so while they come; a new one for each read would make the garbage collector run all the time, since it
// counts memory outside its heap as well.

/** What an idle connection holds. */
const INITIAL = 16 * 1024
/** A buffer that grew beyond this is not kept, so that a connection holds no more: replies to a full read fit, 200 of 1.3 kB. */
const KEPT_MAX = 256 * 1024

export class Output {
  buffer = Buffer.allocUnsafeSlow(INITIAL)
  length = 0
  /** Most that was written at once since the last `trim`. */
  private most = 0

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
    this.most = Math.max(this.most, this.length)
    this.length = 0
    if (this.buffer.length > KEPT_MAX) this.buffer = Buffer.allocUnsafeSlow(INITIAL)
  }

  /** The socket still holds the memory: goes on with another. */
  renew(): void {
    this.buffer = Buffer.allocUnsafeSlow(INITIAL)
    this.length = 0
  }

  /** Lets go of memory that was not needed since the last call. Call it now and then. */
  trim(): void {
    if (this.length === 0 && this.most <= INITIAL && this.buffer.length > INITIAL)
      this.buffer = Buffer.allocUnsafeSlow(INITIAL)
    this.most = 0
  }
}

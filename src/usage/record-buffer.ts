// A preallocated buffer that a batch's records are written into, value by value, without allocating.
// Texts of requests are made harmless on the way in: printable ASCII passes as it is, four octets at a time; anything else
// takes a slower way that keeps readable characters and replaces controls, format characters and broken UTF-8.
// It never writes more octets of a text than its bound, and nothing of a secret behind a key prefix.
import { frameHeaderLength, frameLengthMax, recordLengthMax } from './record-format.ts'
import { SecretCover, toHarmless } from './text-guard.ts'

/** PostgreSQL's numbers of the address families in a binary inet. */
const INET4 = 2
const INET6 = 3

/** The first column's octets cannot be told from these by a reader: NULL. */
const NULL_LENGTH = -1

/** Octets that never change, with their length in front; readable past their end. */
export interface Constant {
  readonly view: DataView
  readonly length: number
}

export class RecordBuffer {
  readonly bytes: Buffer = Buffer.alloc(frameLengthMax + recordLengthMax)
  /** Where the next octet goes. */
  at = frameHeaderLength
  /** Complete records. */
  count = 0
  private readonly view: DataView = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length)
  private start = frameHeaderLength
  private cover = new SecretCover([])
  /** The marker octet of `cover` four times. */
  private markers = 0

  /** Texts of requests are covered by this from now on. */
  coverWith(cover: SecretCover): void {
    this.cover = cover
    this.markers = Math.imul(cover.marker, 0x0101_0101)
  }

  get isFull(): boolean {
    return this.at > frameLengthMax
  }

  clear(): void {
    this.at = frameHeaderLength
    this.count = 0
  }

  beginRecord(): void {
    this.start = this.at
    this.at += 4
  }

  /** Until here the record does not exist: a throw on the way leaves none. */
  endRecord(): void {
    this.view.setInt32(this.start, this.at - this.start)
    this.count++
  }

  /** Forgets a record that was begun. */
  dropRecord(): void {
    this.at = this.start
  }

  putNull(): void {
    this.view.setInt32(this.at, NULL_LENGTH)
    this.at += 4
  }

  putEmpty(): void {
    this.view.setInt32(this.at, 0)
    this.at += 4
  }

  putInt16(value: number): void {
    this.view.setInt32(this.at, 2)
    this.view.setInt16(this.at + 4, value)
    this.at += 6
  }

  /** A whole number of microseconds since PostgreSQL's epoch. */
  putTime(micros: number): void {
    const high = Math.floor(micros / 0x1_0000_0000)
    this.view.setInt32(this.at, 8)
    this.view.setInt32(this.at + 4, high)
    this.view.setUint32(this.at + 8, micros - high * 0x1_0000_0000)
    this.at += 12
  }

  /** A UUID from its 36 characters. */
  putUuid(text: Uint8Array): void {
    const { bytes } = this
    this.view.setInt32(this.at, 16)
    let to = this.at + 4
    for (let i = 0; i < 36; i += 2) {
      if (i === 8 || i === 13 || i === 18 || i === 23) i++
      bytes[to++] = ((nibbles[text[i] ?? 0] ?? 0) << 4) | (nibbles[text[i + 1] ?? 0] ?? 0)
    }
    this.at = to
  }

  putAddress(family: number, w0: number, w1: number, w2: number, w3: number): void {
    const { view, at } = this
    if (family === 4) {
      view.setInt32(at, 8)
      view.setUint32(at + 4, (INET4 << 24) | (32 << 16) | 4)
      view.setUint32(at + 8, w0)
      this.at = at + 12
    } else if (family === 6) {
      view.setInt32(at, 20)
      view.setUint32(at + 4, (INET6 << 24) | (128 << 16) | 16)
      view.setUint32(at + 8, w0)
      view.setUint32(at + 12, w1)
      view.setUint32(at + 16, w2)
      view.setUint32(at + 20, w3)
      this.at = at + 24
    } else {
      this.putNull()
    }
  }

  putConstant({ view, length }: Constant): void {
    this.copy(view, length)
  }

  /** A text of ours that is known to be harmless; `view` is readable up to the next multiple of 4. */
  putOwn(view: DataView, length: number): void {
    this.view.setInt32(this.at, length)
    this.at += 4
    this.copy(view, length)
  }

  /** Octet order does not matter to a copy: the machine's own is the cheaper one. */
  private copy(source: DataView, length: number): void {
    const { view, at } = this
    for (let i = 0; i < length; i += 4) view.setInt32(at + i, source.getInt32(i, true), true)
    this.at = at + length
  }

  /** An id with what stands around it. */
  putWrapped(prefix: Uint8Array, id: Uint8Array, suffix: Uint8Array): void {
    const length = prefix.length + id.length + suffix.length
    const at = this.at + 4
    this.view.setInt32(at - 4, length)
    this.bytes.set(prefix, at)
    this.bytes.set(id, at + prefix.length)
    this.bytes.set(suffix, at + prefix.length + id.length)
    this.at = at + length
  }

  /** A text of a request, `[start, end)` of `source`, cut at `max` octets. */
  putText(source: DataView, start: number, end: number, max: number): void {
    const length = end - start
    if (length > max) this.putSlowly(source, start, end, max)
    else if (length <= 0) this.putEmpty()
    else this.putShort(source, start, end, max)
  }

  private putShort(source: DataView, start: number, end: number, max: number): void {
    const { view, markers } = this
    const length = end - start
    const to = this.at + 4
    let odd = 0
    let marks = 0
    let at = 0
    for (const whole = length - 3; at < whole; at += 4) {
      const word = source.getInt32(start + at, true)
      view.setInt32(to + at, word, true)
      const marked = word ^ markers
      const encoded = word ^ percents
      // An octet has its high bit, is below a blank, or reaches DEL: the high bit of one of these terms.
      odd |= word | (word - 0x2020_2020) | (word + 0x0101_0101)
      // An octet is 0 in one of these, which borrows from its high bit.
      marks |= ((marked - 0x0101_0101) & ~marked) | ((encoded - 0x0101_0101) & ~encoded)
    }
    for (; at < length; at++) {
      const octet = source.getUint8(start + at)
      view.setUint8(to + at, octet)
      odd |= octet | (octet - 0x20) | (octet + 1)
      if (octet === (markers & 0xff) || octet === PERCENT) marks = -1
    }
    if ((odd & 0x8080_8080) !== 0) {
      this.putSlowly(source, start, end, max)
      return
    }
    view.setInt32(this.at, length)
    this.at = to + length
    if ((marks & 0x8080_8080) !== 0 || this.cover.marker < 0) this.cover.cover(this.bytes, to, this.at, false)
  }

  private putSlowly(source: DataView, start: number, end: number, max: number): void {
    const octets = toHarmless(source, start, end, max)
    const to = this.at + 4
    this.bytes.set(octets, to)
    this.view.setInt32(this.at, octets.length)
    this.at = to + octets.length
    this.cover.cover(this.bytes, to, this.at, end - start > max)
  }
}

const PERCENT = 0x25
const percents = 0x2525_2525

const nibbles = new Uint8Array(256)
for (let digit = 0; digit < 16; digit++) nibbles[digit.toString(16).charCodeAt(0)] = digit

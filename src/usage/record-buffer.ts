// A preallocated buffer that a batch's records are written into, value by value, without allocating.
// Texts of requests are made harmless on the way in: printable ASCII passes as it is, four octets at a time; anything else
// takes a slower way that keeps readable characters and replaces controls, format characters and broken UTF-8.
// It never writes more octets of a text than its bound, and nothing of a secret behind a key prefix.
import type { AddressWords } from '../core/address-octets.ts'
import {
  decisionIdAt,
  frameHeaderLength,
  frameLengthMax,
  placeLengthShift,
  placeOffsetMask,
  recordHeadLength,
  recordLengthAt,
  recordLengthMax,
  ruleAt,
  statusAt,
  timeAt,
} from './record-format.ts'
import { SecretCover, toHarmless } from './text-guard.ts'

/** Octets that never change. They stand once in each frame that has need of them. */
export class Constant {
  readonly length: number
  /** Readable up to the next multiple of 4. */
  readonly view: DataView
  /** The frame that they were written into last, and where. */
  frame = 0
  place = 0

  constructor(octets: Uint8Array) {
    const padded = Buffer.alloc(octets.length + 4)
    padded.set(octets)
    this.length = octets.length
    this.view = viewOf(padded)
  }
}

export function viewOf(octets: Uint8Array): DataView {
  return new DataView(octets.buffer, octets.byteOffset, octets.byteLength)
}

/** Frames are numbered, so that a constant knows whether it stands in this one. */
let frames = 0

export class RecordBuffer {
  readonly bytes: Buffer = Buffer.alloc(frameLengthMax + recordLengthMax)
  /** Where the next octet goes: a multiple of 4. */
  at = frameHeaderLength
  /** Complete records. */
  count = 0
  private readonly view: DataView = viewOf(this.bytes)
  private frame = ++frames
  private start = frameHeaderLength
  /** Start of the record before; 0: none whose texts may stand for those of the next one. */
  private previous = 0
  private cover = new SecretCover([])
  /** The marker octet of `cover` four times. */
  private markers = 0

  /** Texts of requests are covered by this from now on. */
  coverWith(cover: SecretCover): void {
    this.cover = cover
    this.markers = Math.imul(cover.marker, 0x0101_0101)
    this.previous = 0
  }

  get isFull(): boolean {
    return this.at > frameLengthMax
  }

  clear(): void {
    this.at = frameHeaderLength
    this.count = 0
    this.previous = 0
    this.frame = ++frames
  }

  /** @param micros a whole number of microseconds since PostgreSQL's epoch @param decisionId four words */
  beginRecord(micros: number, decisionId: Int32Array, status: number): void {
    const { view, at } = this
    this.start = at
    view.setInt32(at + statusAt, status, true)
    view.setFloat64(at + timeAt, micros, true)
    for (let i = 0; i < 4; i++) view.setInt32(at + decisionIdAt + i * 4, decisionId[i] ?? 0)
    for (let field = ruleAt; field < recordHeadLength; field += 4) view.setInt32(at + field, 0, true)
    this.at = at + recordHeadLength
  }

  /** Until here the record does not exist: a throw on the way leaves none. */
  endRecord(): void {
    this.view.setInt32(this.start + recordLengthAt, this.at - this.start, true)
    this.previous = this.start
    this.count++
  }

  /** Forgets a record that was begun, and the constants that stand in it. */
  dropRecord(): void {
    this.at = this.start
    this.frame = ++frames
  }

  putConstant(field: number, constant: Constant): void {
    if (constant.frame !== this.frame) {
      constant.place = this.copy(constant.view, constant.length)
      constant.frame = this.frame
    }
    this.view.setInt32(this.start + field, constant.place, true)
  }

  /** A text of ours that is known to be harmless; `source` is readable up to the next multiple of 4. */
  putOwn(field: number, source: DataView, length: number): void {
    if (length <= 0 || this.repeats(field, source, 0, length)) return
    this.view.setInt32(this.start + field, this.copy(source, length), true)
  }

  /** An address of family 4 or 6; of none nothing is written. */
  putAddress(field: number, { family, w0, w1, w2, w3 }: AddressWords): void {
    if (family === 0) return
    const { view, at } = this
    view.setInt32(at, w0)
    if (family === 6) {
      view.setInt32(at + 4, w1)
      view.setInt32(at + 8, w2)
      view.setInt32(at + 12, w3)
    }
    this.settle(field, family === 6 ? 16 : 4)
  }

  /** An id with what stands around it. */
  putWrapped(field: number, prefix: Uint8Array, id: Uint8Array, suffix: Uint8Array): void {
    const { bytes, at } = this
    this.endWithZeros(prefix.length + id.length + suffix.length)
    bytes.set(prefix, at)
    bytes.set(id, at + prefix.length)
    bytes.set(suffix, at + prefix.length + id.length)
    this.settle(field, prefix.length + id.length + suffix.length)
  }

  /** A text of a request, `[start, end)` of `source`, cut at `max` octets. */
  putText(field: number, source: DataView, start: number, end: number, max: number): void {
    const length = end - start
    if (length > max) this.putSlowly(field, source, start, end, max)
    else if (length > 0 && !this.repeats(field, source, start, length)) this.putShort(field, source, start, end, max)
  }

  /** Whether the record before has the same octets in this place: then they stand for these. The end tells most often. */
  private repeats(field: number, source: DataView, start: number, length: number): boolean {
    const { view, previous } = this
    if (previous === 0) return false
    const place = view.getInt32(previous + field, true)
    const last = length - 4
    if (place >>> placeLengthShift !== length || last < 0) return false
    const known = place & placeOffsetMask
    if (view.getInt32(known + last, true) !== source.getInt32(start + last, true)) return false
    for (let at = 0; at < last; at += 4) {
      if (view.getInt32(known + at, true) !== source.getInt32(start + at, true)) return false
    }
    view.setInt32(this.start + field, place, true)
    return true
  }

  private putShort(field: number, source: DataView, start: number, end: number, max: number): void {
    const { view, markers, at: to } = this
    const last = end - start - 4
    if (last < 0) {
      this.putTiny(field, source, start, end, max)
      return
    }
    this.endWithZeros(end - start)
    // Of the last four octets some may have been looked at already.
    const ending = source.getInt32(start + last, true)
    let odd = ending | (ending - blanks) | (ending + ones)
    let unmarked = ((ending ^ markers) + sevens) & ((ending ^ percents) + sevens)
    for (let at = 0; at < last; at += 4) {
      const word = source.getInt32(start + at, true)
      view.setInt32(to + at, word, true)
      // An octet has its high bit, is below a blank, or reaches DEL: the high bit of one of these terms.
      odd |= word | (word - blanks) | (word + ones)
      // Of octets without their high bit: one is 0, so that its high bit stays away.
      unmarked &= ((word ^ markers) + sevens) & ((word ^ percents) + sevens)
    }
    view.setInt32(to + last, ending, true)
    if ((odd & highBits) !== 0) {
      this.putSlowly(field, source, start, end, max)
      return
    }
    if ((unmarked & highBits) !== (highBits | 0) || this.cover.marker < 0)
      this.cover.cover(this.bytes, to, to + last + 4, false)
    this.settle(field, last + 4)
  }

  /** Fewer than four octets. */
  private putTiny(field: number, source: DataView, start: number, end: number, max: number): void {
    const { view, at: to } = this
    const length = end - start
    this.endWithZeros(length)
    let odd = 0
    for (let at = 0; at < length; at++) {
      const octet = source.getUint8(start + at)
      view.setUint8(to + at, octet)
      odd |= octet | (octet - 0x20) | (octet + 1)
    }
    // Nothing that short is a secret.
    if ((odd & highBits) !== 0) this.putSlowly(field, source, start, end, max)
    else this.settle(field, length)
  }

  private putSlowly(field: number, source: DataView, start: number, end: number, max: number): void {
    const octets = toHarmless(source, start, end, max)
    const to = this.at
    this.endWithZeros(octets.length)
    this.bytes.set(octets, to)
    this.cover.cover(this.bytes, to, to + octets.length, end - start > max)
    this.settle(field, octets.length)
  }

  /** Copies octets to the tail. Their order does not matter to a copy. @returns their place */
  private copy(source: DataView, length: number): number {
    const { view, at } = this
    const whole = length & ~3
    for (let i = 0; i < whole; i += 4) view.setInt32(at + i, source.getInt32(i, true), true)
    if (whole < length)
      view.setInt32(at + whole, source.getInt32(whole, true) & ((1 << ((length - whole) * 8)) - 1), true)
    return this.advance(length)
  }

  /** The octets of a field stand at the end of the tail. */
  private settle(field: number, length: number): void {
    this.view.setInt32(this.start + field, this.advance(length), true)
  }

  /** Behind `length` octets that are about to be written to the tail nothing stands up to the next multiple of 4. */
  private endWithZeros(length: number): void {
    this.view.setInt32(this.at + (length & ~3), 0)
  }

  private advance(length: number): number {
    const place = (length << placeLengthShift) | this.at
    this.at += (length + 3) & ~3
    return place
  }
}

/** What four octets are looked at with at once. */
const highBits = 0x8080_8080
const blanks = 0x2020_2020
const ones = 0x0101_0101
const sevens = 0x7f7f_7f7f
const percents = 0x2525_2525

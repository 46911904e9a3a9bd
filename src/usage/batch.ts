// Makes one batch for the store out of a piece of a spool: each record written out as a row, with its sidecar and, if the proxy
// has told of the request's end already, its access-log half. Rows are in PostgreSQL's binary COPY form: an int16 with the
// number of columns, then each as int32 length (-1: NULL) and octets, all big-endian.

import type { Frame } from './frame.ts'
import { viewOf } from './record-buffer.ts'
import {
  clientIpAt,
  decisionIdAt,
  directIpAt,
  environmentAt,
  frameHeaderLength,
  outcomeAt,
  placeLengthShift,
  placeOffsetMask,
  recordColumns,
  recordHeadLength,
  recordLengthAt,
  recordLengthMax,
  ruleAt,
  statusAt,
  timeAt,
  uuidOctets,
} from './record-format.ts'
import type { Piece } from './segment-reader.ts'
import type { AccessHalf, TakeAccessHalf } from './usage-row.ts'

/** Columns of a stored row, in the order of its values. */
export const storedColumns: readonly string[] = [
  ...recordColumns,
  'sidecar',
  'final_status',
  'duration_us',
  'request_bytes',
  'response_bytes',
  'response_flags',
  'upstream',
  'grpc_status',
]

/** PostgreSQL's numbers of the address families in a binary inet. */
const INET4 = 2
const INET6 = 3
const halfColumns = 7
const NULL_LENGTH = -1

export interface Tuples {
  readonly tuples: Buffer
  readonly starts: readonly number[]
  readonly days: readonly string[]
}

/** @param takeHalf asked for each record; null: no access log is joined @throws Error for what no encoder writes */
export function toTuples({ bytes, frames }: Piece, sidecar: string, takeHalf: TakeAccessHalf | null): Tuples {
  const writer = new RowWriter(frames, sidecar)
  const view = viewOf(bytes)
  const starts: number[] = []
  const days = new Set<number>()
  for (const frame of frames) {
    for (let at = frame.start + frameHeaderLength; at < frame.end; ) {
      const length = view.getInt32(at + recordLengthAt, true)
      if (length < recordHeadLength || length % 4 !== 0 || at + length > frame.end)
        throw new Error('a record has a wrong length')
      const half = takeHalf?.(uuidText(bytes, at + decisionIdAt))
      starts.push(writer.at)
      days.add(Math.floor(view.getFloat64(at + timeAt, true) / dayMicros))
      writer.writeRow(view, frame, at, half)
      at += length
    }
  }
  return { tuples: writer.rows(), starts, days: [...days].map(dayText) }
}

/** The text of the UUID at `at`. */
function uuidText(bytes: Buffer, at: number): string {
  const hex = bytes.toString('hex', at, at + uuidOctets)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

const dayMicros = 86_400_000_000
/** 2000-01-01 in days of Unix time. */
const postgresEpochDay = 10_957

/** @param day days since PostgreSQL's epoch */
function dayText(day: number): string {
  const text = new Date((day + postgresEpochDay) * 86_400_000)
  return Number.isNaN(text.getTime()) ? '' : text.toISOString().slice(0, 10)
}

/** Octets of a row beyond its record: column lengths, sidecar, numbers of a half. Its texts come on top. */
const rowExtraOctets = 512
/** A row is about this many times as long as its record; more is made room for. */
const growth = 2

class RowWriter {
  at = 0
  private bytes: Buffer
  private view: DataView
  private readonly sidecar: Buffer

  constructor(frames: readonly Frame[], sidecar: string) {
    const octets = frames.reduce((sum, { start, end }) => sum + end - start, 0)
    this.bytes = Buffer.allocUnsafeSlow(octets * growth + recordLengthMax)
    this.view = viewOf(this.bytes)
    this.sidecar = Buffer.from(sidecar.replaceAll('-', ''), 'hex')
  }

  /** All rows so far. */
  rows(): Buffer {
    return this.bytes.subarray(0, this.at)
  }

  writeRow(source: DataView, frame: Frame, record: number, half: AccessHalf | undefined): void {
    this.makeRoom(recordLengthMax + rowExtraOctets + (half === undefined ? 0 : textLength(half)))
    this.view.setInt16(this.at, storedColumns.length)
    this.at += 2
    this.int64(source.getFloat64(record + timeAt, true))
    this.value(source, record + decisionIdAt, uuidOctets)
    this.placed(source, frame, record + ruleAt, 'columns')
    this.placed(source, frame, record + outcomeAt, 'columns')
    this.int16(source.getInt32(record + statusAt, true))
    for (let field = environmentAt; field < recordHeadLength; field += 4) {
      this.placed(source, frame, record + field, field === clientIpAt || field === directIpAt ? 'address' : 'text')
    }
    this.octets(this.sidecar)
    if (half === undefined) for (let i = 0; i < halfColumns; i++) this.int32(NULL_LENGTH)
    else this.writeHalf(half)
  }

  private writeHalf(half: AccessHalf): void {
    this.int16(half.finalStatus)
    this.int64(half.durationUs)
    this.int64(half.requestBytes)
    this.int64(half.responseBytes)
    this.octets(Buffer.from(half.responseFlags))
    this.octets(Buffer.from(half.upstream))
    this.int16(half.grpcStatus)
  }

  /** What the place at `field` says: whole columns, the octets of a text, or those of an address. */
  private placed(source: DataView, frame: Frame, field: number, kind: 'columns' | 'text' | 'address'): void {
    const place = source.getInt32(field, true)
    const length = place >>> placeLengthShift
    const start = frame.start + (place & placeOffsetMask)
    if (start + length > frame.end) throw new Error('a record points beyond its frame')
    if (kind === 'columns') this.copy(source, start, length)
    else if (kind === 'text') this.value(source, start, length)
    else if (length === 0) this.int32(NULL_LENGTH)
    else this.address(source, start, length)
  }

  /** A binary inet: family, bits of the mask, whether it is a cidr, octets of the address, and these. */
  private address(source: DataView, start: number, length: number): void {
    const isShort = length === 4
    this.int32(4 + length)
    this.int32(((isShort ? INET4 : INET6) << 24) | ((isShort ? 32 : 128) << 16) | length)
    this.copy(source, start, length)
  }

  private value(source: DataView, start: number, length: number): void {
    this.int32(length)
    this.copy(source, start, length)
  }

  /** Four octets at a time; what is written beyond is written over. Their order does not matter to a copy. */
  private copy(source: DataView, start: number, length: number): void {
    const { view, at } = this
    for (let i = 0; i < length; i += 4) view.setInt32(at + i, source.getInt32(start + i, true), true)
    this.at = at + length
  }

  private octets(octets: Buffer): void {
    this.int32(octets.length)
    this.bytes.set(octets, this.at)
    this.at += octets.length
  }

  private int16(value: number | null): void {
    if (value === null) {
      this.int32(NULL_LENGTH)
      return
    }
    this.int32(2)
    this.view.setInt16(this.at, value)
    this.at += 2
  }

  private int32(value: number): void {
    this.view.setInt32(this.at, value)
    this.at += 4
  }

  private int64(value: number | null): void {
    if (value === null) {
      this.int32(NULL_LENGTH)
      return
    }
    this.int32(8)
    const high = Math.floor(value / 0x1_0000_0000)
    this.view.setInt32(this.at, high)
    this.view.setUint32(this.at + 4, value - high * 0x1_0000_0000)
    this.at += 8
  }

  private makeRoom(length: number): void {
    if (this.at + length <= this.bytes.length) return
    const wider = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * growth, this.at + length))
    wider.set(this.rows())
    this.bytes = wider
    this.view = viewOf(wider)
  }
}

/** Octets of the texts of a half at most. */
function textLength({ responseFlags, upstream }: AccessHalf): number {
  return 3 * (responseFlags.length + upstream.length)
}

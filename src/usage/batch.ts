// Makes one batch for the store out of a piece of a spool: the records as they are, each with its sidecar and, if the proxy has
// told of the request's end already, its access-log half. Copies octets; reads nothing of a record but its time and id.

import { uuidText } from './record-decoder.ts'
import { decisionIdAt, frameHeaderLength, recordColumns, recordTimeAt, uuidOctets } from './record-format.ts'
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

/** Octets of a row beyond its record: column count, sidecar, and a half without values. */
const countOctets = 2
const sidecarOctets = 4 + uuidOctets
const halfColumns = 7
const emptyHalf = Buffer.alloc(halfColumns * 4, 0xff)

export interface Tuples {
  readonly tuples: Buffer
  readonly starts: readonly number[]
  readonly days: readonly string[]
}

/** @param takeHalf asked for each record; null: no access log is joined */
export function toTuples(piece: Piece, sidecar: string, takeHalf: TakeAccessHalf | null): Tuples {
  const { bytes, frames } = piece
  const tail = sidecarValue(sidecar)
  const parts: Buffer[] = []
  const starts: number[] = []
  const days = new Set<number>()
  let length = 0
  for (const frame of frames) {
    for (let at = frame.start + frameHeaderLength; at < frame.end; ) {
      const end = at + bytes.readInt32BE(at)
      const half = takeHalf?.(uuidText(bytes.subarray(at + decisionIdAt, at + decisionIdAt + uuidOctets)))
      const values = half === undefined ? emptyHalf : halfValues(half)
      starts.push(length)
      parts.push(columnCount, bytes.subarray(at + 4, end), tail, values)
      length += countOctets + (end - at - 4) + sidecarOctets + values.length
      days.add(dayOf(bytes, at))
      at = end
    }
  }
  return { tuples: Buffer.concat(parts, length), starts, days: [...days].map(dayText) }
}

const columnCount = Buffer.alloc(countOctets)
columnCount.writeInt16BE(storedColumns.length)

function sidecarValue(sidecar: string): Buffer {
  const value = Buffer.alloc(sidecarOctets)
  value.writeInt32BE(uuidOctets)
  value.write(sidecar.replaceAll('-', ''), 4, 'hex')
  return value
}

const dayMicros = 86_400_000_000
/** 2000-01-01 in days of Unix time. */
const postgresEpochDay = 10_957

/** Days since PostgreSQL's epoch. */
function dayOf(bytes: Buffer, record: number): number {
  const at = record + recordTimeAt
  return Math.floor((bytes.readInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4)) / dayMicros)
}

function dayText(day: number): string {
  const text = new Date((day + postgresEpochDay) * 86_400_000)
  return Number.isNaN(text.getTime()) ? '' : text.toISOString().slice(0, 10)
}

function halfValues(half: AccessHalf): Buffer {
  return Buffer.concat([
    int16(half.finalStatus),
    int64(half.durationUs),
    int64(half.requestBytes),
    int64(half.responseBytes),
    textValue(half.responseFlags),
    textValue(half.upstream),
    int16(half.grpcStatus),
  ])
}

const nullValue = Buffer.alloc(4, 0xff)

function int16(value: number | null): Buffer {
  if (value === null) return nullValue
  const octets = Buffer.alloc(6)
  octets.writeInt32BE(2)
  octets.writeInt16BE(value, 4)
  return octets
}

function int64(value: number | null): Buffer {
  if (value === null) return nullValue
  const octets = Buffer.alloc(12)
  octets.writeInt32BE(8)
  octets.writeBigInt64BE(BigInt(value), 4)
  return octets
}

function textValue(value: string): Buffer {
  const text = Buffer.from(value)
  const octets = Buffer.alloc(4 + text.length)
  octets.writeInt32BE(text.length)
  octets.set(text, 4)
  return octets
}

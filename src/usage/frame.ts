// Frames and segment headers: written in place, read back with every doubt resolved towards "not there".
// A frame counts only if its length, CRC and sequence are right, so half a write is never taken for records.
import { crc32 } from 'node:zlib'
import type { RecordBuffer } from './record-buffer.ts'
import {
  frameCountAt,
  frameCrcAt,
  frameHeaderLength,
  frameLengthAt,
  frameLengthMax,
  frameMagic,
  frameSequenceAt,
  type Lane,
  lanes,
  recordLengthMax,
  segmentCrcAt,
  segmentHeaderLength,
  segmentLaneAt,
  segmentMagic,
  segmentNumberAt,
  segmentSequenceAt,
  segmentTimeAt,
} from './record-format.ts'

/** Octets of a frame at most, its last record included. */
export const frameRoom = frameLengthMax + recordLengthMax
const magicOctets = Buffer.alloc(4)
magicOctets.writeUInt32BE(frameMagic)

/** Fills in the header in front of a batch. `sequence` is that of its first record. */
export function finishFrame({ bytes, at, count }: RecordBuffer, sequence: number): void {
  bytes.writeUInt32BE(frameMagic, 0)
  bytes.writeUInt32BE(at - frameHeaderLength, frameLengthAt)
  bytes.writeUInt32BE(count, frameCountAt)
  bytes.writeDoubleBE(sequence, frameSequenceAt)
  bytes.writeUInt32BE(crc32(bytes.subarray(frameCountAt, at)), frameCrcAt)
}

/** One frame in a buffer. */
export interface Frame {
  start: number
  /** Behind its last octet. */
  end: number
  count: number
  sequence: number
}

/** Reads the frame at `start`, if `bytes[start, end)` begins with a whole and sound one. */
export function readFrame(bytes: Buffer, start: number, end: number): Frame | undefined {
  if (end - start < frameHeaderLength || bytes.readUInt32BE(start) !== frameMagic) return undefined
  const length = bytes.readUInt32BE(start + frameLengthAt)
  const count = bytes.readUInt32BE(start + frameCountAt)
  const frameEnd = start + frameHeaderLength + length
  if (length > frameRoom || count === 0 || frameEnd > end) return undefined
  const sequence = bytes.readDoubleBE(start + frameSequenceAt)
  if (!Number.isSafeInteger(sequence)) return undefined
  if (crc32(bytes.subarray(start + frameCountAt, frameEnd)) !== bytes.readUInt32BE(start + frameCrcAt)) return undefined
  return { start, end: frameEnd, count, sequence }
}

/** Octets of a frame by its header; 0: that is none of ours. */
export function frameLengthOf(header: Buffer): number {
  const length = frameHeaderLength + header.readUInt32BE(frameLengthAt)
  return header.readUInt32BE(0) === frameMagic && length <= frameHeaderLength + frameRoom ? length : 0
}

/** Where the next frame might begin at or after `start`; -1: nowhere before `end`. */
export function findFrame(bytes: Buffer, start: number, end: number): number {
  const found = bytes.subarray(0, end).indexOf(magicOctets, start)
  return found
}

export interface SegmentHeader {
  readonly lane: Lane
  readonly number: number
  /** Sequence of the first record of the segment. */
  readonly sequence: number
  readonly startedUnixMs: number
}

export function writeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(segmentHeaderLength)
  bytes.writeUInt32BE(segmentMagic, 0)
  bytes.writeUInt32BE(header.lane, segmentLaneAt)
  bytes.writeUInt32BE(header.number, segmentNumberAt)
  bytes.writeDoubleBE(header.sequence, segmentSequenceAt)
  bytes.writeDoubleBE(header.startedUnixMs, segmentTimeAt)
  bytes.writeUInt32BE(crc32(bytes.subarray(0, segmentCrcAt)), segmentCrcAt)
  return bytes
}

export function readSegmentHeader(bytes: Buffer): SegmentHeader | undefined {
  if (bytes.length < segmentHeaderLength || bytes.readUInt32BE(0) !== segmentMagic) return undefined
  if (bytes.readUInt32BE(segmentCrcAt) !== crc32(bytes.subarray(0, segmentCrcAt))) return undefined
  const lane = lanes.find(each => each === bytes.readUInt32BE(segmentLaneAt))
  const sequence = bytes.readDoubleBE(segmentSequenceAt)
  if (lane === undefined || !Number.isSafeInteger(sequence)) return undefined
  const number = bytes.readUInt32BE(segmentNumberAt)
  return { lane, number, sequence, startedUnixMs: bytes.readDoubleBE(segmentTimeAt) }
}

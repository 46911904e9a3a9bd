// Reads segments: pieces for the writer, and whole ones to learn what an ended process left. Reads no octet that was not
// written whole.
import type { Frame } from './frame.ts'
import { frameLengthOf, frameRoom, readSegmentHeader, type SegmentHeader } from './frame.ts'
import { frameHeaderLength, segmentHeaderLength } from './record-format.ts'
import type { SpoolFiles } from './spool-files.ts'
import type { Segment } from './spool-segment.ts'
import { walkFrames } from './walk-frames.ts'

/** Octets of frames that are read and stored at once: about a thousand records, some milliseconds of work here and in the database. */
export const pieceBytes = 327_680

export interface Piece {
  readonly bytes: Buffer
  readonly frames: readonly Frame[]
  /** Octets from the start of the segment to the end of the piece. */
  readonly end: number
}

/** Octets of a segment, `bytes[start, end)`, before anything was looked at. */
export interface Octets {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  /** Nothing that may be read lies behind. */
  readonly isLast: boolean
  /** Octets of the segment before `bytes`. */
  readonly offset: number
}

export interface SurveyRange {
  /** Octets from the start of the segment. */
  readonly start: number
  readonly end: number
  /** Sequence of the first record. */
  readonly sequence: number
  /** Where the next segment begins. */
  readonly sequenceEnd: number
}

export class SegmentReader {
  private readonly files: SpoolFiles
  private readonly buffer = Buffer.alloc(pieceBytes + frameRoom)

  constructor(files: SpoolFiles) {
    this.files = files
  }

  /** Octets from `at` to at most `end`, which is between two frames; the buffer is reused by the next call. */
  async read(segment: Segment, at: number, end: number): Promise<Octets> {
    const length = Math.min(end - at, pieceBytes)
    const isLast = at + length === end
    if (segment.memory !== null) return { bytes: segment.memory, start: at, end: at + length, isLast, offset: 0 }
    if (segment.path === null) throw new Error('a segment is in a file or in memory')
    const target = this.buffer.subarray(0, length)
    const filled = await this.files.read(segment.path, at, target)
    if (filled < length) throw new Error('a segment is shorter than what was written to it')
    return { bytes: this.buffer, start: 0, end: length, isLast, offset: at }
  }

  /** Records of a segment before `end`. */
  async countTo(segment: Segment, end: number): Promise<number> {
    if (segment.path !== null) {
      const range = { start: segmentHeaderLength, end, sequence: 0, sequenceEnd: Number.POSITIVE_INFINITY }
      return (await this.survey(segment.path, range)).records
    }
    if (segment.memory === null) return 0
    return recordsOf(walkFrames(segment.memory, segmentHeaderLength, end, true).frames)
  }

  /** The header of a segment file; undefined: there is none, so nothing was ever written behind it. */
  async readHeader(path: string): Promise<SegmentHeader | undefined> {
    const target = Buffer.alloc(segmentHeaderLength)
    const filled = await this.files.read(path, 0, target)
    return filled < segmentHeaderLength ? undefined : readSegmentHeader(target)
  }

  /** Whether a file of `size` octets ends within the first frame: its process died before that was whole. */
  async isTorn(path: string, size: number): Promise<boolean> {
    const length = size - segmentHeaderLength
    if (length < frameHeaderLength) return true
    const target = Buffer.alloc(frameHeaderLength)
    await this.files.read(path, segmentHeaderLength, target)
    return frameLengthOf(target) > length
  }

  /**
   * Counts what is sound in `path` from `start` to `end` octets, leaving out frames from `sequenceEnd` on: those were
   * written again elsewhere. `guarded` is called around all looking into octets.
   */
  async survey(
    path: string,
    { start, end, sequence, sequenceEnd }: SurveyRange,
    guarded: <T>(at: number, look: () => T) => T = (_, look) => look(),
  ): Promise<Survey> {
    const survey = { bytes: start, records: 0, lost: 0, next: sequence }
    let at = start
    while (at < end) {
      const target = this.buffer.subarray(0, Math.min(end - at, pieceBytes))
      const filled = await this.files.read(path, at, target)
      if (filled === 0) break
      const { frames, next } = guarded(at, () => walkFrames(target, 0, filled, at + filled >= end))
      for (const frame of frames) {
        if (frame.sequence >= sequenceEnd) return survey
        survey.lost += Math.max(0, frame.sequence - survey.next)
        survey.next = frame.sequence + frame.count
        survey.records += frame.count
        survey.bytes = at + frame.end
      }
      if (next === 0) break
      at += next
    }
    return survey
  }
}

export function recordsOf(frames: readonly Frame[]): number {
  let records = 0
  for (const { count } of frames) records += count
  return records
}

/** What is in a segment. */
export interface Survey {
  /** Behind the last sound frame. */
  readonly bytes: number
  readonly records: number
  /** Records that should be between those that are. */
  readonly lost: number
  /** Sequence behind the last record. */
  readonly next: number
}

/** Frames of what was read. */
export function toPiece({ bytes, start, end, isLast, offset }: Octets): Piece {
  const { frames, next } = walkFrames(bytes, start, end, isLast)
  return { bytes, frames, end: offset + next }
}

// One segment of a lane as the process knows it, and the lane: its segments in order and how far they are stored.
// Only records that are wholly in a segment are within its `bytes`; what lies behind is no record.
import type { Span } from './losses.ts'
import { type Lane, segmentHeaderLength } from './record-format.ts'

export interface Segment {
  readonly number: number
  /** Sequence of its first record. */
  readonly sequence: number
  readonly startedUnixMs: number
  /** No record of it is younger; null: it is still appended to. */
  endedUnixMs: number | null
  /** Null: in memory alone, since its file could not be written. */
  readonly path: string | null
  memory: Buffer | null
  /** Octets that hold the header and whole records. */
  bytes: number
  records: number
  /** Records of it that are stored. */
  stored: number
  /** Still appended to. */
  open: boolean
  /** Being stored, or maybe stored already: it must not be dropped. */
  held: boolean
}

/** A place in a lane. */
export interface Position {
  readonly segment: number
  /** Octets from the start of the segment. */
  readonly at: number
}

export interface LaneState {
  /** UUID of the process whose lane it is. */
  readonly sidecar: string
  readonly lane: Lane
  /** Oldest first. */
  readonly segments: Segment[]
  /** Written by this process. */
  readonly isOwn: boolean
  /** What the database is known to hold, as it holds it; null: nothing; undefined: not known, ask. */
  stored: Position | null | undefined
  /** Where to read on in the oldest segment. */
  at: number
}

export function createLane(sidecar: string, lane: Lane, isOwn: boolean): LaneState {
  return { sidecar, lane, segments: [], isOwn, stored: undefined, at: segmentHeaderLength }
}

/** Records of a segment that would be lost with it. */
export function unstored({ records, stored }: Segment): number {
  return records - stored
}

/** When its records were made. @param wall Unix milliseconds */
export function spanOf({ startedUnixMs, endedUnixMs }: Segment, wall: () => number): Span {
  return { from: startedUnixMs, to: endedUnixMs ?? wall() }
}

/** The number in a file's name, which tells the lane as well. */
const namePattern = /^([ad])-(\d{8,16})\.seg$/
const letters: Readonly<Record<Lane, string>> = { 1: 'a', 2: 'd' }

export function segmentName(lane: Lane, number: number): string {
  return `${letters[lane]}-${String(number).padStart(8, '0')}.seg`
}

export function parseSegmentName(name: string): { readonly lane: Lane; readonly number: number } | undefined {
  const match = namePattern.exec(name)
  if (match === null) return undefined
  return { lane: match[1] === 'a' ? 1 : 2, number: Number(match[2]) }
}

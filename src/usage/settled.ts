// How far lanes may be read when records should rest a while before they are stored, so that the access log can catch up: a row
// that is stored whole costs the database half of one that is filled in later.
import type { LaneState, Segment } from './spool-segment.ts'

interface Mark {
  readonly at: number
  readonly segment: number
  readonly bytes: number
}

/** Marks of one lane at most: one a turn within the rest. */
const marksMax = 64

export class Settled {
  private readonly restMs: number
  private readonly marks = new Map<LaneState, Mark[]>()

  /** @param restMs 0: nothing rests */
  constructor(restMs: number) {
    this.restMs = restMs
  }

  /** Notes how far the lanes reach now. Call it once a turn. */
  note(lanes: readonly LaneState[], now: number): void {
    if (this.restMs === 0) return
    for (const lane of lanes) {
      const last = lane.segments.at(-1)
      if (!lane.isOwn || last === undefined) continue
      const marks = this.marks.get(lane) ?? []
      marks.push({ at: now, segment: last.number, bytes: last.bytes })
      // The newest that is old enough is all that is needed of the old ones.
      while (marks.length > 1 && (marks.length > marksMax || (marks[1]?.at ?? now) <= now - this.restMs)) marks.shift()
      this.marks.set(lane, marks)
    }
  }

  /** Octets of a segment that may be read. */
  bytes(lane: LaneState, segment: Segment, now: number): number {
    if (this.restMs === 0 || !lane.isOwn) return segment.bytes
    const [mark] = this.marks.get(lane) ?? []
    if (mark === undefined || mark.at > now - this.restMs || segment.number > mark.segment) return 0
    return segment.number < mark.segment ? segment.bytes : Math.min(segment.bytes, mark.bytes)
  }
}

// Walks over the frames of a piece of a segment. What is damaged is stepped over to the next sound frame; what might be the
// beginning of a frame that goes on behind the piece is left for the next piece.
import { type Frame, findFrame, frameRoom, readFrame } from './frame.ts'
import { frameHeaderLength } from './record-format.ts'

export interface Walk {
  readonly frames: readonly Frame[]
  /** Where to go on. */
  readonly next: number
}

/** Walks `bytes[start, end)`. @param isLast nothing of the segment lies behind `end` */
export function walkFrames(bytes: Buffer, start: number, end: number, isLast: boolean): Walk {
  const frames: Frame[] = []
  let at = start
  while (at < end) {
    const frame = readFrame(bytes, at, end)
    if (frame !== undefined) {
      frames.push(frame)
      at = frame.end
      continue
    }
    if (mayGoOn(at, end, isLast)) return { frames, next: at }
    at = findSound(bytes, at + 1, end, isLast)
  }
  return { frames, next: at }
}

function mayGoOn(at: number, end: number, isLast: boolean): boolean {
  return !isLast && end - at < frameHeaderLength + frameRoom
}

/** Start of the next sound frame, or of what may become one, or the end. */
function findSound(bytes: Buffer, start: number, end: number, isLast: boolean): number {
  for (let at = findFrame(bytes, start, end); at >= 0; at = findFrame(bytes, at + 1, end)) {
    if (readFrame(bytes, at, end) !== undefined || mayGoOn(at, end, isLast)) return at
  }
  // The first octets of the magic may be the last ones of this piece.
  return isLast ? end : Math.max(start, end - 3)
}

// One call under way: its request until it is complete, then its reply while the peer's windows hold it back.
import type { CallHead } from './call-head.ts'
import { MESSAGE_PREFIX, type Refusal } from './grpc.ts'

/** The first memory of a message that comes in pieces. */
const PIECES_INITIAL = 1024

export class Stream {
  id = 0
  /** Number of the method from 1; 0: not ours. */
  method = 0
  /** A response that is due instead of the handler's; null: none. */
  refusal: Refusal | null = null
  /** Of wanted metadata, this call's own. */
  readonly values: (string | null | undefined)[] = []
  contentLength = -1
  /** Octets of DATA without padding. */
  received = 0
  /** What came of a message that is not complete. */
  pieces: Buffer | null = null
  /** Milliseconds; when HEADERS came, and of a reply that waits when last some of it could leave. */
  since = 0
  /** The request is complete. */
  isHalfClosed = false
  /** Against the peer's initial window. */
  windowDelta = 0
  /** A reply that waits for window, with its prefix; and how much of it has left. */
  reply: Buffer | null = null
  replyAt = 0
  /** The reply is a message, with trailers behind. */
  hasTrailers = true

  begin(id: number, head: CallHead, now: number): void {
    this.id = id
    this.since = now
    this.method = head.method
    this.refusal = null
    this.contentLength = head.contentLength
    this.values.length = head.values.length
    for (let i = 0; i < head.values.length; i++) this.values[i] = head.values[i]
    this.received = 0
    this.pieces = null
    this.isHalfClosed = false
    this.windowDelta = 0
    this.reply = null
    this.replyAt = 0
  }

  /** Keeps octets of the message behind those that are here; the memory grows with what came, not with what was announced. */
  keep(source: Buffer, start: number, end: number, lengthMax: number): void {
    const had = this.received - (end - start)
    let { pieces } = this
    if (pieces === null || pieces.length < this.received) {
      const size = Math.min(Math.max(this.received * 2, PIECES_INITIAL), lengthMax + MESSAGE_PREFIX)
      const grown = Buffer.allocUnsafeSlow(Math.max(size, this.received))
      pieces?.copy(grown, 0, 0, had)
      pieces = grown
      this.pieces = grown
    }
    source.copy(pieces, had, start, end)
  }
}

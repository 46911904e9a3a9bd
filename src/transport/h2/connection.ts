// One HTTP/2 connection as a machine: octets in by `receive`, octets out in `output`, time by `tick`. It reads no clock, opens no
// socket and knows no service. Whatever octets come, it never throws: what breaks RFC 9113 or 7541 gets the error that they name.
import type { CallMetadata, ReplyWriter, UnaryService } from '../unary-server.ts'
import {
  type Allowance,
  BACKLOG_MAX,
  CLOSED_MAX,
  CONNECTION_WINDOW,
  CONTINUATIONS_MAX,
  CONTROL_PER_CALL,
  type ConnectionEvents,
  controlAllowance,
  createLimitCounts,
  HALF_OPEN_MS,
  HEADER_FIELDS_MAX,
  HEADER_LIST_ABSURD,
  HEADER_LIST_MAX,
  HELD_MAX,
  type LimitCounts,
  type LimitName,
  MESSAGE_MAX,
  PINGS_PER_CALL,
  PREFACE_MS,
  pingAllowance,
  RESET_PAUSE_MS,
  resetAllowance,
  SETTINGS_ACK_MS,
  SETTINGS_PARAMETERS_MAX,
  STREAM_WINDOW,
  STREAMS_MAX,
  settingsAllowance,
  WAITING_MAX,
  WRITE_STALL_MS,
} from './abuse.ts'
import { CallHead, FieldMeanings } from './call-head.ts'
import {
  CANCEL,
  COMPRESSION_ERROR,
  CONTINUATION,
  DATA,
  ENHANCE_YOUR_CALM,
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FLOW_CONTROL_ERROR,
  FRAME_HEADER,
  FRAME_SIZE_ERROR,
  FRAME_SIZE_MAX,
  GOAWAY,
  HEADERS,
  NO_ERROR,
  PING,
  PREFACE,
  PRIORITY,
  PROTOCOL_ERROR,
  PUSH_PROMISE,
  REFUSED_STREAM,
  RST_STREAM,
  readUint31,
  readUint32,
  SETTINGS,
  SETTINGS_ENABLE_PUSH,
  SETTINGS_INITIAL_WINDOW_SIZE,
  SETTINGS_MAX_CONCURRENT_STREAMS,
  SETTINGS_MAX_FRAME_SIZE,
  SETTINGS_MAX_HEADER_LIST_SIZE,
  SETTINGS_TIMEOUT,
  STREAM_CLOSED,
  WINDOW_DEFAULT,
  WINDOW_MAX,
  WINDOW_UPDATE,
  writeFrameHeader,
  writeUint32,
} from './frames.ts'
import {
  createServiceTable,
  grpcRefusal,
  httpRefusal,
  INTERNAL,
  MESSAGE_PREFIX,
  REPLY_OVERHEAD,
  RESOURCE_EXHAUSTED,
  type Refusal,
  type ServiceTable,
  UNIMPLEMENTED,
  writeMessage,
  writeOkTrailers,
  writeResponseHead,
} from './grpc.ts'
import { createHpackTables, HEADER_BLOCK_MAX, HpackDecoder, type HpackTables } from './hpack.ts'
import { Output } from './output.ts'
import { Stream } from './stream.ts'

/** What the connections of a server share. */
export interface Shared {
  readonly table: ServiceTable
  readonly hpack: HpackTables
  readonly limits: LimitCounts
  readonly events: ConnectionEvents
  /** Octets of incomplete requests that all connections hold. */
  held: number
  readonly report: (error: unknown) => void
}

/** What connections need of the services that they carry. `report` hears of a handler that threw; it must not throw itself. */
export function createShared(services: readonly UnaryService[], report: (error: unknown) => void): Shared {
  const table = createServiceTable(services)
  const methods = services.map(service => service.method)
  const hpack = createHpackTables(new FieldMeanings(methods, table.metadataNames))
  return { table, hpack, limits: createLimitCounts(), events: { resets: 0, goaways: 0, pauses: 0 }, held: 0, report }
}

const notPost = httpRefusal(405, 'This port speaks gRPC: a call is a POST.')
const notGrpc = httpRefusal(415, 'This port speaks gRPC: the content-type of a call is application/grpc.')
const unknownMethod = grpcRefusal(UNIMPLEMENTED, 'unknown method')
const encoded = grpcRefusal(UNIMPLEMENTED, 'messages must not be compressed', ['grpc-accept-encoding', 'identity'])
const notOneMessage = grpcRefusal(INTERNAL, 'a call has exactly one message')
const tooLarge = grpcRefusal(RESOURCE_EXHAUSTED, `a message has at most ${MESSAGE_MAX} octets`)
const threw = grpcRefusal(INTERNAL, 'the call failed')

/** No header block is under way. */
const NO_BLOCK = 0
const noOctets: Buffer = Buffer.alloc(0)
/** What our own PING carries; its answer comes behind all that the peer sent before it read our GOAWAY. */
const endMark = Buffer.from('the end?')

export class Connection implements ReplyWriter, CallMetadata {
  readonly output = new Output()
  /** What is in `output` is the last: the connection is to be closed behind it. */
  isClosing = false
  /** Until then nothing should be read; milliseconds of the server's clock. */
  pausedUntil = 0
  private readonly shared: Shared
  private readonly decoder: HpackDecoder
  private readonly head = new CallHead()
  private readonly streams = new Map<number, Stream>()
  private readonly spare: Stream[] = []
  /** Services that had a call in this batch. */
  private readonly called: boolean[]
  private now: number
  private readonly begunAt: number
  private prefaceAt = 0
  private isSettled = false
  private isAcknowledged = false
  /** A frame, or its header, that has not come whole. */
  private partial = noOctets
  private partialLength = 0
  /** The header block that is not complete: its stream, its flags, its octets. */
  private blockStream = NO_BLOCK
  private blockFlags = 0
  private block: Buffer | null = null
  private blockLength = 0
  private continuations = 0
  private blockAt = 0
  private lastStream = 0
  /** Streams above are not looked at: they are told by GOAWAY to go elsewhere. */
  private lastAccepted = WINDOW_MAX
  private isDraining = false
  /** Ids of streams that ended, and of those that we reset, each a ring: the many of one must not push out the few of the other. */
  private readonly ended = new Int32Array(CLOSED_MAX)
  private endedAt = 0
  private readonly refused = new Int32Array(CLOSED_MAX)
  private refusedAt = 0
  private receiveWindow = CONNECTION_WINDOW
  private consumed = 0
  private sendWindow = WINDOW_DEFAULT
  private peerInitialWindow = WINDOW_DEFAULT
  private waiting = 0
  private waitingOctets = 0
  private readonly resets: Allowance = resetAllowance()
  private readonly settings: Allowance = settingsAllowance()
  private readonly pings: Allowance = pingAllowance()
  private readonly control: Allowance = controlAllowance()
  /** The call that the handler works on. */
  private current: Stream | null = null
  private places: readonly number[] = []

  constructor(shared: Shared, now: number) {
    this.shared = shared
    this.decoder = new HpackDecoder(shared.hpack)
    this.called = shared.table.services.map(() => false)
    this.now = now
    this.begunAt = now
    this.sendPreface()
  }

  /** Streams that wait for the end of their request or for window. */
  get openStreams(): number {
    return this.streams.size
  }

  /** Takes what one read brought, and calls `endOfBatch` of the services that had calls in it. The octets are not kept. */
  receive(chunk: Buffer, now: number): void {
    this.now = now
    let at = this.prefaceAt < PREFACE.length ? this.takePreface(chunk) : 0
    while (!this.isClosing && at < chunk.length) at = this.takeFrame(chunk, at)
    this.endBatch()
    if (!this.isClosing) this.returnCredit()
  }

  /** What passes with time alone. */
  tick(now: number): void {
    if (this.isClosing) return
    this.now = now
    this.failConnection(this.lateness())
    for (const stream of this.streams.values()) this.endLate(stream)
    this.returnCredit()
    this.output.trim()
  }

  /** Ends a request that does not end, or a reply that nobody makes room for. */
  private endLate(stream: Stream): void {
    if (this.now - stream.since <= (stream.isHalfClosed ? WRITE_STALL_MS : HALF_OPEN_MS)) return
    this.count(stream.isHalfClosed ? 'write_stall' : 'half_open')
    const { refusal } = stream
    if (!stream.isHalfClosed && refusal !== null && refusal.body === null) this.refuse(stream, refusal)
    else this.reset(stream, CANCEL)
  }

  private lateness(): number {
    const age = this.now - this.begunAt
    if (!this.isSettled && age > PREFACE_MS) return this.excess('preface')
    if (this.blockStream !== NO_BLOCK && this.now - this.blockAt > HALF_OPEN_MS) return this.excess('header_block')
    if (this.isAcknowledged || age <= SETTINGS_ACK_MS) return NO_ERROR
    this.count('settings_ack')
    return SETTINGS_TIMEOUT
  }

  /**
   * First half of a graceful end (RFC 9113 section 6.8): no new streams, please; those under way are answered. The peer's answer to
   * the PING settles it: calls from before it read the GOAWAY have come by then.
   */
  announceEnd(): void {
    if (this.isDraining || this.isClosing) return
    this.isDraining = true
    this.shared.events.goaways++
    this.sendGoaway(WINDOW_MAX, NO_ERROR)
    this.sendPing(0, endMark, 0)
  }

  /** Second half, without an answer: streams from now on are not looked at; the connection closes when none is open. Once. */
  settleEnd(): void {
    if (this.isClosing || this.lastAccepted !== WINDOW_MAX) return
    this.isDraining = true
    this.lastAccepted = this.lastStream
    this.sendGoaway(this.lastStream, NO_ERROR)
    this.closeWhenDone()
  }

  /** Gives back what this connection holds of what all share. Call once, when the socket is gone. */
  close(): void {
    for (const stream of this.streams.values()) this.release(stream)
    this.streams.clear()
    this.isClosing = true
  }

  // What a handler sees of its call.

  value(index: number): string | undefined {
    const place = this.places[index]
    return place === undefined ? undefined : (this.current?.values[place] ?? undefined)
  }

  message(bytes: Uint8Array, start: number, end: number): void {
    const stream = this.current
    if (stream === null) return
    this.current = null
    const length = MESSAGE_PREFIX + end - start
    const { output } = this
    const window = Math.min(this.sendWindow, this.peerInitialWindow + stream.windowDelta)
    if (length > window || length > FRAME_SIZE_MAX) {
      if (this.hasRoom(length)) this.queueMessage(stream, bytes, start, end)
      else this.reset(stream, ENHANCE_YOUR_CALM)
      return
    }
    output.reserve(REPLY_OVERHEAD + end - start)
    let at = writeResponseHead(output.buffer, output.length, stream.id)
    at = writeMessage(output.buffer, at, stream.id, bytes, start, end)
    output.length = writeOkTrailers(output.buffer, at, stream.id)
    this.sendWindow -= length
    this.finish(stream)
  }

  fail(code: number, text: string): void {
    const stream = this.current
    if (stream === null) return
    this.current = null
    this.refuse(stream, grpcRefusal(code, text))
  }

  // Input.

  private takePreface(chunk: Buffer): number {
    const length = Math.min(PREFACE.length - this.prefaceAt, chunk.length)
    if (PREFACE.compare(chunk, 0, length, this.prefaceAt, this.prefaceAt + length) !== 0)
      this.failConnection(PROTOCOL_ERROR)
    this.prefaceAt += length
    return length
  }

  /** Takes one frame from `at`, or what there is of it; returns what comes behind. */
  private takeFrame(chunk: Buffer, at: number): number {
    if (this.partialLength === 0 && chunk.length - at >= FRAME_HEADER) {
      const length = payloadLength(chunk, at)
      const end = at + FRAME_HEADER + length
      if (end <= chunk.length || length > FRAME_SIZE_MAX) {
        this.failConnection(this.handleFrame(chunk, at, length))
        return end
      }
    }
    return this.takePartial(chunk, at)
  }

  private takePartial(chunk: Buffer, at: number): number {
    if (this.partial.length === 0) this.partial = Buffer.allocUnsafeSlow(FRAME_HEADER + FRAME_SIZE_MAX)
    const { partial } = this
    let next = at
    if (this.partialLength < FRAME_HEADER) {
      next = this.copyPartial(chunk, next, FRAME_HEADER)
      if (this.partialLength < FRAME_HEADER) return next
    }
    const length = payloadLength(partial, 0)
    if (length <= FRAME_SIZE_MAX) {
      next = this.copyPartial(chunk, next, FRAME_HEADER + length)
      if (this.partialLength < FRAME_HEADER + length) return next
    }
    this.partialLength = 0
    this.failConnection(this.handleFrame(partial, 0, length))
    return next
  }

  private copyPartial(chunk: Buffer, at: number, whole: number): number {
    const length = Math.min(whole - this.partialLength, chunk.length - at)
    chunk.copy(this.partial, this.partialLength, at, at + length)
    this.partialLength += length
    return at + length
  }

  /** A whole frame, unless it is too long. Like all that handle frames it returns the error that ends the connection, or NO_ERROR. */
  private handleFrame(octets: Buffer, at: number, length: number): number {
    const type = octets[at + 3] ?? 0
    const flags = octets[at + 4] ?? 0
    const id = readUint31(octets, at + 5)
    const start = at + FRAME_HEADER
    if (length > FRAME_SIZE_MAX) return FRAME_SIZE_ERROR
    if (this.blockStream !== NO_BLOCK && (type !== CONTINUATION || id !== this.blockStream)) {
      return PROTOCOL_ERROR
    }
    if (!this.isSettled && type !== SETTINGS) return PROTOCOL_ERROR
    switch (type) {
      case DATA:
        return this.handleData(octets, start, length, flags, id)
      case HEADERS:
        return this.handleHeaders(octets, start, length, flags, id)
      case PRIORITY:
        return this.handlePriority(octets, start, length, id)
      case RST_STREAM:
        return this.handleReset(length, id)
      case SETTINGS:
        return this.handleSettings(octets, start, length, flags, id)
      case PUSH_PROMISE:
        return PROTOCOL_ERROR
      case PING:
        return this.handlePing(octets, start, length, flags, id)
      case GOAWAY:
        if (id !== 0) return PROTOCOL_ERROR
        if (length < 8) return FRAME_SIZE_ERROR
        return this.countControl()
      case WINDOW_UPDATE:
        return this.handleWindowUpdate(octets, start, length, id)
      case CONTINUATION:
        return this.handleContinuation(octets, start, length, flags)
      default:
        return this.countControl()
    }
  }

  private countControl(): number {
    return this.control.take(this.now) ? NO_ERROR : this.excess('control')
  }

  // Requests.

  private handleHeaders(octets: Buffer, at: number, length: number, flags: number, id: number): number {
    if (id === 0 || id % 2 === 0) return PROTOCOL_ERROR
    let start = at
    let end = at + length
    if ((flags & FLAG_PADDED) !== 0) {
      const padding = octets[start++] ?? 0
      end -= padding
      if (length < 1 || end < start) return PROTOCOL_ERROR
    }
    if ((flags & FLAG_PRIORITY) !== 0) {
      if (end - start < 5) return FRAME_SIZE_ERROR
      const dependsOnItself = readUint31(octets, start) === id
      start += 5
      if (dependsOnItself) return PROTOCOL_ERROR
    }
    this.blockFlags = flags
    if ((flags & FLAG_END_HEADERS) !== 0) return this.handleBlock(octets, start, end, id)
    this.blockStream = id
    this.blockAt = this.now
    this.continuations = 0
    this.block ??= Buffer.allocUnsafeSlow(HEADER_BLOCK_MAX)
    this.blockLength = 0
    return this.keepBlock(octets, start, end)
  }

  private handleContinuation(octets: Buffer, start: number, length: number, flags: number): number {
    if (this.blockStream === NO_BLOCK || this.block === null) return PROTOCOL_ERROR
    if (++this.continuations > CONTINUATIONS_MAX) return this.excess('header_block')
    const fault = this.keepBlock(octets, start, start + length)
    if (fault !== NO_ERROR || (flags & FLAG_END_HEADERS) === 0) return fault
    const id = this.blockStream
    this.blockStream = NO_BLOCK
    return this.handleBlock(this.block, 0, this.blockLength, id)
  }

  private keepBlock(octets: Buffer, start: number, end: number): number {
    if (this.blockLength + end - start > HEADER_BLOCK_MAX) return this.excess('header_block')
    octets.copy(this.block ?? octets, this.blockLength, start, end)
    this.blockLength += end - start
    return NO_ERROR
  }

  private handleBlock(octets: Buffer, start: number, end: number, id: number): number {
    const { head } = this
    head.reset()
    // Decoded whatever becomes of the stream: the table must stay in step.
    if (!this.decoder.decode(octets, start, end, head)) return COMPRESSION_ERROR
    if (head.listSize > HEADER_LIST_ABSURD) return this.excess('header_list')
    const isEnd = (this.blockFlags & FLAG_END_STREAM) !== 0
    const known = this.streams.get(id)
    if (known !== undefined) return this.handleTrailers(known, isEnd)
    if (id <= this.lastStream) return this.handleLateHeaders(id)
    this.lastStream = id
    if (id > this.lastAccepted) return NO_ERROR
    // Nothing of it has been looked at: the peer may ask again, here or elsewhere.
    if (this.streams.size >= STREAMS_MAX || this.waitingOctets > BACKLOG_MAX) {
      this.count(this.streams.size >= STREAMS_MAX ? 'streams' : 'backlog')
      return this.sendReset(id, REFUSED_STREAM)
    }
    if (!head.isRequest) return this.sendReset(id, PROTOCOL_ERROR)
    if (head.listSize > HEADER_LIST_MAX || head.fields > HEADER_FIELDS_MAX) {
      this.count('header_list')
      return this.sendReset(id, ENHANCE_YOUR_CALM)
    }
    const stream = this.spare.pop() ?? new Stream()
    stream.begin(id, head, this.now)
    stream.refusal = refusalOf(head)
    this.streams.set(id, stream)
    return isEnd ? this.complete(stream, octets, 0, 0) : NO_ERROR
  }

  private handleTrailers(stream: Stream, isEnd: boolean): number {
    if (stream.isHalfClosed) return this.reset(stream, STREAM_CLOSED)
    if (!isEnd || !this.head.areTrailers) return this.reset(stream, PROTOCOL_ERROR)
    return this.complete(stream, stream.pieces ?? noOctets, 0, stream.pieces === null ? 0 : stream.received)
  }

  private handleLateHeaders(id: number): number {
    if (this.refused.includes(id)) return this.countControl() // this was on its way
    return this.ended.includes(id) ? STREAM_CLOSED : PROTOCOL_ERROR
  }

  private handleData(octets: Buffer, at: number, length: number, flags: number, id: number): number {
    if (id === 0) return PROTOCOL_ERROR
    let start = at
    let end = at + length
    if ((flags & FLAG_PADDED) !== 0) {
      const padding = octets[start++] ?? 0
      end -= padding
      if (length < 1 || end < start) return PROTOCOL_ERROR
    }
    this.receiveWindow -= length
    if (this.receiveWindow < 0) return FLOW_CONTROL_ERROR
    const stream = this.streams.get(id)
    if (stream === undefined || stream.isHalfClosed) return this.handleLateData(stream, id, length)
    const isEnd = (flags & FLAG_END_STREAM) !== 0
    stream.received += end - start
    this.consumed += length - (end - start)
    if (stream.received > STREAM_WINDOW) {
      this.consumed += end - start
      return this.reset(stream, FLOW_CONTROL_ERROR, end - start)
    }
    if (
      stream.contentLength >= 0 &&
      (isEnd ? stream.received !== stream.contentLength : stream.received > stream.contentLength)
    ) {
      this.consumed += end - start
      return this.reset(stream, PROTOCOL_ERROR, end - start)
    }
    if (isEnd && stream.pieces === null) {
      this.consumed += end - start
      return this.complete(stream, octets, start, end)
    }
    if (start === end && !isEnd) return this.countControl()
    if (stream.refusal !== null) {
      this.consumed += end - start
      return stream.refusal.body === null ? this.refuse(stream, stream.refusal) : NO_ERROR
    }
    if (this.shared.held >= HELD_MAX) {
      this.count('held')
      this.consumed += end - start
      return this.reset(stream, REFUSED_STREAM, end - start)
    }
    if (start !== end) stream.keep(octets, start, end, MESSAGE_MAX)
    this.shared.held += end - start
    const { pieces } = stream
    if (pieces === null) return NO_ERROR
    if (isEnd) return this.complete(stream, pieces, 0, stream.received)
    if (stream.received >= MESSAGE_PREFIX && readUint32(pieces, 1) > MESSAGE_MAX) {
      this.count('message')
      return this.refuse(stream, tooLarge)
    }
    return NO_ERROR
  }

  /** DATA of a stream whose request is over. It was counted by the peer, so it is counted here. */
  private handleLateData(stream: Stream | undefined, id: number, length: number): number {
    this.consumed += length
    if (stream !== undefined) return this.reset(stream, STREAM_CLOSED)
    if (id > this.lastStream) return PROTOCOL_ERROR
    if (id <= this.lastAccepted && !this.refused.includes(id)) this.sendUint32(RST_STREAM, id, STREAM_CLOSED)
    return this.countControl()
  }

  private handleReset(length: number, id: number): number {
    if (length !== 4) return FRAME_SIZE_ERROR
    if (id === 0 || id > this.lastStream) return PROTOCOL_ERROR
    this.shared.events.resets++
    if (!this.resets.take(this.now)) {
      this.count('resets')
      this.pausedUntil = this.now + RESET_PAUSE_MS
    }
    const stream = this.streams.get(id)
    if (stream !== undefined) this.finish(stream)
    return NO_ERROR
  }

  /** The request is complete: `octets[start, end)` is its body. */
  private complete(stream: Stream, octets: Buffer, start: number, end: number): number {
    stream.isHalfClosed = true
    const contentLength = stream.contentLength
    if (contentLength >= 0 && contentLength !== stream.received) return this.reset(stream, PROTOCOL_ERROR)
    const refusal = stream.refusal ?? faultOf(octets, start, end)
    if (refusal !== null) return this.refuse(stream, refusal)
    const index = stream.method - 1
    const service = this.shared.table.services[index]
    if (service === undefined) return this.refuse(stream, unknownMethod)
    this.called[index] = true
    this.control.earn(CONTROL_PER_CALL)
    this.pings.earn(PINGS_PER_CALL)
    this.current = stream
    this.places = this.shared.table.places[index] ?? []
    try {
      service.handler(octets, start + MESSAGE_PREFIX, end, this, this)
    } catch (error) {
      this.shared.report(error) // it costs this call and no other
    }
    if (this.current !== null) {
      this.current = null
      return this.refuse(stream, threw)
    }
    return NO_ERROR
  }

  private endBatch(): void {
    const { called } = this
    for (let index = 0; index < called.length; index++) {
      if (called[index] !== true) continue
      called[index] = false
      try {
        this.shared.table.services[index]?.endOfBatch()
      } catch (error) {
        this.shared.report(error) // the replies stand
      }
    }
  }

  // Replies.

  /** Whether a reply of so many octets may wait for window. */
  private hasRoom(octets: number): boolean {
    if (this.waitingOctets + octets <= WAITING_MAX) return true
    this.count('backlog')
    return false
  }

  /** Ends a call without its handler's reply. */
  private refuse(stream: Stream, { head, body }: Refusal): number {
    if (body !== null && !this.hasRoom(body.length)) return this.reset(stream, ENHANCE_YOUR_CALM)
    const { output } = this
    output.reserve(FRAME_HEADER + head.length)
    const flags = FLAG_END_HEADERS | (body === null ? FLAG_END_STREAM : 0)
    output.length = writeFrameHeader(output.buffer, output.length, head.length, HEADERS, flags, stream.id)
    output.append(head)
    if (body !== null) {
      this.queueReply(stream, body, false)
      return NO_ERROR
    }
    if (!stream.isHalfClosed) return this.reset(stream, NO_ERROR) // the rest of the request is of no use
    this.finish(stream)
    return NO_ERROR
  }

  private queueMessage(stream: Stream, bytes: Uint8Array, start: number, end: number): void {
    const reply = Buffer.allocUnsafeSlow(MESSAGE_PREFIX + end - start)
    reply[0] = 0
    writeUint32(reply, 1, end - start)
    reply.set(bytes.subarray(start, end), MESSAGE_PREFIX)
    const { output } = this
    output.reserve(REPLY_OVERHEAD)
    output.length = writeResponseHead(output.buffer, output.length, stream.id)
    this.queueReply(stream, reply, true)
  }

  /** The head of the reply is out; its body leaves as far as the windows allow, the rest when they open. */
  private queueReply(stream: Stream, reply: Buffer, hasTrailers: boolean): void {
    this.release(stream) // a reply that waits is no reason to hold the request
    stream.reply = reply
    stream.since = this.now
    stream.hasTrailers = hasTrailers
    this.waiting++
    this.waitingOctets += reply.length
    this.pump(stream)
  }

  /** Sends as much of a waiting reply as the windows allow. */
  private pump(stream: Stream): void {
    const { output } = this
    while (stream.reply !== null) {
      const left = stream.reply.length - stream.replyAt
      const window = Math.min(this.sendWindow, this.peerInitialWindow + stream.windowDelta)
      const length = Math.min(left, window, FRAME_SIZE_MAX)
      if (length <= 0) return
      output.reserve(FRAME_HEADER + length)
      const flags = length === left && !stream.hasTrailers ? FLAG_END_STREAM : 0
      output.length = writeFrameHeader(output.buffer, output.length, length, DATA, flags, stream.id)
      output.append(stream.reply.subarray(stream.replyAt, stream.replyAt + length))
      stream.replyAt += length
      stream.since = this.now
      stream.windowDelta -= length
      this.sendWindow -= length
      if (length < left) continue
      if (stream.hasTrailers) {
        output.reserve(REPLY_OVERHEAD)
        output.length = writeOkTrailers(output.buffer, output.length, stream.id)
      }
      this.finish(stream)
      return
    }
  }

  private pumpAll(): void {
    if (this.waiting === 0) return
    for (const stream of this.streams.values()) {
      if (this.sendWindow <= 0) return
      if (stream.reply !== null) this.pump(stream)
    }
  }

  // The ends of streams.

  /** The reply is out, or nobody waits for it. */
  private finish(stream: Stream): void {
    this.ended[this.endedAt] = stream.id
    this.endedAt = (this.endedAt + 1) % CLOSED_MAX
    this.drop(stream)
    this.closeWhenDone()
  }

  /** `uncounted` octets of its DATA were not kept. */
  private reset(stream: Stream, code: number, uncounted = 0): number {
    const { id } = stream
    stream.received -= uncounted
    this.drop(stream)
    this.sendReset(id, code)
    this.closeWhenDone()
    return NO_ERROR
  }

  /** Lets go of the octets of a request. */
  private release(stream: Stream): void {
    if (stream.pieces === null) return
    this.consumed += stream.received
    this.shared.held -= stream.received
    stream.pieces = null
  }

  /** Forgets a stream and gives back what it held. */
  private drop(stream: Stream): void {
    this.streams.delete(stream.id)
    this.release(stream)
    if (stream.reply !== null) {
      this.waiting--
      this.waitingOctets -= stream.reply.length
      stream.reply = null
    }
    if (this.spare.length < STREAMS_MAX) this.spare.push(stream)
  }

  private sendReset(id: number, code: number): number {
    this.refused[this.refusedAt] = id
    this.refusedAt = (this.refusedAt + 1) % CLOSED_MAX
    this.sendUint32(RST_STREAM, id, code)
    return NO_ERROR
  }

  private closeWhenDone(): void {
    if (this.lastAccepted !== WINDOW_MAX && this.streams.size === 0) this.isClosing = true
  }

  // The connection itself.

  private handlePriority(octets: Buffer, start: number, length: number, id: number): number {
    if (id === 0) return PROTOCOL_ERROR
    if (length !== 5) return FRAME_SIZE_ERROR
    if (readUint31(octets, start) === id) return PROTOCOL_ERROR
    return this.countControl()
  }

  private handleSettings(octets: Buffer, start: number, length: number, flags: number, id: number): number {
    if (id !== 0) return PROTOCOL_ERROR
    if ((flags & FLAG_ACK) !== 0) {
      if (length !== 0) return FRAME_SIZE_ERROR
      if (!this.isSettled) return PROTOCOL_ERROR
      this.isAcknowledged = true
      return this.countControl()
    }
    if (length % 6 !== 0) return FRAME_SIZE_ERROR
    if (length > SETTINGS_PARAMETERS_MAX * 6 || !this.settings.take(this.now)) return this.excess('settings')
    for (let at = start; at < start + length; at += 6) {
      const fault = this.takeSetting(((octets[at] ?? 0) << 8) | (octets[at + 1] ?? 0), readUint32(octets, at + 2))
      if (fault !== NO_ERROR) return fault
    }
    this.isSettled = true
    const { output } = this
    output.reserve(FRAME_HEADER)
    output.length = writeFrameHeader(output.buffer, output.length, 0, SETTINGS, FLAG_ACK, 0)
    this.pumpAll()
    return NO_ERROR
  }

  private takeSetting(name: number, value: number): number {
    switch (name) {
      case SETTINGS_ENABLE_PUSH:
        return value > 1 ? PROTOCOL_ERROR : NO_ERROR
      case SETTINGS_MAX_FRAME_SIZE:
        return value < FRAME_SIZE_MAX || value > 0xffffff ? PROTOCOL_ERROR : NO_ERROR
      case SETTINGS_INITIAL_WINDOW_SIZE:
        if (value > WINDOW_MAX) return FLOW_CONTROL_ERROR
        for (const { windowDelta } of this.streams.values()) {
          if (value + windowDelta > WINDOW_MAX) return FLOW_CONTROL_ERROR
        }
        this.peerInitialWindow = value
        return NO_ERROR
      default:
        // Our header blocks use no table, we push nothing and open no streams.
        return NO_ERROR
    }
  }

  private handlePing(octets: Buffer, start: number, length: number, flags: number, id: number): number {
    if (id !== 0) return PROTOCOL_ERROR
    if (length !== 8) return FRAME_SIZE_ERROR
    if ((flags & FLAG_ACK) !== 0) {
      if (this.isDraining && endMark.compare(octets, start, start + length) === 0) this.settleEnd()
      return this.countControl()
    }
    if (!this.pings.take(this.now)) return this.excess('ping')
    this.sendPing(FLAG_ACK, octets, start)
    return NO_ERROR
  }

  private sendPing(flags: number, octets: Buffer, start: number): void {
    const { output } = this
    output.reserve(FRAME_HEADER + endMark.length)
    output.length = writeFrameHeader(output.buffer, output.length, endMark.length, PING, flags, 0)
    output.append(octets.subarray(start, start + endMark.length))
  }

  private handleWindowUpdate(octets: Buffer, start: number, length: number, id: number): number {
    if (length !== 4) return FRAME_SIZE_ERROR
    if (id > this.lastStream) return PROTOCOL_ERROR
    const increment = readUint31(octets, start)
    const stream = this.streams.get(id)
    if (id === 0) {
      if (increment === 0) return PROTOCOL_ERROR
      const wasDry = this.sendWindow <= 0
      this.sendWindow += increment
      if (this.sendWindow > WINDOW_MAX) return FLOW_CONTROL_ERROR
      if (wasDry) this.pumpAll() // else the replies that wait do so for windows of their own
      return this.countControl()
    }
    if (stream === undefined) return this.countControl()
    if (increment === 0) return this.reset(stream, PROTOCOL_ERROR)
    stream.windowDelta += increment
    if (this.peerInitialWindow + stream.windowDelta > WINDOW_MAX) return this.reset(stream, FLOW_CONTROL_ERROR)
    if (stream.reply !== null) this.pump(stream)
    return this.countControl()
  }

  private sendPreface(): void {
    const { output } = this
    const settings = [
      [SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX],
      [SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW],
      [SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST_MAX],
    ] as const
    let at = writeFrameHeader(output.buffer, 0, settings.length * 6, SETTINGS, 0, 0)
    for (const [name, value] of settings) {
      output.buffer[at] = 0
      output.buffer[at + 1] = name
      at = writeUint32(output.buffer, at + 2, value)
    }
    output.length = at
    this.sendUint32(WINDOW_UPDATE, 0, CONNECTION_WINDOW - WINDOW_DEFAULT)
  }

  /** Gives the peer window for what was consumed, in bulk; at once where incomplete requests hold the rest. */
  private returnCredit(): void {
    if (this.receiveWindow > CONNECTION_WINDOW / 2 || this.consumed === 0 || this.shared.held > HELD_MAX) return
    this.receiveWindow += this.consumed
    this.sendUint32(WINDOW_UPDATE, 0, this.consumed)
    this.consumed = 0
  }

  private sendUint32(type: number, stream: number, value: number): void {
    const { output } = this
    output.reserve(FRAME_HEADER + 4)
    const at = writeFrameHeader(output.buffer, output.length, 4, type, 0, stream)
    output.length = writeUint32(output.buffer, at, value)
  }

  private sendGoaway(lastStream: number, code: number): void {
    const { output } = this
    output.reserve(FRAME_HEADER + 8)
    const at = writeFrameHeader(output.buffer, output.length, 8, GOAWAY, 0, 0)
    output.length = writeUint32(output.buffer, writeUint32(output.buffer, at, lastStream), code)
  }

  private failConnection(code: number): void {
    if (code === NO_ERROR || this.isClosing) return
    if (!this.isDraining) this.shared.events.goaways++
    this.sendGoaway(Math.min(this.lastStream, this.lastAccepted), code)
    this.isClosing = true
  }

  /** What no correct peer does. */
  private excess(limit: LimitName): number {
    this.count(limit)
    return ENHANCE_YOUR_CALM
  }

  private count(limit: LimitName): void {
    this.shared.limits[limit]++
  }
}

function payloadLength(octets: Buffer, at: number): number {
  return ((octets[at] ?? 0) << 16) | ((octets[at + 1] ?? 0) << 8) | (octets[at + 2] ?? 0)
}

function refusalOf(head: CallHead): Refusal | null {
  if (!head.isPost) return notPost
  if (!head.isGrpc) return notGrpc
  if (head.method === 0) return unknownMethod
  return head.isEncoded ? encoded : null
}

/** What is wrong with a body that should be one message. */
function faultOf(octets: Buffer, start: number, end: number): Refusal | null {
  if (end - start < MESSAGE_PREFIX) return notOneMessage
  if (octets[start] === 1) return encoded
  if (octets[start] !== 0) return notOneMessage
  const length = readUint32(octets, start + 1)
  if (length > MESSAGE_MAX) return tooLarge
  return end - start === MESSAGE_PREFIX + length ? null : notOneMessage
}

// A client of one HTTP/2 connection that sends checks as fast as their answers come, or when it is told to, and looks at every
// answer: allowed or denied as it must be, ended in order. It is cheap, so that the server is what is measured: a read is answered
// with one write, nothing is decoded but the first octets of a reply.
import { connect, type NetConnectOpts, type Socket } from 'node:net'
import {
  callFrames,
  connectionWindow,
  flagAck,
  flagEndStream,
  frame,
  frameHeaderLength,
  frameType,
  headerBlocks,
  opening,
  setStream,
  windowUpdate,
} from './frames.ts'

/** What is sent, in turn, and whether each must be allowed. */
export interface CheckLoad {
  readonly messages: readonly Buffer[]
  readonly isAllowed: readonly boolean[]
  readonly clientAddress: string
}

/** Answers so far. Only right answers are `answered`. */
export interface CheckCounts {
  answered: number
  /** Allowed for denied, or the reverse. */
  wrong: number
  /** Reset, no message, or a message that is not as expected. */
  failed: number
}

const method = '/envoy.service.auth.v3.Authorization/Check'
/** Streams that may be open at once; a power of two. */
const slots = 4096
/** Octets kept of a reply: prefix of the message, status and code. */
const headLength = 16
const readLength = 256 * 1024
const writeLength = 256 * 1024
/** Received octets after which the connection's window is opened again. */
const topUpAt = connectionWindow / 2
const frameLengthMax = 16_384
const headerTableDefault = 4096

/** host:port or unix:/path. */
export function socketOptions(address: string): NetConnectOpts {
  if (address.startsWith('unix:')) return { path: address.slice('unix:'.length) }
  const colon = address.lastIndexOf(':')
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) }
}

export class CheckClient {
  readonly counts: CheckCounts = { answered: 0, wrong: 0, failed: 0 }
  /** Streams open now. */
  open = 0
  /** Streams that are refilled when an answer comes; 0: only `send` sends. */
  depth = 0
  /** Called when a stream has ended, with what `send` was given for it. */
  onEnd: (tag: number) => void = () => undefined
  /** Rejects when the connection cannot be used any more. */
  readonly broken: Promise<never>
  private readonly socket: Socket
  private readonly load: CheckLoad
  private readonly first: Buffer
  private readonly blockLength: { readonly first: number; readonly later: number }
  private readonly calls: readonly Buffer[]
  private ready: () => void = () => undefined
  private fail: (error: Error) => void = () => undefined
  private out = Buffer.alloc(writeLength)
  private outAt = 0
  private rest = Buffer.alloc(0)
  private next = 0
  private stream = 1
  /** Octets of DATA that the server takes now. */
  private window = 65_535
  private streamWindow = 65_535
  private received = 0
  private readonly streamOf = new Int32Array(slots)
  private readonly requestOf = new Int32Array(slots)
  private readonly tagOf = new Float64Array(slots)
  private readonly headOf = Buffer.alloc(slots * headLength)
  private readonly seen = new Uint8Array(slots)

  private constructor(address: string, load: CheckLoad) {
    this.load = load
    const { first, later } = headerBlocks(method, load.clientAddress)
    this.blockLength = { first: first.length, later: later.length }
    this.calls = load.messages.map(message => callFrames(later, message))
    this.first = callFrames(first, load.messages[0] ?? Buffer.alloc(0))
    this.broken = new Promise((_, reject) => {
      this.fail = reject
    })
    this.broken.catch(() => undefined)
    const read = Buffer.alloc(readLength)
    const onread = { buffer: read, callback: (count: number) => this.take(read.subarray(0, count)) }
    this.socket = connect({ ...socketOptions(address), onread, noDelay: true } as NetConnectOpts)
    this.socket.once('error', error => this.fail(error))
    this.socket.once('close', () => this.fail(new Error('the server closed the connection')))
    this.socket.once('connect', () => this.socket.write(opening()))
  }

  /** Connects; resolves when the server has sent its SETTINGS. */
  static async connect(address: string, load: CheckLoad): Promise<CheckClient> {
    const client = new CheckClient(address, load)
    const settled = new Promise<void>(resolve => {
      client.ready = resolve
    })
    await Promise.race([settled, client.broken])
    return client
  }

  /** Opens streams up to `depth`. */
  refill(): void {
    while (this.open < this.depth && this.put(0)) {
      // one more
    }
    this.flush()
  }

  /** Sends one request. @returns false when the server's window or the number of streams does not allow it. */
  send(tag: number): boolean {
    const sent = this.put(tag)
    this.flush()
    return sent
  }

  close(): void {
    this.socket.removeAllListeners('close')
    this.socket.destroy()
  }

  private put(tag: number): boolean {
    const isFirst = this.stream === 1
    const request = this.next
    const call = isFirst ? this.first : this.calls[request]
    if (call === undefined) throw new Error('there are no requests')
    const blockLength = isFirst ? this.blockLength.first : this.blockLength.later
    const dataLength = call.length - blockLength - 2 * frameHeaderLength
    if (dataLength > frameLengthMax || dataLength > this.streamWindow) throw new Error('a request does not fit')
    const slot = (this.stream >>> 1) & (slots - 1)
    if (dataLength > this.window || this.streamOf[slot] !== 0) return false
    if (this.outAt + call.length > this.out.length) this.flush()
    this.out.set(call, this.outAt)
    setStream(this.out, this.outAt, blockLength, this.stream)
    this.outAt += call.length
    this.window -= dataLength
    this.streamOf[slot] = this.stream
    this.requestOf[slot] = request
    this.tagOf[slot] = tag
    this.seen[slot] = 0
    this.open += 1
    this.stream += 2
    this.next = request + 1 === this.calls.length ? 0 : request + 1
    return true
  }

  private flush(): void {
    if (this.outAt === 0) return
    const isTaken = this.socket.write(this.out.subarray(0, this.outAt)) && this.socket.writableLength === 0
    // What the kernel has not taken yet still lies in this buffer.
    if (!isTaken) this.out = Buffer.alloc(writeLength)
    this.outAt = 0
  }

  private take(chunk: Buffer): boolean {
    const input = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    let at = 0
    while (input.length - at >= frameHeaderLength) {
      const length = ((input[at] ?? 0) << 16) | ((input[at + 1] ?? 0) << 8) | (input[at + 2] ?? 0)
      if (input.length - at < frameHeaderLength + length) break
      this.takeFrame(input, at, length)
      at += frameHeaderLength + length
    }
    // The buffer of the read is used again, so what is left of it is copied.
    this.rest = at === input.length ? Buffer.alloc(0) : Buffer.from(input.subarray(at))
    if (this.depth > 0) this.refill()
    else this.flush()
    return true
  }

  private takeFrame(input: Buffer, at: number, length: number): void {
    const type = input[at + 3]
    const flags = input[at + 4] ?? 0
    const stream = input.readInt32BE(at + 5)
    const payload = at + frameHeaderLength
    if (type === frameType.data) this.takeData(input, payload, length, stream, flags)
    else if (type === frameType.headers) {
      if ((flags & flagEndStream) !== 0) this.end(stream, true)
    } else if (type === frameType.windowUpdate) {
      if (stream === 0) this.window += input.readUInt32BE(payload)
    } else if (type === frameType.ping) {
      if ((flags & flagAck) === 0) this.append(frame(frameType.ping, flagAck, 0, input.subarray(payload, payload + 8)))
    } else if (type === frameType.settings) {
      if ((flags & flagAck) === 0) this.takeSettings(input.subarray(payload, payload + length))
    } else if (type === frameType.reset) this.end(stream, false)
    else if (type === frameType.goaway) this.fail(new Error('the server sent GOAWAY'))
  }

  private takeData(input: Buffer, payload: number, length: number, stream: number, flags: number): void {
    this.received += length
    if (this.received >= topUpAt) {
      this.append(windowUpdate(0, this.received))
      this.received = 0
    }
    const slot = (stream >>> 1) & (slots - 1)
    const seen = this.seen[slot] ?? 0
    const count = Math.min(length, headLength - seen)
    for (let i = 0; i < count; i++) this.headOf[slot * headLength + seen + i] = input[payload + i] ?? 0
    this.seen[slot] = seen + count
    // gRPC ends a call with trailers, never with DATA.
    if ((flags & flagEndStream) !== 0) this.end(stream, false)
  }

  private takeSettings(payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      const [id, value] = [payload.readUInt16BE(at), payload.readUInt32BE(at + 2)]
      if (id === 1 && value < headerTableDefault)
        this.fail(new Error('the server takes no header table of 4096 octets'))
      if (id === 4) this.streamWindow = value
    }
    this.append(frame(frameType.settings, flagAck, 0, Buffer.alloc(0)))
    this.ready()
  }

  private append(octets: Buffer): void {
    if (this.outAt + octets.length > this.out.length) this.flush()
    this.out.set(octets, this.outAt)
    this.outAt += octets.length
  }

  private end(stream: number, inOrder: boolean): void {
    const slot = (stream >>> 1) & (slots - 1)
    if (this.streamOf[slot] !== stream) return
    this.streamOf[slot] = 0
    this.open -= 1
    const code = inOrder ? this.codeOf(slot) : undefined
    if (code === undefined) this.counts.failed += 1
    else if ((code === 0) === this.load.isAllowed[this.requestOf[slot] ?? 0]) this.counts.answered += 1
    else this.counts.wrong += 1
    this.onEnd(this.tagOf[slot] ?? 0)
  }

  /** `CheckResponse.status.code`, which comes first in every encoder; undefined: this is no such reply. */
  private codeOf(slot: number): number | undefined {
    const head = slot * headLength
    const at = (offset: number) => this.headOf[head + offset] ?? 0
    const seen = this.seen[slot] ?? 0
    // Not compressed, then field 1 with its length; an empty status has code 0.
    if (seen < 7 || at(0) !== 0 || at(5) !== 0x0a) return undefined
    if (at(6) === 0) return 0
    return seen >= 9 && at(7) === 0x08 && at(8) < 0x80 ? at(8) : undefined
  }
}

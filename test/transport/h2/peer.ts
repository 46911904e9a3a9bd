// The other end of a connection, in memory: frames as octets, header blocks of literals, and what came back read into frames.
import { Connection, createShared, type Shared } from '../../../src/transport/h2/connection.ts'
import {
  CONTINUATION,
  DATA,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FRAME_HEADER,
  GOAWAY,
  HEADERS,
  PING,
  PREFACE,
  RST_STREAM,
  readUint31,
  readUint32,
  SETTINGS,
  WINDOW_UPDATE,
  writeFrameHeader,
} from '../../../src/transport/h2/frames.ts'
import type { UnaryService } from '../../../src/transport/unary-server.ts'

export const method = '/test.Echo/Call'

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const octets = Buffer.alloc(FRAME_HEADER + payload.length)
  writeFrameHeader(octets, 0, payload.length, type, flags, stream)
  octets.set(payload, FRAME_HEADER)
  return octets
}

export function uint32(value: number): Buffer {
  const octets = Buffer.alloc(4)
  octets.writeUInt32BE(value)
  return octets
}

/** Literals without indexing and without Huffman: short texts only. */
export function block(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [
      Buffer.from([0]),
      ...[name, value].flatMap(text => [integer(7, 0, Buffer.byteLength(text)), Buffer.from(text)]),
    ]),
  )
}

/** RFC 7541 section 5.1. */
export function integer(prefix: number, pattern: number, value: number): Buffer {
  const max = 2 ** prefix - 1
  if (value < max) return Buffer.from([pattern | value])
  const octets = [pattern | max]
  let rest = value - max
  for (; rest >= 128; rest = Math.floor(rest / 128)) octets.push((rest % 128) | 0x80)
  return Buffer.from([...octets, rest])
}

export const callFields: readonly (readonly [string, string])[] = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', method],
  [':authority', 'gatewarden'],
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
]

export function headers(stream: number, fields = callFields, flags = FLAG_END_HEADERS): Buffer {
  return frame(HEADERS, flags, stream, block(fields))
}

export function message(octets: Uint8Array | string, flag = 0): Buffer {
  const body = Buffer.from(octets)
  return Buffer.concat([Buffer.from([flag]), uint32(body.length), body])
}

export function data(stream: number, payload: Uint8Array, flags = FLAG_END_STREAM): Buffer {
  return frame(DATA, flags, stream, payload)
}

/** A whole call. */
export function call(stream: number, text: string, fields = callFields): Buffer {
  return Buffer.concat([headers(stream, fields), data(stream, message(text))])
}

export const setting = (name: number, value: number) => Buffer.concat([Buffer.from([0, name]), uint32(value)])
export const settings = (...list: readonly Buffer[]) => frame(SETTINGS, 0, 0, Buffer.concat(list))
export const settingsAck = frame(SETTINGS, 1, 0)
export const ping = (flags = 0) => frame(PING, flags, 0, Buffer.from('12345678'))
export const reset = (stream: number, code = 2) => frame(RST_STREAM, 0, stream, uint32(code))
export const windowUpdate = (stream: number, increment: number) => frame(WINDOW_UPDATE, 0, stream, uint32(increment))
export const continuation = (stream: number, payload: Uint8Array, flags = 0) =>
  frame(CONTINUATION, flags, stream, payload)

export function framesIn(octets: Buffer): Frame[] {
  const frames: Frame[] = []
  for (let at = 0; at < octets.length; ) {
    const length = octets.readUIntBE(at, 3)
    const payload = Buffer.from(octets.subarray(at + FRAME_HEADER, at + FRAME_HEADER + length))
    if (payload.length !== length) throw new Error('a frame is cut off')
    frames.push({ type: octets[at + 3] ?? 0, flags: octets[at + 4] ?? 0, stream: readUint31(octets, at + 5), payload })
    at += FRAME_HEADER + length
  }
  return frames
}

/** Answers with the message; counts batches. */
export function echo(): UnaryService & { batches: number; calls: number } {
  const service = {
    method,
    metadataNames: ['x-wanted'],
    batches: 0,
    calls: 0,
    handler: ((octets, start, end, metadata, reply) => {
      service.calls++
      const text = octets.toString('latin1', start, end)
      if (text === 'throw') throw new Error('a fault of the handler')
      if (text === 'silent') return
      if (text === 'fail') return reply.fail(14, 'not decided')
      if (text !== 'wanted') return reply.message(octets, start, end)
      const value = Buffer.from(String(metadata.value(0)))
      reply.message(value, 0, value.length)
    }) as UnaryService['handler'],
    endOfBatch() {
      service.batches++
    },
  }
  return service
}

/** A connection with a clock that the test moves, and all that it said. */
export class TestPeer {
  now = 1000
  readonly faults: unknown[] = []
  readonly service = echo()
  readonly shared: Shared
  readonly connection: Connection
  /** What it says when it begins. */
  readonly greeting: readonly Frame[]

  constructor(shared?: Shared) {
    this.shared = shared ?? createShared([this.service], error => this.faults.push(error))
    this.connection = new Connection(this.shared, this.now)
    this.greeting = this.said()
  }

  /** After preface, SETTINGS and their acknowledgement. */
  static settled(...list: readonly Buffer[]): TestPeer {
    const peer = new TestPeer()
    peer.send(PREFACE, settings(...list), settingsAck)
    return peer
  }

  /** Sends octets as one read; returns what came back. */
  send(...octets: readonly Uint8Array[]): Frame[] {
    this.connection.receive(Buffer.concat(octets), this.now)
    return this.said()
  }

  /** Lets time pass; returns what came of it. */
  wait(ms: number): Frame[] {
    this.now += ms
    this.connection.tick(this.now)
    return this.said()
  }

  said(): Frame[] {
    const frames = framesIn(this.connection.output.taken())
    this.connection.output.reuse()
    return frames
  }
}

/** What frames mean, in words that a test compares. */
export function story(frames: readonly Frame[]): string[] {
  return frames.map(({ type, flags, stream, payload }) => {
    const end = (flags & 1) !== 0 ? ' end' : ''
    switch (type) {
      case DATA:
        return `data ${stream} ${payload.length}${end}`
      case HEADERS:
        return `headers ${stream}${grpcStatusIn(payload)}${end}`
      case RST_STREAM:
        return `reset ${stream} ${payload.readUInt32BE(0)}`
      case SETTINGS:
        return (flags & 1) !== 0 ? 'settings ack' : 'settings'
      case PING:
        return (flags & 1) !== 0 ? 'ping ack' : 'ping'
      case GOAWAY:
        return `goaway ${readUint31(payload, 0)} ${readUint32(payload, 4)}`
      case WINDOW_UPDATE:
        return `window ${stream} ${readUint31(payload, 0)}`
      default:
        return `type ${type}`
    }
  })
}

/** Our blocks are literals: the status stands in them as text. */
function grpcStatusIn(payload: Buffer): string {
  const text = payload.toString('latin1')
  const at = text.indexOf('grpc-status')
  if (at < 0) return ''
  const length = payload[at + 'grpc-status'.length] ?? 0
  return ` grpc-status ${text.slice(at + 12, at + 12 + length)}`
}

/** A call that was answered with `length` octets. */
export const answered = (stream: number, length: number): string[] => [
  `headers ${stream}`,
  `data ${stream} ${5 + length}`,
  `headers ${stream} grpc-status 0 end`,
]

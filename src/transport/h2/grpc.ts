// gRPC over HTTP/2 for unary calls: replies as octets, header blocks made once and free of table state, and the length prefix.
import type { UnaryService } from '../unary-server.ts'
import {
  DATA,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FRAME_HEADER,
  HEADERS,
  writeFrameHeader,
  writeUint32,
} from './frames.ts'

/** Octets before a message: a flag and its length. */
export const MESSAGE_PREFIX = 5

/** Codes of gRPC that the transport itself gives. */
export const RESOURCE_EXHAUSTED = 8
export const UNIMPLEMENTED = 12
export const INTERNAL = 13

const statusOk = [0x88] // indexed: `:status 200`
const contentTypeIndex = 31
const statusIndex = 8

/** A literal that no table keeps (RFC 7541 section 6.2.2); texts of less than 127 octets but for the last. */
function literal(name: string | number, value: string): number[] {
  const nameOctets =
    typeof name === 'number' ? (name < 15 ? [name] : [15, name - 15]) : [0, name.length, ...Buffer.from(name)]
  const octets = Buffer.from(value)
  if (octets.length < 127) return [...nameOctets, octets.length, ...octets]
  // RFC 7541 section 5.1, seven bits of prefix.
  const length = [127]
  let rest = octets.length - 127
  for (; rest >= 128; rest >>>= 7) length.push((rest & 0x7f) | 0x80)
  return [...nameOctets, ...length, rest, ...octets]
}

const responseHead = Buffer.from([...statusOk, ...literal(contentTypeIndex, 'application/grpc')])
const okTrailers = Buffer.from(literal('grpc-status', '0'))

/** Octets of a whole reply but for its message. */
export const REPLY_OVERHEAD = 3 * FRAME_HEADER + responseHead.length + okTrailers.length + MESSAGE_PREFIX

/** Writes the response's HEADERS; returns what comes behind. */
export function writeResponseHead(target: Buffer, at: number, stream: number): number {
  const payload = writeFrameHeader(target, at, responseHead.length, HEADERS, FLAG_END_HEADERS, stream)
  target.set(responseHead, payload)
  return payload + responseHead.length
}

/** Writes the trailers of a call that went well. */
export function writeOkTrailers(target: Buffer, at: number, stream: number): number {
  const flags = FLAG_END_HEADERS | FLAG_END_STREAM
  const payload = writeFrameHeader(target, at, okTrailers.length, HEADERS, flags, stream)
  target.set(okTrailers, payload)
  return payload + okTrailers.length
}

/** Writes one DATA frame with a whole message. */
export function writeMessage(
  target: Buffer,
  at: number,
  stream: number,
  message: Uint8Array,
  start: number,
  end: number,
): number {
  const length = end - start
  const payload = writeFrameHeader(target, at, MESSAGE_PREFIX + length, DATA, 0, stream)
  target[payload] = 0
  const behind = writeUint32(target, payload + 1, length)
  target.set(start === 0 && end === message.length ? message : message.subarray(start, end), behind)
  return behind + length
}

/** What a call that is not answered by its handler gets. */
export interface Refusal {
  /** A header block. */
  readonly head: Buffer
  /** Null: the head is all, trailers only. */
  readonly body: Buffer | null
}

/** A gRPC status other than OK. `extra`: a further field. */
export function grpcRefusal(code: number, text: string, extra?: readonly [name: string, value: string]): Refusal {
  const fields = [
    ...literal(contentTypeIndex, 'application/grpc'),
    ...(extra === undefined ? [] : literal(...extra)),
    ...literal('grpc-status', String(code)),
    ...literal('grpc-message', percentEncoded(text)),
  ]
  return { head: Buffer.from([...statusOk, ...fields]), body: null }
}

/** For what is no gRPC call: an HTTP status and a line of text, as somebody with a browser or curl can read it. */
export function httpRefusal(httpStatus: number, text: string): Refusal {
  const fields = [...literal(statusIndex, String(httpStatus)), ...literal(contentTypeIndex, 'text/plain')]
  return { head: Buffer.from(fields), body: Buffer.from(`${text}\n`) }
}

/** Text of a reply's status is for people: it is cut rather than split over frames. */
const textMax = 1024

/** Everything but printable ASCII, and the percent sign, as the gRPC protocol has it. */
function percentEncoded(text: string): string {
  const octets = Buffer.from(text).subarray(0, textMax)
  return Array.from(octets, octet =>
    octet >= 0x20 && octet <= 0x7e && octet !== 0x25
      ? String.fromCharCode(octet)
      : `%${octet.toString(16).toUpperCase().padStart(2, '0')}`,
  ).join('')
}

/** Where the wanted metadata of each service stands in the list of all wanted names. */
export interface ServiceTable {
  readonly services: readonly UnaryService[]
  /** Every wanted name once. */
  readonly metadataNames: readonly string[]
  /** By service: the places of its names. */
  readonly places: readonly (readonly number[])[]
}

export function createServiceTable(services: readonly UnaryService[]): ServiceTable {
  const metadataNames = [...new Set(services.flatMap(service => service.metadataNames))]
  const places = services.map(service => service.metadataNames.map(name => metadataNames.indexOf(name)))
  return { services, metadataNames, places }
}

// HTTP/2 frames of a client that sends the same unary call again and again: the preface, one header block that fills the peer's
// dynamic table and one that uses it, and whole requests whose stream id is filled in when they are sent.
// Only what the bench's own client needs; it is no HTTP/2 library.

export const frameHeaderLength = 9
export const frameType = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, windowUpdate: 8 } as const
export const flagEndStream = 1
export const flagAck = 1
const flagEndHeaders = 4

/** What Envoy announces: windows that never stop a server. */
const streamWindow = 16 * 1024 * 1024
export const connectionWindow = 24 * 1024 * 1024
const initialWindowDefault = 65_535

/** A frame with its payload; the length field has 24 bits. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const out = Buffer.alloc(frameHeaderLength + payload.length)
  out.writeUIntBE(payload.length, 0, 3)
  out[3] = type
  out[4] = flags
  out.writeUInt32BE(stream, 5)
  out.set(payload, frameHeaderLength)
  return out
}

function uint32(value: number): Buffer {
  const out = Buffer.alloc(4)
  out.writeUInt32BE(value)
  return out
}

export const windowUpdate = (stream: number, octets: number): Buffer =>
  frame(frameType.windowUpdate, 0, stream, uint32(octets))

/** Preface, SETTINGS with a large window and no push, and the window of the connection. */
export function opening(): Buffer {
  const settings = Buffer.alloc(12)
  settings.writeUInt16BE(2, 0)
  settings.writeUInt16BE(4, 6)
  settings.writeUInt32BE(streamWindow, 8)
  return Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1'),
    frame(frameType.settings, 0, 0, settings),
    windowUpdate(0, connectionWindow - initialWindowDefault),
  ])
}

/** A string of HPACK without Huffman; all of ours are shorter than 127 octets. */
function text(value: string): Buffer {
  if (value.length >= 127) throw new Error('a header of the bench is too long')
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value, 'latin1')])
}

/** First entry of the dynamic table (RFC 7541 section 2.3.3). */
const dynamicStart = 62
/** `:method: POST` and `:scheme: http` of the static table. */
const staticFields = Buffer.from([0x83, 0x86])
const names = ['te', 'grpc-timeout', 'content-type', 'x-envoy-expected-rq-timeout-ms'] as const
const values = ['trailers', '250m', 'application/grpc', '250'] as const
const addressName = 'x-gatewarden-client-ip'

/** Header blocks of the first call of a connection, and of all later ones. */
export interface HeaderBlocks {
  readonly first: Buffer
  readonly later: Buffer
}

/** What Envoy sends with a check: seven fields that never change, and the client address, which is never indexed. */
export function headerBlocks(method: string, clientAddress: string): HeaderBlocks {
  const incremental = (name: string, value: string) => Buffer.concat([Buffer.from([0x40]), text(name), text(value)])
  const indexed = [incremental(':path', method), incremental(':authority', 'gatewarden')]
  names.forEach((name, i) => {
    indexed.push(incremental(name, values[i] ?? ''))
  })
  const address = Buffer.concat([Buffer.from([0x00]), text(addressName), text(clientAddress)])
  const references = indexed.map((_, i) => 0x80 | (dynamicStart + indexed.length - 1 - i))
  return {
    first: Buffer.concat([staticFields, ...indexed, address]),
    later: Buffer.concat([staticFields, Buffer.from(references), address]),
  }
}

/** HEADERS and DATA of one call on stream 0: `setStream` makes it a real one. */
export function callFrames(block: Buffer, message: Buffer): Buffer {
  const prefixed = Buffer.alloc(5 + message.length)
  prefixed.writeUInt32BE(message.length, 1)
  prefixed.set(message, 5)
  return Buffer.concat([
    frame(frameType.headers, flagEndHeaders, 0, block),
    frame(frameType.data, flagEndStream, 0, prefixed),
  ])
}

/** Writes the stream id into both frames of a call that begins at `at` and whose header block has `blockLength` octets. */
export function setStream(out: Buffer, at: number, blockLength: number, stream: number): void {
  out.writeUInt32BE(stream, at + 5)
  out.writeUInt32BE(stream, at + frameHeaderLength + blockLength + 5)
}

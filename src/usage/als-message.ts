// One message of an access log stream, from its octets to halves. An entry costs about two microseconds, since the process that reads
// it also answers checks: only what is kept becomes an object. Fields that are not named here are passed over. Broken octets
// throw, and then nothing of the message counts.
import { EntryFields, type ReadEntry, toEntry } from './als-entry.ts'
import { PairSpan, type Span, WireCursor } from './wire-cursor.ts'

/** What an Envoy says of itself in the first message of a stream; cut. */
export interface StreamIdentity {
  readonly node: string
  readonly cluster: string
  readonly log: string
}

export interface LogMessage {
  /** Null: not the first message. */
  readonly identity: StreamIdentity | null
  readonly entries: readonly ReadEntry[]
  /** Entries of TCP proxies, of which nothing is read. */
  readonly tcpEntries: number
}

/** Octets kept of what an Envoy says of itself, for the log. */
const nameLengthMax = 128

/** Reads `envoy.service.accesslog.v3.StreamAccessLogsMessage`. @throws WireError */
export function readLogMessage(octets: Buffer): LogMessage {
  const cursor = new WireCursor(octets)
  const limit = octets.length
  const entries: ReadEntry[] = []
  let identity: StreamIdentity | null = null
  let tcpEntries = 0
  while (cursor.next(limit)) {
    if (cursor.field === 1) identity = readIdentity(cursor, cursor.enter(limit))
    else if (cursor.field === 2) readEntries(cursor, cursor.enter(limit), entries)
    else if (cursor.field === 3) tcpEntries += countEntries(cursor, cursor.enter(limit))
    else cursor.skip(limit)
  }
  return { identity, entries, tcpEntries }
}

/** `Identifier`: node (id, cluster, 50 KB of extensions), log_name. */
function readIdentity(cursor: WireCursor, limit: number): StreamIdentity {
  const identity = { node: '', cluster: '', log: '' }
  while (cursor.next(limit)) {
    if (cursor.field === 1) {
      const end = cursor.enter(limit)
      while (cursor.next(end)) {
        if (cursor.field === 1) identity.node = readName(cursor, end)
        else if (cursor.field === 2) identity.cluster = readName(cursor, end)
        else cursor.skip(end)
      }
    } else if (cursor.field === 2) identity.log = readName(cursor, limit)
    else cursor.skip(limit)
  }
  return identity
}

function readName(cursor: WireCursor, limit: number): string {
  const end = cursor.enter(limit)
  const text = cursor.bytes.toString('utf8', cursor.at, Math.min(end, cursor.at + nameLengthMax))
  cursor.at = end
  return text
}

function countEntries(cursor: WireCursor, limit: number): number {
  let count = 0
  while (cursor.next(limit)) {
    if (cursor.field === 1) count += 1
    cursor.skip(limit)
  }
  return count
}

const fields = new EntryFields()
const pair = new PairSpan()

function readEntries(cursor: WireCursor, limit: number, entries: ReadEntry[]): void {
  while (cursor.next(limit)) {
    if (cursor.field === 1) {
      fields.reset()
      readEntry(cursor, cursor.enter(limit))
      entries.push(toEntry(fields, cursor.bytes))
    } else cursor.skip(limit)
  }
}

/** `HTTPAccessLogEntry`: common_properties, request, response. */
function readEntry(cursor: WireCursor, limit: number): void {
  while (cursor.next(limit)) {
    if (cursor.field === 1) readCommon(cursor, cursor.enter(limit))
    else if (cursor.field === 3) readRequest(cursor, cursor.enter(limit))
    else if (cursor.field === 4) readResponse(cursor, cursor.enter(limit))
    else cursor.skip(limit)
  }
}

/** `AccessLogCommon`. */
function readCommon(cursor: WireCursor, limit: number): void {
  while (cursor.next(limit)) {
    switch (cursor.field) {
      case 12: // time_to_last_downstream_tx_byte
        fields.downstreamUs = readMicros(cursor, cursor.enter(limit))
        break
      case 13: // upstream_remote_address
        readAddress(cursor, cursor.enter(limit))
        break
      case 15: // upstream_cluster
        fields.cluster.take(cursor, limit)
        break
      case 16: // response_flags
        fields.flags |= readFlags(cursor, cursor.enter(limit))
        break
      case 17: // metadata
        readMetadata(cursor, cursor.enter(limit))
        break
      case 23: // duration
        fields.durationUs = readMicros(cursor, cursor.enter(limit))
        break
      case 33: // access_log_type
        fields.type = cursor.number(limit)
        break
      default:
        cursor.skip(limit)
    }
  }
}

/** `google.protobuf.Duration`: seconds, nanos. Negative numbers come out beyond every count. */
function readMicros(cursor: WireCursor, limit: number): number {
  let seconds = 0
  let nanos = 0
  while (cursor.next(limit)) {
    if (cursor.field === 1) seconds = cursor.number(limit)
    else if (cursor.field === 2) nanos = cursor.number(limit)
    else cursor.skip(limit)
  }
  return seconds * 1e6 + Math.floor(nanos / 1000)
}

/** `Address`: socket_address (address, port_value), pipe (path). */
function readAddress(cursor: WireCursor, limit: number): void {
  while (cursor.next(limit)) {
    const { field } = cursor
    if (field !== 1 && field !== 2) {
      cursor.skip(limit)
      continue
    }
    const end = cursor.enter(limit)
    while (cursor.next(end)) {
      if (field === 1 && cursor.field === 2) fields.host.take(cursor, end)
      else if (field === 1 && cursor.field === 3) fields.port = cursor.number(end)
      else if (field === 2 && cursor.field === 1) fields.pipe.take(cursor, end)
      else cursor.skip(end)
    }
  }
}

/** `unauthorized_details`: a message, where the others are flags. */
const unauthorizedField = 13
const flagBits = 32

/** `ResponseFlags` as bits by field number. */
function readFlags(cursor: WireCursor, limit: number): number {
  let flags = 0
  while (cursor.next(limit)) {
    const { field } = cursor
    let isSet = true
    if (field >= flagBits || field === unauthorizedField) cursor.skip(limit)
    else isSet = cursor.number(limit) !== 0
    if (isSet && field < flagBits) flags |= 1 << field
  }
  return flags
}

const metadataName = Buffer.from('envoy.filters.http.ext_authz')
const decisionIdName = Buffer.from('decision_id')
const profileName = Buffer.from('profile')
const decisionName = Buffer.from('decision')

/** `Metadata`: filter_metadata, a map of structs of which ours is one. */
function readMetadata(cursor: WireCursor, limit: number): void {
  while (cursor.next(limit)) {
    if (cursor.field !== 1) {
      cursor.skip(limit)
      continue
    }
    pair.take(cursor, limit)
    const behind = cursor.at
    if (!pair.key.equals(cursor.bytes, metadataName)) continue
    const { start, end } = pair.value
    cursor.at = start
    readStruct(cursor, end)
    cursor.at = behind
  }
}

/** `google.protobuf.Struct`: a map of values. */
function readStruct(cursor: WireCursor, limit: number): void {
  while (cursor.next(limit)) {
    if (cursor.field !== 1) {
      cursor.skip(limit)
      continue
    }
    pair.take(cursor, limit)
    const behind = cursor.at
    const target = targetOf(pair.key, cursor.bytes)
    if (target === null) continue
    readText(cursor, pair.value, target)
    cursor.at = behind
  }
}

/** `Value`: string_value. Ours are all texts; of anything else the target stays empty. */
function readText(cursor: WireCursor, { start, end }: Span, target: Span): void {
  cursor.at = start
  while (cursor.next(end)) {
    if (cursor.field === 3) target.take(cursor, end)
    else cursor.skip(end)
  }
}

function targetOf(key: Span, bytes: Buffer): Span | null {
  if (key.equals(bytes, decisionIdName)) {
    fields.hasDecision = true
    return fields.decisionId
  }
  if (key.equals(bytes, profileName)) return fields.profile
  return key.equals(bytes, decisionName) ? fields.decision : null
}

/** `HTTPRequestProperties`: request_headers_bytes, request_body_bytes. */
function readRequest(cursor: WireCursor, limit: number): void {
  let headers = 0
  let body = 0
  while (cursor.next(limit)) {
    if (cursor.field === 11) headers = cursor.number(limit)
    else if (cursor.field === 12) body = cursor.number(limit)
    else cursor.skip(limit)
  }
  fields.requestBytes = headers + body
}

const grpcStatusName = Buffer.from('grpc-status')

/** `HTTPResponseProperties`. */
function readResponse(cursor: WireCursor, limit: number): void {
  let headers = 0
  let body = 0
  while (cursor.next(limit)) {
    switch (cursor.field) {
      case 1: // response_code, a UInt32Value
        fields.responseCode = readWrapped(cursor, cursor.enter(limit))
        break
      case 2: // response_headers_bytes
        headers = cursor.number(limit)
        break
      case 3: // response_body_bytes
        body = cursor.number(limit)
        break
      case 4: // response_headers
        readGrpcStatus(cursor, limit, fields.headerStatus)
        break
      case 5: // response_trailers
        readGrpcStatus(cursor, limit, fields.trailerStatus)
        break
      default:
        cursor.skip(limit)
    }
  }
  fields.responseBytes = headers + body
}

function readWrapped(cursor: WireCursor, limit: number): number {
  let value = 0
  while (cursor.next(limit)) {
    if (cursor.field === 1) value = cursor.number(limit)
    else cursor.skip(limit)
  }
  return value
}

function readGrpcStatus(cursor: WireCursor, limit: number, target: Span): void {
  pair.take(cursor, limit)
  if (!pair.key.equals(cursor.bytes, grpcStatusName)) return
  target.start = pair.value.start
  target.end = pair.value.end
}

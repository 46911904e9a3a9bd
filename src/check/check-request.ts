// Reads one CheckRequest (envoy.service.auth.v3) in a single walk over its octets, noting offsets in a RequestView.
// Unknown fields are skipped unread. A message that decoders could disagree about is no HTTP request for us (security.md
// 5.7): a singular field twice, a group, a number longer than need be, a wrong type, broken UTF-8 in a text that is used.
import {
  addHeader,
  clearRequest,
  equalsText,
  findHeader,
  type RequestView,
  valueEnd,
  valueStart,
} from '../core/request-view.ts'
import { isUtf8Range } from './utf8.ts'
import { WireReader } from './wire-reader.ts'

/** The context extension that selects a profile; all others are ignored. */
const profileExtension = 'profile'

const reader = new WireReader()
/** What the walk has met beside what the view holds. */
const met = { http: false, headerMap: false }

/** Header names whose values decide something even when they are no ASCII text. */
export type UsedHeaders = readonly string[]

/** Reads `bytes[start, end)` into `view`, which is cleared first. `view.http` is false for anything but a sound HTTP request. */
export function readCheckRequest(
  bytes: Uint8Array,
  start: number,
  end: number,
  used: UsedHeaders,
  view: RequestView,
): void {
  clearRequest(view)
  view.bytes = bytes
  met.http = met.headerMap = false
  reader.begin(bytes, start)
  readMessage(view, end)
  view.http = reader.sound && met.http && usedTextIsSound(view, used)
  reader.release()
}

function readMessage(view: RequestView, limit: number): void {
  let seen = 0
  while (reader.next(limit)) {
    if (reader.field === 1) {
      seen = reader.once(seen)
      readAttributes(view, reader.enter(limit))
    } else {
      reader.skip(limit)
    }
  }
}

/** AttributeContext. */
function readAttributes(view: RequestView, limit: number): void {
  let seen = 0
  while (reader.next(limit)) {
    switch (reader.field) {
      case 1: // source
        seen = reader.once(seen)
        readPeer(view, reader.enter(limit))
        break
      case 4: // request
        seen = reader.once(seen)
        readRequest(view, reader.enter(limit))
        break
      case 10: // context_extensions
        readExtension(view, reader.enter(limit))
        break
      case 2: // destination
      case 11: // metadata_context
      case 12: // tls_session
      case 13: // route_metadata_context
        seen = reader.once(seen)
        reader.take(limit)
        break
      default:
        reader.skip(limit)
    }
  }
}

function readPeer(view: RequestView, limit: number): void {
  let seen = 0
  while (reader.next(limit)) {
    if (reader.field === 1) {
      seen = reader.once(seen)
      readAddress(view, reader.enter(limit))
    } else {
      reader.skip(limit)
    }
  }
}

/** core.v3.Address: of its three kinds, which exclude each other, only a socket has an IP address. */
function readAddress(view: RequestView, limit: number): void {
  let kinds = 0
  while (reader.next(limit)) {
    if (reader.field > 3) {
      reader.skip(limit)
      continue
    }
    if (++kinds > 1) reader.sound = false
    if (reader.field === 1) readSocketAddress(view, reader.enter(limit))
    else reader.take(limit)
  }
}

function readSocketAddress(view: RequestView, limit: number): void {
  let seen = 0
  while (reader.next(limit)) {
    if (reader.field === 2) {
      seen = reader.once(seen)
      reader.take(limit)
      view.sourceStart = reader.start
      view.sourceEnd = reader.end
    } else {
      reader.skip(limit)
    }
  }
}

/** AttributeContext.Request. */
function readRequest(view: RequestView, limit: number): void {
  let seen = 0
  while (reader.next(limit)) {
    if (reader.field === 2) {
      seen = reader.once(seen)
      met.http = true
      readHttp(view, reader.enter(limit))
    } else {
      if (reader.field === 1) seen = reader.once(seen)
      reader.skip(limit)
    }
  }
}

/** AttributeContext.HttpRequest. */
function readHttp(view: RequestView, limit: number): void {
  let seen = 0
  while (reader.next(limit)) {
    const { field } = reader
    if (field === 3) {
      readMapHeader(view, reader.enter(limit))
      if (!met.headerMap) reader.at = readPlainHeaders(view, reader.bytes, reader.at, limit, mapTag, valueTag)
      continue
    }
    if (field > 13) {
      reader.skip(limit)
      continue
    }
    seen = reader.once(seen)
    if (field === 13) {
      met.headerMap = true
      // Octets intact and repeated headers apart: preferred to what the map has told before.
      view.headerCount = 0
      readHeaderMap(view, reader.enter(limit))
      continue
    }
    if (field === 9) {
      if (reader.wire !== 0) reader.sound = false
      reader.skip(limit)
      continue
    }
    reader.take(limit)
    if (field === 2) {
      view.methodStart = reader.start
      view.methodEnd = reader.end
    } else if (field === 4) {
      view.pathStart = reader.start
      view.pathEnd = reader.end
    } else if (field === 5) {
      view.hostStart = reader.start
      view.hostEnd = reader.end
    }
  }
}

/** One entry of `headers`, a map of texts. */
function readMapHeader(view: RequestView, limit: number): void {
  readEntry(limit)
  if (!met.headerMap) addHeader(view, entry.keyStart, entry.keyEnd, entry.valueStart, entry.valueEnd)
}

/** Tags of one octet: an entry of `headers`, one of `header_map`, and a value as text or as octets. */
const mapTag = 0x1a
const headerMapTag = 0x0a
const valueTag = 0x12
const rawValueTag = 0x1a

/**
 * Notes headers in the plainest spelling, which is what encoders write: name in field 1 and value in field 2 or under
 * `otherTag`, nothing else, lengths of one or two octets. Reads from `at` up to the first that is anything else.
 * @returns where it stopped: nothing of that entry has been read.
 */
function readPlainHeaders(
  view: RequestView,
  bytes: Uint8Array,
  start: number,
  limit: number,
  entryTag: number,
  otherTag: number,
): number {
  let at = start
  while (at + 6 < limit && bytes[at] === entryTag) {
    let entryLength = bytes[at + 1] ?? 0
    let name = at + 2
    if (entryLength >= 0x80) {
      const high = bytes[name++] ?? 0
      if (high >= 0x80 || high === 0) break
      entryLength = (entryLength & 0x7f) | (high << 7)
    }
    const end = name + entryLength
    const nameLength = bytes[name + 1] ?? 0
    const tagAt = name + 2 + nameLength
    if (end > limit || bytes[name] !== headerMapTag || nameLength >= 0x80 || tagAt + 1 >= end) break
    const tag = bytes[tagAt]
    let value = tagAt + 2
    let length = bytes[tagAt + 1] ?? 0
    if (length >= 0x80) {
      const high = bytes[value++] ?? 0
      if (high >= 0x80 || high === 0) break
      length = (length & 0x7f) | (high << 7)
    }
    if ((tag !== valueTag && tag !== otherTag) || value + length !== end) break
    addHeader(view, name + 2, tagAt, value, end)
    at = end
  }
  return at
}

function readHeaderMap(view: RequestView, limit: number): void {
  reader.at = readPlainHeaders(view, reader.bytes, reader.at, limit, headerMapTag, rawValueTag)
  while (reader.next(limit)) {
    if (reader.field === 1) {
      readHeaderValue(view, reader.enter(limit))
      reader.at = readPlainHeaders(view, reader.bytes, reader.at, limit, headerMapTag, rawValueTag)
    } else {
      reader.skip(limit)
    }
  }
}

/** core.v3.HeaderValue: the value stands in `value` or in `raw_value`, never in both. */
function readHeaderValue(view: RequestView, limit: number): void {
  let seen = 0
  let nameStart = 0
  let nameEnd = 0
  let start = 0
  let end = 0
  while (reader.next(limit)) {
    if (reader.field > 3) {
      reader.skip(limit)
      continue
    }
    seen = reader.once(seen)
    reader.take(limit)
    if (reader.field === 1) {
      nameStart = reader.start
      nameEnd = reader.end
    } else if (reader.end > reader.start) {
      if (end > start) reader.sound = false
      start = reader.start
      end = reader.end
    }
  }
  addHeader(view, nameStart, nameEnd, start, end)
}

function readExtension(view: RequestView, limit: number): void {
  readEntry(limit)
  if (!equalsText(view.bytes, entry.keyStart, entry.keyEnd, profileExtension)) return
  if (view.profileStart >= 0) reader.sound = false
  view.profileStart = entry.valueStart
  view.profileEnd = entry.valueEnd
}

/** Ranges of the entry of a map<string, string> read last. */
const entry = { keyStart: 0, keyEnd: 0, valueStart: 0, valueEnd: 0 }

function readEntry(limit: number): void {
  let seen = 0
  entry.keyStart = entry.keyEnd = entry.valueStart = entry.valueEnd = 0
  while (reader.next(limit)) {
    const { field } = reader
    if (field > 2) {
      reader.skip(limit)
      continue
    }
    seen = reader.once(seen)
    reader.take(limit)
    if (field === 1) {
      entry.keyStart = reader.start
      entry.keyEnd = reader.end
    } else {
      entry.valueStart = reader.start
      entry.valueEnd = reader.end
    }
  }
}

/**
 * Whether the texts that are used are UTF-8 where the schema says string. Path, credential, host and extension need no
 * look: they are compared with or held against ASCII. `raw_value` may hold any octets.
 */
function usedTextIsSound(view: RequestView, used: UsedHeaders): boolean {
  const { bytes } = view
  if (!isUtf8Range(bytes, view.methodStart, view.methodEnd)) return false
  if (met.headerMap) return true
  for (const name of used) {
    for (let index = findHeader(view, name, 0); index >= 0; index = findHeader(view, name, index + 1)) {
      if (!isUtf8Range(bytes, valueStart(view, index), valueEnd(view, index))) return false
    }
  }
  return true
}

// One request as a decision reads it: offsets into the octets it arrived in, filled by whoever decodes the message.
// One view is reused for all checks, so `clearRequest` must reset every member: nothing of the check before may be left.
// It never holds a copy of a header value; the octets are let go of with the request.
import { type AddressWords, createAddressWords } from './address-octets.ts'

/** A range is `[start, end)` in `bytes`; an absent text has start = end = 0 unless a member says otherwise. */
export interface RequestView {
  bytes: Uint8Array
  /** Whether the message was readable and describes an HTTP request. False is a denial, whatever else is set. */
  http: boolean
  methodStart: number
  methodEnd: number
  /** Path with query, as the client sent it. */
  pathStart: number
  pathEnd: number
  /** End of the path before its query; set by the decision once the path has been found canonical, else -1. */
  pathStop: number
  hostStart: number
  hostEnd: number
  /** Canonical host if a served profile names it, else ''. */
  host: string
  /** Value of the context extension `profile`; start -1: absent. */
  profileStart: number
  profileEnd: number
  /** Text of the peer's socket address; start -1: none, or no IP socket. */
  sourceStart: number
  sourceEnd: number
  headerCount: number
  /** Four numbers a header: name start, name end, value start, value end. */
  headers: Int32Array
  /** The client's address as the configured mode tells it; family 0: unknown. */
  readonly client: AddressWords
}

/** Headers a new view has room for; it grows with what arrives, which the message limit bounds. */
const headersInitial = 128

const nothing = new Uint8Array(0)

export function createRequestView(): RequestView {
  return {
    bytes: nothing,
    http: false,
    methodStart: 0,
    methodEnd: 0,
    pathStart: 0,
    pathEnd: 0,
    pathStop: -1,
    hostStart: 0,
    hostEnd: 0,
    host: '',
    profileStart: -1,
    profileEnd: -1,
    sourceStart: -1,
    sourceEnd: -1,
    headerCount: 0,
    headers: new Int32Array(headersInitial * 4),
    client: createAddressWords(),
  }
}

/** Forgets the request, its octets included. */
export function clearRequest(view: RequestView): void {
  view.bytes = nothing
  view.http = false
  view.methodStart = view.methodEnd = 0
  view.pathStart = view.pathEnd = 0
  view.pathStop = -1
  view.hostStart = view.hostEnd = 0
  view.host = ''
  view.profileStart = view.profileEnd = -1
  view.sourceStart = view.sourceEnd = -1
  view.headerCount = 0
  view.client.family = 0
  view.client.w0 = view.client.w1 = view.client.w2 = view.client.w3 = 0
}

/** Notes one header. A header without a name can never be asked for and is left out. */
export function addHeader(
  view: RequestView,
  nameStart: number,
  nameEnd: number,
  valueStart: number,
  valueEnd: number,
): void {
  if (nameEnd === nameStart) return
  const at = view.headerCount * 4
  if (at + 4 > view.headers.length) {
    const wider = new Int32Array(view.headers.length * 2)
    wider.set(view.headers)
    view.headers = wider
  }
  view.headers[at] = nameStart
  view.headers[at + 1] = nameEnd
  view.headers[at + 2] = valueStart
  view.headers[at + 3] = valueEnd
  view.headerCount++
}

/** ASCII letters folded to lower case, every other octet as it is. */
export const lowerCase: Uint8Array = Uint8Array.from({ length: 256 }, (_, octet) =>
  octet >= 0x41 && octet <= 0x5a ? octet + 32 : octet,
)

/** Index of the first header at or after `from` whose name is `name` (given in lower case) whatever its letter case; -1: none. */
export function findHeader(view: RequestView, name: string, from: number): number {
  const { bytes, headers, headerCount } = view
  const length = name.length
  for (let index = from; index < headerCount; index++) {
    const start = headers[index * 4] ?? 0
    if ((headers[index * 4 + 1] ?? 0) - start !== length) continue
    let at = 0
    while (at < length && lowerCase[bytes[start + at] ?? 0] === name.charCodeAt(at)) at++
    if (at === length) return index
  }
  return -1
}

/** Start of a header's value. */
export function valueStart(view: RequestView, index: number): number {
  return view.headers[index * 4 + 2] ?? 0
}

/** End of a header's value. */
export function valueEnd(view: RequestView, index: number): number {
  return view.headers[index * 4 + 3] ?? 0
}

/** Whether `bytes[start, end)` are exactly the ASCII characters of `text`. */
export function equalsText(bytes: Uint8Array, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false
  return true
}

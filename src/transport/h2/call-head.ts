// What a request's header fields mean for a unary gRPC call (RFC 9113 section 8, gRPC over HTTP/2). A field's name becomes a
// role once, when it is first decoded; its value becomes a verdict. What no call needs is checked for form and forgotten.

/** What a name stands for. Roles from `METADATA` on are wanted metadata, by their place in the list of names. */
export const OTHER = 0
export const METHOD = 1
export const SCHEME = 2
export const PATH = 3
export const AUTHORITY = 4
export const CONTENT_TYPE = 5
export const TE = 6
export const ENCODING = 7
export const CONTENT_LENGTH = 8
/** A name that makes the request malformed: upper case, no token, unknown pseudo-header, connection-specific. */
export const BAD_NAME = 9
export const METADATA = 10

/** A value that makes the request malformed. */
export const BAD_VALUE = -1

const roles: ReadonlyMap<string, number> = new Map([
  [':method', METHOD],
  [':scheme', SCHEME],
  [':path', PATH],
  [':authority', AUTHORITY],
  ['content-type', CONTENT_TYPE],
  ['te', TE],
  ['grpc-encoding', ENCODING],
  ['content-length', CONTENT_LENGTH],
  // RFC 9113 section 8.2.2
  ['connection', BAD_NAME],
  ['keep-alive', BAD_NAME],
  ['proxy-connection', BAD_NAME],
  ['transfer-encoding', BAD_NAME],
  ['upgrade', BAD_NAME],
])

/** Lower-case token (RFC 9110 section 5.6.2, RFC 9113 section 8.2). */
const fieldName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
const printable = /^[ -~]*$/
const grpcType = /^application\/grpc(?:$|[+;])/
const decimal = /^\d{1,15}$/

/** The names and values that calls of one server are told apart by. */
export class FieldMeanings {
  private readonly methods: ReadonlyMap<string, number>
  private readonly metadata: ReadonlyMap<string, number>

  /** `methods`: full paths; `metadata`: lower-case names. */
  constructor(methods: readonly string[], metadata: readonly string[]) {
    this.methods = new Map(methods.map((method, index) => [method, index + 1]))
    this.metadata = new Map(metadata.map((name, index) => [name, METADATA + index]))
  }

  roleOf(name: string): number {
    const known = roles.get(name) ?? this.metadata.get(name)
    if (known !== undefined) return known
    return fieldName.test(name) ? OTHER : BAD_NAME
  }

  /** For `PATH` the number of the method from 1, 0 for none of ours; for the others 1 is what a gRPC call has, 0 what it has not. */
  verdictOf(role: number, octets: Buffer, start: number, end: number): number {
    if (!isFieldValue(octets, start, end)) return BAD_VALUE
    switch (role) {
      case METHOD:
        return octets.toString('latin1', start, end) === 'POST' ? 1 : 0
      case PATH:
        return start === end ? BAD_VALUE : (this.methods.get(octets.toString('latin1', start, end)) ?? 0)
      case CONTENT_TYPE:
        return grpcType.test(octets.toString('latin1', start, end)) ? 1 : 0
      case TE:
        return octets.toString('latin1', start, end) === 'trailers' ? 1 : BAD_VALUE
      case ENCODING:
        return octets.toString('latin1', start, end) === 'identity' ? 1 : 0
      case CONTENT_LENGTH: {
        const text = octets.toString('latin1', start, end)
        return decimal.test(text) ? Number(text) : BAD_VALUE
      }
      default:
        return 1
    }
  }
}

/** RFC 9113 section 8.2.1: no NUL, CR, LF, and no space at either end. */
function isFieldValue(octets: Buffer, start: number, end: number): boolean {
  if (start === end) return true
  if (isBlank(octets[start]) || isBlank(octets[end - 1])) return false
  for (let at = start; at < end; at++) {
    const octet = octets[at]
    if (octet === 0 || octet === 10 || octet === 13) return false
  }
  return true
}

function isBlank(octet: number | undefined): boolean {
  return octet === 32 || octet === 9
}

/** Each pseudo-header once, before all regular fields (RFC 9113 section 8.3). */
const pseudoHeaders = (1 << METHOD) | (1 << SCHEME) | (1 << PATH)

/** The header fields of one request, as far as they matter; used again for every request. */
export class CallHead {
  malformed = false
  /** Number of the method from 1; 0: not ours. */
  method = 0
  isPost = false
  isGrpc = false
  isEncoded = false
  /** -1: not said. */
  contentLength = -1
  /** Size of the list as RFC 9113 section 6.5.2 counts it, and its fields. */
  listSize = 0
  fields = 0
  /** Of wanted metadata; null: present more than once, or not printable ASCII. Written over by the next request: copy it. */
  readonly values: (string | null | undefined)[] = []
  private seen = 0
  private isRegular = false

  reset(): void {
    this.malformed = false
    this.method = 0
    this.isPost = false
    this.isGrpc = false
    this.isEncoded = false
    this.contentLength = -1
    this.listSize = 0
    this.fields = 0
    this.seen = 0
    this.isRegular = false
    this.values.fill(undefined)
  }

  take(role: number, verdict: number, text: string | undefined, size: number): void {
    this.listSize += size
    this.fields++
    if (role === BAD_NAME || verdict === BAD_VALUE) {
      this.malformed = true
      return
    }
    if (role >= METHOD && role <= AUTHORITY) {
      if (this.isRegular || (this.seen & (1 << role)) !== 0) this.malformed = true
      this.seen |= 1 << role
    } else this.isRegular = true
    switch (role) {
      case METHOD:
        this.isPost = verdict === 1
        break
      case PATH:
        this.method = verdict
        break
      case CONTENT_TYPE:
        this.isGrpc = verdict === 1
        break
      case ENCODING:
        this.isEncoded = verdict === 0
        break
      case CONTENT_LENGTH:
        if (this.contentLength >= 0 && this.contentLength !== verdict) this.malformed = true
        this.contentLength = verdict
        break
      default:
        if (role >= METADATA) this.takeMetadata(role - METADATA, text)
    }
  }

  private takeMetadata(index: number, text: string | undefined): void {
    const isKnown = this.values[index] !== undefined
    this.values[index] = isKnown || text === undefined || !printable.test(text) ? null : text
  }

  /** Whether these are the fields of a request. */
  get isRequest(): boolean {
    return !this.malformed && (this.seen & pseudoHeaders) === pseudoHeaders
  }

  /** Whether these are trailers: regular fields alone. */
  get areTrailers(): boolean {
    return !this.malformed && this.seen === 0
  }
}

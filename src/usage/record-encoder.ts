// Takes the record of every decision into a buffer and hands a batch to the spool before its replies leave: the sink of the
// check. One call copies what is kept and keeps nothing else; it allocates nothing for ordinary requests and never waits.
// It never writes a secret: not the credential's header, no query, and nothing behind a key prefix wherever it stands.
import { type AddressWords, createAddressWords, parseAddressOctets } from '../core/address-octets.ts'
import { ALLOW } from '../core/reason.ts'
import type { RequestView } from '../core/request-view.ts'
import { RecordBuffer } from './record-buffer.ts'
import { allowedLane, deniedLane, type Lane, postgresEpochUnixMs } from './record-format.ts'
import { outcomeOf, planRecords, type RecordedProfile, type RecordPlan } from './record-plan.ts'
import { SecretCover, toBounded } from './text-guard.ts'
import { usageTextMax } from './usage-row.ts'

/** A short text of a reply, as octets from 0 to `length`; the array has room up to a multiple of 4. */
interface ShortOctets {
  readonly octets: Uint8Array
  readonly length: number
}

/** One decision as it was answered; what check/decision-sink.ts hands over has this shape. */
export interface DecidedRequest {
  readonly request: RequestView
  readonly decision: { readonly code: number; readonly rule: number }
  readonly values: {
    readonly unixMs: number
    /** Characters of a UUID. */
    readonly decisionId: Uint8Array
    readonly supportId: Uint8Array
    readonly hasSupportId: boolean
    readonly apiKeyId: ShortOctets
    readonly organizationId: ShortOctets
    readonly environment: string
  }
  readonly profile: RecordedProfile | null
  readonly status: number
}

/** Takes the frames of a batch. Must not throw: what it cannot keep it counts. */
export interface FrameSink {
  /** `buffer.bytes` from 0 to `buffer.at` has room for a header in front, which the sink fills in. */
  append(lane: Lane, buffer: RecordBuffer): void
}

export interface EncoderOptions {
  readonly sink: FrameSink
  /** Name of the client-address mode. */
  readonly clientIpMode: string
}

/** Profiles whose plan is kept; more than are ever in force, so that reloads do not pile up. */
const plansMax = 64
const noView: DataView = new DataView(new ArrayBuffer(0))
const QUESTION = 0x3f
const HASH = 0x23
const SLASH = 0x2f
const STAR = 0x2a
const AT = 0x40

export class RecordEncoder {
  private readonly sink: FrameSink
  private readonly clientIpMode: string
  private readonly unmatched: RecordPlan
  private plans: RecordPlan[] = []
  private readonly allowed = new RecordBuffer()
  private readonly denied = new RecordBuffer()
  private readonly direct: AddressWords = createAddressWords()
  /** A view of the request's octets; let go of with the batch. */
  private source: DataView = noView
  private sourceBuffer: ArrayBufferLike = noView.buffer
  private userAgent = -1
  private requestId = -1
  private readonly views = new OwnViews()

  constructor(options: EncoderOptions) {
    this.sink = options.sink
    this.clientIpMode = options.clientIpMode
    this.unmatched = planRecords(null, options.clientIpMode)
  }

  /** Whatever stands behind one of these in a text of a request is covered. */
  coverPrefixes(prefixes: readonly string[]): void {
    const cover = new SecretCover(prefixes)
    this.allowed.coverWith(cover)
    this.denied.coverWith(cover)
  }

  /** Takes one decision. */
  record(decided: DecidedRequest): void {
    const plan = decided.profile === null ? this.unmatched : this.planOf(decided.profile)
    const isAllowed = decided.decision.code === ALLOW
    if (isAllowed && !plan.recordsAllowed) return
    const buffer = isAllowed ? this.allowed : this.denied
    if (buffer.isFull) this.flush(isAllowed ? allowedLane : deniedLane, buffer)
    buffer.beginRecord()
    try {
      this.write(buffer, plan, decided)
      buffer.endRecord()
    } catch (error) {
      buffer.dropRecord()
      throw error
    }
  }

  /** The replies of a batch are about to leave. */
  endOfBatch(): void {
    this.source = noView
    this.sourceBuffer = noView.buffer
    if (this.allowed.count > 0) this.flush(allowedLane, this.allowed)
    if (this.denied.count > 0) this.flush(deniedLane, this.denied)
  }

  private flush(lane: Lane, buffer: RecordBuffer): void {
    try {
      this.sink.append(lane, buffer)
    } finally {
      buffer.clear()
    }
  }

  private planOf(profile: RecordedProfile): RecordPlan {
    const { plans } = this
    for (let i = 0; i < plans.length; i++) {
      const plan = plans[i]
      if (plan !== undefined && plan.profile === profile) return plan
    }
    const plan = planRecords(profile, this.clientIpMode)
    this.plans = [...(plans.length < plansMax ? plans : []), plan]
    return plan
  }

  /** The values in the order of `recordColumns`. */
  private write(buffer: RecordBuffer, plan: RecordPlan, decided: DecidedRequest): void {
    const { request, decision, values } = decided
    buffer.putTime(Math.round((values.unixMs - postgresEpochUnixMs) * 1000))
    buffer.putUuid(values.decisionId)
    const isAllowed = decision.code === ALLOW
    const byRule = isAllowed ? plan.allowedByRule : plan.deniedByRule
    const constant = byRule[decision.rule + 1] ?? byRule[0]
    if (constant === undefined) throw new Error('a plan has a constant for requests without a rule')
    buffer.putConstant(constant)
    if (!isAllowed) {
      buffer.putConstant(outcomeOf(decision.code))
      buffer.putInt16(plan.keepsStatus ? decided.status : 0)
    }
    if (plan.keepsEnvironment && values.environment !== '') {
      buffer.putOwn(this.views.ofText(values.environment), this.views.textLength)
    } else {
      buffer.putEmpty()
    }
    const { organizationId, apiKeyId } = values
    buffer.putOwn(this.views.ofOrganization(organizationId.octets), organizationId.length)
    if (plan.keepsApiKey) buffer.putOwn(this.views.ofApiKey(apiKeyId.octets), apiKeyId.length)
    else buffer.putEmpty()
    this.writeAddresses(buffer, plan, request)
    if (request.http) this.writeTexts(buffer, plan, request)
    else for (let i = 0; i < requestTexts; i++) buffer.putEmpty()
    if (plan.support !== null && values.hasSupportId) {
      buffer.putWrapped(plan.support.prefix, values.supportId, plan.support.suffix)
    } else {
      buffer.putEmpty()
    }
  }

  private writeAddresses(buffer: RecordBuffer, plan: RecordPlan, request: RequestView): void {
    const { client, bytes, sourceStart, sourceEnd } = request
    if (plan.keepsClientIp) buffer.putAddress(client.family, client.w0, client.w1, client.w2, client.w3)
    else buffer.putNull()
    const { direct } = this
    if (plan.keepsDirectIp && sourceStart >= 0 && parseAddressOctets(bytes, sourceStart, sourceEnd, direct)) {
      buffer.putAddress(direct.family, direct.w0, direct.w1, direct.w2, direct.w3)
    } else {
      buffer.putNull()
    }
  }

  /** What the client wrote: method, host, path, user agent, request id. */
  private writeTexts(buffer: RecordBuffer, plan: RecordPlan, request: RequestView): void {
    const { bytes, headers } = request
    if (this.sourceBuffer !== bytes.buffer) {
      this.sourceBuffer = bytes.buffer
      this.source = new DataView(bytes.buffer)
    }
    const { source } = this
    const base = bytes.byteOffset
    if (plan.keepsMethod) {
      buffer.putText(source, base + request.methodStart, base + request.methodEnd, usageTextMax.method)
    } else {
      buffer.putEmpty()
    }
    if (plan.keepsHost) {
      const start = hostStart(bytes, request.hostStart, request.hostEnd)
      buffer.putText(source, base + start, base + request.hostEnd, usageTextMax.host)
    } else {
      buffer.putEmpty()
    }
    if (plan.keepsPath) {
      buffer.putText(source, base + request.pathStart, base + pathStop(request), usageTextMax.path)
    } else {
      buffer.putEmpty()
    }
    this.findHeaders(request)
    this.writeHeader(buffer, plan.keepsUserAgent ? this.userAgent : -1, base, headers, usageTextMax.userAgent)
    this.writeHeader(buffer, plan.keepsRequestId ? this.requestId : -1, base, headers, usageTextMax.requestId)
  }

  private writeHeader(buffer: RecordBuffer, index: number, base: number, headers: Int32Array, max: number): void {
    if (index < 0) buffer.putEmpty()
    else buffer.putText(this.source, base + (headers[index * 4 + 2] ?? 0), base + (headers[index * 4 + 3] ?? 0), max)
  }

  /** Both headers in one walk, which looks at lengths first. */
  private findHeaders({ bytes, headers, headerCount }: RequestView): void {
    const { source } = this
    const base = bytes.byteOffset
    this.userAgent = this.requestId = -1
    for (let index = 0; index < headerCount; index++) {
      const start = headers[index * 4] ?? 0
      const length = (headers[index * 4 + 1] ?? 0) - start
      if (length === userAgentName.length) {
        if (this.userAgent < 0 && isName(source, base + start, userAgentName)) this.userAgent = index
      } else if (length === requestIdName.length) {
        if (this.requestId < 0 && isName(source, base + start, requestIdName)) this.requestId = index
      }
    }
  }
}

/** Texts of a request in a record. */
const requestTexts = 5

/** A header name of at least eight characters as words: the first two and the last, all in lower case. */
interface NameWords {
  readonly length: number
  readonly words: readonly [number, number, number]
}

const userAgentName = nameWords('user-agent')
const requestIdName = nameWords('x-request-id')
/** Makes letters small. Of what else it changes nothing can be in a header name. */
const smallLetters = 0x2020_2020

function nameWords(name: string): NameWords {
  const octets = Buffer.from(name)
  return {
    length: octets.length,
    words: [octets.readInt32LE(0), octets.readInt32LE(4), octets.readInt32LE(octets.length - 4)],
  }
}

/** Whether the name at `start`, which is as long as `name`, is that name in whatever letter case. */
function isName(source: DataView, start: number, { length, words }: NameWords): boolean {
  return (
    (source.getInt32(start, true) | smallLetters) === words[0] &&
    (source.getInt32(start + 4, true) | smallLetters) === words[1] &&
    (source.getInt32(start + length - 4, true) | smallLetters) === words[2]
  )
}

/** Start of the host behind what some clients write before an `@`. */
function hostStart(bytes: Uint8Array, start: number, end: number): number {
  let from = start
  for (let at = start; at < end; at++) if (bytes[at] === AT) from = at + 1
  return from
}

/** End of the path before its query; of a path in no known form, which might hold anything, nothing is kept. */
function pathStop({ bytes, pathStart, pathEnd, pathStop: known }: RequestView): number {
  if (known >= 0) return known
  const first = bytes[pathStart]
  if (pathEnd <= pathStart || (first !== SLASH && first !== STAR)) return pathStart
  for (let at = pathStart; at < pathEnd; at++) {
    const octet = bytes[at]
    if (octet === QUESTION || octet === HASH) return at
  }
  return pathEnd
}

/** Views of the arrays that the check reuses, made once each. */
class OwnViews {
  textLength = 0
  private text = ''
  private textView = noView
  private organization: Uint8Array | undefined
  private organizationView = noView
  private apiKey: Uint8Array | undefined
  private apiKeyView = noView

  /** Of a name of ours; the one asked for last is kept. */
  ofText(text: string): DataView {
    if (text === this.text) return this.textView
    const octets = toBounded(text, usageTextMax.name)
    const padded = Buffer.alloc(octets.length + 4)
    padded.set(octets)
    this.text = text
    this.textLength = octets.length
    this.textView = viewOf(padded)
    return this.textView
  }

  ofOrganization(octets: Uint8Array): DataView {
    if (octets !== this.organization) {
      this.organization = octets
      this.organizationView = viewOf(octets)
    }
    return this.organizationView
  }

  ofApiKey(octets: Uint8Array): DataView {
    if (octets !== this.apiKey) {
      this.apiKey = octets
      this.apiKeyView = viewOf(octets)
    }
    return this.apiKeyView
  }
}

function viewOf(octets: Uint8Array): DataView {
  return new DataView(octets.buffer, octets.byteOffset, octets.byteLength)
}

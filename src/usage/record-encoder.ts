// Takes the record of every decision into a buffer and hands a batch to the spool before its replies leave: the sink of the
// check. One call copies what is kept and keeps nothing else; it allocates nothing for ordinary requests and never waits.
// It never writes a secret: not the credential's header, no query, and nothing behind a key prefix wherever it stands.
import { type AddressWords, createAddressWords, parseAddressOctets } from '../core/address-octets.ts'
import { ALLOW } from '../core/reason.ts'
import type { RequestView } from '../core/request-view.ts'
import { Constant, RecordBuffer, viewOf } from './record-buffer.ts'
import {
  allowedLane,
  apiKeyIdAt,
  clientIpAt,
  deniedLane,
  directIpAt,
  environmentAt,
  hostAt,
  type Lane,
  methodAt,
  organizationIdAt,
  outcomeAt,
  pathAt,
  postgresEpochUnixMs,
  requestIdAt,
  ruleAt,
  supportIdAt,
  userAgentAt,
} from './record-format.ts'
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
    /** Four words of a UUID. */
    readonly decisionUuid: Int32Array
    /** Characters of a UUID. */
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
const noOctets = new Uint8Array(0)
const noView: DataView = viewOf(noOctets)
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
    const { values, status } = decided
    const micros = Math.round((values.unixMs - postgresEpochUnixMs) * 1000)
    buffer.beginRecord(micros, values.decisionUuid, plan.keepsStatus ? status : 0)
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

  private write(buffer: RecordBuffer, plan: RecordPlan, { request, decision, values }: DecidedRequest): void {
    const rule = plan.byRule[decision.rule + 1] ?? plan.byRule[0]
    if (rule === undefined) throw new Error('a plan has a constant for requests without a rule')
    buffer.putConstant(ruleAt, rule)
    buffer.putConstant(outcomeAt, outcomeOf(decision.code))
    const { environment, organizationId, apiKeyId } = values
    if (plan.keepsEnvironment && environment !== '') buffer.putConstant(environmentAt, this.views.ofText(environment))
    buffer.putOwn(organizationIdAt, this.views.ofOrganization(organizationId.octets), organizationId.length)
    if (plan.keepsApiKey) buffer.putOwn(apiKeyIdAt, this.views.ofApiKey(apiKeyId.octets), apiKeyId.length)
    this.writeAddresses(buffer, plan, request)
    if (request.http) this.writeTexts(buffer, plan, request)
    const { support } = plan
    if (support !== null && values.hasSupportId) {
      buffer.putWrapped(supportIdAt, support.prefix, values.supportId, support.suffix)
    }
  }

  private writeAddresses(buffer: RecordBuffer, plan: RecordPlan, request: RequestView): void {
    const { client, bytes, sourceStart, sourceEnd } = request
    if (plan.keepsClientIp) buffer.putAddress(clientIpAt, client)
    const { direct } = this
    if (plan.keepsDirectIp && sourceStart >= 0 && parseAddressOctets(bytes, sourceStart, sourceEnd, direct)) {
      buffer.putAddress(directIpAt, direct)
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
      buffer.putText(methodAt, source, base + request.methodStart, base + request.methodEnd, usageTextMax.method)
    }
    if (plan.keepsHost) {
      const start = hostStart(bytes, request.hostStart, request.hostEnd)
      buffer.putText(hostAt, source, base + start, base + request.hostEnd, usageTextMax.host)
    }
    if (plan.keepsPath) {
      buffer.putText(pathAt, source, base + request.pathStart, base + pathStop(request), usageTextMax.path)
    }
    this.findHeaders(request)
    const put = (field: number, index: number, max: number) => {
      buffer.putText(field, source, base + (headers[index * 4 + 2] ?? 0), base + (headers[index * 4 + 3] ?? 0), max)
    }
    if (plan.keepsUserAgent && this.userAgent >= 0) put(userAgentAt, this.userAgent, usageTextMax.userAgent)
    if (plan.keepsRequestId && this.requestId >= 0) put(requestIdAt, this.requestId, usageTextMax.requestId)
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
  private text = ''
  private textConstant = new Constant(noOctets)
  private organization: Uint8Array | undefined
  private organizationView = noView
  private apiKey: Uint8Array | undefined
  private apiKeyView = noView

  /** Of a name of ours; the one asked for last is kept. */
  ofText(text: string): Constant {
    if (text !== this.text) {
      this.textConstant = new Constant(toBounded(text, usageTextMax.name))
      this.text = text
    }
    return this.textConstant
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

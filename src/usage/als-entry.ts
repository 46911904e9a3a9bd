// What is read of one entry of Envoy's access log, and what it comes to: the access-log half of a decision, or why it has none.
// Total: whatever an entry holds, there is an answer. Only sizes, times and outcomes are taken: what the client sent is on
// record from the check.
import { responseFlagsText } from './response-flags.ts'
import { toBounded } from './text-guard.ts'
import { type AccessHalf, usageTextMax } from './usage-row.ts'
import { Span } from './wire-cursor.ts'

/** Why an entry completes no decision. */
export type UnusedEntry =
  /** Start and periodic entries: the request goes on. */
  | 'not_ended'
  /** No check was answered: no route, a malformed request, the check failed or its client left. */
  | 'no_decision'
  /** The decision is not ours to complete: no UUIDv7. */
  | 'malformed'

export type ReadEntry =
  | { readonly half: AccessHalf; readonly profile: string; readonly allowed: boolean }
  | { readonly half: null; readonly unused: UnusedEntry }

/** The fields of one entry, as they are read; reused. Numbers are null where a field is absent. */
export class EntryFields {
  /** `AccessLogType`. */
  type = 0
  hasDecision = false
  readonly decisionId = new Span()
  readonly profile = new Span()
  readonly decision = new Span()
  readonly cluster = new Span()
  readonly host = new Span()
  readonly pipe = new Span()
  port = 0
  durationUs: number | null = null
  downstreamUs: number | null = null
  /** Bits by field number of `ResponseFlags`. */
  flags = 0
  requestBytes: number | null = null
  responseBytes: number | null = null
  responseCode = 0
  readonly headerStatus = new Span()
  readonly trailerStatus = new Span()

  reset(): void {
    this.type = this.port = this.flags = this.responseCode = 0
    this.hasDecision = false
    this.durationUs = this.downstreamUs = this.requestBytes = this.responseBytes = null
    this.decisionId.reset()
    this.profile.reset()
    this.decision.reset()
    this.cluster.reset()
    this.host.reset()
    this.pipe.reset()
    this.headerStatus.reset()
    this.trailerStatus.reset()
  }
}

/** `NotSet` and `DownstreamEnd`. */
const endTypes = [0, 6]
const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const uuidLength = 36
const allow = Buffer.from('allow')
/** Greatest value of a smallint column. */
const smallMax = 32_767
/** A gRPC status, with room for what is none yet. */
const grpcStatusLengthMax = 4

/** @param bytes what the spans point into */
export function toEntry(fields: EntryFields, bytes: Buffer): ReadEntry {
  if (!endTypes.includes(fields.type)) return { half: null, unused: 'not_ended' }
  if (!fields.hasDecision) return { half: null, unused: 'no_decision' }
  const decisionId = fields.decisionId.text(bytes, uuidLength + 1)
  if (!uuid7.test(decisionId)) return { half: null, unused: 'malformed' }
  const half = {
    decisionId,
    finalStatus: Math.min(fields.responseCode, smallMax),
    durationUs: toCount(fields.durationUs ?? fields.downstreamUs),
    requestBytes: toCount(fields.requestBytes),
    responseBytes: toCount(fields.responseBytes),
    responseFlags: responseFlagsText(fields.flags),
    upstream: upstreamOf(fields, bytes),
    grpcStatus: grpcStatusOf(fields.trailerStatus, bytes) ?? grpcStatusOf(fields.headerStatus, bytes),
  }
  const profile = fields.profile.text(bytes, usageTextMax.name)
  return { half, profile, allowed: fields.decision.equals(bytes, allow) }
}

/** Null for what no honest proxy says. */
function toCount(value: number | null): number | null {
  return value !== null && Number.isSafeInteger(value) ? value : null
}

function grpcStatusOf(span: Span, bytes: Buffer): number | null {
  const text = span.text(bytes, grpcStatusLengthMax + 1)
  return /^\d{1,4}$/.test(text) ? Number(text) : null
}

/** Upstreams seen lately: they are few, and halves share their texts. */
const upstreams = new Map<string, string>()
const upstreamsMax = 1000

/** `cluster host:port`, or the cluster alone where no host was reached; '' where none was sought. */
function upstreamOf({ cluster, host, pipe, port }: EntryFields, bytes: Buffer): string {
  const name = cluster.text(bytes, usageTextMax.name)
  const address = host.text(bytes, usageTextMax.name)
  const place =
    address === '' ? pipe.text(bytes, usageTextMax.name) : `${bracketed(address)}${port === 0 ? '' : `:${port}`}`
  const text = place === '' ? name : `${name} ${place}`
  const known = upstreams.get(text)
  if (known !== undefined) return known
  if (upstreams.size >= upstreamsMax) upstreams.clear()
  const bounded = toBounded(text, usageTextMax.name).toString()
  upstreams.set(text, bounded)
  return bounded
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

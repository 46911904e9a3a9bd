// One entry of Envoy's access log → the access-log half of a decision, or why it has none. Total: whatever an entry holds, there
// is an answer and no throw. Only sizes, times and outcomes are taken: what the client sent is on record from the check.
import {
  type AccessLogCommon,
  AccessLogType,
  type HTTPAccessLogEntry,
} from '../gen/envoy/data/accesslog/v3/accesslog.ts'
import type { Duration } from '../gen/google/protobuf/duration.ts'
import { responseFlagsText } from './response-flags.ts'
import { toBounded } from './text-guard.ts'
import { type AccessHalf, usageTextMax } from './usage-row.ts'

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

/** Under this name Envoy keeps the `dynamic_metadata` of our replies. */
const metadataName = 'envoy.filters.http.ext_authz'
const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
/** Greatest value of a smallint column. */
const smallMax = 32_767

/** @param entry as decoded from the stream */
export function readEntry(entry: HTTPAccessLogEntry): ReadEntry {
  const common = entry.commonProperties
  const type = common?.accessLogType ?? AccessLogType.NotSet
  if (type !== AccessLogType.DownstreamEnd && type !== AccessLogType.NotSet) return { half: null, unused: 'not_ended' }
  const metadata = common?.metadata?.filterMetadata.get(metadataName)
  const decisionId: unknown = metadata?.['decision_id']
  if (common === undefined || decisionId === undefined) return { half: null, unused: 'no_decision' }
  if (typeof decisionId !== 'string' || !uuid7.test(decisionId)) return { half: null, unused: 'malformed' }
  const { request, response } = entry
  const profile: unknown = metadata?.['profile']
  const half = {
    decisionId,
    finalStatus: Math.min(response?.responseCode ?? 0, smallMax),
    durationUs: toMicros(common.duration ?? common.timeToLastDownstreamTxByte),
    requestBytes: sum(request?.requestHeadersBytes, request?.requestBodyBytes),
    responseBytes: sum(response?.responseHeadersBytes, response?.responseBodyBytes),
    responseFlags: responseFlagsText(common.responseFlags),
    upstream: toBounded(upstreamOf(common), usageTextMax.name).toString(),
    grpcStatus: grpcStatusOf(response?.responseTrailers) ?? grpcStatusOf(response?.responseHeaders) ?? null,
  }
  return { half, profile: typeof profile === 'string' ? profile : '', allowed: metadata?.['decision'] === 'allow' }
}

/** `cluster host:port`, or the cluster alone where no host was reached; '' where none was sought. */
function upstreamOf({ upstreamCluster, upstreamRemoteAddress }: AccessLogCommon): string {
  const address = upstreamRemoteAddress?.address
  switch (address?.$case) {
    case 'socketAddress': {
      const { address: host, portSpecifier } = address.value
      const port = portSpecifier?.$case === 'portValue' ? `:${portSpecifier.value}` : ''
      return `${upstreamCluster} ${host.includes(':') ? `[${host}]` : host}${port}`
    }
    case 'pipe':
      return `${upstreamCluster} ${address.value.path}`
    default:
      return upstreamCluster
  }
}

function toMicros(duration: Duration | undefined): number | null {
  if (duration === undefined) return null
  return toCount(Number(duration.seconds) * 1e6 + Math.floor(duration.nanos / 1000))
}

function sum(headers: bigint | undefined, body: bigint | undefined): number | null {
  return headers === undefined || body === undefined ? null : toCount(Number(headers) + Number(body))
}

/** Null for what no honest proxy says. */
function toCount(value: number): number | null {
  return Number.isSafeInteger(value) && value >= 0 ? value : null
}

function grpcStatusOf(headers: ReadonlyMap<string, string> | undefined): number | undefined {
  const text = headers?.get('grpc-status')
  return text !== undefined && /^\d{1,4}$/.test(text) ? Number(text) : undefined
}

// What an access log message comes to, read the plain way: with the generated decoder, object by object. Slow and obvious.
import {
  AccessLogType,
  type HTTPAccessLogEntry,
  type ResponseFlags,
} from '../../src/gen/envoy/data/accesslog/v3/accesslog.ts'
import { StreamAccessLogsMessage } from '../../src/gen/envoy/service/accesslog/v3/als.ts'
import type { ReadEntry } from '../../src/usage/als-entry.ts'
import type { LogMessage } from '../../src/usage/als-message.ts'

/** As Envoy documents `%RESPONSE_FLAGS%`, by member of the generated type. */
export const flagNames: Readonly<Record<keyof ResponseFlags, string>> = {
  failedLocalHealthcheck: 'LH',
  noHealthyUpstream: 'UH',
  upstreamRequestTimeout: 'UT',
  localReset: 'LR',
  upstreamRemoteReset: 'UR',
  upstreamConnectionFailure: 'UF',
  upstreamConnectionTermination: 'UC',
  upstreamOverflow: 'UO',
  noRouteFound: 'NR',
  delayInjected: 'DI',
  faultInjected: 'FI',
  rateLimited: 'RL',
  unauthorizedDetails: 'UAEX',
  rateLimitServiceError: 'RLSE',
  downstreamConnectionTermination: 'DC',
  upstreamRetryLimitExceeded: 'URX',
  streamIdleTimeout: 'SI',
  invalidEnvoyRequestHeaders: 'IH',
  downstreamProtocolError: 'DPE',
  upstreamMaxStreamDurationReached: 'UMSDR',
  responseFromCacheFilter: 'RFCF',
  noFilterConfigFound: 'NFCF',
  durationTimeout: 'DT',
  upstreamProtocolError: 'UPE',
  noClusterFound: 'NC',
  overloadManager: 'OM',
  dnsResolutionFailure: 'DF',
  downstreamRemoteReset: 'DR',
}

export function plainLogMessage(octets: Uint8Array): LogMessage {
  const { identifier, logEntries } = StreamAccessLogsMessage.decode(octets)
  const identity =
    identifier === undefined
      ? null
      : { node: identifier.node?.id ?? '', cluster: identifier.node?.cluster ?? '', log: identifier.logName }
  return {
    identity,
    entries: logEntries?.$case === 'httpLogs' ? logEntries.value.logEntry.map(plainEntry) : [],
    tcpEntries: logEntries?.$case === 'tcpLogs' ? logEntries.value.logEntry.length : 0,
  }
}

function plainEntry({ commonProperties: common, request, response }: HTTPAccessLogEntry): ReadEntry {
  const type = common?.accessLogType ?? AccessLogType.NotSet
  if (type !== AccessLogType.DownstreamEnd && type !== AccessLogType.NotSet) return { half: null, unused: 'not_ended' }
  const metadata = common?.metadata?.filterMetadata.get('envoy.filters.http.ext_authz') ?? {}
  if (common === undefined || !('decision_id' in metadata)) return { half: null, unused: 'no_decision' }
  const text = (name: string) => (typeof metadata[name] === 'string' ? metadata[name] : '')
  const decisionId = text('decision_id')
  if (!/^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/.test(decisionId)) {
    return { half: null, unused: 'malformed' }
  }
  const duration = common.duration ?? common.timeToLastDownstreamTxByte
  const count = (value: bigint | undefined) =>
    value === undefined || value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER) ? null : Number(value)
  const total = (one: bigint | undefined, other: bigint | undefined) =>
    count(one === undefined || other === undefined ? undefined : one + other)
  const micros =
    duration === undefined || duration.seconds < 0n || duration.nanos < 0
      ? undefined
      : duration.seconds * 1_000_000n + BigInt(Math.floor(duration.nanos / 1000))
  const grpcStatus = (headers: ReadonlyMap<string, string> | undefined) => {
    const value = headers?.get('grpc-status') ?? ''
    return /^\d{1,4}$/.test(value) ? Number(value) : undefined
  }
  const address = common.upstreamRemoteAddress?.address
  const host = address?.$case === 'socketAddress' ? address.value : undefined
  const port = host?.portSpecifier?.$case === 'portValue' ? host.portSpecifier.value : 0
  const hostText =
    host === undefined || host.address === '' ? '' : host.address.includes(':') ? `[${host.address}]` : host.address
  const place =
    hostText !== '' ? `${hostText}${port === 0 ? '' : `:${port}`}` : address?.$case === 'pipe' ? address.value.path : ''
  const flags = common.responseFlags
  const set = Object.entries(flagNames).flatMap(([member, name]) => {
    const value = flags?.[member as keyof ResponseFlags]
    return value === undefined || value === false ? [] : [name]
  })
  return {
    half: {
      decisionId,
      finalStatus: Math.min(response?.responseCode ?? 0, 32_767),
      durationUs: count(micros),
      requestBytes: total(request?.requestHeadersBytes, request?.requestBodyBytes),
      responseBytes: total(response?.responseHeadersBytes, response?.responseBodyBytes),
      responseFlags: set.sort().join(),
      upstream: place === '' ? common.upstreamCluster : `${common.upstreamCluster} ${place}`,
      grpcStatus: grpcStatus(response?.responseTrailers) ?? grpcStatus(response?.responseHeaders) ?? null,
    },
    profile: text('profile'),
    allowed: text('decision') === 'allow',
  }
}

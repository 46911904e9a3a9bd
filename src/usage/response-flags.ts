// The response flags of an access log entry as the short names that Envoy's own logs show, joined by commas.
// A flag of a newer Envoy that has no row here is left out; nothing else is ever said.
import type { ResponseFlags } from '../gen/envoy/data/accesslog/v3/accesslog.ts'

/** Envoy, access log usage, `%RESPONSE_FLAGS%`. */
const names = {
  noHealthyUpstream: 'UH',
  upstreamConnectionFailure: 'UF',
  upstreamOverflow: 'UO',
  noRouteFound: 'NR',
  upstreamRetryLimitExceeded: 'URX',
  noClusterFound: 'NC',
  durationTimeout: 'DT',
  downstreamConnectionTermination: 'DC',
  failedLocalHealthcheck: 'LH',
  upstreamRequestTimeout: 'UT',
  localReset: 'LR',
  upstreamRemoteReset: 'UR',
  upstreamConnectionTermination: 'UC',
  delayInjected: 'DI',
  faultInjected: 'FI',
  rateLimited: 'RL',
  unauthorizedDetails: 'UAEX',
  rateLimitServiceError: 'RLSE',
  streamIdleTimeout: 'SI',
  invalidEnvoyRequestHeaders: 'IH',
  downstreamProtocolError: 'DPE',
  upstreamMaxStreamDurationReached: 'UMSDR',
  responseFromCacheFilter: 'RFCF',
  noFilterConfigFound: 'NFCF',
  upstreamProtocolError: 'UPE',
  overloadManager: 'OM',
  dnsResolutionFailure: 'DF',
  downstreamRemoteReset: 'DR',
} as const satisfies Readonly<Record<keyof ResponseFlags, string>>

const entries = Object.entries(names) as readonly (readonly [keyof ResponseFlags, string])[]

/** e.g. `UF,URX`; '' where Envoy's log shows `-`. */
export function responseFlagsText(flags: ResponseFlags | undefined): string {
  if (flags === undefined) return ''
  let text = ''
  for (const [flag, name] of entries) {
    const value = flags[flag]
    if (value === false || value === undefined) continue
    text = text === '' ? name : `${text},${name}`
  }
  return text
}

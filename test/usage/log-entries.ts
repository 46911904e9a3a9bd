// Access log messages as an independent reader of the schema encodes them: plain objects for proto-loader, names as in the .proto.

export interface EntrySpec {
  readonly decisionId?: string
  readonly profile?: string
  readonly decision?: 'allow' | 'deny'
  readonly type?: string
  readonly streamId?: string
  readonly status?: number | null
  readonly common?: Readonly<Record<string, unknown>>
  readonly response?: Readonly<Record<string, unknown>>
}

const text = (value: string) => ({ stringValue: value })

/** An entry as Envoy sends it at the end of a request. */
export function entry(spec: EntrySpec): Record<string, unknown> {
  const fields = {
    ...(spec.decisionId === undefined ? {} : { decision_id: text(spec.decisionId) }),
    decision: text(spec.decision ?? 'allow'),
    profile: text(spec.profile ?? 'petshop'),
  }
  return {
    common_properties: {
      stream_id: spec.streamId ?? 'c5c0d5d1-8a4e-4a7e-9a39-6c1f0a1f5f10',
      access_log_type: spec.type ?? 'DownstreamEnd',
      duration: { seconds: 0, nanos: 12_345_678 },
      upstream_cluster: 'api',
      upstream_remote_address: { socket_address: { address: '10.0.0.7', port_value: 3000 } },
      metadata: {
        filter_metadata: spec.decisionId === undefined ? {} : { 'envoy.filters.http.ext_authz': { fields } },
      },
      ...spec.common,
    },
    request: { request_headers_bytes: 210, request_body_bytes: 16 },
    response: {
      ...(spec.status === null ? {} : { response_code: { value: spec.status ?? 200 } }),
      response_headers_bytes: 90,
      response_body_bytes: 1000,
      ...spec.response,
    },
  }
}

/** The first message of a stream: Envoy lists every extension that it has, `padding` octets of them. */
export function identifier(padding = 60_000): Record<string, unknown> {
  return { node: { id: 'edge-1', cluster: 'edge', user_agent_version: '1'.repeat(padding) }, log_name: 'gatewarden' }
}

export function httpLogs(entries: readonly Record<string, unknown>[]): Record<string, unknown> {
  return { http_logs: { log_entry: entries } }
}

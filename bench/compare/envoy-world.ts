// One Envoy for all variants: a listener for each, the same but for what authorizes. The route answers by itself, so that no
// upstream takes part. Names of listeners are those of the variants, with `-raw` where encode_raw_headers is on.
import { askedSecrets } from './requests.ts'

/** An authorizer behind a listener. */
export interface EnvoyTarget {
  readonly name: string
  /** host:port or unix:/path. */
  readonly address: string
}

/** Listener without any authorization, and with Envoy's own filter for API keys. */
export const aloneName = 'envoy-alone'
export const apiKeyName = 'envoy-api-key-auth'

/** Answers come in milliseconds; a busy machine must not turn into denials. */
const timeout = '2s'
/** Between Envoy and an authorizer: what the product's own configurations say. */
const streamsMax = 1024

const router = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
}

/** The whole configuration, as JSON. */
export function envoyConfig(targets: readonly EnvoyTarget[]): string {
  const listeners = [listener(aloneName, []), listener(apiKeyName, [apiKeyFilter()])]
  for (const { name } of targets)
    listeners.push(
      listener(name, [authorizerFilter(name, false)]),
      listener(`${name}-raw`, [authorizerFilter(name, true)]),
    )
  const admin = { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } }
  return JSON.stringify({ admin, static_resources: { listeners, clusters: targets.map(cluster) } })
}

function listener(name: string, filters: readonly object[]) {
  const manager = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: name,
    use_remote_address: true,
    route_config: {
      virtual_hosts: [
        {
          name: 'bench',
          domains: ['*'],
          routes: [{ match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'ok' } } }],
        },
      ],
    },
    http_filters: [...filters, router],
  }
  return {
    name,
    address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
    filter_chains: [{ filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] }],
  }
}

function authorizerFilter(name: string, raw: boolean) {
  return {
    name: 'envoy.filters.http.ext_authz',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz',
      transport_api_version: 'V3',
      stat_prefix: name,
      failure_mode_allow: false,
      status_on_error: { code: 'ServiceUnavailable' },
      validate_mutations: true,
      encode_raw_headers: raw,
      grpc_service: {
        timeout,
        envoy_grpc: { cluster_name: name, authority: 'gatewarden', skip_envoy_headers: true },
        initial_metadata: [{ key: 'x-gatewarden-client-ip', value: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%' }],
      },
    },
  }
}

function apiKeyFilter() {
  return {
    name: 'envoy.filters.http.api_key_auth',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth',
      credentials: [...new Set(askedSecrets())].map((key, i) => ({ key, client: `client-${i}` })),
      key_sources: [{ header: 'x-api-key' }],
    },
  }
}

function cluster({ name, address }: EnvoyTarget) {
  const colon = address.lastIndexOf(':')
  const target = address.startsWith('unix:')
    ? { pipe: { path: address.slice('unix:'.length) } }
    : { socket_address: { address: address.slice(0, colon), port_value: Number(address.slice(colon + 1)) } }
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    circuit_breakers: { thresholds: [{ max_pending_requests: 4096, max_requests: 4096 }] },
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicit_http_config: { http2_protocol_options: { max_concurrent_streams: streamsMax } },
      },
    },
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: target } }] }] },
  }
}

// Small named changes to a shipped Envoy configuration, for the variants that its documents describe. Everything else stays.
// Works on the JSON text of envoy-config.ts; a place that is not there is an error, never a silent no-op.

import { addressOf, type Endpoint } from '../support/envoy-config.ts'

/** Any part of a configuration. */
export interface Part {
  [member: string]: unknown
}

interface Document extends Part {
  readonly static_resources: { readonly listeners: Part[]; readonly clusters: Part[] }
}

export interface EnvoyEdit {
  /** The HTTP connection manager of a listener. */
  manager(listener: string): Part
  /** The ext_authz filter of a listener. */
  authorizer(listener: string): Part
  /** The HTTP filters of a listener, in order. */
  filters(listener: string): Part[]
  cluster(name: string): Part
  listener(name: string): Part
  /** A copy of a listener under another name, which is returned. */
  addListener(from: string, name: string): string
  /** A copy of a cluster under another name that leads elsewhere; the name is returned. */
  addCluster(from: string, name: string, endpoint: Endpoint): string
}

/** The configuration after `change`. */
export function editEnvoy(config: string, change: (edit: EnvoyEdit) => void): string {
  const document = JSON.parse(config) as Document
  const { listeners, clusters } = document.static_resources
  const listener = (name: string) => named(listeners, name)
  const manager = (name: string) => {
    const chains = listener(name)['filter_chains'] as { readonly filters: Part[] }[]
    return named(
      chains.flatMap(chain => chain.filters),
      'envoy.filters.network.http_connection_manager',
    )['typed_config'] as Part
  }
  const filters = (name: string) => manager(name)['http_filters'] as Part[]
  change({
    manager,
    filters,
    authorizer: name => named(filters(name), 'envoy.filters.http.ext_authz')['typed_config'] as Part,
    cluster: name => named(clusters, name),
    listener,
    addListener(from, name) {
      const copy = structuredClone(listener(from))
      copy['name'] = name
      listeners.push(copy)
      manager(name)['stat_prefix'] = name
      return name
    },
    addCluster(from, name, endpoint) {
      const copy = structuredClone(named(clusters, from))
      copy['name'] = name
      copy['load_assignment'] = {
        cluster_name: name,
        endpoints: [{ lb_endpoints: [{ endpoint: { address: addressOf(endpoint) } }] }],
      }
      clusters.push(copy)
      return name
    },
  })
  return JSON.stringify(document)
}

function named(parts: readonly Part[], name: string): Part {
  const part = parts.find(each => each['name'] === name)
  if (part === undefined) throw new Error(`the configuration has no ${name}`)
  return part
}

/** A busy test machine must not make Envoy give up: its own timeout is not what these suites are about. */
export function patient(edit: EnvoyEdit, listener: string): void {
  const service = edit.authorizer(listener)['grpc_service'] as Part
  service['timeout'] = '3s'
  const retry = service['retry_policy'] as { retry_back_off?: Part } | undefined
  if (retry?.retry_back_off !== undefined) retry.retry_back_off['max_interval'] = '3s'
}

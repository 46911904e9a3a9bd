// Turns a shipped Envoy configuration into one for this machine: ports, sockets and the upstream are filled in, nothing else changes.
// Works on the parsed document, so a test runs the very settings that operators copy.
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

/** Where something listens. */
export type Endpoint = { readonly port: number; readonly tls?: UpstreamTls } | { readonly socket: string }

/** PEM files for a connection to a cluster whose shipped form has TLS, and the name that its certificate must have. */
export interface UpstreamTls {
  readonly certificateFile: string
  readonly keyFile: string
  readonly caFile: string
  readonly name: string
}

export interface EnvoyPlaces {
  /** Listeners to keep, each on a loopback port that the system chooses; others are removed. */
  readonly listeners: readonly string[]
  /**
   * Cluster name → where it leads. Clusters that are not named stay as they are; without a place for the access log there
   * is none, and without one for the facade the create call goes where everything goes.
   */
  readonly clusters: Readonly<Record<string, Endpoint>>
  /** Downstream TLS for every listener. */
  readonly tls?: { readonly certificateFile: string; readonly keyFile: string }
}

interface Cluster {
  name: string
  type: string
  load_assignment: unknown
  lb_policy?: unknown
  transport_socket?: { typed_config: Record<string, unknown> }
}

interface Route {
  route?: { cluster?: string }
}

interface Listener {
  name: string
  address: unknown
  filter_chains: { transport_socket?: unknown; filters: { typed_config: Manager }[] }[]
}

interface Manager {
  access_log?: unknown
  route_config?: { virtual_hosts: { routes: Route[] }[] }
}

interface Bootstrap {
  admin: unknown
  static_resources: { listeners: Listener[]; clusters: Cluster[] }
}

const loopback = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } })

/** An endpoint as an address of Envoy. */
export function addressOf(endpoint: Endpoint): unknown {
  return 'port' in endpoint ? loopback(endpoint.port) : { pipe: { path: endpoint.socket } }
}

function tlsSocket({ certificateFile, keyFile }: NonNullable<EnvoyPlaces['tls']>): unknown {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
      common_tls_context: {
        alpn_protocols: ['h2', 'http/1.1'],
        tls_certificates: [{ certificate_chain: { filename: certificateFile }, private_key: { filename: keyFile } }],
      },
    },
  }
}

const accessLogCluster = 'gatewarden_als'

function removeAccessLog({ static_resources: parts }: Bootstrap): void {
  parts.clusters = parts.clusters.filter(cluster => cluster.name !== accessLogCluster)
  const chains = parts.listeners.flatMap(listener => listener.filter_chains)
  for (const { typed_config } of chains.flatMap(chain => chain.filters)) delete typed_config.access_log
}

const facadeCluster = 'facade'

function removeFacade({ static_resources: parts }: Bootstrap): void {
  parts.clusters = parts.clusters.filter(cluster => cluster.name !== facadeCluster)
  const chains = parts.listeners.flatMap(listener => listener.filter_chains)
  for (const { typed_config } of chains.flatMap(chain => chain.filters)) {
    for (const host of typed_config.route_config?.virtual_hosts ?? []) {
      host.routes = host.routes.filter(({ route }) => route?.cluster !== facadeCluster)
    }
  }
}

/** The connection to a cluster in clear text, or with files of this machine in place of the shipped ones. */
function setTransport(cluster: Cluster, endpoint: Endpoint): void {
  const tls = 'port' in endpoint ? endpoint.tls : undefined
  if (tls === undefined) delete cluster.transport_socket
  else if (cluster.transport_socket === undefined) throw new Error(`the cluster ${cluster.name} has no TLS`)
  else {
    const context = cluster.transport_socket.typed_config
    context['sni'] = tls.name
    const common = context['common_tls_context'] as Record<string, unknown>
    common['tls_certificates'] = [
      { certificate_chain: { filename: tls.certificateFile }, private_key: { filename: tls.keyFile } },
    ]
    common['validation_context'] = {
      trusted_ca: { filename: tls.caFile },
      match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: tls.name } }],
    }
  }
}

/** The configuration as JSON text, which Envoy reads as it reads YAML. @throws Error when a name is not in the file. */
export function envoyConfig(file: string, places: EnvoyPlaces): string {
  const bootstrap = parse(readFileSync(file, 'utf8'), { maxAliasCount: 100 }) as Bootstrap
  const { listeners, clusters } = bootstrap.static_resources
  if (places.clusters[accessLogCluster] === undefined) removeAccessLog(bootstrap)
  if (places.clusters[facadeCluster] === undefined) removeFacade(bootstrap)
  bootstrap.admin = { address: loopback(0) }
  bootstrap.static_resources.listeners = places.listeners.map(name => {
    const listener = structuredClone(find(listeners, name, file))
    listener.address = loopback(0)
    if (places.tls !== undefined)
      for (const chain of listener.filter_chains) chain.transport_socket = tlsSocket(places.tls)
    return listener
  })
  for (const [name, endpoint] of Object.entries(places.clusters)) {
    const cluster = find(clusters, name, file)
    cluster.type = 'STATIC'
    setTransport(cluster, endpoint)
    cluster.load_assignment = {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: addressOf(endpoint) } }] }],
    }
  }
  return JSON.stringify(bootstrap)
}

function find<T extends { name: string }>(items: readonly T[], name: string, file: string): T {
  const item = items.find(each => each.name === name)
  if (item === undefined) throw new Error(`${file} has no listener or cluster named ${name}`)
  return item
}

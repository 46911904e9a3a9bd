// The Envoy configurations we ship: a real Envoy accepts each as it stands, and each has every setting the contract asks for.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { lintProfile } from '../../src/profile/lint.ts'
import { issueCertificate } from '../support/certificate-authority.ts'
import { envoyBinary } from '../support/envoy-binary.ts'
import { filesBelow, root } from './sources.ts'

interface VirtualHost {
  readonly domains: readonly string[]
  readonly routes: readonly { readonly match: unknown; readonly route: { readonly cluster: string } }[]
}

interface Cluster {
  readonly lb_policy?: string
  readonly load_assignment: {
    readonly endpoints: readonly {
      readonly lb_endpoints: readonly {
        readonly endpoint: { readonly address: { readonly pipe?: { path: string } } }
      }[]
    }[]
  }
}

const profiles = filesBelow('profiles', '.yaml').map(({ path, text }) => {
  const { compiled } = lintProfile(text, { file: path })
  if (compiled === undefined) throw new Error(`${path} does not compile`)
  return compiled
})

const read = (file: string) => readFileSync(join(root, 'envoy', file), 'utf8')

/** What protects the edge (envoy-contract.md section 10); the golden configuration leaves normalisation out on purpose. */
const settings = [
  'use_remote_address: true',
  'xff_num_trusted_hops: 0',
  'normalize_path: true',
  'merge_slashes: true',
  'path_with_escaped_slashes_action: REJECT_REQUEST',
  'strip_any_host_port: true',
  'strip_trailing_host_dot: true',
  'headers_with_underscores_action: REJECT_REQUEST',
  'failure_mode_allow: false',
  'status_on_error: { code: ServiceUnavailable }',
  'validate_mutations: true',
  'encode_raw_headers: true',
  'clear_route_cache: false',
  'enforce_response_header_limits: true',
  'emit_filter_state_stats: true',
  'disallow_all: true, disallow_is_error: true',
  'timeout: 0.25s',
  'skip_envoy_headers: true',
  '{ key: x-gatewarden-client-ip, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" }',
  'retry_on: unavailable,connect-failure,refused-stream',
  'max_interval: 0.25s',
  'max_concurrent_streams: 1024',
  'stat_prefix: gatewarden',
]

describe.each(['envoy.yaml', 'envoy-uds.yaml', 'envoy-workers.yaml', 'golden.yaml'])('%s', file => {
  it('is accepted by Envoy', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gw-envoy-'))
    try {
      const path = join(folder, file)
      const tls = issueCertificate(folder, ['localhost'])
      const filled = read(file)
        .replaceAll('GATEWARDEN_HOST', '127.0.0.1')
        .replaceAll('API_HOST', '127.0.0.1')
        .replaceAll('FACADE_HOST', 'localhost')
        .replaceAll('/etc/gatewarden/edge.pem', tls.certificateFile)
        .replaceAll('/etc/gatewarden/edge.key', tls.keyFile)
        .replaceAll('/etc/gatewarden/ca.pem', tls.caFile)
      writeFileSync(path, filled)
      const { stdout, stderr, status } = spawnSync(
        await envoyBinary(),
        ['--mode', 'validate', '-c', path, '-l', 'warning'],
        { encoding: 'utf8' },
      )
      expect(`${stdout}${stderr}`).toContain('OK')
      expect(status).toBe(0)
    } finally {
      rmSync(folder, { recursive: true })
    }
  }, 120_000)

  it('obeys our removals of credentials and their twins', () => {
    const expression = /allow_expression: \{ regex: "([^"]+)" \}/.exec(read(file))?.[1]
    const allowed = new RegExp(`^(?:${expression})$`)
    for (const name of [
      'x-api-key',
      'x_api_key',
      'authorization',
      'x-gatewarden-scope',
      'x_gatewarden_scope',
      'x-envoy-auth-failure-mode-allowed',
    ]) {
      expect(name).toMatch(allowed)
    }
    for (const name of [':path', 'host', 'x-envoy-original-path', 'cookie', 'x-forwarded-for'])
      expect(name).not.toMatch(allowed)
  })
})

describe.each(['envoy.yaml', 'envoy-uds.yaml', 'envoy-workers.yaml'])('%s', file => {
  it.each(settings)('has %s', setting => {
    expect(read(file)).toContain(setting)
  })

  it('leads to checks, to the access log service, to the facade, and to the API behind', () => {
    const { clusters } = parse(read(file), { maxAliasCount: 100 }).static_resources
    expect(clusters.map((cluster: { name: string }) => cluster.name)).toEqual([
      'gatewarden',
      'gatewarden_als',
      'facade',
      'api',
    ])
  })

  it('sends the create call of each profile to the facade, after the check, and nothing else there', () => {
    const [listener] = parse(read(file), { maxAliasCount: 100 }).static_resources.listeners
    const { virtual_hosts: hosts } = listener.filter_chains[0].filters[0].typed_config.route_config
    const calls = profiles.flatMap(({ hosts, facade }) => {
      if (facade === null) return []
      const { method, path } = facade.createApiKey
      const match = { path, headers: [{ name: ':method', string_match: { exact: method } }] }
      return [{ domains: hosts, match }]
    })
    const routes = hosts.flatMap(({ domains, routes }: VirtualHost) =>
      routes.filter(({ route }) => route.cluster === 'facade').map(each => ({ domains, ...each })),
    )
    expect(routes.map(({ domains, match }: { domains: unknown; match: unknown }) => ({ domains, match }))).toEqual(
      calls,
    )
    for (const { route, typed_per_filter_config: overrides } of routes) {
      expect(route.retry_policy).toBeUndefined()
      expect(Object.keys(overrides)).toEqual(['envoy.filters.http.cors'])
    }
  })

  it('logs every request with its gRPC status, and no header that could hold a credential', () => {
    const [listener] = parse(read(file), { maxAliasCount: 100 }).static_resources.listeners
    const { access_log: logs } = listener.filter_chains[0].filters[0].typed_config
    expect(logs).toHaveLength(1)
    const { common_config: common, ...named } = logs[0].typed_config
    expect(common.grpc_service.envoy_grpc.cluster_name).toBe('gatewarden_als')
    expect(named).toEqual({
      '@type': 'type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig',
      additional_response_headers_to_log: ['grpc-status'],
      additional_response_trailers_to_log: ['grpc-status'],
    })
  })
})

describe('envoy-workers.yaml', () => {
  it('is envoy-uds.yaml with an endpoint a worker', () => {
    const withoutEndpoints = (file: string) => {
      const { clusters, ...rest } = parse(read(file), { maxAliasCount: 100 }).static_resources
      return {
        ...rest,
        clusters: clusters.map(({ lb_policy: _, load_assignment: { endpoints }, ...cluster }: Cluster) => ({
          ...cluster,
          pipes: endpoints.flatMap(({ lb_endpoints: list }) =>
            list.map(({ endpoint }) => endpoint.address.pipe?.path.replace(/-[12]\.sock$/, '.sock')),
          )[0],
        })),
      }
    }
    expect(withoutEndpoints('envoy-workers.yaml')).toEqual(withoutEndpoints('envoy-uds.yaml'))
  })
})

describe('golden.yaml', () => {
  it('hands over what a client wrote, in both header forms', () => {
    const text = read('golden.yaml')
    for (const setting of [
      'use_remote_address: false',
      'normalize_path: false',
      'merge_slashes: false',
      'KEEP_UNCHANGED',
    ]) {
      expect(text.split(setting).length).toBe(3)
    }
    expect(text).toContain('encode_raw_headers: true')
    expect(text).toContain('encode_raw_headers: false')
  })
})

// The profile that the compared Gatewardens serve: 200 routes, every check on, a rate limit of its own.
// Text only: nothing is compiled and no table is filled by reading this file.

export const routeCount = 200
export const apiHost = 'api.bench.test'

/** Denials by HTTP status: what a client of the bench may see. */
const renderings = [
  ['missing', 401, 'credential_missing'],
  ['malformed', 400, 'request_malformed'],
  [
    'invalid',
    401,
    'multiple_credentials credential_malformed credential_check_failed credential_unknown deleted revoked rotated_out expired organization_suspended suspended environment_mismatch',
  ],
  ['scope', 403, 'route_unmapped insufficient_scope'],
  ['ip', 403, 'ip_undeterminable ip_not_allowed'],
  ['rate', 429, 'rate_limited'],
  ['unavailable', 503, 'authz_unavailable'],
] as const

function renderingLine([name, status, reasons]: (typeof renderings)[number]): string {
  const list = reasons.split(' ').map(reason => `${reason}: false`)
  return `    ${name}: {status: ${status}, code: ${name}, message: ${name}, for: {${list.join(', ')}}}`
}

function routeLines(number: number): string {
  return `    - {path: /r${number}, methods: {GET: "things:READ"}, documented: false}
    - {path: "/r${number}/{id}/parts", methods: {GET: "things:READ"}, documented: false}`
}

/** The profile as a file in YAML. */
export function benchProfile(): string {
  return `apiVersion: gatewarden/v1
kind: Profile
metadata: {name: bench, version: 1, sources: {}}
select: {hosts: [${apiHost}]}
environments: {live: {prefix: bn_live_, label: Production}}
credential: {sources: [{header: x-api-key, scheme: null}], forward: strip}
key: {issued: {alphabet: base62, secret_length: 32, suffix: ""}, imported: [{alphabet: hex, length: {min: 32, max: 32}}]}
ids: {api_key: "key_{uuidv7}", organization: "org_{uuidv7}", support: null}
scopes: {form: "{resource}:{action}", resources: {things: [READ]}, empty: refuse}
routes:
  base_path: {strip: /v1, required: true}
  trailing_slash: significant
  head: as_get
  options: unmapped
  unmapped: deny
  rules:
${Array.from({ length: routeCount / 2 }, (_, number) => routeLines(number)).join('\n')}
checks: [credential, state, environment, scope, ip, rate_limit]
ip_rules: {empty: any, min_prefix: {v4: 8, v6: 32}, max_entries: 32, labels: {allowed: false, max_length: 0}, private: allow, private_ranges: [], host_bits: reject, single_display: cidr}
rotation: {grace: {default: 24h, min: 0s, max: 24h}, max_live_predecessors: 2}
expiry: {required: false, max_lifetime: null}
rate_limit: {default: 1000000, window: 3600s, algorithm: window_from_first_request, charge_denied: [], headers: [x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset]}
errors:
  content_type: application/json
  headers: {cache-control: no-store}
  body: {error: {code: {$: code}, message: {$: message}}}
  renderings:
${renderings.map(renderingLine).join('\n')}
timestamps: {format: rfc3339, offset: "+00:00"}
`
}

// What the bench decides in: a profile of 200 routes, 200 000 API keys with 20 allowlist entries and a limit each, and
// requests of 15 headers as Envoy encodes them. Made once at start; nothing in here is measured.
import { createHash, createHmac, hash } from 'node:crypto'
import { compileCheckProfiles } from '../src/check/check-profiles.ts'
import { parseEntry } from '../src/core/address.ts'
import { createNames } from '../src/core/names.ts'
import { CheckRequest } from '../src/gen/envoy/service/auth/v3/external_auth.ts'
import { KeyTable } from '../src/keys/key-table.ts'
import { lintProfile } from '../src/profile/lint.ts'

export const keyCount = 200_000
export const routeCount = 200
/** High enough that one API key can be asked for as long as the bench runs; it is counted all the same. */
const ownLimit = { limit: 2 ** 31 - 1, windowMicros: 3_600_000_000 }

function profileText(): string {
  const routes = Array.from(
    { length: routeCount / 2 },
    (_, i) => `    - {path: /r${i}, methods: {GET: "things:READ"}, documented: false}
    - {path: "/r${i}/{id}/parts", methods: {GET: "things:READ"}, documented: false}`,
  ).join('\n')
  const reasons = [
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
  const renderings = reasons.map(
    ([name, status, list]) =>
      `    ${name}: {status: ${status}, code: ${name}, message: ${name}, for: {${list
        .split(' ')
        .map(reason => `${reason}: false`)
        .join(', ')}}}`,
  )
  return `apiVersion: gatewarden/v1
kind: Profile
metadata: {name: bench, version: 1, sources: {}}
select: {hosts: [api.bench.test]}
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
${routes}
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
${renderings.join('\n')}
timestamps: {format: rfc3339, offset: "+00:00"}
`
}

export const secretOf = (i: number) => `bn_live_${hash('sha256', `secret ${i}`, 'hex').slice(0, 32)}`
export const pepper = { id: 'p1', bytes: Buffer.alloc(32, 7) }
const uuidOf = (i: number) => `019ca000-0000-7000-8000-${i.toString(16).padStart(12, '0')}`

export const names = createNames()
const { compiled, findings } = lintProfile(profileText(), {
  file: 'bench.yaml',
  compile: { names, deploymentEnvironment: 'production', acceptedEnvironments: null },
})
if (compiled === undefined)
  throw new Error(
    findings
      .slice(0, 5)
      .map(finding => finding.message)
      .join('\n'),
  )
export const profiles = compileCheckProfiles([compiled], 'grpc-metadata')

const allowlist = Array.from({ length: 20 }, (_, i) =>
  parseEntry(i % 4 === 3 ? `2001:db8:${i}::/48` : `198.51.${i}.0/24`),
).map(entry => {
  if (entry === null) throw new Error('the allowlist of the bench is broken')
  return entry.block
})
export const table = new KeyTable({ names, peppers: [pepper] })
table.reserve(keyCount)
for (let i = 0; i < 100; i++)
  table.setOrganization({ id: `org_${uuidOf(i)}`, profile: 'bench', suspended: false, valid: true })
for (let i = 0; i < keyCount; i++) {
  table.replace({
    kind: 'api_key',
    digest: createHmac('sha256', pepper.bytes)
      .update(createHash('sha256').update(secretOf(i)).digest())
      .digest(),
    pepperId: pepper.id,
    id: `key_${uuidOf(i)}`,
    organization: `org_${uuidOf(i % 100)}`,
    environment: 'live',
    scopeMode: 'LISTED',
    scopes: ['things:READ'],
    allowlist,
    expireAt: null,
    graceEndAt: null,
    revoked: false,
    deleted: false,
    suspended: false,
    limit: ownLimit,
    lineage: `key_${uuidOf(i)}`,
  })
}

/** The octets of one CheckRequest; path and request id differ by `i`; without a route it is refused. */
export function requestOf(i: number, secret: string, isMapped = true): Buffer {
  const route = (i >> 1) % (routeCount / 2)
  const path = isMapped ? (i % 2 === 0 ? `/v1/r${route}?page=${i}` : `/v1/r${route}/item-${i}/parts`) : `/v1/none/${i}`
  const headers: [string, string][] = [
    [':authority', 'api.bench.test'],
    [':path', path],
    [':method', 'GET'],
    [':scheme', 'https'],
    ['user-agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36'],
    ['accept', 'application/json, text/plain, */*'],
    ['accept-encoding', 'gzip, deflate, br, zstd'],
    ['accept-language', 'en-GB,en;q=0.9,de;q=0.8'],
    ['content-type', 'application/json'],
    ['origin', 'https://app.bench.test'],
    ['x-forwarded-for', '198.51.18.77'],
    ['x-forwarded-proto', 'https'],
    ['x-request-id', `5f0c8a3e-0000-4000-8000-${i.toString(16).padStart(12, '0')}`],
    ['x-api-key', secret],
    ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
  ]
  const address = (text: string) => ({
    address: {
      address: {
        $case: 'socketAddress' as const,
        value: {
          protocol: 0 as const,
          address: text,
          portSpecifier: { $case: 'portValue' as const, value: 44_321 },
          resolverName: '',
          ipv4Compat: false,
        },
      },
    },
    service: '',
    labels: new Map(),
    principal: '',
    certificate: '',
  })
  return Buffer.from(
    CheckRequest.encode({
      attributes: {
        source: address('10.0.0.9'),
        destination: address('10.0.0.1'),
        request: {
          time: { seconds: 1_772_370_000n, nanos: 0 },
          http: {
            id: '7716250462571217412',
            method: 'GET',
            headers: new Map(),
            path,
            host: 'api.bench.test',
            scheme: 'https',
            query: '',
            fragment: '',
            size: 0n,
            protocol: 'HTTP/2',
            body: '',
            rawBody: Buffer.alloc(0),
            headerMap: { headers: headers.map(([key, value]) => ({ key, value: '', rawValue: Buffer.from(value) })) },
          },
        },
        contextExtensions: new Map(),
        metadataContext: undefined,
        tlsSession: undefined,
        routeMetadataContext: undefined,
      },
    }).finish(),
  )
}

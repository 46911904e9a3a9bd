// What the benchmarks of a check stand on: 200 000 API keys, 200 routes, 20 allowlist entries, requests of 15 headers and a limit,
// all in one process. Answers are counted and can be verified: an error is no success.
import { createHash, createHmac, hash } from 'node:crypto'
import { createCheckHandler } from '../src/check/check-handler.ts'
import { compileCheckProfiles } from '../src/check/check-profiles.ts'
import type { DecisionSink } from '../src/check/decision-sink.ts'
import { parseEntry } from '../src/core/address.ts'
import { createNames } from '../src/core/names.ts'
import { ALLOW } from '../src/core/reason.ts'
import { microsFromUnixMs } from '../src/core/time.ts'
import { CheckRequest, CheckResponse } from '../src/gen/envoy/service/auth/v3/external_auth.ts'
import { KeyTable } from '../src/keys/key-table.ts'
import { LimitBuckets } from '../src/keys/limit-buckets.ts'
import { lintProfile } from '../src/profile/lint.ts'
import type { CallMetadata, ReplyWriter, UnaryService } from '../src/transport/unary-server.ts'

export const keyCount = 200_000
export const routeCount = 200
/** Requests that are measured in turn: enough that no key and no path is hot. */
const requestCount = 10_000

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

const names = createNames()
const { compiled, findings } = lintProfile(profileText(), {
  file: 'bench.yaml',
  compile: { names, deploymentEnvironment: 'production', acceptedEnvironments: null },
})
if (compiled === undefined) throw new Error(findings.map(finding => finding.message).join('\n'))
const profiles = compileCheckProfiles([compiled], 'grpc-metadata')

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
    limit: null,
    lineage: `key_${uuidOf(i)}`,
  })
}

/** How the checks of all services were answered. */
export const answers = { allows: 0, denials: 0, failures: 0 }
export const limits = new LimitBuckets(table)
const now = microsFromUnixMs(Date.UTC(2026, 2, 1))

/** A Check service on the world; several may be compared. */
export function createService(sink?: DecisionSink): UnaryService {
  return createCheckHandler({
    profiles: () => profiles,
    table,
    limits,
    clock: {
      fresh: () => performance.now() >= 0 && Date.now() > 0,
      now: () => now + Math.floor(performance.now() * 1000),
    },
    environments: names.environments,
    clientAddress: { mode: 'grpc-metadata' },
    ownFailure: 'denied-503',
    observer: {
      add(_, code) {
        if (code === ALLOW) answers.allows++
        else answers.denials++
      },
      unexpected() {
        answers.failures++
      },
    },
    ...(sink === undefined ? {} : { sink }),
  })
}

function requestOf(i: number, secret: string): Buffer {
  const path = i % 2 === 0 ? `/v1/r${i % 100}?page=${i}` : `/v1/r${i % 100}/item-${i}/parts`
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

// A stride that is coprime to the number of keys spreads the requests over the whole table.
export const requests = Array.from({ length: requestCount }, (_, i) => requestOf(i, secretOf((i * 7919) % keyCount)))
export const unknown = Array.from({ length: requestCount }, (_, i) => requestOf(i, secretOf(keyCount + i)))
export const metadata: CallMetadata = { value: () => '198.51.18.77' }
/** Copies the reply, as a transport has to. */
const out = Buffer.alloc(64 * 1024)
let replyLength = 0
export const reply: ReplyWriter = {
  message(bytes, start, end) {
    replyLength = end - start
    out.set(bytes.subarray(start, end), 0)
  },
  fail() {
    answers.failures++
  },
}
/** Asks all of `list` and reads the replies. @throws when one is not what it should be */
export function verify(service: UnaryService, list: readonly Buffer[], isAllowed: boolean): void {
  for (const request of list) {
    service.handler(request, 0, request.length, metadata, reply)
    const { status, httpResponse } = CheckResponse.decode(out.subarray(0, replyLength))
    const passed = status?.code === 0 && httpResponse?.$case === 'okResponse' && httpResponse.value.headers.length === 4
    const refused = httpResponse?.$case === 'deniedResponse' && httpResponse.value.status?.code === 401
    if (isAllowed ? !passed : !refused) throw new Error('a check of the bench was not answered as it should be')
  }
}

/** Wall time in nanoseconds. */
const wallNs = () => Number(process.hrtime.bigint())

/** CPU time of this process, all its threads, in nanoseconds: nearly immune to neighbours. */
export function cpuNs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) * 1000
}

/** Nanoseconds of one check of `list`, over `count` of them in batches of `batch`. */
export function measureChecks(
  service: UnaryService,
  list: readonly Buffer[],
  count: number,
  batch = 64,
  clock: () => number = wallNs,
): number {
  const begin = clock()
  for (let i = 0; i < count; i++) {
    const request = list[i % list.length]
    if (request === undefined) throw new Error('there are requests')
    service.handler(request, 0, request.length, metadata, reply)
    if ((i + 1) % batch === 0) service.endOfBatch?.()
  }
  return (clock() - begin) / count
}

export const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[list.length >> 1] ?? Number.NaN
export const range = (list: readonly number[]) => `${Math.round(Math.min(...list))}–${Math.round(Math.max(...list))}`

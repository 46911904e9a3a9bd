// What a CheckResponse says, as Envoy would take it: the acceptance items A to D of the contract, own failures, gRPC clients,
// unmatched requests, and everything that can be thrown on the way.
import { fileURLToPath } from 'node:url'
import { loadSync } from '@grpc/proto-loader'
import { describe, expect, it } from 'vitest'
import type { DecisionRecord } from '../../src/check/decision-sink.ts'
import { goldenCases, goldenKey, secretsFilled } from '../core/cases.ts'
import { seededRandom } from '../oracle/random-worlds.ts'
import { profileText } from '../profile/documents.ts'
import { type Answer, createStand, entryOf, fixtureId, organizationOf, type StandOptions } from './check-stand.ts'
import { encodeCheck, field, type SentRequest } from './encode-check.ts'

const B1 = goldenKey('B1').secret
const L1 = goldenKey('L1').secret

const allowed: SentRequest = {
  path: '/customer/open/v1/customers',
  host: 'api.bitbybit.studio',
  headers: [
    ['x-api-key', B1],
    ['x-forwarded-for', '203.0.113.10'],
  ],
}
const billoget: SentRequest = {
  path: '/v1/api/public/budgets',
  host: 'api.billoget.com',
  headers: [
    ['authorization', `Bearer ${L1}`],
    ['x-forwarded-for', '203.0.113.10'],
  ],
}
const refused: SentRequest = { ...allowed, headers: [['x-forwarded-for', '203.0.113.10']] }
const grpc = (request: SentRequest, type = 'application/grpc'): SentRequest => ({
  ...request,
  method: 'POST',
  headers: [...(request.headers ?? []), ['content-type', type]],
})

const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** What must hold for every reply whatever happened (A1–A6). */
function expectSound(answer: Answer): void {
  const { decoded } = answer
  if (decoded === undefined) throw new Error('no reply')
  expect(decoded.status).toBeDefined()
  const http = decoded.httpResponse
  const isAllow = decoded.status?.code === 0
  expect(http?.$case).toBe(isAllow ? 'okResponse' : answer.outcome === 'error' ? 'errorResponse' : 'deniedResponse')
  if (!isAllow) {
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThanOrEqual(599)
    expect(Buffer.byteLength(answer.body)).toBeLessThanOrEqual(1024)
    expect(answer.headers.has('content-length')).toBe(false)
  }
  const options =
    http?.$case === 'okResponse'
      ? [...http.value.headers, ...http.value.responseHeadersToAdd]
      : (http?.value.headers ?? [])
  for (const { header, append, appendAction } of options) {
    expect(append).toBe(false)
    expect(appendAction).toBe(2)
    expect(header?.rawValue.length).toBe(0)
    expect(header?.key).toMatch(/^[a-z0-9_-]+$/)
    expect(header?.key).not.toMatch(/^(host|x-envoy-.*)$/)
    expect(header?.value).toMatch(/^$|^[!-~]([ -~]*[!-~])?$/)
    expect(header?.value.length).toBeLessThanOrEqual(16_384)
  }
  if (http?.$case === 'okResponse') {
    expect(answer.removed).toContain('x-envoy-auth-failure-mode-allowed')
    for (const name of answer.removed) expect(answer.headers.has(name)).toBe(false)
  }
  for (const [name, value] of Object.entries(answer.metadata)) {
    expect(typeof value, name).toBe('string')
    expect(value, name).not.toBe('')
  }
  expect(answer.metadata['decision_id']).toMatch(uuid7)
}

describe('a reply', () => {
  it('is sound in every golden case and on every header form', () => {
    const stand = createStand()
    for (const golden of goldenCases) {
      for (const form of ['headers', 'header_map'] as const) {
        expectSound(
          stand.check({
            method: golden.method,
            path: golden.path,
            host: 'api.bitbybit.studio',
            extensions: { profile: golden.profile },
            form,
            headers:
              golden.credential === null ? [] : [[golden.credential.header, secretsFilled(golden.credential.value)]],
          }),
        )
      }
    }
  })

  it('that allows sets the four identity headers, removes the credential and every twin, and nothing else', () => {
    const answer = createStand().check(allowed)
    expect(Object.fromEntries(answer.headers)).toEqual({
      'x-gatewarden-organization-id': organizationOf(goldenKey('B1')),
      'x-gatewarden-api-key-id': fixtureId(goldenKey('B1')),
      'x-gatewarden-environment': 'live',
      'x-gatewarden-scope': 'customers:READ',
    })
    for (const name of [
      'x-api-key',
      'x_api_key',
      'x-api_key',
      'x_api-key',
      'x_gatewarden_api_key_id',
      'x-gatewarden_scope',
      'x-envoy-auth-failure-mode-allowed',
    ]) {
      expect(answer.removed).toContain(name)
    }
    const ours = /^(x[-_]api[-_]key|x[-_]gatewarden[-_].*|x-envoy-auth-failure-mode-allowed)$/
    for (const name of answer.removed) expect(name).toMatch(ours)
    expect(answer.responseHeaders.size).toBe(0)
  })

  it('that allows under a limit tells the client its numbers, once charged', () => {
    const stand = createStand()
    const reset = String(Date.parse('2026-03-01T14:00:00Z') / 1000)
    for (const remaining of ['999', '998', '997']) {
      expect([...stand.check(billoget).responseHeaders]).toEqual([
        ['x-ratelimit-limit', '1000'],
        ['x-ratelimit-remaining', remaining],
        ['x-ratelimit-reset', reset],
      ])
    }
    // A denial of another step does not consume.
    expect(stand.check({ ...billoget, method: 'POST' }).metadata['reason']).toBe('insufficient_scope')
    expect(stand.check(billoget).responseHeaders.get('x-ratelimit-remaining')).toBe('996')
  })

  it('carries the dynamic metadata of an allow', () => {
    const { metadata } = createStand().check(allowed)
    expect(metadata).toEqual({
      decision_id: metadata['decision_id'],
      decision: 'allow',
      profile: 'bitbybit',
      organization_id: organizationOf(goldenKey('B1')),
      api_key_id: fixtureId(goldenKey('B1')),
      environment: 'live',
      route: '/customers',
      required_scope: 'customers:READ',
      client_ip: '203.0.113.10',
      client_ip_mode: 'xff-hops',
    })
  })

  it('carries the dynamic metadata of a denial, without what is not known', () => {
    const stand = createStand()
    const unknownIp = stand.check({ ...refused, headers: [] }).metadata
    expect(unknownIp).toEqual({
      decision_id: unknownIp['decision_id'],
      decision: 'deny',
      reason: 'credential_missing',
      profile: 'bitbybit',
      route: '/customers',
      required_scope: 'customers:READ',
      client_ip_mode: 'xff-hops',
    })
    const noRoute = stand.check({ ...allowed, path: '/nowhere' }).metadata
    expect(noRoute['route']).toBeUndefined()
    expect(noRoute['required_scope']).toBeUndefined()
    expect(noRoute['api_key_id']).toBe(fixtureId(goldenKey('B1')))
    const noProfile = stand.check({ ...allowed, host: 'other.test' }).metadata
    expect(noProfile).toEqual({
      decision_id: noProfile['decision_id'],
      decision: 'deny',
      reason: 'route_unmapped',
      client_ip: '203.0.113.10',
      client_ip_mode: 'xff-hops',
    })
  })

  it('has a decision id of its own each time, in the order of time', () => {
    const stand = createStand()
    const ids = Array.from({ length: 2000 }, (_, i) => {
      stand.setNow(Date.parse('2026-03-01T13:00:00Z') + i)
      return stand.check(refused).metadata['decision_id'] ?? ''
    })
    expect(new Set(ids).size).toBe(2000)
    expect([...ids].sort()).toEqual(ids)
    expect(Number.parseInt((ids[7] ?? '').replaceAll('-', '').slice(0, 12), 16)).toBe(
      Date.parse('2026-03-01T13:00:00.007Z'),
    )
  })

  it('is read alike by an independent reader of the schema', () => {
    const root = fileURLToPath(new URL('../../proto', import.meta.url))
    const schema = loadSync('envoy/service/auth/v3/external_auth.proto', {
      includeDirs: [root],
      keepCase: true,
      longs: String,
      enums: Number,
      oneofs: true,
      defaults: true,
    })
    const service = schema['envoy.service.auth.v3.Authorization'] as unknown as {
      Check: { responseDeserialize(octets: Buffer): Record<string, unknown> }
    }
    const readBy = (answer: Answer) => service.Check.responseDeserialize(answer.octets ?? Buffer.alloc(0))
    const stand = createStand()
    const allow = readBy(stand.check(billoget))
    expect(allow).toMatchObject({ status: { code: 0 }, http_response: 'ok_response' })
    const set = (
      allow['ok_response'] as { headers: { header: { key: string; value: string }; append: { value: boolean } }[] }
    ).headers
    expect(set.map(({ header, append }) => [header.key, append.value])).toEqual(
      ['organization-id', 'api-key-id', 'environment', 'scope'].map(name => [`x-gatewarden-${name}`, false]),
    )
    expect(readBy(stand.check(refused))).toMatchObject({
      status: { code: 16 },
      denied_response: {
        status: { code: 401 },
        body: '{"error":{"code":"MISSING_API_KEY","message":"No x-api-key header provided"}}',
      },
    })
    const failing = createStand({ fresh: false, ownFailure: 'error_response' })
    expect(readBy(failing.check(allowed))).toMatchObject({
      status: { code: 14 },
      http_response: 'error_response',
      error_response: { status: { code: 503 } },
    })
  })

  it('says the same whether it was encoded ahead or composed', () => {
    const templated = createStand()
    const composed = createStand()
    // Ids of another length fit no template.
    const { secret } = goldenKey('L2')
    const other = {
      ...entryOf(goldenKey('L2')),
      id: 'a-key-with-another-name',
      organization: organizationOf(goldenKey('L2')),
    }
    composed.table.replace(other)
    const request: SentRequest = {
      ...billoget,
      path: '/v1/api/public/customers/c_1',
      headers: [
        ['authorization', `Bearer ${secret}`],
        ['x-forwarded-for', '2001:db8::5'],
      ],
    }
    const [a, b] = [templated.check(request), composed.check(request)]
    const id = fixtureId(goldenKey('L2'))
    expect([...b.headers].map(([name, value]) => [name, value === other.id ? id : value])).toEqual([...a.headers])
    expect(b.removed).toEqual(a.removed)
    expect([...b.responseHeaders]).toEqual([...a.responseHeaders])
    expect({ ...b.metadata, api_key_id: id, decision_id: '' }).toEqual({ ...a.metadata, decision_id: '' })
    expectSound(a)
    expectSound(b)
  })

  it('makes hostile ids fit for a header', () => {
    const stand = createStand()
    for (const id of ['a\r\nset-cookie: x', 'nul\u0000', '😀😀', ' blank ', 'x'.repeat(3000), 'del\u007f', 'tab\t']) {
      stand.table.replace({ ...entryOf(goldenKey('B1')), id })
      const answer = stand.check(allowed)
      expect(answer.outcome).toBe('allow')
      expectSound(answer)
      expect(answer.headers.get('x-gatewarden-api-key-id')?.length).toBeLessThanOrEqual(256)
    }
    expect(stand.errors).toEqual([])
  })
})

describe('a gRPC client', () => {
  it.each([
    ['application/grpc', true],
    ['application/grpc+proto', true],
    ['application/grpc;charset=x', false],
    ['application/grpc-web', false],
    ['application/grpcfoo', false],
    ['Application/grpc', false],
    ['application/json', false],
  ])('is told by content-type %s: %s', (type, isGrpc) => {
    const answer = createStand().check(grpc(refused, type))
    expect(answer.status).toBe(401)
    expect(answer.headers.get('grpc-status')).toBe(isGrpc ? '16' : undefined)
    expect(answer.headers.get('content-type')).toBe(isGrpc ? undefined : 'application/json')
    expect(answer.body).toBe(
      isGrpc
        ? 'No x-api-key header provided'
        : '{"error":{"code":"MISSING_API_KEY","message":"No x-api-key header provided"}}',
    )
    expect(answer.headers.get('www-authenticate')).toBe('ApiKey realm="api"')
  })

  it('gets the gRPC status of each reason, never 0', () => {
    const stand = createStand()
    const statusOf = (request: SentRequest, on = stand) => on.check(grpc(request)).headers.get('grpc-status')
    expect(statusOf({ ...allowed, path: '/a//b' })).toBe('3')
    expect(statusOf({ ...allowed, path: '/nowhere' })).toBe('7')
    expect(statusOf({ ...billoget, headers: [['authorization', `Bearer ${goldenKey('L9').secret}`]] })).toBe('7')
    const spent = createStand({
      profiles: [profileText('billoget').replace('POST: WRITE_BUDGETS', 'POST: READ_BUDGETS')],
    })
    const limited = spent.check(grpc({ ...billoget, headers: [['authorization', `Bearer ${goldenKey('L9').secret}`]] }))
    expect(limited.headers.get('grpc-status')).toBe('8')
    expect(limited.headers.get('retry-after')).toBe('3600')
    expect(limited.body).toBe('Rate limit exceeded. Try again in 3600 seconds')
    expect(statusOf(allowed, createStand({ fresh: false }))).toBe('14')
    expect(statusOf({ ...refused, host: 'other.test' })).toBe('7')
  })
})

describe('our own failure', () => {
  const shapes: readonly [string, StandOptions][] = [
    ['no fresh confirmation', { fresh: false }],
    [
      'a time that is none',
      { override: options => ({ ...options, clock: { fresh: () => true, now: () => Number.NaN } }) },
    ],
    [
      'a clock that throws',
      {
        override: options => ({
          ...options,
          clock: {
            fresh: () => {
              throw new Error('clock')
            },
            now: () => 0,
          },
        }),
      },
    ],
    [
      'a table that throws',
      {
        override: options => ({
          ...options,
          table: new Proxy(options.table, {
            get: (target, name) =>
              name === 'find'
                ? () => {
                    throw new Error('table')
                  }
                : Reflect.get(target, name).bind?.(target),
          }),
        }),
      },
    ],
    [
      'an unknowable miss',
      {
        keys: [],
        override: options => ({
          ...options,
          table: new Proxy(options.table, {
            get: (target, name) => (name === 'find' ? () => -2 : Reflect.get(target, name).bind?.(target)),
          }),
        }),
      },
    ],
    [
      'a slot that is no number',
      {
        override: options => ({
          ...options,
          table: new Proxy(options.table, {
            get: (target, name) => (name === 'find' ? () => Number.NaN : Reflect.get(target, name).bind?.(target)),
          }),
        }),
      },
    ],
    [
      'limits that throw',
      {
        profiles: [
          profileText('bitbybit').replace(
            'rate_limit: {default: null, window: null,',
            'rate_limit: {default: 5, window: 60s,',
          ),
        ],
        override: options => ({
          ...options,
          limits: {
            charge() {
              throw new Error('limits')
            },
            peek() {},
          },
        }),
      },
    ],
    [
      'ids that throw',
      {
        override: options => ({
          ...options,
          table: new Proxy(options.table, {
            get: (target, name) =>
              name === 'writeApiKeyId'
                ? () => {
                    throw new Error('ids')
                  }
                : Reflect.get(target, name).bind?.(target),
          }),
        }),
      },
    ],
  ]

  it.each(shapes)('by %s is a 503 in the product’s shape, whatever the key', (_, options) => {
    const answer = createStand(options).check(allowed)
    expectSound(answer)
    expect(answer.outcome).toBe('deny')
    expect(answer.status).toBe(503)
    expect(answer.body).toBe(
      '{"error":{"code":"SERVICE_UNAVAILABLE","message":"Authorization is temporarily unavailable"}}',
    )
    expect(answer.headers.get('retry-after')).toMatch(/^[123]$/)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.metadata['reason']).toBe('authz_unavailable')
    expect(answer.code).toBe(14)
  })

  it.each(shapes)('by %s can be an error reply or a failed call', (_, options) => {
    const error = createStand({ ...options, ownFailure: 'error_response' }).check(allowed)
    expectSound(error)
    expect([error.outcome, error.status, error.code]).toEqual(['error', 503, 14])
    const failed = createStand({ ...options, ownFailure: 'rpc-error' }).check(allowed)
    expect([failed.outcome, failed.failure]).toEqual(['rpc-failure', 14])
  })

  it('before a profile is known is a 503 of no product', () => {
    const answer = createStand({
      override: options => ({
        ...options,
        profiles: () => {
          throw new Error('profiles')
        },
      }),
    }).check(allowed)
    expectSound(answer)
    expect([answer.status, answer.body]).toEqual([503, '{"error":"service_unavailable"}'])
    expect(answer.metadata['profile']).toBeUndefined()
  })

  it('by a reply that cannot be written is a 503 of no product, and is reported', () => {
    const stand = createStand({
      override: options => ({
        ...options,
        profiles: () => {
          const { list, hosts } = options.profiles()
          for (const { replies } of list) Object.assign(replies, { denials: [], templates: [] })
          return { list, hosts }
        },
      }),
    })
    const answer = stand.check(refused)
    expectSound(answer)
    expect([answer.status, answer.body]).toEqual([503, '{"error":"service_unavailable"}'])
    expect(stand.errors.length).toBeGreaterThan(0)
  })

  it('of one kind of decision never spoils those that read no key', () => {
    const stand = createStand({ fresh: false })
    expect(stand.check(refused).metadata['reason']).toBe('credential_missing')
    expect(stand.check({ ...allowed, path: '//' }).metadata['reason']).toBe('request_malformed')
    expect(stand.check({ ...allowed, headers: [['x-api-key', 'no']] }).metadata['reason']).toBe('credential_malformed')
    stand.setFresh(true)
    expect(stand.check(allowed).outcome).toBe('allow')
  })

  it('of an observer or a sink changes no answer and is no failure', () => {
    const throwing = () => {
      throw new Error('observer')
    }
    const stand = createStand({
      sink: { record: throwing, endOfBatch: throwing },
      override: options => ({ ...options, observer: { add: throwing, unexpected: throwing } }),
    })
    expect(stand.check(allowed).outcome).toBe('allow')
    expect(stand.check(refused).status).toBe(401)
    expect(() => stand.service.endOfBatch()).not.toThrow()
  })
})

describe('a request that no profile matches', () => {
  it.each([
    ['an unknown host', { ...allowed, host: 'constructor' }, 403, '{"error":"forbidden"}', 'route_unmapped'],
    ['no host', { ...allowed, host: '' }, 403, '{"error":"forbidden"}', 'route_unmapped'],
    [
      'two hosts',
      { ...allowed, host: 'api.bitbybit.studio,api.billoget.com' },
      403,
      '{"error":"forbidden"}',
      'route_unmapped',
    ],
    [
      'an unknown profile',
      { ...allowed, extensions: { profile: '__proto__' } },
      403,
      '{"error":"forbidden"}',
      'route_unmapped',
    ],
    ['an empty profile', { ...allowed, extensions: { profile: '' } }, 403, '{"error":"forbidden"}', 'route_unmapped'],
    [
      'a profile in other letters',
      { ...allowed, extensions: { profile: 'Bitbybit' } },
      403,
      '{"error":"forbidden"}',
      'route_unmapped',
    ],
    [
      'a malformed path on an unknown host',
      { ...allowed, host: 'x.test', path: '/a//b' },
      400,
      '{"error":"bad_request"}',
      'request_malformed',
    ],
  ] as const)('is denied in a shape of no product: %s', (_, request, status, body, reason) => {
    const stand = createStand()
    const answer = stand.check(request)
    expectSound(answer)
    expect([answer.status, answer.body, answer.metadata['reason']]).toEqual([status, body, reason])
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect([...stand.counts.keys()]).toEqual([`-1:${reason}`])
  })

  it('is one with no HTTP request in it', () => {
    const stand = createStand()
    for (const octets of [Buffer.alloc(0), field(1), field(1, field(1), field(2), field(11)), Buffer.from('garbage')]) {
      const answer = stand.checkOctets(octets)
      expectSound(answer)
      expect([answer.status, answer.body]).toEqual([400, '{"error":"bad_request"}'])
    }
  })

  it('is not one whose extension names a profile, whatever the host', () => {
    const answer = createStand().check({
      ...billoget,
      host: 'anything.test',
      extensions: { profile: 'billoget', other: 'bitbybit' },
    })
    expect(answer.outcome).toBe('allow')
    const other = createStand().check({ ...billoget, extensions: { profile: 'bitbybit' } })
    expect(other.metadata).toMatchObject({ profile: 'bitbybit', reason: 'credential_missing' })
  })
})

describe('a request', () => {
  it.each([
    ['CONNECT', { ...allowed, method: 'CONNECT' }],
    ['CONNECT without a path', { ...allowed, method: 'CONNECT', path: '' }],
    ['an empty path', { ...allowed, path: '', pseudoHeaders: false }],
    ['another :path', { ...allowed, pseudoHeaders: false, headers: [...(allowed.headers ?? []), [':path', '/other']] }],
    [
      ':path without the query',
      {
        ...allowed,
        path: '/customer/open/v1/customers?a',
        pseudoHeaders: false,
        headers: [...(allowed.headers ?? []), [':path', '/customer/open/v1/customers']],
      },
    ],
    ['two :path, one other', { ...allowed, headers: [...(allowed.headers ?? []), [':path', '/x']] }],
  ] as const)('is malformed, before all else: %s', (_, request) => {
    const answer = createStand().check(request as SentRequest)
    expectSound(answer)
    expect([answer.status, answer.metadata['reason']]).toEqual([400, 'request_malformed'])
  })

  it('takes its path from the field alone: override headers and absolute forms change nothing', () => {
    const overrides = [
      'x-original-url',
      'x-rewrite-url',
      'x-envoy-original-path',
      'x-http-method-override',
      'x-forwarded-host',
      'x-forwarded-prefix',
    ]
    const headers = overrides.map(name => [name, '/customer/open/v1/customers'] as const)
    const stand = createStand()
    expect(
      stand.check({ ...allowed, path: '/customer/open/v1/nothing', headers: [...(allowed.headers ?? []), ...headers] })
        .metadata['reason'],
    ).toBe('route_unmapped')
    expect(
      stand.check({
        ...allowed,
        headers: [...(allowed.headers ?? []), ...overrides.map(name => [name, '/nothing'] as const)],
      }).outcome,
    ).toBe('allow')
  })

  it('reads the address metadata only in its mode, and x-forwarded-for metadata never', () => {
    const keys = [goldenKey('B3')]
    const own: SentRequest = {
      ...allowed,
      headers: [
        ['x-api-key', goldenKey('B3').secret],
        ['x-forwarded-for', '203.0.113.77'],
      ],
    }
    const stand = createStand({ keys, clientAddress: { mode: 'grpc-metadata' } })
    expect(stand.service.metadataNames).toEqual(['x-gatewarden-client-ip'])
    expect(stand.check(own, '203.0.113.1').outcome).toBe('allow')
    expect(stand.check(own, '192.0.2.1').metadata['reason']).toBe('ip_not_allowed')
    expect(stand.check(own, undefined).metadata['reason']).toBe('ip_undeterminable')
    expect(stand.check(own, '/run/envoy.sock').metadata['reason']).toBe('ip_undeterminable')
    expect(createStand({ keys }).service.metadataNames).toEqual([])
    expect(createStand({ keys }).check(own, '192.0.2.1').outcome).toBe('allow')
  })

  it('leaves nothing to the next one: 3,000 random orders give what each gives alone', () => {
    const seed = Number(process.env['SEED'] ?? 77)
    const random = seededRandom(seed)
    const requests: SentRequest[] = goldenCases
      .filter(
        (golden, i) => i % 3 === 0 && (golden.expect.outcome === 'allow' || golden.expect.reason !== 'rate_limited'),
      )
      .map(golden => ({
        method: golden.method,
        path: golden.path,
        host:
          golden.profile === 'bitbybit'
            ? 'api.bitbybit.studio'
            : golden.profile === 'billoget'
              ? 'api.billoget.com'
              : 'api.bitgpt.xyz',
        headers: [
          ...(golden.credential === null
            ? []
            : [[golden.credential.header, secretsFilled(golden.credential.value)] as const]),
          ...(golden.xff === null ? [] : [['x-forwarded-for', golden.xff] as const]),
        ],
      }))
    const summary = (answer: Answer) => {
      const { decision_id: _, ...metadata } = answer.metadata
      return JSON.stringify([
        answer.outcome,
        answer.status,
        metadata,
        [...answer.headers].filter(([name]) => name !== 'retry-after'),
      ])
    }
    const alone = requests.map(request => summary(createStand({ keys: [] }).check(request)))
    const stand = createStand({ keys: [] })
    for (let i = 0; i < 3000; i++) {
      const index = Math.floor(random() * requests.length)
      if (i % 7 === 0) stand.checkOctets(Buffer.from('0a03ffffff', 'hex'))
      expect(summary(stand.check(requests[index] ?? {})), `seed ${seed}, check ${i}`).toBe(alone[index])
    }
  })

  it('is recorded with its answer, and its octets are let go of', () => {
    const records: { status: number; reason: number; profile: string | undefined; path: string; id: string }[] = []
    let request: DecisionRecord['request'] | undefined
    const stand = createStand({
      sink: {
        record(record) {
          request = record.request
          records.push({
            status: record.status,
            reason: record.decision.code,
            profile: record.profile?.name,
            path: Buffer.from(record.request.bytes).toString(
              'latin1',
              record.request.pathStart,
              record.request.pathStop,
            ),
            id: Buffer.from(record.values.decisionId).toString('latin1'),
          })
        },
        endOfBatch: () => undefined,
      },
    })
    records.length = 0
    const answers = [stand.check({ ...allowed, path: `${allowed.path}?secret=1` }), stand.check(refused)]
    expect(records).toEqual([
      { status: 0, reason: 200, profile: 'bitbybit', path: allowed.path, id: answers[0]?.metadata['decision_id'] },
      { status: 401, reason: 2, profile: 'bitbybit', path: allowed.path, id: answers[1]?.metadata['decision_id'] },
    ])
    expect(request?.bytes.length).toBe(0)
  })

  it('with random octets in it is never allowed and never throws, in 30,000 mutations', () => {
    const seed = Number(process.env['SEED'] ?? 13)
    const random = seededRandom(seed)
    const stand = createStand({ keys: [] })
    const original = encodeCheck(allowed)
    for (let i = 0; i < 30_000; i++) {
      const octets = Buffer.from(original)
      for (let n = 0; n < 4; n++) octets[Math.floor(random() * octets.length)] = Math.floor(random() * 256)
      const answer = stand.checkOctets(octets.subarray(0, Math.floor(random() * octets.length * 1.5)))
      expect(answer.code, `seed ${seed}: ${octets.toString('hex')}`).toBeGreaterThan(0)
      expect(answer.status).not.toBe(503)
    }
    expect(stand.errors).toEqual([])
    process.stdout.write(`messages: inputs tried 30000, allowed 0 (seed ${seed})\n`)
  })
})

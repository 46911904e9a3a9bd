// Faults that comparable systems shipped, as whole checks in process: field reports 3 (a, b), 6, 8, 9, 13, 14 and 15, and the
// profile options that no shipped product uses.
import { describe, expect, it } from 'vitest'
import { goldenKey } from '../core/cases.ts'
import { profileText } from '../profile/documents.ts'
import { type Answer, createStand, fixtureId, type Stand } from './check-stand.ts'
import type { Octets, SentRequest } from './encode-check.ts'

const base = '/customer/open/v1'
const B1 = goldenKey('B1').secret
const B3 = goldenKey('B3').secret
const forms = ['headers', 'header_map'] as const

const ask = (
  path: string,
  headers: readonly (readonly [string, Octets])[],
  more: Partial<SentRequest> = {},
): SentRequest => ({
  path,
  host: 'api.bitbybit.studio',
  headers,
  ...more,
})

const outcome = (answer: Answer): string =>
  answer.outcome === 'allow' ? 'ALLOW' : (answer.metadata['reason'] ?? answer.outcome)

/** The outcome, the same on both header forms and never a failure of ours. */
function both(stand: Stand, request: SentRequest): string {
  const [a, b] = forms.map(form => outcome(stand.check({ ...request, form })))
  expect(a).toBe(b)
  expect(a).not.toBe('authz_unavailable')
  expect(stand.errors).toEqual([])
  return a ?? ''
}

const stand = createStand()

describe('field report 3: names that every object inherits', () => {
  it('as headers change nothing', () => {
    expect(
      both(
        stand,
        ask(`${base}/customers`, [
          ['x-api-key', B1],
          ['__proto__', 'x'],
          ['constructor', 'y'],
          ['hasownproperty', 'z'],
        ]),
      ),
    ).toBe('ALLOW')
  })

  it('as path, host or profile are unknown', () => {
    for (const path of [`${base}/__proto__`, `${base}/constructor`]) {
      const answer = stand.check(ask(path, [['x-api-key', B1]]))
      expect([answer.status, outcome(answer)]).toEqual([403, 'route_unmapped'])
      expect(answer.body).toContain('INSUFFICIENT_SCOPE')
    }
    for (const request of [
      ask('/', [], { host: 'constructor' }),
      ask('/', [], { extensions: { profile: '__proto__' } }),
    ]) {
      const answer = stand.check(request)
      expect([answer.status, answer.body]).toEqual([403, '{"error":"forbidden"}'])
    }
  })
})

describe('field report 6: the client’s identity headers', () => {
  const profile = profileText('bitbybit').replace(
    '  rules:\n',
    '  rules:\n    - {path: "/files/**", methods: {GET: authenticated}, documented: false}\n    - {path: /health, methods: {GET: public}, documented: false}\n',
  )
  const own = createStand({ profiles: [profile] })
  const forged = [
    ['x-gatewarden-scope', 'admin'],
    ['X-Gatewarden-Api-Key-Id', 'key_forged'],
    ['X-Gatewarden-Api-Key-Id', 'key_forged'],
    ['x_gatewarden_api_key_id', 'forged'],
    ['x_api_key', B1],
  ] as const
  const names = [
    'x-gatewarden-organization-id',
    'x-gatewarden-api-key-id',
    'x-gatewarden-environment',
    'x-gatewarden-scope',
  ]

  it('are overwritten on an allow, the scope even by nothing', () => {
    const answer = own.check(ask(`${base}/files/a`, [['x-api-key', B1], ...forged]))
    expect(answer.outcome).toBe('allow')
    expect([...answer.headers.keys()]).toEqual(names)
    expect(answer.headers.get('x-gatewarden-scope')).toBe('')
    expect(answer.headers.get('x-gatewarden-api-key-id')).toBe(fixtureId(goldenKey('B1')))
    expect(answer.metadata['required_scope']).toBeUndefined()
    expect(answer.removed).toEqual(expect.arrayContaining(['x-api-key', 'x_api_key', 'x_gatewarden_api_key_id']))
  })

  it.each([
    ['with a key', [['x-api-key', B1]]],
    ['without one', []],
    ['with one of no form', [['x-api-key', 'nonsense']]],
  ] as const)('are removed with the credential on a public route, %s', (_, headers) => {
    const answer = own.check(ask(`${base}/health`, [...headers, ...forged]))
    expect(answer.outcome).toBe('allow')
    expect(answer.headers.size).toBe(0)
    expect(answer.removed).toEqual(
      expect.arrayContaining([...names, 'x-api-key', 'x_api_key', 'x_gatewarden_api_key_id']),
    )
    expect(answer.metadata).toMatchObject({ decision: 'allow', route: '/health' })
    expect(answer.metadata['api_key_id']).toBeUndefined()
  })

  it('stay away on a public route while the table is not fresh', () => {
    own.setFresh(false)
    expect(own.check(ask(`${base}/health`, [])).outcome).toBe('allow')
    own.setFresh(true)
  })
})

describe('field report 8: entries of x-forwarded-for', () => {
  it.each([
    ['2001:db8::5:443', 'ALLOW'],
    ['[2001:db8::5]', 'ALLOW'],
    ['[2001:db8::5]:443', 'ALLOW'],
    ['203.0.113.77:', 'ip_undeterminable'],
    ['203.0.113.77:99999', 'ip_undeterminable'],
    ['fe80::1%eth0', 'ip_not_allowed'],
    [`2001:db8::5%${'a'.repeat(4000)}`, 'ip_undeterminable'],
    [`2001:db8::5%${'a'.repeat(200)}`, 'ALLOW'],
    ['192.0.2.9, ', 'ip_undeterminable'],
    [',203.0.113.77', 'ALLOW'],
    ['203.0.113.077', 'ip_undeterminable'],
    ['::ffff:cb00:714d', 'ALLOW'],
    ['[203.0.113.77]:80', 'ip_undeterminable'],
    [' 203.0.113.77 \t', 'ALLOW'],
    ['unknown', 'ip_undeterminable'],
    ['_hidden', 'ip_undeterminable'],
  ])('%.40s is %s under a list, and nothing without one', (entry, expected) => {
    expect(
      both(
        stand,
        ask(`${base}/customers`, [
          ['x-api-key', B3],
          ['x-forwarded-for', entry],
        ]),
      ),
    ).toBe(expected)
    expect(
      both(
        stand,
        ask(`${base}/customers`, [
          ['x-api-key', B1],
          ['x-forwarded-for', entry],
        ]),
      ),
    ).toBe('ALLOW')
  })

  it('reads the rightmost of two lines', () => {
    const lines = [
      ['x-forwarded-for', '203.0.113.77'],
      ['x-forwarded-for', '192.0.2.1'],
    ] as const
    expect(both(stand, ask(`${base}/customers`, [['x-api-key', B3], ...lines]))).toBe('ip_not_allowed')
  })

  it('shows at most 45 characters of canonical address', () => {
    const { metadata } = stand.check(
      ask(`${base}/customers`, [
        ['x-api-key', B3],
        ['x-forwarded-for', `2001:db8:0:ffff:ffff:ffff:ffff:ffff%${'a'.repeat(200)}`],
      ]),
    )
    expect(metadata['client_ip']).toBe('2001:db8:0:ffff:ffff:ffff:ffff:ffff')
  })
})

describe('field report 9: percent signs', () => {
  it.each([
    ['/customers/100%', 'request_malformed'],
    ['/customers/%zz', 'request_malformed'],
    ['/customers/%0A', 'request_malformed'],
    ['/customers/%2e%2e', 'request_malformed'],
    ['/customers%3Fx', 'route_unmapped'],
    ['/customers/a%3Fb', 'ALLOW'],
    ['/customers/%C0%AF', 'ALLOW'],
    ['/customers?q=100%&x=%zz%0A', 'ALLOW'],
    ['/customers?/../../admin', 'ALLOW'],
    ['/customers?', 'ALLOW'],
    ['/customers??x', 'ALLOW'],
    ['/customers?a#b', 'ALLOW'],
    [`/customers?${'q'.repeat(60_000)}`, 'ALLOW'],
  ])('%.40s is %s', (path, expected) => {
    expect(both(stand, ask(base + path, [['x-api-key', B1]]))).toBe(expected)
  })
})

describe('field report 13: odd octets', () => {
  const path = `${base}/customers`
  it.each([
    ['(a) UTF-8 in the key', [['x-api-key', 'ý']], 'credential_malformed'],
    [
      '(b) twice, one empty',
      [
        ['x-api-key', B1],
        ['x-api-key', ''],
      ],
      'multiple_credentials',
    ],
    ['(c) a tab', [['x-api-key', '\t']], 'credential_missing'],
    ['(d) a trailing blank', [['x-api-key', `${B1} `]], 'credential_malformed'],
    [
      '(f) 300 headers and a cookie of 60 KB',
      [
        ['x-api-key', B1],
        ['cookie', 'c'.repeat(60_000)],
        ...Array.from({ length: 300 }, (_, i) => [`h${i}`, 'v'] as const),
      ],
      'ALLOW',
    ],
    [
      '(g) an empty value and a name of one hyphen',
      [
        ['x-api-key', B1],
        ['x-empty', ''],
        ['-', 'v'],
      ],
      'ALLOW',
    ],
    ['(h) a key of 8 KB', [['x-api-key', `bbb_live_${'a'.repeat(8192)}`]], 'credential_malformed'],
    ['(j) an encoded key', [['x-api-key', '%62bb_live_a1b2c3d4e5f6']], 'credential_malformed'],
  ] as const)('%s', (_, headers, expected) => {
    expect(both(stand, ask(path, headers))).toBe(expected)
  })

  it('(a) Latin-1 in the key, (e) Latin-1 in a header that does not matter, (i) a name in capitals', () => {
    const latin = Buffer.from('ý', 'latin1')
    expect(both(stand, ask(path, [['x-api-key', latin]]))).toBe('credential_malformed')
    expect(
      both(
        stand,
        ask(path, [
          ['x-api-key', B1],
          ['x-region', Buffer.from('S\xe3o Paulo', 'latin1')],
        ]),
      ),
    ).toBe('ALLOW')
    expect(both(stand, ask(path, [['X-Api-Key', B1]]))).toBe('ALLOW')
  })

  it('(h) hashes nothing that fits no form', () => {
    let finds = 0
    const counting = createStand({
      keys: [],
      override: options => ({
        ...options,
        table: new Proxy(options.table, {
          get: (target, name) => {
            if (name === 'find') finds++
            return Reflect.get(target, name).bind?.(target)
          },
        }),
      }),
    })
    for (const key of [
      'a'.repeat(8192),
      'not-a-key',
      '!',
      `${B1},${B1}`,
      `bbb_live_${'a'.repeat(300)}`,
      `${B1}\u0000`,
    ]) {
      counting.check(ask(path, [['x-api-key', key]]))
    }
    expect(finds).toBe(0)
    counting.check(ask(path, [['x-api-key', B1]]))
    expect(finds).toBe(1)
  })
})

describe('field report 14: spellings of the host', () => {
  const headers = [['x-api-key', B1]] as const
  it.each(['API.BITBYBIT.STUDIO', 'api.bitbybit.studio:443', 'api.bitbybit.studio.', 'API.BITBYBIT.STUDIO.:443'])(
    '%s is the host',
    host => {
      expect(both(stand, ask(`${base}/customers`, headers, { host }))).toBe('ALLOW')
    },
  )

  it.each(['api.bitbybit.studio..', 'api.bitbybit.studio,api.billoget.com', 'xapi.bitbybit.studio', '', '[::1]:443'])(
    '%j is not',
    host => {
      const answer = stand.check(ask(`${base}/customers`, headers, { host }))
      expect([answer.status, answer.body]).toEqual([403, '{"error":"forbidden"}'])
    },
  )

  it('a rule bound to a host serves no other', () => {
    const text = profileText('bitbybit')
      .replace('hosts: [api.bitbybit.studio]', 'hosts: [api.bitbybit.studio, files.example.test]')
      .replace(
        '  rules:\n',
        '  rules:\n    - {path: /files, methods: {GET: authenticated}, host: files.example.test, documented: false}\n',
      )
    const own = createStand({ profiles: [text] })
    const at = (host: string) => outcome(own.check(ask(`${base}/files`, headers, { host })))
    for (const host of ['files.example.test', 'FILES.example.test:8443', 'files.example.test.'])
      expect(at(host)).toBe('ALLOW')
    expect(at('api.bitbybit.studio')).toBe('route_unmapped')
    for (const host of ['files.example.test..', 'files.example.test,api.bitbybit.studio', 'xfiles.example.test']) {
      expect(outcome(own.check(ask(`${base}/files`, headers, { host, extensions: { profile: 'bitbybit' } })))).toBe(
        'route_unmapped',
      )
    }
  })
})

describe('field report 15: preflight', () => {
  const path = `${base}/customers`
  const asked = [
    ['origin', 'https://app.example'],
    ['access-control-request-method', 'DELETE'],
  ] as const
  const options = (headers: SentRequest['headers'], more: Partial<SentRequest> = {}) =>
    ask(path, headers ?? [], { method: 'OPTIONS', ...more })

  it('has no exemption by default', () => {
    expect(both(stand, options(asked))).toBe('credential_missing')
    expect(both(stand, options([['x-api-key', B1], ...asked]))).toBe('route_unmapped')
  })

  describe('with preflight_public', () => {
    const own = createStand({
      profiles: [
        profileText('bitbybit')
          .replace('options: unmapped', 'options: preflight_public')
          .replace('rate_limit: {default: null, window: null,', 'rate_limit: {default: 1, window: 60s,'),
      ],
    })

    it('is public, without identity, and never charged', () => {
      for (let i = 0; i < 3; i++) {
        const answer = own.check(options([['x-api-key', B1], ['x-gatewarden-scope', 'admin'], ...asked]))
        expect(answer.outcome).toBe('allow')
        expect(answer.headers.size).toBe(0)
        expect(answer.removed).toEqual(expect.arrayContaining(['x-gatewarden-scope', 'x-api-key']))
      }
      expect(both(own, ask(path, []))).toBe('credential_missing')
      expect(outcome(own.check(ask(path, [['x-api-key', B1]])))).toBe('ALLOW')
      expect(outcome(own.check(ask(path, [['x-api-key', B1]])))).toBe('rate_limited')
      expect(own.check(options([['x-api-key', B1], ...asked])).outcome).toBe('allow')
    })

    it.each([
      ['origin alone', [asked[0]]],
      ['the method alone', [asked[1]]],
      [
        'both empty',
        [
          ['origin', ''],
          ['access-control-request-method', ''],
        ],
      ],
      ['one empty', [asked[0], ['access-control-request-method', '']]],
    ] as const)('is like any OPTIONS with %s', (_, headers) => {
      expect(both(own, options(headers))).toBe('credential_missing')
      expect(both(own, options([['x-api-key', B1], ...headers]))).toBe('route_unmapped')
    })

    it('is for OPTIONS in capitals on a mapped path only', () => {
      expect(both(own, ask(path, asked))).toBe('credential_missing')
      expect(both(own, options([['x-api-key', B1], ...asked], { method: 'options' }))).toBe('route_unmapped')
      expect(both(own, options([['x-api-key', B1], ...asked], { path: `${base}/nothing` }))).toBe('route_unmapped')
      expect(both(own, options(asked, { path: `${base}/nothing` }))).toBe('credential_missing')
    })
  })

  it('HEAD goes by GET, and its denial has the same headers', () => {
    expect(both(stand, ask(path, [['x-api-key', B1]], { method: 'HEAD' }))).toBe('ALLOW')
    const orders = [['x-api-key', goldenKey('B10').secret]] as const
    const [head, get] = ['HEAD', 'GET'].map(method => stand.check(ask(path, orders, { method })))
    expect(outcome(head as Answer)).toBe('insufficient_scope')
    expect([...(head?.headers ?? [])]).toEqual([...(get?.headers ?? [])])
  })
})

describe('options of a profile', () => {
  const variant = (...changes: readonly (readonly [string, string])[]) => {
    let text = profileText('bitbybit')
    for (const [from, to] of changes) {
      expect(text).toContain(from)
      text = text.replace(from, to)
    }
    return createStand({ profiles: [text] })
  }
  const customers = (own: Stand, secret: string, more: Partial<SentRequest> = {}) =>
    own.check(
      ask(
        `${base}/customers`,
        [
          ['x-api-key', secret],
          ['x-forwarded-for', '192.0.2.1'],
        ],
        more,
      ),
    )
  const limit = ['rate_limit: {default: null, window: null,', 'rate_limit: {default: 1, window: 60s,'] as const

  it('can put the address before the scope', () => {
    const own = variant(['environment, scope, ip, rate_limit]', 'environment, ip, scope, rate_limit]'])
    expect(outcome(customers(own, goldenKey('B13').secret))).toBe('ip_not_allowed')
    expect(outcome(customers(stand, goldenKey('B13').secret))).toBe('insufficient_scope')
  })

  it('can look at the limit first, and still a denial of a later step does not consume (D13)', () => {
    const own = variant(['environment, scope, ip, rate_limit]', 'environment, rate_limit, scope, ip]'], limit)
    for (let i = 0; i < 3; i++) expect(outcome(customers(own, B3))).toBe('ip_not_allowed')
    const passes = ask(`${base}/customers`, [
      ['x-api-key', B3],
      ['x-forwarded-for', '203.0.113.1'],
    ])
    expect(outcome(own.check(passes))).toBe('ALLOW')
    expect(outcome(own.check(passes))).toBe('rate_limited')
    // Used up: now the limit speaks before the address.
    expect(outcome(customers(own, B3))).toBe('rate_limited')
  })

  it('can charge named denials', () => {
    const own = variant(limit, ['charge_denied: []', 'charge_denied: [insufficient_scope]'])
    expect(outcome(customers(own, B1, { method: 'POST' }))).toBe('insufficient_scope')
    expect(outcome(customers(own, B1, { method: 'POST' }))).toBe('insufficient_scope')
    expect(outcome(customers(own, B1))).toBe('rate_limited')
  })

  it('can admit any valid key to unmapped routes, but nobody else', () => {
    const own = variant(['unmapped: deny', 'unmapped: authenticated'])
    const answer = customers(own, B1, { path: '/anything' })
    expect(answer.outcome).toBe('allow')
    expect(answer.headers.get('x-gatewarden-scope')).toBe('')
    expect(answer.metadata['route']).toBeUndefined()
    expect(outcome(customers(own, 'nonsense', { path: '/anything' }))).toBe('credential_malformed')
    expect(outcome(customers(own, goldenKey('B4').secret, { path: '/anything' }))).toBe('revoked')
  })

  it('can make an empty allowlist mean nobody', () => {
    const own = variant(['empty: any ', 'empty: none '])
    expect(outcome(customers(own, B1))).toBe('ip_not_allowed')
    expect(outcome(own.check(ask(`${base}/customers`, [['x-api-key', B1]])))).toBe('ip_not_allowed')
  })

  it('can ask for several scopes, all or any, and names those that are missing', () => {
    const own = createStand({
      profiles: [
        profileText('billoget').replace(
          '  rules:\n',
          '  rules:\n    - {path: /all, methods: {GET: [READ_BUDGETS, READ_CUSTOMERS, WEBHOOKS], POST: {any: [READ_CUSTOMERS, WEBHOOKS]}, PUT: {any: [READ_BUDGETS, WEBHOOKS]}}, documented: false}\n',
        ),
      ],
    })
    const at = (method: string) =>
      own.check({
        method,
        path: '/all',
        host: 'api.billoget.com',
        headers: [['authorization', `Bearer ${goldenKey('L1').secret}`]],
      })
    expect(at('GET').body).toBe(
      '{"error":"insufficient_scope","message":"API key does not have required scope: READ_CUSTOMERS, WEBHOOKS"}',
    )
    expect(at('GET').metadata['required_scope']).toBe('READ_CUSTOMERS, WEBHOOKS')
    expect(at('POST').body).toBe(
      '{"error":"insufficient_scope","message":"API key does not have required scope: READ_CUSTOMERS, WEBHOOKS"}',
    )
    expect(at('PUT').headers.get('x-gatewarden-scope')).toBe('READ_BUDGETS, WEBHOOKS')
  })

  it('can keep the credential, but never its twins, and never on a public route', () => {
    const own = variant(
      ['forward: strip', 'forward: keep'],
      ['  rules:\n', '  rules:\n    - {path: /health, methods: {GET: public}, documented: false}\n'],
    )
    const { removed } = customers(own, B1)
    expect(removed).not.toContain('x-api-key')
    expect(removed).toContain('x_api_key')
    expect(customers(own, B1, { path: `${base}/health` }).removed).toContain('x-api-key')
  })
})

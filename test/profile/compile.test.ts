// The compiled form: what the decision path and administration read is what the file says, frozen, and the same each time.
import { describe, expect, it } from 'vitest'
import { createNames } from '../../src/core/names.ts'
import { codeOf } from '../../src/core/reason.ts'
import { hasScope } from '../../src/core/scope-set.ts'
import { describeProfile } from '../../src/profile/describe.ts'
import { lintProfile } from '../../src/profile/lint.ts'
import { compileText, exampleText, products, profileText } from './documents.ts'

const example = exampleText()

function digestOf(text: string): string | null {
  return lintProfile(text, { file: 'x' }).digest
}

describe('the digest tells contents apart, not spellings', () => {
  const digest = digestOf(example)

  it('comments, blanks, quoting and flow style change nothing', () => {
    const respelt = example
      .replace('facade: null', '# a comment\nfacade: null # another\n')
      .replace('name: example', 'name:    "example"')
      .replace('live: {prefix: ex_live_, label: Production}', 'live:\n    prefix: ex_live_\n    label: Production')
      .replace('facade: null', 'facade: ~')
    expect(digestOf(respelt)).toBe(digest)
    expect(digest).toMatch(/^[0-9a-f]{64}$/)
  })

  it('values, the order of members and a left-out default change it', () => {
    const changed = [
      example.replace('version: 3', 'version: 4'),
      example.replace('  head: as_get\n  options: unmapped\n', '  options: unmapped\n  head: as_get\n'),
      example.replace('facade: null\n', ''),
      example.replace('GET: public', 'GET: authenticated'),
    ]
    expect(new Set([digest, ...changed.map(digestOf)]).size).toBe(5)
  })

  it('a file that was refused has a digest too', () => {
    expect(digestOf(example.replace('forward: strip', 'forward: remove'))).toMatch(/^[0-9a-f]{64}$/)
  })
})

describe('a compiled profile', () => {
  it('is frozen in all that it holds but octets and sets', () => {
    const compiled = compileText(example)
    const thawed: string[] = []
    const visit = (value: unknown, path: string): void => {
      if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value) || value instanceof Set) return
      if (!Object.isFrozen(value)) thawed.push(path)
      for (const [name, member] of Object.entries(value)) visit(member, `${path}.${name}`)
    }
    for (const [name, member] of Object.entries(compiled)) if (name !== 'policy') visit(member, name)
    for (const [name, member] of Object.entries(compiled.policy)) {
      // What a table and a grammar hold inside belongs to them.
      if (name !== 'routes' && name !== 'grammar') visit(member, name)
    }
    visit(compiled.policy.routes.rules, 'rules')
    expect(thawed).toEqual([])
    expect(Object.isFrozen(compiled) && Object.isFrozen(compiled.policy)).toBe(true)
  })

  it('is the same for the same text and names', () => {
    const names = createNames()
    const first = compileText(example, { names })
    expect(compileText(example, { names })).toEqual(first)
  })

  it('numbers names in the tables of the process, shared by all profiles', () => {
    const names = createNames()
    const all = products.map(product => compileText(profileText(product), { names }))
    expect(all.map(each => names.profiles.text(each.policy.profile))).toEqual([...products])
    expect(names.environments.size).toBe(2)
    for (const each of all) {
      for (const { environment } of each.policy.grammar.forms.prefixes) {
        expect(['live', 'test']).toContain(names.environments.text(environment))
      }
    }
  })

  it('expands resources to scopes in the order of the file', () => {
    const { management } = compileText(profileText('bitbybit'))
    expect(management.scopes.map(({ name }) => name)).toEqual([
      'customers:READ',
      'customers:WRITE',
      'customers:DELETE',
      'orders:READ',
      'orders:WRITE',
      'products:READ',
      'products:WRITE',
      'products:DELETE',
      'messages:READ',
      'messages:WRITE',
    ])
  })

  it('leaves operator-only scopes out of all scopes', () => {
    const names = createNames()
    const { policy, management } = compileText(profileText('bitgpt'), { names })
    const inAll = management.scopes.filter(({ name }) => hasScope(policy.allScopes, names.scopes.find(name) ?? -1))
    expect(management.scopes.length).toBe(32)
    expect(inAll.length).toBe(29)
    const outside = management.scopes.filter(scope => !inAll.includes(scope))
    expect(outside).toEqual(
      ['create', 'update', 'delete'].map(action => ({
        name: `api_keys.${action}`,
        grantableBy: ['operator'],
        inAll: false,
      })),
    )
  })

  it('knows the environments that the deployment accepts, of other profiles too', () => {
    const names = createNames()
    const { policy } = compileText(example, { names, accepted: ['live', 'staging'] })
    const accepted = [...(policy.acceptedEnvironments ?? [])].map(number => names.environments.text(number))
    expect(accepted).toEqual(['live', 'staging'])
    expect(compileText(example).policy.acceptedEnvironments).toBeNull()
  })

  it('carries limits: the key’s own in bucket 0, each route limit in a bucket of its own', () => {
    const text = example
      .replace('window: 60s}]', 'window: 60s}, {path: "/reports/{x}", methods: [GET, DELETE], limit: 5, window: 1h}]')
      .replace('charge_denied: []', 'charge_denied: [insufficient_scope]')
    const { policy } = compileText(text)
    const common = { algorithm: 'window_from_first_request' }
    expect(policy.limits.default).toEqual({
      bucket: 0,
      ...common,
      limit: 1000,
      windowMicros: 3_600_000_000,
      burst: 1000,
    })
    expect([...policy.limits.chargeDenied]).toEqual([codeOf('insufficient_scope')])
    const limits = Object.fromEntries(policy.routes.rules.map(rule => [`${rule.method} ${rule.path}`, rule.limits]))
    const perItem = { bucket: 2, ...common, limit: 5, windowMicros: 3_600_000_000, burst: 5 }
    expect(limits).toEqual({
      'GET /reports': [],
      'POST /reports': [{ bucket: 1, ...common, limit: 10, windowMicros: 60_000_000, burst: 10 }],
      'GET /reports/{id}': [perItem],
      'DELETE /reports/{id}': [perItem],
      'GET /files/**': [],
      'GET /health': [],
    })
    expect(compileText(profileText('bitbybit')).policy.limits.default).toBeNull()
  })

  it('carries what each rule asks', () => {
    const { policy } = compileText(example)
    const asked = policy.routes.rules.map(({ method, path, host, access, mode, requiredScope }) =>
      [method, path, host, access, mode, requiredScope].join(' '),
    )
    expect(asked).toEqual([
      'GET /reports  scopes all reports:READ',
      'POST /reports  scopes all reports:WRITE',
      'GET /reports/{id}  scopes any reports:READ, reports:WRITE',
      'DELETE /reports/{id}  scopes all reports:READ, reports:WRITE',
      'GET /files/** files.example.test authenticated all ',
      'GET /health  public all ',
    ])
  })

  it('carries the rules of administration, durations in milliseconds', () => {
    const { management } = compileText(profileText('bitbybit'))
    expect(management.rotation).toEqual({ defaultMs: 86_400_000, minMs: 0, maxMs: 86_400_000, maxLivePredecessors: 2 })
    expect(management.expiry).toEqual({ required: false, maxLifetimeMs: null, minAheadMs: 0 })
    expect(management.environments[0]).toEqual({ name: 'live', prefix: 'bbb_live_', label: 'Production' })
    expect(management.ipRules).toMatchObject({ minPrefix: { v4: 9, v6: 33 }, maxEntries: 20, private: 'reject' })
    expect(management.importable).toBe(true)
  })
})

describe('templates', () => {
  const bodyOf = (body: string) => {
    const compiled = compileText(example.replace('      body: null', `      body: ${body}`))
    const { pieces, holes } = compiled.renderings[codeOf('revoked')]?.body ?? { pieces: [], holes: [] }
    return pieces
      .map((piece, index) => piece.toString('utf8') + (holes[index] ? `<${holes[index].name}>` : ''))
      .join('')
  }

  it('keep the order of members and their JSON types, compact', () => {
    expect(bodyOf('{b: 1, a: [true, null, 1.5, "x"], "ü": {}}')).toBe('{"b":1,"a":[true,null,1.5,"x"],"ü":{}}')
  })

  it('fold what is known: status, code, message, deployment, header', () => {
    expect(
      bodyOf(
        '{s: {$: http_status}, c: {$: code}, t: "{http_status} {code}", m: {$: message}, e: {$: deployment_environment}}',
      ),
    ).toBe('{"s":401,"c":"INVALID","t":"401 INVALID","m":"No valid key in x-api-key","e":"production"}')
  })

  it('escape doubled braces and JSON, and leave holes for what varies', () => {
    expect(bodyOf(`{q: 'say "{{hi}}" \\ {request_id}/{decision_id}', n: {$: now}}`)).toBe(
      '{"q":"say \\"{hi}\\" \\\\ <request_id>/<decision_id>","n":"<now>"}',
    )
  })
})

describe('examples of a profile', () => {
  const outcome = (entry: string) => {
    const text = example.replace('examples:\n', `examples:\n  - ${entry}\n`)
    return lintProfile(text, { file: 'x' })
      .findings.filter(({ code }) => code === 'example')
      .map(({ message }) => message)
  }

  it.each([
    [
      '{key: ex_live_00112233445566ff, scopes: ["reports:READ"], request: "POST /v2/reports", expect: insufficient_scope}',
    ],
    ['{key: ex_live_00112233445566ff, scopes: [], request: "GET /v2/reports/1", expect: insufficient_scope}'],
    ['{key: ex_live_00112233445566ff, request: "GET /v2/reports", expect: credential_unknown}'],
    ['{key: ex_live_nothex, request: "GET /v2/reports", expect: credential_malformed}'],
    ['{key: ex_test_00112233445566ff, scopes: ["reports:WRITE"], request: "GET /v2/reports/1?x=1", expect: allow}'],
    ['{key: ex_live_00112233445566ff, scopes: [], request: "GET /reports", expect: route_unmapped}'],
    ['{key: ex_live_00112233445566ff, scopes: [], request: "GET /v2/../reports", expect: request_malformed}'],
    ['{key: null, request: "GET /v2/health", expect: allow}'],
  ])('%s holds', entry => {
    expect(outcome(entry)).toEqual([])
  })

  it('an example that does not hold says what came instead', () => {
    expect(outcome('{key: null, request: "GET /v2/health", expect: revoked}')[0]).toContain(
      'gives allow instead of revoked',
    )
  })

  it('do not depend on the environments that a deployment accepts', () => {
    const text = example.replace(
      'expect: allow',
      'expect: allow}\n  - {key: ex_test_00112233445566ff, scopes: ["reports:READ"], request: "GET /v2/reports", expect: allow',
    )
    expect(compileText(text, { accepted: ['live'] }).name).toBe('example')
  })
})

describe('the description for people', () => {
  it('shows environments, key forms, scopes, routes, checks and answers', () => {
    const text = describeProfile(compileText(profileText('bitgpt')))
    expect(text).toContain('live  sk_live_  live')
    expect(text).toContain('new       prefix + 42 base62 + 6 checksum + X2JpdGdwdA')
    expect(text).toContain('imported  prefix + base64url of {uuidv7}_bitgpt')
    expect(text).toMatch(/api_keys\.create +granted by operator +not in all\n/)
    expect(text).toMatch(/POST +\/developers\/api_keys +api_keys\.create\n/)
    expect(text).toContain('credential → state → environment → scope → ip → rate_limit')
    expect(text).toContain('429 rate (gRPC 8): rate_limited!\n')
    expect(text).toContain('"error":"Too many requests. Try again in <retry_after> seconds"')
    expect(text).not.toMatch(/[ \t]\n/)
  })
})

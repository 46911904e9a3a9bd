// Requests that other gateways stumbled over, through a real Envoy that changes nothing (envoy/golden.yaml): odd names, octets,
// escapes, hosts and methods (field reports 3, 9, 13, 14, 15). Each is sent on both listeners, so that `headers` and `header_map`
// agree, and the reason is read from the metric, so that the right answer is not given for another cause.
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Metrics } from '../../src/observe/metrics.ts'
import { digestOf } from '../check/check-stand.ts'
import { goldenHosts, goldenKey, goldenPattern, goldenRenderings, type ProductName } from '../core/cases.ts'
import { envoyConfig } from '../support/envoy-config.ts'
import { type EnvoyProcess, startEnvoy } from '../support/envoy-process.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { transact } from '../support/rows.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { type CheckRole, startCheckRole } from './check-role.ts'
import { editEnvoy } from './edit-envoy.ts'
import { insertGoldenRows } from './golden-rows.ts'
import { profilesWith } from './profile-variants.ts'
import { type RawAnswer, type RawRequest, sendRaw } from './raw-request.ts'

const database = useTestDatabase()
const directory = mkdtempSync(join(tmpdir(), 'gw-http-'))
const metrics = new Metrics()
let role: CheckRole
let upstream: Upstream
let envoy: EnvoyProcess

beforeAll(async () => {
  const client = database().client()
  await client.connect()
  await insertGoldenRows(client)
  // A key that has nothing left, whenever it is asked.
  await transact(client, async () => {
    const digest = digestOf(goldenKey('L9').secret)
    await client.query('UPDATE api_keys SET rate_limit = 0, rate_window_us = 60000000 WHERE digest = $1', [digest])
    await client.query('SELECT gw_record($1, $2, $3)', [[1], [digest], [null]])
  })
  await client.end()
  upstream = await startUpstream()
  role = await startCheckRole(database().database, {
    directory,
    // Billoget answers browsers before they have a key; the other two as shipped.
    profilesDir: profilesWith(directory, { billoget: { 'options: unmapped': 'options: preflight_public' } }),
    settings: {
      GATEWARDEN_CLIENT_ADDRESS_MODE: 'xff-hops',
      GATEWARDEN_CLIENT_ADDRESS_HOPS: '0',
      GATEWARDEN_CLIENT_ADDRESS_APPENDED: 'true',
    },
  })
  role.check.observe(metrics)
  const [gatewarden] = role.endpoints
  if (gatewarden === undefined) throw new Error('the check role listens nowhere')
  const golden = envoyConfig(repositoryFile('envoy/golden.yaml'), {
    listeners: ['raw', 'map'],
    clusters: { gatewarden, api: { port: upstream.port } },
  })
  envoy = await startEnvoy(
    editEnvoy(golden, edit => {
      for (const listener of ['raw', 'map']) {
        // Envoy's own limits would answer 431 before anybody is asked.
        edit.manager(listener)['max_request_headers_kb'] = 96
        edit.manager(listener)['common_http_protocol_options'] = { max_headers_count: 400 }
        // A profile that every JavaScript object has.
        const routes = edit.manager(listener)['route_config'] as { virtual_hosts: Record<string, unknown>[] }
        const unknown = routes.virtual_hosts.find(host => host['name'] === 'unknown-profile')
        routes.virtual_hosts.push(
          JSON.parse(
            JSON.stringify(unknown)
              .replace('unknown-profile', 'inherited')
              .replace('unknown-profile.example', 'inherited.example')
              .replace('nobody', '__proto__'),
          ),
        )
      }
    }),
  )
})
afterAll(async () => {
  await envoy?.stop()
  await role?.stop()
  await upstream?.stop()
  metrics.close()
  rmSync(directory, { recursive: true, force: true })
})

const b1 = goldenKey('B1').secret
const withB1 = `x-api-key: ${b1}`
const customers = '/customer/open/v1/customers'
const listeners = ['raw', 'map'] as const

/** Decisions so far, by `profile reason`. */
async function decisions(): Promise<ReadonlyMap<string, number>> {
  const samples = (await metrics.page()).text.matchAll(
    /^gatewarden_decisions_total\{profile="([^"]*)",reason="([^"]*)"\} (\d+)$/gm,
  )
  return new Map([...samples].map(([, profile, reason, count]) => [`${profile} ${reason}`, Number(count)]))
}

interface Seen {
  readonly answer: RawAnswer
  /** `profile reason` of the decision; `none`: Envoy did not ask. */
  readonly decision: string
}

async function see(request: RawRequest, listener: 'raw' | 'map'): Promise<Seen> {
  const before = await decisions()
  const answer = await sendRaw(envoy.port(listener), request)
  const after = await decisions()
  const changed = [...after].filter(([name, count]) => count !== (before.get(name) ?? 0)).map(([name]) => name)
  return { answer, decision: changed.join() || 'none' }
}

const statuses: Readonly<Record<string, number>> = {
  allow: 200,
  request_malformed: 400,
  credential_missing: 401,
  credential_malformed: 401,
  multiple_credentials: 401,
  credential_unknown: 401,
  route_unmapped: 403,
  insufficient_scope: 403,
  rate_limited: 429,
}

/** On both listeners the decision is `profile reason`, with the status that belongs to it. */
async function expectDecision(request: Partial<RawRequest>, decision: string, what?: string): Promise<RawAnswer[]> {
  const answers: RawAnswer[] = []
  for (const listener of listeners) {
    const seen = await see({ path: customers, host: goldenHosts.bitbybit, lines: [withB1], ...request }, listener)
    const label = what ?? JSON.stringify(request)
    expect([label, listener, seen.decision]).toEqual([label, listener, decision])
    expect([label, seen.answer.status]).toEqual([label, statuses[decision.split(' ')[1] ?? '']])
    answers.push(seen.answer)
  }
  return answers
}

function expectRendering(answer: RawAnswer, product: ProductName, name: string): void {
  const rendering = goldenRenderings[product][name]
  expect(answer.status).toBe(rendering?.status)
  expect(answer.body).toMatch(goldenPattern(rendering?.body ?? '', {}))
  for (const [header, text] of Object.entries(rendering?.headers ?? {}))
    expect(answer.header(header)).toMatch(goldenPattern(text, {}))
}

const utf8 = (text: string) => Buffer.from(text, 'utf8').toString('latin1')

describe('names that every JavaScript object has (field report 3)', () => {
  it('are ordinary headers', async () => {
    const lines = ['__proto__: x', 'constructor: y', 'hasownproperty: z', 'tostring: w']
    await expectDecision({ lines: [...lines, withB1] }, 'bitbybit allow')
    await expectDecision({ lines }, 'bitbybit credential_missing')
  })

  it('are no routes, hosts or profiles', async () => {
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      const [answer] = await expectDecision({ path: `/customer/open/v1/${name}` }, 'bitbybit route_unmapped')
      if (answer !== undefined) expectRendering(answer, 'bitbybit', 'scope')
      await expectDecision({ host: name }, ' route_unmapped')
    }
    const [answer] = await expectDecision({ host: 'inherited.example' }, ' route_unmapped')
    expect(answer?.body).toBe('{"error":"forbidden"}')
  })
})

describe('percent signs (field report 9)', () => {
  const at = (rest: string) => ({ path: `/customer/open/v1${rest}` })

  it('that escape nothing, or what need not or must not be escaped, are refused', async () => {
    for (const rest of [
      '/customers/100%',
      '/customers/%zz',
      '/customers/%0A',
      '/customers/%2e%2e',
      '/customers/%2Fx',
    ]) {
      const [answer] = await expectDecision(at(rest), 'bitbybit request_malformed')
      if (answer !== undefined) expectRendering(answer, 'bitbybit', 'malformed')
    }
  })

  it('are never decoded', async () => {
    await expectDecision(at('/customers%3Fx'), 'bitbybit route_unmapped')
    for (const rest of ['/customers/a%3Fb', '/customers/%C0%AF']) {
      for (const answer of await expectDecision(at(rest), 'bitbybit allow'))
        expect(JSON.parse(answer.body)).toMatchObject(at(rest))
    }
  })

  it('in a query play no part, nor does anything else there', async () => {
    const queries = [
      '?q=100%&x=%zz%0A',
      '?/../../admin',
      '?',
      '??x',
      `?${'x'.repeat(60 * 1024)}`,
      '?api_key=x',
      '?a=../..//;',
    ]
    for (const query of queries) {
      const [answer] = await expectDecision(at(`/customers${query}`), 'bitbybit allow', query.slice(0, 20))
      expect(JSON.parse(answer?.body ?? '')).toMatchObject(at(`/customers${query}`))
    }
  })

  it('a `#` anywhere is refused by Envoy before it asks', async () => {
    for (const rest of ['/customers?a#b', '/customers#b']) {
      const seen = await see({ ...at(rest), host: goldenHosts.bitbybit, lines: [withB1] }, 'raw')
      expect([seen.answer.status, seen.decision]).toEqual([400, 'none'])
    }
  })
})

describe('odd octets in headers (field report 13)', () => {
  const key = (value: string) => ({ lines: [`x-api-key: ${value}`] })

  it('in the credential are a malformed credential, and nothing worse', async () => {
    const values = {
      'UTF-8': utf8('ý'),
      'Latin-1': '\xfd',
      '8 KiB': `bbb_live_${'a'.repeat(8192)}`,
      'an escape': b1.replace('b', '%62'),
      'a blank inside': b1.replace('_', ' '),
      'a key and more': `${b1} x`,
      '!': '!',
    }
    for (const [what, value] of Object.entries(values))
      for (const answer of await expectDecision(key(value), 'bitbybit credential_malformed', what))
        expectRendering(answer, 'bitbybit', 'invalid')
  })

  it('a credential of blanks is missing; blanks around one are taken off by Envoy', async () => {
    for (const value of ['', ' ', '\t', ' \t '])
      for (const answer of await expectDecision(key(value), 'bitbybit credential_missing'))
        expectRendering(answer, 'bitbybit', 'missing')
    // A sender that does not trim meets the check itself; through Envoy nobody is one.
    await expectDecision(key(`${b1} `), 'bitbybit allow')
    await expectDecision(key(`\t${b1}`), 'bitbybit allow')
  })

  it('two credentials are refused, whatever they hold', async () => {
    for (const lines of [
      [withB1, withB1],
      ['x-api-key:', withB1],
      [withB1, 'x-api-key:'],
      [`x-api-key: ${b1},${b1}`],
      [`x-api-key: ${b1},`],
    ])
      for (const answer of await expectDecision({ lines }, 'bitbybit multiple_credentials'))
        expectRendering(answer, 'bitbybit', 'invalid')
    const l1 = `authorization: Bearer ${goldenKey('L1').secret}`
    await expectDecision(
      { host: goldenHosts.billoget, path: '/v1/api/public/budgets', lines: [l1, l1] },
      'billoget multiple_credentials',
    )
  })

  it('in any other header deny nothing', async () => {
    const many = Array.from({ length: 300 }, (_, index) => `x-extra-${index}: ${index}`)
    for (const lines of [
      ['x-region: S\xe3o Paulo'],
      [`x-region: ${utf8('São Paulo 🦊')}`],
      [...many, `cookie: ${'c'.repeat(60 * 1024)}`],
      ['x-empty:', '-: x'],
      ['x-tab: a\tb'],
      ['cookie: a=1', 'cookie: b=2', 'accept: a', 'accept: b'],
    ]) {
      const label = (lines[0] ?? '').slice(0, 30)
      await expectDecision({ lines: [...lines, withB1] }, 'bitbybit allow', label)
    }
    await expectDecision({ lines: [`X-API-KEY: ${b1}`] }, 'bitbybit allow')
  })
})

describe('spellings of a host (field report 14)', () => {
  it('with capitals, a port or a final dot are the same host', async () => {
    for (const host of [
      'API.BITBYBIT.STUDIO',
      'api.bitbybit.studio:443',
      'api.bitbybit.studio.',
      'API.BITBYBIT.STUDIO.:443',
    ])
      await expectDecision({ host }, 'bitbybit allow')
  })

  it('that are no host of a profile select none, and the answer is that of no product', async () => {
    for (const host of [
      'api.bitbybit.studio..',
      'api.bitbybit.studio,api.billoget.com',
      'xapi.bitbybit.studio',
      'api.bitbybit.studio.evil.example',
      '[::1]:443',
      '127.0.0.1',
      'api.bitbybit.studio:',
      'unknown-profile.example',
    ]) {
      for (const listener of listeners) {
        const { answer, decision } = await see({ path: customers, host, lines: [withB1] }, listener)
        // Envoy may refuse a host itself; it must not be allowed, and never by the rules of another.
        expect([host, answer.status === 403 || answer.status === 400]).toEqual([host, true])
        if (decision === 'none') continue
        expect([host, decision]).toEqual([host, ' route_unmapped'])
        expect(answer.body).toBe('{"error":"forbidden"}')
        expect(answer.header('content-type')).toBe('application/json')
        expect(answer.header('cache-control')).toBe('no-store')
      }
    }
    await expectDecision({ host: 'nobody.example', path: '/a/../b' }, ' request_malformed')
  })

  it('an empty, missing or repeated one is refused', async () => {
    for (const [host, lines] of [
      ['', [withB1]],
      [null, [withB1]],
      [goldenHosts.bitbybit, [withB1, `host: ${goldenHosts.billoget}`]],
    ] as const) {
      const { answer } = await see({ path: customers, host, lines }, 'raw')
      expect([host, [400, 403].includes(answer.status)]).toEqual([host, true])
    }
  })

  it('in an absolute request replaces the Host header', async () => {
    await expectDecision({ host: 'nobody.example', path: `http://api.bitbybit.studio${customers}` }, 'bitbybit allow')
    await expectDecision({ host: goldenHosts.bitbybit, path: `http://nobody.example${customers}` }, ' route_unmapped')
  })

  it('yields to the profile that the route names', async () => {
    await expectDecision({ host: 'profile-by-route.example' }, 'bitbybit allow')
  })
})

describe('methods (field report 15)', () => {
  const budgets = { host: goldenHosts.billoget, path: '/v1/api/public/budgets' }
  const preflight = ['origin: https://app.example', 'access-control-request-method: GET']

  it('OPTIONS is as any other request unless the profile says otherwise', async () => {
    await expectDecision({ method: 'OPTIONS', lines: preflight }, 'bitbybit credential_missing')
    await expectDecision({ method: 'OPTIONS', lines: [withB1, ...preflight] }, 'bitbybit route_unmapped')
  })

  it('a preflight is public where the profile says so, with nothing of an identity', async () => {
    const forged = ['x-gatewarden-scope: admin', 'x-gatewarden-api-key-id: forged']
    for (const lines of [
      preflight,
      [...preflight, ...forged],
      [...preflight, `authorization: Bearer ${goldenKey('L9').secret}`],
    ])
      for (const answer of await expectDecision({ ...budgets, method: 'OPTIONS', lines }, 'billoget allow')) {
        expect(answer.body.toLowerCase()).not.toMatch(/"x-gatewarden-|"authorization"/)
        expect(answer.header('x-ratelimit-limit')).toBeUndefined()
      }
  })

  it('what only resembles a preflight is none', async () => {
    const almost = [
      [],
      preflight.slice(0, 1),
      preflight.slice(1),
      ['origin:', 'access-control-request-method:'],
      ['origin: https://app.example', 'access-control-request-method:'],
    ]
    for (const lines of almost)
      await expectDecision({ ...budgets, method: 'OPTIONS', lines }, 'billoget credential_missing')
    await expectDecision({ ...budgets, lines: preflight }, 'billoget credential_missing')
    const spent = `authorization: Bearer ${goldenKey('L9').secret}`
    await expectDecision({ ...budgets, lines: [...preflight, spent] }, 'billoget rate_limited')
    const unmapped = { ...budgets, path: '/v1/api/public/nothing', method: 'OPTIONS', lines: preflight }
    await expectDecision(unmapped, 'billoget credential_missing')
    // HTTP/1 knows no method `options`: Envoy refuses it before it asks.
    expect((await see({ ...budgets, method: 'options', lines: preflight }, 'raw')).answer.status).toBe(400)
  })

  it('HEAD takes the rule of GET, and a denial of it has the same headers and no body', async () => {
    await expectDecision({ method: 'HEAD' }, 'bitbybit allow')
    for (const secret of [goldenKey('B12').secret, 'not-a-key']) {
      const lines = [`x-api-key: ${secret}`]
      const get = await see({ path: customers, host: goldenHosts.bitbybit, lines }, 'raw')
      const head = await see({ method: 'HEAD', path: customers, host: goldenHosts.bitbybit, lines }, 'raw')
      expect(head.answer.status).toBe(get.answer.status)
      expect(head.answer.body).toBe('')
      for (const name of ['content-type', 'content-length', 'cache-control', 'www-authenticate'])
        expect([name, head.answer.header(name)]).toEqual([name, get.answer.header(name)])
    }
  })

  it('headers that would override the method or the path are not read', async () => {
    const lines = [
      'x-http-method-override: GET',
      'x-original-url: /customer/open/v1/customers',
      'x-method-override: GET',
    ]
    await expectDecision({ method: 'POST', lines: [...lines, withB1] }, 'bitbybit insufficient_scope')
    await expectDecision({ path: '/admin', lines: [...lines, withB1] }, 'bitbybit route_unmapped')
  })
})

describe('a gRPC client', () => {
  interface GrpcAnswer {
    readonly headers: Readonly<Record<string, unknown>>
    readonly body: string
  }

  function call(headers: Readonly<Record<string, string>>): Promise<GrpcAnswer> {
    const session = connectHttp2(`http://127.0.0.1:${envoy.port('raw')}`)
    return new Promise<GrpcAnswer>((resolve, reject) => {
      session.once('error', reject)
      const stream = session.request({ ':method': 'POST', te: 'trailers', ...headers })
      let answer: Record<string, unknown> = {}
      let body = ''
      stream.once('response', received => {
        answer = { ...received }
      })
      stream.setEncoding('utf8').on('data', chunk => {
        body += chunk
      })
      stream.once('error', reject)
      stream.once('end', () => resolve({ headers: answer, body }))
      stream.end()
    }).finally(() => session.close())
  }

  const request = { ':authority': goldenHosts.bitbybit, ':path': customers }

  it.each([
    ['no key', {}, '16', 'No x-api-key header provided'],
    ['a bad key', { 'x-api-key': 'bbb_live_ffffffffffff' }, '16', 'Key is invalid, revoked, or expired'],
    ['no scope', { 'x-api-key': b1 }, '7', "Key doesn't have the required scope"],
    ['a bad path', { 'x-api-key': b1, ':path': '/a/../b' }, '3', 'Request path is not acceptable'],
  ])('with %s gets a status and a message instead of an HTTP error', async (_, headers, code, message) => {
    for (const type of ['application/grpc', 'application/grpc+proto']) {
      const answer = await call({ ...request, ...headers, 'content-type': type })
      expect(answer.headers).toMatchObject({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': code })
      expect(decodeURIComponent(String(answer.headers['grpc-message']))).toBe(message)
      expect(answer.headers['cache-control']).toBe('no-store')
      expect(answer.body).toBe('')
    }
  })

  it('is told the scope that is missing, and when to come again', async () => {
    const grpc = { ':authority': goldenHosts.billoget, ':method': 'GET', 'content-type': 'application/grpc' }
    const bearer = (name: string) => ({ authorization: `Bearer ${goldenKey(name).secret}` })
    const scope = await call({ ...grpc, ...bearer('L10'), ':path': '/v1/api/public/products' })
    expect(scope.headers['grpc-status']).toBe('7')
    expect(decodeURIComponent(String(scope.headers['grpc-message']))).toBe(
      'API key does not have required scope: READ_PRODUCTS',
    )
    const limit = await call({ ...grpc, ...bearer('L9'), ':path': '/v1/api/public/budgets' })
    expect(limit.headers).toMatchObject({ 'grpc-status': '8', 'retry-after': '60', 'x-ratelimit-limit': '0' })
    expect(limit.headers).toMatchObject({ 'grpc-message': 'Rate limit exceeded. Try again in 60 seconds' })
  })

  it('is told by its content type alone, exactly', async () => {
    for (const type of [
      'application/grpc-web',
      'application/grpc;charset=x',
      'application/grpcfoo',
      'Application/Grpc',
    ]) {
      const answer = await call({ ...request, 'content-type': type })
      expect([type, answer.headers[':status']]).toEqual([type, 401])
      expect(answer.body).toContain('MISSING_API_KEY')
    }
  })
})

it('nothing of all this was an unexpected fault', () => {
  expect(role.errors()).toBe('')
})

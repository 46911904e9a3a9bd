// What of a request is recorded: exactly what the profile keeps, harmless, within its bounds, and never a secret.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { unixMsFromMicros } from '../../src/core/time.ts'
import { Constant, RecordBuffer, viewOf } from '../../src/usage/record-buffer.ts'
import {
  allowedLane,
  deniedLane,
  frameHeaderLength,
  hostAt,
  pathAt,
  placeLengthShift,
  placeOffsetMask,
  ruleAt,
} from '../../src/usage/record-format.ts'
import { usageTextMax } from '../../src/usage/usage-row.ts'
import { createStand, fixtureId, organizationOf, type StandOptions } from '../check/check-stand.ts'
import type { SentRequest } from '../check/encode-check.ts'
import { encodeCheck } from '../check/encode-check.ts'
import { goldenCases, goldenKey, goldenKeys, goldenSettings } from '../core/cases.ts'
import { seededRandom } from '../oracle/random-worlds.ts'
import { profileText } from '../profile/documents.ts'
import { createRecorded, goldenRequest } from './recorded.ts'

const B1 = goldenKey('B1')
const allowed: SentRequest = {
  path: '/customer/open/v1/customers',
  host: 'api.bitbybit.studio',
  headers: [
    ['x-api-key', B1.secret],
    ['x-forwarded-for', '203.0.113.10'],
    ['user-agent', 'curl/8.5.0'],
    ['x-request-id', '5f0c8a3e-0000-4000-8000-000000000001'],
  ],
}

function openStand(options: StandOptions = {}) {
  const recorded = createRecorded()
  recorded.encoder.coverPrefixes(['bbb_live_', 'bbb_test_', 'gwa_'])
  return { ...recorded, stand: createStand({ ...options, sink: recorded.encoder }) }
}

const shared = openStand()

const record = (requests: readonly SentRequest[], options?: StandOptions) =>
  recordOn(options === undefined ? shared : openStand(options), requests)

function recordOn({ stand, rows, lanes, octets }: ReturnType<typeof openStand>, requests: readonly SentRequest[]) {
  stand.service.endOfBatch?.()
  for (const list of [rows, lanes, octets]) list.length = 0
  const answers = requests.map(request => stand.check(request))
  stand.service.endOfBatch?.()
  expect(stand.errors).toEqual([])
  return { rows, lanes, octets, answers }
}

const one = (request: SentRequest, options?: StandOptions) => {
  const { rows } = record([request], options)
  expect(rows).toHaveLength(1)
  const [row] = rows
  if (row === undefined) throw new Error('no row')
  return row
}

describe('a record', () => {
  it('holds what the check knew of an allowed request', () => {
    const { rows, lanes, answers } = record([{ ...allowed, path: `${allowed.path}?page=2` }])
    expect(lanes).toEqual([allowedLane])
    expect(rows).toEqual([
      {
        time: expect.any(Number),
        decisionId: answers[0]?.metadata['decision_id'],
        sidecar: expect.any(String),
        profile: 'bitbybit',
        organizationId: organizationOf(B1),
        apiKeyId: fixtureId(B1),
        environment: 'live',
        method: 'GET',
        host: 'api.bitbybit.studio',
        path: '/customer/open/v1/customers',
        route: '/customers',
        requiredScope: 'customers:READ',
        decision: 'allow',
        reason: '',
        status: 0,
        clientIp: '203.0.113.10',
        clientIpMode: 'xff-hops',
        directIp: '192.0.2.200',
        userAgent: 'curl/8.5.0',
        requestId: '5f0c8a3e-0000-4000-8000-000000000001',
        supportId: '',
      },
    ])
    expect(unixMsFromMicros(rows[0]?.time ?? 0)).toBe(Date.parse(goldenSettings.now))
  })

  it('of every golden case tells its outcome, status, route and address', () => {
    let denials = 0
    const stands = new Map<string, ReturnType<typeof openStand>>()
    for (const golden of goldenCases) {
      const options: StandOptions = {
        ...(golden.now === undefined ? {} : { now: golden.now }),
        ...(golden.fresh === undefined ? {} : { fresh: golden.fresh }),
        ...(golden.accept === undefined ? {} : { accept: golden.accept }),
        clientAddress: { mode: 'xff-hops', hops: golden.hops ?? 0, appended: true },
      }
      // Cases about a limit count for themselves.
      const name = golden.expect.outcome === 'deny' && golden.expect.reason === 'rate_limited' ? golden.id : ''
      const key = JSON.stringify([name, options])
      const used = stands.get(key) ?? openStand(options)
      stands.set(key, used)
      const { rows, lanes, answers } = recordOn(used, [goldenRequest(golden)])
      const [row] = rows
      expect(rows, golden.id).toHaveLength(1)
      const { expect: expected } = golden
      expect(row?.decision, golden.id).toBe(expected.outcome)
      expect(row?.reason, golden.id).toBe(expected.outcome === 'deny' ? expected.reason : '')
      expect(row?.status, golden.id).toBe(expected.outcome === 'deny' ? expected.status : 0)
      expect(lanes).toEqual([expected.outcome === 'allow' ? allowedLane : deniedLane])
      expect(row?.decisionId).toBe(answers[0]?.metadata['decision_id'])
      expect(row?.clientIp, golden.id).toBe(answers[0]?.metadata['client_ip'] ?? '')
      expect(row?.path).toBe(golden.path.split('?')[0])
      expect(row?.userAgent).toBe(`golden/${golden.id}`)
      expect(row?.requestId).toBe(`request-${golden.id}`)
      if (expected.outcome === 'deny') denials++
      // A support id that the client was shown is the one that people will ask about.
      const shown = /support_[0-9a-f-]{36}/.exec(answers[0]?.body ?? '')?.[0] ?? ''
      expect(row?.supportId, golden.id).toBe(shown)
    }
    expect(denials).toBeGreaterThan(50)
  })

  it('is made of requests that match no profile, of those that cannot be read, and of our own failures', () => {
    const unmatched = one({ ...allowed, host: 'unknown.test' })
    expect(unmatched).toMatchObject({ profile: '', reason: 'route_unmapped', host: 'unknown.test', status: 403 })
    const recorded = createRecorded()
    const stand = createStand({ sink: recorded.encoder, keys: [] })
    stand.checkOctets(Buffer.from('0a03ffffff', 'hex'))
    stand.setFresh(false)
    stand.check(allowed)
    stand.service.endOfBatch?.()
    expect(recorded.rows[0]).toMatchObject({ reason: 'request_malformed', path: '', method: '', userAgent: '' })
    expect(recorded.rows[1]).toMatchObject({ reason: 'authz_unavailable', status: 503, apiKeyId: '' })
  })

  it('has nothing of the record before it', () => {
    const { rows } = record([allowed, { path: '/', host: '', headers: [], source: null }])
    expect(rows[1]).toMatchObject({
      organizationId: '',
      apiKeyId: '',
      environment: '',
      clientIp: '',
      directIp: '',
      userAgent: '',
      requestId: '',
      route: '',
    })
  })

  it('keeps only what the profile keeps', () => {
    const text = profileText('bitbybit').replace('usage_log:', 'usage_log:\n  fields: [time, method, reason]')
    const row = one(allowed, { profiles: [text.replace(/\n {2}csv: .*/, '\n  csv: {columns: [time]}')] })
    expect(row).toMatchObject({
      method: 'GET',
      decision: 'allow',
      profile: 'bitbybit',
      organizationId: organizationOf(B1),
    })
    for (const member of [
      'apiKeyId',
      'host',
      'path',
      'route',
      'clientIp',
      'directIp',
      'userAgent',
      'requestId',
    ] as const)
      expect(row[member], member).toBe('')
  })

  it('is not made of allowed requests where the profile records denied ones', () => {
    const text = profileText('bitbybit').replace('record: all', 'record: denied')
    const { rows } = record([allowed, { ...allowed, headers: [] }], { profiles: [text] })
    expect(rows.map(row => row.reason)).toEqual(['credential_missing'])
  })
})

describe('a text of a request', () => {
  const withAgent = (agent: string | Uint8Array): SentRequest => ({
    ...allowed,
    headers: [...(allowed.headers ?? []).filter(([name]) => name !== 'user-agent'), ['user-agent', agent]],
    form: 'header_map',
  })

  it('is kept as it is while it is printable, cut at its bound between characters, and never acts in a terminal', () => {
    const law = fc.property(fc.string({ unit: 'binary', maxLength: 400 }), text => {
      const kept = one(withAgent(text)).userAgent
      expect(Buffer.byteLength(kept)).toBeLessThanOrEqual(usageTextMax.userAgent)
      expect(kept).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u)
      const clean = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '\ufffd')
      expect(clean.startsWith(kept)).toBe(true)
      if (Buffer.byteLength(clean) <= usageTextMax.userAgent) expect(kept).toBe(clean)
      else expect(Buffer.byteLength(kept)).toBeGreaterThan(usageTextMax.userAgent - 4)
    })
    fc.assert(law, { numRuns: 150 })
  })

  it('of broken UTF-8 is made sound', () => {
    for (let octet = 0; octet < 256; octet++) {
      const { userAgent } = one(withAgent(Buffer.from([0x61, octet, 0x62, 0x63, 0x64])))
      const isPlain = octet >= 0x20 && octet < 0x7f
      expect(userAgent).toBe(isPlain ? `a${String.fromCharCode(octet)}bcd` : 'a\ufffdbcd')
    }
  })

  it('is the path without query or fragment, even where the path is refused', () => {
    for (const [path, kept] of [
      ['/customer/open/v1/customers?api_key=x', '/customer/open/v1/customers'],
      ['/a//b?x=1', '/a//b'],
      ['/a#secret', '/a'],
      ['http://user:password@host/?x', ''],
      ['x?y', ''],
      ['*', '*'],
      ['', ''],
    ] as const)
      expect(one({ ...allowed, path }).path, path).toBe(kept)
  })

  it('is the host without what stands before an @', () => {
    expect(one({ ...allowed, host: 'user:password@unknown.test' }).host).toBe('unknown.test')
  })
})

describe('a secret', () => {
  const placements: readonly ((secret: string) => SentRequest)[] = [
    secret => ({ ...allowed, headers: [['x-api-key', secret]] }),
    secret => ({ ...allowed, path: `${allowed.path}?api_key=${secret}` }),
    secret => ({ ...allowed, path: `${allowed.path}/${secret}` }),
    secret => ({ ...allowed, headers: [['user-agent', `x ${secret} y`]] }),
    secret => ({ ...allowed, headers: [['x-request-id', secret]] }),
    secret => ({ ...allowed, headers: [['user-agent', `é ${secret}`]], form: 'header_map' }),
    secret => ({ ...allowed, host: `${secret}.test` }),
    secret => ({ ...allowed, method: secret }),
    secret => ({
      ...allowed,
      headers: [
        ['authorization', `Bearer ${secret}`],
        ['cookie', secret],
      ],
    }),
  ]

  it('is in no octet of a record, wherever the client put it', () => {
    let tried = 0
    for (const { secret, profile } of goldenKeys) {
      if (profile !== 'bitbybit') continue
      tried++
      const prefix = /^bbb_(live|test)_/.exec(secret)?.[0] ?? ''
      for (const place of placements) {
        const { octets } = record([place(secret)])
        expect(Buffer.concat(octets).includes(secret.slice(prefix.length, prefix.length + 12))).toBe(false)
      }
    }
    expect(tried).toBeGreaterThan(3)
  })

  it('is covered, and words that only look a little like one are not', () => {
    expect(one({ ...allowed, path: `/x/${B1.secret}/y` }).path).toBe(
      `/x/bbb_live_${'*'.repeat(B1.secret.length - 'bbb_live_'.length)}/y`,
    )
    expect(one({ ...allowed, path: '/x/bbb_live_keys/y_z' }).path).toBe('/x/bbb_live_keys/y_z')
  })

  it.each(['bbb%5Flive_', 'bbb_live%5f', '%62%62b%5F%6Cive%5f'])(
    'is covered behind a prefix in the spelling %s',
    prefix => {
      const body = B1.secret.slice('bbb_live_'.length)
      expect(one({ ...allowed, path: `/x/${prefix}${body}/y%20z` }).path).toBe(
        `/x/${prefix}${'*'.repeat(body.length)}/y%20z`,
      )
    },
  )

  it('is covered where its text was cut, however little of it is left', () => {
    const maxes = { path: usageTextMax.path, userAgent: usageTextMax.userAgent, requestId: usageTextMax.requestId }
    const rest = 'bbb_live_'.length + 3
    const filled = (max: number, first: string) => `${first.padEnd(max - rest, '.')}${B1.secret}`
    const row = one({
      ...allowed,
      path: filled(maxes.path, '/'),
      headers: [
        ['user-agent', filled(maxes.userAgent, 'a')],
        ['x-request-id', filled(maxes.requestId, 'r')],
      ],
    })
    for (const text of [row.path, row.userAgent, row.requestId]) expect(text).toMatch(/[./]bbb_live_\*{3}$/)
    expect(one({ ...allowed, path: '/x/bbb_live_abc' }).path).toBe('/x/bbb_live_abc')
  })

  it('is covered as well where prefixes share no octet', () => {
    const recorded = createRecorded()
    recorded.encoder.coverPrefixes(['AB', 'xy'])
    const stand = createStand({ sink: recorded.encoder, keys: [] })
    stand.check({ ...allowed, path: '/ABsecretsecret/xysecretsecret' })
    stand.service.endOfBatch?.()
    expect(recorded.rows[0]?.path).toBe('/AB************/xy************')
  })
})

describe('recording', () => {
  it('survives any octets and goes on', () => {
    const seed = Number(process.env['SEED'] ?? 5)
    const random = seededRandom(seed)
    const recorded = createRecorded()
    const stand = createStand({ sink: recorded.encoder })
    const original = encodeCheck(allowed)
    for (let i = 0; i < 20_000; i++) {
      const octets = Buffer.from(original)
      for (let n = 0; n < 4; n++) octets[Math.floor(random() * octets.length)] = Math.floor(random() * 256)
      stand.checkOctets(octets.subarray(0, Math.floor(random() * octets.length * 1.5)))
      if (i % 50 === 0) stand.service.endOfBatch?.()
    }
    stand.service.endOfBatch?.()
    expect(stand.errors, `seed ${seed}`).toEqual([])
    expect(recorded.rows.length).toBeGreaterThanOrEqual(20_000)
  })

  it('writes once what the records of a frame share, and gives each its own', () => {
    const agents = ['curl/8.5.0', 'curl/8.5.1', 'x', '', 'Mozilla/5.0 (X11; Linux x86_64) bbb_live_0123456789', 'é']
    const hosts = ['api.bitbybit.studio', 'unknown.test', 'UNKNOWN.test']
    const law = fc.property(
      fc.array(fc.tuple(fc.constantFrom(...agents), fc.constantFrom(...hosts), fc.boolean()), { maxLength: 40 }),
      drawn => {
        const requests = drawn.map(([agent, host, hasKey], index) => ({
          host,
          path: `/customer/open/v1/customers/${index}`,
          headers: [
            ...(hasKey ? [['x-api-key', B1.secret] as const] : []),
            ['user-agent', agent] as const,
            ['x-request-id', `r-${index}`] as const,
          ],
          form: 'header_map' as const,
        }))
        const alone = requests.map(request => one(request))
        const { rows } = record(requests)
        const own = (row: (typeof rows)[number] | undefined) => ({ ...row, decisionId: '', supportId: '', time: 0 })
        const together = new Map(rows.map(row => [row.requestId, own(row)]))
        expect(together.size).toBe(requests.length)
        for (const row of alone) expect(together.get(row.requestId)).toEqual(own(row))
      },
    )
    fc.assert(law, { numRuns: 50 })
    const agent = 'a user agent of some length that all requests have'
    const { octets } = record(Array.from({ length: 20 }, () => ({ ...allowed, headers: [['user-agent', agent]] })))
    expect(Buffer.concat(octets).toString('latin1').split(agent)).toHaveLength(2)
  })

  it('has no text of a record that was given up for one of the next', () => {
    const buffer = new RecordBuffer()
    const constant = new Constant(Buffer.from('constant'))
    const begin = () => buffer.beginRecord(0, new Int32Array(4), 0)
    begin()
    buffer.putConstant(ruleAt, constant)
    buffer.putOwn(hostAt, viewOf(Buffer.from('dropped.test')), 12)
    buffer.dropRecord()
    begin()
    buffer.putOwn(pathAt, viewOf(Buffer.from('/other/path/')), 12)
    buffer.putOwn(hostAt, viewOf(Buffer.from('dropped.test')), 12)
    buffer.putConstant(ruleAt, constant)
    buffer.endRecord()
    const textAt = (field: number) => {
      const place = buffer.bytes.readInt32LE(frameHeaderLength + field)
      const at = place & placeOffsetMask
      return buffer.bytes.toString('latin1', at, at + (place >>> placeLengthShift))
    }
    expect([ruleAt, pathAt, hostAt].map(textAt)).toEqual(['constant', '/other/path/', 'dropped.test'])
  })

  it('splits a batch that is larger than a frame', () => {
    const long = { ...allowed, path: `/customer/open/v1/${'x'.repeat(1500)}` }
    const { rows, octets } = record(Array.from({ length: 300 }, () => long))
    expect(rows).toHaveLength(300)
    expect(octets.length).toBeGreaterThan(4)
  })
})

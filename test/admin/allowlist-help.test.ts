// SimulateIpAllowlist, SuggestIpAllowlist and the warning of an update, through gRPC on a real log.
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { beforeAll, describe, expect, test } from 'vitest'
import { recentTrafficWarnings } from '../../src/admin/recent-traffic.ts'
import { storeUsage, type UsageRowValues } from '../support/usage-rows.ts'
import { at, failure, fieldsOf, type Seconds, useKeyClient } from './key-client.ts'

const client = useKeyClient()

interface Simulated {
  readonly requests: string
  readonly denied: string
  readonly unknownAddress: string
  readonly topDenied: { readonly address: string; readonly requests: string; readonly lastTime: Seconds }[]
  readonly complete: boolean
}

interface Suggested {
  readonly suggestions: { readonly cidr: string; readonly addresses: string; readonly requests: string }[]
  readonly coveredRatio: number
  readonly uncovered: string
}

const idOf = (name: string) => name.split('/').at(-1) ?? ''
const entries = (...cidrs: readonly string[]) => cidrs.map(cidr => ({ cidr }))

async function keyWith(rows: readonly UsageRowValues[], profile = 'bitbybit', key: object = {}) {
  const parent = await client().organization(profile)
  const { apiKey } = await client().key(parent, key)
  const of = { organization: idOf(parent), apiKey: idOf(apiKey.name), profile }
  await storeUsage(
    client().world.client,
    rows.map(row => ({ ...of, ...row })),
  )
  return { name: apiKey.name, parent }
}

const times = (count: number, row: UsageRowValues) => Array.from({ length: count }, () => row)
const simulate = (request: object) => client().call<Simulated>('simulateIpAllowlist', request)
const suggest = (request: object) => client().call<Suggested>('suggestIpAllowlist', request)

describe('simulation', () => {
  test('tells what would have been denied, the most frequent address first', async () => {
    const last = new Date(Date.now() - 1000).toISOString()
    const { name } = await keyWith([
      ...times(3, { clientIp: '203.0.113.7' }),
      ...times(4, { clientIp: '198.51.100.1' }),
      { clientIp: '198.51.100.2', reason: 'ip_not_allowed' },
      { clientIp: '198.51.100.2', reason: 'rate_limited', time: last },
      { clientIp: '192.0.2.1', reason: 'insufficient_scope' },
      { clientIp: null },
      { clientIp: '203.0.113.7', time: new Date(Date.now() - 8 * 86_400_000).toISOString() },
    ])
    const reply = await simulate({ name, entries: entries('203.0.113.0/24') })
    expect(reply).toMatchObject({ requests: '10', denied: '7', unknownAddress: '1', complete: true })
    expect(reply.topDenied.map(({ address, requests }) => [address, requests])).toEqual([
      ['198.51.100.1', '4'],
      ['198.51.100.2', '2'],
    ])
    const week = { startTime: at(Date.now() - 10 * 86_400_000) }
    expect((await simulate({ name, entries: entries('203.0.113.0/24'), interval: week })).requests).toBe('11')
  })

  test('is complete only where no sidecar gave up records of that time', async () => {
    const { name } = await keyWith([{ clientIp: '203.0.113.7' }])
    const sql = client().world.client
    const lost = (from: string, to: string) =>
      sql.query(
        `INSERT INTO usage_loss (sidecar, number, from_time, to_time, allowed, denied)
         VALUES (gen_random_uuid(), 1, now() - $1::interval, now() - $2::interval, 0, 1)`,
        [from, to],
      )
    const isComplete = async (days?: number) => {
      const interval = days === undefined ? undefined : { startTime: at(Date.now() - days * 86_400_000) }
      return (await simulate({ name, entries: entries('203.0.113.0/24'), interval })).complete
    }
    await lost('10 days', '9 days')
    expect([await isComplete(), await isComplete(8.9), await isComplete(9.5), await isComplete(20)]).toEqual([
      true,
      true,
      false,
      false,
    ])
    // Clocks of sidecars may be some minutes off.
    await lost('7 days 1 hour', '7 days 5 minutes')
    expect(await isComplete()).toBe(false)
    await sql.query('DELETE FROM usage_loss')
    expect(await isComplete(20)).toBe(true)
    await lost('2 hours', '1 hour')
    const before = { startTime: at(Date.now() - 86_400_000), endTime: at(Date.now() - 3 * 3_600_000) }
    expect((await simulate({ name, entries: [], interval: before })).complete).toBe(true)
    expect(await isComplete()).toBe(false)
    await sql.query('DELETE FROM usage_loss')
    // A schema one version older knows of no loss: nobody can say that there was none.
    await sql.query('ALTER TABLE usage_loss RENAME TO not_there_yet')
    expect(await isComplete()).toBe(false)
    await sql.query('ALTER TABLE not_there_yet RENAME TO usage_loss')
    expect(await isComplete()).toBe(true)
  })

  test('an empty list does what the profile says of one', async () => {
    const { name } = await keyWith([{ clientIp: '203.0.113.7' }, { clientIp: null }])
    expect(await simulate({ name, entries: [] })).toMatchObject({ requests: '2', denied: '0', unknownAddress: '1' })
  })

  test('the entries are judged as in an update, name and interval as well', async () => {
    const { name } = await keyWith([])
    const bad = await failure(simulate({ name, entries: entries('203.0.113.0/24', '1.2.3.4/', '0.0.0.0/1') }))
    expect(fieldsOf(bad)).toContain('entries[1].cidr INVALID_ENTRY')
    const long = { startTime: at(Date.now() - 31 * 86_400_000), endTime: at(Date.now()) }
    expect(fieldsOf(await failure(simulate({ name, interval: long })))).toEqual(['interval FIELD_INVALID'])
    const turned = { startTime: at(Date.now()), endTime: at(Date.now() - 1000) }
    expect(fieldsOf(await failure(simulate({ name, interval: turned })))).toEqual(['interval FIELD_INVALID'])
    expect(fieldsOf(await failure(simulate({ name: 'x' })))).toEqual(['name FIELD_INVALID'])
    expect((await failure(simulate({ name: `${name}x` }))).reason).toBe('API_KEY_UNKNOWN')
  })

  test('agrees with a library that knows nothing of us', async () => {
    const octet = fc.constantFrom(0, 1, 7, 64, 127, 128, 200, 255)
    const v4 = fc.tuple(octet, octet).map(([c, d]) => `203.0.${c}.${d}`)
    const v6 = fc
      .tuple(fc.constantFrom('0', '1', '8000'), fc.constantFrom('1', 'ffff', '0'))
      .map(([a, b]) => `2001:db8:${a}::${b}`)
    const seen = fc.sample(fc.oneof(v4, v6), { numRuns: 60, seed: 7 })
    const { name } = await keyWith(seen.map(clientIp => ({ clientIp })))
    const blocks = fc.oneof(
      fc.tuple(v4, fc.integer({ min: 24, max: 32 })),
      fc.tuple(v6, fc.integer({ min: 48, max: 128 })),
    )
    const network = ([text, prefix]: readonly [string, number]) => {
      const parsed = ipaddr.parse(text)
      const base =
        parsed.kind() === 'ipv4'
          ? ipaddr.IPv4.networkAddressFromCIDR(`${text}/${prefix}`)
          : ipaddr.IPv6.networkAddressFromCIDR(`${text}/${prefix}`)
      return { base, prefix }
    }
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(blocks, { minLength: 1, maxLength: 4, selector: each => `${network(each).base}/${each[1]}` }),
        async list => {
          const networks = list.map(network)
          const inside = (text: string) =>
            networks.some(({ base, prefix }) => {
              const parsed = ipaddr.parse(text)
              return parsed.kind() === base.kind() && parsed.match(base as never, prefix)
            })
          const reply = await simulate({
            name,
            entries: networks.map(({ base, prefix }) => ({ cidr: `${base}/${prefix}` })),
          })
          expect(reply.denied).toBe(String(seen.filter(text => !inside(text)).length))
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('suggestion', () => {
  test('covers what was allowed, and nothing of what was denied', async () => {
    const { name } = await keyWith([
      ...times(5, { clientIp: '203.0.113.4' }),
      ...times(3, { clientIp: '203.0.113.6' }),
      ...times(2, { clientIp: '2001:db8::1' }),
      ...times(9, { clientIp: '198.51.100.1', reason: 'ip_not_allowed' }),
      { clientIp: null },
    ])
    const reply = await suggest({ name })
    expect(reply.suggestions).toMatchObject([
      { cidr: '203.0.113.4/30', addresses: '2', requests: '8' },
      { cidr: '2001:db8::1/128', addresses: '1', requests: '2' },
    ])
    expect(reply.uncovered).toBe('1')
    expect(reply.coveredRatio).toBeCloseTo(10 / 11)
    const accepted = entries(...reply.suggestions.map(({ cidr }) => cidr))
    expect((await simulate({ name, entries: accepted })).topDenied.map(({ address }) => address)).toEqual([
      '198.51.100.1',
    ])
    await client().call('updateApiKey', { apiKey: { name, allowlist: accepted }, updateMask: { paths: ['allowlist'] } })
  })

  test('keeps the busiest where there may be few, and those that are busy enough', async () => {
    const { name } = await keyWith([
      ...times(5, { clientIp: '203.0.113.4' }),
      ...times(3, { clientIp: '198.51.100.1' }),
      { clientIp: '192.0.2.9' },
    ])
    expect((await suggest({ name, maxEntries: 1 })).suggestions.map(({ cidr }) => cidr)).toEqual(['203.0.113.4/32'])
    expect((await suggest({ name, minRequests: 3 })).suggestions.map(({ cidr }) => cidr)).toEqual([
      '203.0.113.4/32',
      '198.51.100.1/32',
    ])
    expect(await suggest({ name, minRequests: 100 })).toMatchObject({
      suggestions: [],
      coveredRatio: 0,
      uncovered: '9',
    })
  })

  test('is broader than a /24 when asked, and never than the profile allows', async () => {
    const { name } = await keyWith([{ clientIp: '203.0.112.1' }, { clientIp: '203.0.113.1' }, { clientIp: '10.1.0.1' }])
    const narrow = await suggest({ name })
    expect(narrow.suggestions).toHaveLength(2)
    // bitbybit: at least /16, and no private addresses.
    const asked = await suggest({ name, widestIpv4Prefix: 1 })
    expect(asked.suggestions.map(({ cidr }) => cidr)).toEqual(['203.0.112.0/23'])
    expect(asked.uncovered).toBe('1')
  })

  test('of nothing is nothing', async () => {
    const { name } = await keyWith([{ clientIp: '203.0.113.1', reason: 'ip_not_allowed' }])
    expect(await suggest({ name })).toMatchObject({ suggestions: [], coveredRatio: 0, uncovered: '0' })
  })

  test('numbers out of range are refused', async () => {
    const { name } = await keyWith([])
    const request = { name, maxEntries: -1, minRequests: -1, widestIpv4Prefix: 33, widestIpv6Prefix: 129 }
    expect(fieldsOf(await failure(suggest(request)))).toEqual([
      'max_entries FIELD_INVALID',
      'widest_ipv4_prefix FIELD_INVALID',
      'widest_ipv6_prefix FIELD_INVALID',
      'min_requests FIELD_INVALID',
    ])
  })
})

test('a key that was just rotated is judged by what its predecessors did, not the other way round', async () => {
  const { name, parent } = await keyWith(times(3, { clientIp: '203.0.113.7' }))
  const rotate = (of: string) =>
    client().call<{ readonly apiKey: { readonly name: string } }>('rotateApiKey', { name: of, requestId: randomUUID() })
  const second = (await rotate(name)).apiKey.name
  const third = (await rotate(second)).apiKey.name
  const log = (of: string, row: UsageRowValues) =>
    storeUsage(client().world.client, [{ organization: idOf(parent), apiKey: idOf(of), profile: 'bitbybit', ...row }])
  await log(second, { clientIp: '198.51.100.1' })
  const outside = { entries: entries('192.0.2.0/24') }
  expect((await simulate({ name: third, ...outside })).denied).toBe('4')
  expect((await suggest({ name: third })).suggestions.map(({ cidr }) => cidr)).toEqual([
    '203.0.113.7/32',
    '198.51.100.1/32',
  ])
  await log(third, { clientIp: '192.0.2.1' })
  expect((await simulate({ name: second, ...outside })).denied).toBe('4')
  const update = { apiKey: { name: third, allowlist: outside.entries }, updateMask: { paths: ['allowlist'] } }
  expect((await client().call('updateApiKey', update)).warnings).toMatchObject([
    {
      code: 'EXCLUDES_RECENT_TRAFFIC',
      message: '4 of 5 allowed requests of the last 7 days came from 2 addresses outside of the list.',
    },
  ])
})

describe('an update that locks out', () => {
  let name = ''
  beforeAll(async () => {
    ;({ name } = await keyWith([...times(3, { clientIp: '203.0.113.7' }), ...times(2, { clientIp: '198.51.100.1' })]))
  })
  const update = (allowlist: object[], more = {}) =>
    client().call('updateApiKey', { apiKey: { name, allowlist }, updateMask: { paths: ['allowlist'] }, ...more })
  const codes = (reply: { readonly warnings: { readonly code: string }[] }) => reply.warnings.map(({ code }) => code)

  test('the caller, or who used the key of late, is warned of and done', async () => {
    const reply = await update(entries('203.0.113.0/24'), { callerAddress: '192.0.2.1' })
    expect(codes(reply)).toEqual(['EXCLUDES_CALLER', 'EXCLUDES_RECENT_TRAFFIC'])
    expect(reply.warnings[1]).toMatchObject({
      field: 'api_key.allowlist',
      message: '2 of 5 allowed requests of the last 7 days came from 1 address outside of the list.',
    })
    expect(reply.apiKey.allowlist.map(({ cidr }) => cidr)).toEqual(['203.0.113.0/24'])
  })

  test('a list that holds them all, or none at all, warns of nothing', async () => {
    expect(codes(await update(entries('203.0.113.0/24', '198.51.100.1')))).toEqual([])
    expect(codes(await update([]))).toEqual([])
  })

  test('validate_only warns as well', async () => {
    expect(codes(await update(entries('192.0.2.0/24'), { validateOnly: true }))).toEqual(['EXCLUDES_RECENT_TRAFFIC'])
  })

  test('a log that does not answer keeps nobody from a change', async () => {
    const profile = client().world.profiles.byName('bitbybit') ?? expect.fail('no profile')
    const broken = { outside: () => Promise.reject(new Error('away')) }
    const subject = { organization: 'o', apiKeys: ['k'] }
    const block = { family: 4 as const, prefix: 32, octets: new Uint8Array(16) }
    expect(await recentTrafficWarnings(broken, subject, [{ block, label: '' }], 'f', profile, 0)).toEqual([])
  })
})

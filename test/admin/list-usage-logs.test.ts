// ListUsageLogs through gRPC on a real database: pages exact to the microsecond, filters held against a plain second reading,
// intervals, tokens, and rows that nobody but their organization sees.
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { parseFilter } from '../../src/admin/filter.ts'
import { PageTokens } from '../../src/admin/page-token.ts'
import { usageFilterFields } from '../../src/admin/usage-filter.ts'
import { readUsageListing, usageToken } from '../../src/admin/usage-listing.ts'
import { Violations } from '../../src/admin/violations.ts'
import { parseInstant } from '../../src/core/instant.ts'
import { plainMatches } from '../oracle/filter.ts'
import { storeUsage, type UsageRowValues } from '../support/usage-rows.ts'
import { at, failure, fieldsOf, type Seconds, useKeyClient } from './key-client.ts'

const client = useKeyClient()

interface LogJson {
  readonly time: Seconds
  readonly organization: string
  readonly apiKey: string
  readonly method: string
  readonly path: string
  readonly status: number
  readonly decision: string
  readonly reason: string
  readonly clientIp: string
  readonly decisionId: string
}

interface Page {
  readonly usageLogs: LogJson[]
  readonly nextPageToken: string
}

const list = (request: object) => client().call<Page>('listUsageLogs', request)
const idOf = (name: string) => name.split('/').at(-1) ?? ''
const store = (rows: readonly UsageRowValues[]) => storeUsage(client().world.client, rows)

async function everyPage(request: object, between: () => Promise<unknown> = async () => {}): Promise<LogJson[][]> {
  const pages: LogJson[][] = []
  for (let pageToken = ''; ; ) {
    const page = await list({ ...request, pageToken })
    pages.push(page.usageLogs)
    if (page.nextPageToken === '') return pages
    pageToken = page.nextPageToken
    await between()
    if (pages.length > 100) throw new Error('the listing does not end')
  }
}

/** An instant of today, so that it has a partition. */
const today = new Date().toISOString().slice(0, 10)
const instant = (micros: number) => `${today}T00:00:00.${String(micros).padStart(6, '0')}Z`

describe('field report 1: rows of one microsecond', () => {
  test.each(['', 'time', 'time desc'])('appear exactly once, ordered by %j, while others come', async orderBy => {
    const parent = await client().organization()
    const organization = idOf(parent)
    const same = Array.from({ length: 25 }, () => ({ organization, time: instant(123_456) }))
    const next = Array.from({ length: 10 }, () => ({ organization, time: instant(123_457) }))
    const stored = await store([...same, ...next])
    for (const pageSize of [5, 10, 25, 35]) {
      const pages = await everyPage({ parent, orderBy, pageSize }, () =>
        store([
          { organization, time: instant(123_456) },
          { organization, time: instant(123_457) },
        ]),
      )
      const seen = pages.flat().map(({ decisionId }) => decisionId)
      expect(new Set(seen).size).toBe(seen.length)
      for (const id of stored) expect(seen.filter(other => other === id)).toHaveLength(1)
    }
  })

  test('the last page has no token, also where it is full', async () => {
    const parent = await client().organization()
    await store(Array.from({ length: 25 }, () => ({ organization: idOf(parent), time: instant(5) })))
    for (const pageSize of [5, 25]) {
      const pages = await everyPage({ parent, pageSize })
      expect(pages.map(page => page.length)).toEqual(Array(25 / pageSize).fill(pageSize))
    }
  })
})

describe('what a row shows', () => {
  test('names, the address that was seen, and the final status where it is known', async () => {
    const parent = await client().organization()
    const { apiKey } = await client().key(parent)
    const of = { organization: idOf(parent), apiKey: idOf(apiKey.name) }
    await store([
      { ...of, time: instant(3), reason: 'ip_not_allowed', status: 403, clientIp: '2001:db8::1:0:0:7' },
      { ...of, time: instant(2), finalStatus: 201, durationUs: 1500, requestBytes: 7, responseBytes: 9 },
      { ...of, time: instant(1), clientIp: null, userAgent: 'x' },
    ])
    const { usageLogs } = await list({ parent })
    expect(usageLogs[0]).toMatchObject({
      time: { seconds: String(Date.parse(instant(0)) / 1000), nanos: 3000 },
      organization: parent,
      apiKey: apiKey.name,
      decision: 'deny',
      reason: 'ip_not_allowed',
      status: 403,
      clientIp: '2001:db8::1:0:0:7',
    })
    expect(usageLogs[1]).toMatchObject({
      decision: 'allow',
      reason: '',
      status: 201,
      durationUs: '1500',
      requestBytes: '7',
      responseBytes: '9',
    })
    expect(usageLogs[2]).toMatchObject({ status: 0, clientIp: '', userAgent: 'x' })
  })
})

describe('filters', () => {
  const second = (n: number) => `${today}T00:00:${String(n % 60).padStart(2, '0')}.000000Z`
  const addresses = [
    '203.0.113.7',
    '203.0.113.200',
    '198.51.100.1',
    '2001:db8::1',
    '2001:db8:0:1::1',
    '::1234:5678',
    null,
  ]
  const paths = ['/a', '/a/b', '/ab', '/A', '/é', '/\u{10ffff}', '/customers/1', '/customers/2', '']
  const reasons = ['', '', '', 'ip_not_allowed', 'insufficient_scope', 'rate_limited']
  let parent = ''
  let rows: (UsageRowValues & { decisionId: string })[] = []

  beforeAll(async () => {
    parent = await client().organization()
    const drawn = Array.from({ length: 300 }, (_, n) => ({
      organization: idOf(parent),
      time: second(n),
      apiKey: `key_${n % 4}`,
      method: ['GET', 'POST', 'DELETE', 'get'][n % 4] ?? '',
      path: paths[n % paths.length] ?? '',
      host: ['api.example.com', 'other.example.com'][n % 2] ?? '',
      reason: reasons[n % reasons.length] ?? '',
      clientIp: addresses[n % addresses.length] ?? null,
      finalStatus: n % 5 === 0 ? 200 + (n % 3) : null,
      environment: ['live', 'test'][n % 2] ?? '',
      requestId: n % 10 === 0 ? `req_${n}` : '',
      supportId: n % 20 === 0 ? `support_${n}` : '',
    }))
    const ids = await store(drawn)
    rows = drawn.map((row, n) => ({ ...row, decisionId: ids[n] ?? '' }))
  })

  const plain = (row: (typeof rows)[number]) => ({
    time: parseInstant(row.time ?? '') ?? 0,
    api_key: row.apiKey ?? '',
    method: row.method ?? '',
    status: row.finalStatus ?? (row.reason === '' ? 0 : 403),
    decision: row.reason === '' ? 'allow' : 'deny',
    reason: row.reason ?? '',
    path: row.path ?? '',
    host: row.host ?? '',
    client_ip: row.clientIp ?? null,
    environment: row.environment ?? '',
    route: '/customers',
    request_id: row.requestId ?? '',
    decision_id: row.decisionId,
    support_id: row.supportId ?? '',
  })

  async function found(filter: string): Promise<string[]> {
    const pages = await everyPage({ parent, filter, pageSize: 1000 })
    return pages.flat().map(({ decisionId }) => decisionId)
  }

  function expected(filter: string): string[] {
    const parsed = parseFilter(filter, usageFilterFields)
    if (!parsed.ok) throw new Error(parsed.fault.message)
    const { filter: tree } = parsed
    return rows.filter(row => tree === null || plainMatches(tree, plain(row))).map(({ decisionId }) => decisionId)
  }

  test.each([
    'api_key = key_1',
    'method = GET',
    'method = "get"',
    'status = 403',
    'status >= 400',
    'status = 0',
    'decision = deny',
    'reason = ip_not_allowed',
    'NOT reason = ip_not_allowed',
    'path = "/a"',
    'path:"/a*"',
    'path:"/customers/*"',
    `path:"/\u{10ffff}*"`,
    'path > "/a" AND path < "/b"',
    'client_ip = 203.0.113.7',
    'client_ip:203.0.113.0/24',
    'client_ip != 203.0.113.0/24',
    'NOT client_ip = 203.0.113.0/24',
    'client_ip = 2001:db8::/32',
    'client_ip = ::1234:5678',
    'client_ip = 0.0.0.0/0',
    'client_ip = ::/0',
    'client_ip:::/0',
    'client_ip != "::/0"',
    'NOT client_ip = "::/0"',
    'client_ip:*',
    'NOT client_ip:*',
    'request_id = req_10',
    'support_id = support_20',
    'support_id:*',
    'host = other.example.com AND environment = test',
    'method = POST OR status = 403',
    `time >= ${today}T00:00:10Z AND time < ${today}T00:00:20Z`,
  ])('%s', async filter => {
    const wanted = expected(filter)
    expect(wanted.length).toBeGreaterThan(0)
    expect((await found(filter)).sort()).toEqual(wanted.sort())
  })

  test('random filters find what a plain reading of them finds', async () => {
    const quote = (text: string) => JSON.stringify(text)
    const leaf = fc.oneof(
      fc.constantFrom(...paths, '/c').map(path => `path:${quote(`${path}*`)}`),
      fc
        .tuple(fc.constantFrom('=', '!=', '<', '>='), fc.constantFrom(...paths))
        .map(([op, path]) => `path ${op} ${quote(path)}`),
      fc.tuple(fc.constantFrom('=', '!='), fc.constantFrom('GET', 'POST', 'x')).map(([op, m]) => `method ${op} ${m}`),
      fc
        .tuple(fc.constantFrom('=', '!=', '<', '>'), fc.constantFrom(0, 200, 201, 403))
        .map(([op, s]) => `status ${op} ${s}`),
      fc
        .tuple(
          fc.constantFrom('=', '!='),
          fc.constantFrom('203.0.113.0/24', '2001::/16', '198.51.100.1', '2001:db8::/64'),
        )
        .map(([op, c]) => `client_ip ${op} ${c}`),
      fc
        .tuple(fc.constantFrom('=', '!='), fc.constantFrom('ip_not_allowed', 'rate_limited', '""'))
        .map(([op, x]) => `reason ${op} ${x}`),
      fc.tuple(fc.constantFrom('<', '>=', '='), fc.nat(59)).map(([op, n]) => `time ${op} ${second(n)}`),
      fc.constantFrom('decision = allow', 'client_ip:*', 'request_id:*', 'api_key:key_*', 'api_key = key_3'),
    )
    const { filter } = fc.letrec<{ filter: string }>(tie => ({
      filter: fc.oneof(
        { maxDepth: 3 },
        leaf,
        tie('filter').map(part => `NOT (${part})`),
        fc
          .tuple(tie('filter'), fc.constantFrom('AND', 'OR'), tie('filter'))
          .map(([a, word, b]) => `(${a}) ${word} (${b})`),
      ),
    }))
    await fc.assert(
      fc.asyncProperty(filter, async text => {
        expect((await found(text)).sort()).toEqual(expected(text).sort())
      }),
      { numRuns: 120 },
    )
  })

  test('a key is named by its id or by its name', async () => {
    expect((await found(`api_key = ${parent}/apiKeys/key_1`)).sort()).toEqual(expected('api_key = key_1').sort())
  })

  test('reason = allow is what was allowed', async () => {
    expect((await found('reason = allow')).sort()).toEqual(expected('decision = allow').sort())
  })

  test('status:* is where one is known', async () => {
    expect((await found('status:*')).sort()).toEqual(expected('status > 0').sort())
  })

  test('a decision is found by its id, in either case', async () => {
    const id = rows[7]?.decisionId ?? ''
    expect(await found(`decision_id = ${id.toUpperCase()}`)).toEqual([id])
  })

  test.each([
    ['nothing = 1', 0],
    ['__proto__ = 1', 0],
    ['status = abc', 9],
    ['status = -1', 9],
    ['status = 99999999999', 9],
    ['client_ip = 203.0.113.1/24', 12],
    ['client_ip = 010.0.0.1', 12],
    ['client_ip < 1.2.3.4', 10],
    ['client_ip = 2001::/0', 12],
    ['decision = denied', 11],
    ['reason = blocked', 9],
    ['decision_id = x', 14],
    ['decision_id:"0*"', 12],
  ])('%s is refused at its place', async (filter, position) => {
    const refused = await failure(list({ parent, filter }))
    expect(fieldsOf(refused)).toEqual(['filter FILTER_INVALID'])
    expect(refused.message).toContain(`At character ${position}:`)
  })
})

describe('intervals', () => {
  const day = 86_400_000
  const text = (ms: number) => new Date(ms).toISOString()

  test('31 days are read at a time, no more', async () => {
    const parent = await client().organization()
    const now = Date.now()
    const ok = `time >= ${text(now - 40 * day)} AND time < ${text(now - 9 * day)}`
    expect((await list({ parent, filter: ok })).usageLogs).toEqual([])
    for (const filter of [
      `time >= ${text(now - 32 * day)}`,
      `time >= ${text(now - 40 * day)} AND time <= ${text(now - 9 * day)}`,
      `time = ${text(now)} OR time > ${text(now - 40 * day)}`,
    ]) {
      expect(fieldsOf(await failure(list({ parent, filter })))).toEqual(['filter FILTER_INVALID'])
    }
  })

  test('without times the last 31 days are meant', async () => {
    const parent = await client().organization()
    const organization = idOf(parent)
    const stored = await store([
      { organization, time: text(Date.now() - 32 * day) },
      { organization, time: text(Date.now() - 31 * day + 60_000) },
      { organization },
    ])
    const { usageLogs } = await list({ parent, orderBy: 'time' })
    expect(usageLogs.map(({ decisionId }) => decisionId)).toEqual(stored.slice(1))
  })

  test('what is meant does not move between pages', () => {
    const tokens = new PageTokens(new Uint8Array(32))
    const request = { parent: 'organizations/a', filter: '', orderBy: '' }
    const read = (value: string, now: number) => {
      const token = { field: 'page_token', value, bound: '' } as const
      const listing = readUsageListing(request, token, tokens, now, new Violations())
      return listing ?? expect.fail('the request is not understood')
    }
    const first = read('', 200_000_000_000_000)
    const last = { time: first.query.to - 5, decisionId: '01a21001-37c8-7036-a3b5-ba9852b0d825' }
    const token = usageToken(first, last, 0, tokens, 200_000_000_000_000)
    const next = read(token, 200_003_600_000_000)
    expect(next.query).toEqual({ ...first.query, after: last })
    expect(read('', 200_003_600_000_000).query.from).toBe(first.query.from + 3_600_000_000)
  })

  test('a clock that is wrong hides no row of the others', async () => {
    const parent = await client().organization()
    const organization = idOf(parent)
    const { client: sql } = client().world
    const [good] = await store([{ organization }])
    await sql.query(
      `INSERT INTO usage_log (time, decision_id, sidecar, organization_id, decision)
       VALUES ('infinity', gen_random_uuid(), gen_random_uuid(), $1, 'allow'), ('2290-01-01', gen_random_uuid(), gen_random_uuid(), $1, 'allow'),
              ('-infinity', gen_random_uuid(), gen_random_uuid(), $1, 'allow'), ('0044-03-15 BC', gen_random_uuid(), gen_random_uuid(), $1, 'allow')`,
      [organization],
    )
    for (const orderBy of ['time', 'time desc']) {
      expect((await list({ parent, orderBy })).usageLogs.map(({ decisionId }) => decisionId)).toEqual([good])
    }
  })
})

describe('requests that are refused', () => {
  test('all faults at once', async () => {
    const refused = await failure(list({ parent: 'x', filter: 'y', orderBy: 'path', pageSize: -1 }))
    expect(fieldsOf(refused)).toEqual([
      'page_size FIELD_INVALID',
      'parent FIELD_INVALID',
      'filter FILTER_INVALID',
      'order_by ORDER_INVALID',
    ])
  })

  test('an organization that is not there, a token of another question', async () => {
    expect((await failure(list({ parent: 'organizations/none' }))).reason).toBe('ORGANIZATION_UNKNOWN')
    const [a, b] = [await client().organization(), await client().organization()]
    await store([{ organization: idOf(a) }, { organization: idOf(a) }])
    const { nextPageToken: pageToken } = await list({ parent: a, pageSize: 1 })
    for (const other of [{ parent: b }, { parent: a, filter: 'method = GET' }, { parent: a, orderBy: 'time' }]) {
      expect(fieldsOf(await failure(list({ ...other, pageToken })))).toEqual(['page_token PAGE_TOKEN_INVALID'])
    }
    const flipped = `${pageToken.slice(0, -1)}${pageToken.endsWith('A') ? 'B' : 'A'}`
    expect(fieldsOf(await failure(list({ parent: a, pageToken: flipped })))).toEqual(['page_token PAGE_TOKEN_INVALID'])
  })
})

test('a page stays below the message limit, whatever rows hold', async () => {
  const parent = await client().organization()
  const long = '\u{1f600}'.repeat(3000)
  const rows = Array.from({ length: 300 }, (_, n) => ({
    organization: idOf(parent),
    time: instant(n),
    path: long,
    userAgent: long,
    host: long,
  }))
  const stored = await store(rows)
  const pages = await everyPage({ parent, pageSize: 1000 })
  expect(pages.length).toBeGreaterThan(1)
  expect(
    pages
      .flat()
      .map(({ decisionId }) => decisionId)
      .sort(),
  ).toEqual(stored.sort())
})

test('the time of a row is exact', async () => {
  const parent = await client().organization()
  await store([{ organization: idOf(parent), time: instant(999_999) }])
  const { usageLogs } = await list({ parent })
  expect(usageLogs[0]?.time).toEqual({ ...at(Date.parse(instant(0))), nanos: 999_999_000 })
})

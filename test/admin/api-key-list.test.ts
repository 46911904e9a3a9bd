// ListApiKeys on a real database: pages that neither skip nor repeat (field report 1), random filters against an in-memory
// oracle, tokens bound to their listing, and rows of another hand that keep nobody from being listed.
import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { parseFilter } from '../../src/admin/filter.ts'
import { apiKeyListing } from '../../src/admin/read-api-keys.ts'
import { instantText, parseInstant } from '../../src/core/instant.ts'
import { type PlainRow, plainMatches } from '../oracle/filter.ts'
import { failure, fieldsOf, type KeyJson, type Seconds, useKeyClient } from './key-client.ts'

const client = useKeyClient()

interface Page {
  readonly apiKeys: KeyJson[]
  readonly nextPageToken: string
}

const list = (request: object) => client().call<Page>('listApiKeys', request)

interface ImportReply {
  readonly imported: number
  readonly results: { readonly name: string }[]
}

let digests = 0
const importRows = (parent: string, rows: readonly object[]) =>
  client().stream<ImportReply>('importApiKeys', [
    { header: { parent, requestId: randomUUID() } },
    ...rows.map(row => {
      const digest = Buffer.alloc(32)
      digest.writeUInt32BE(++digests)
      return {
        row: {
          displayName: 'same',
          environment: 'live',
          digest,
          keyHint: 'bbb_live_…abcd',
          scopes: ['orders:READ'],
          ...row,
        },
      }
    }),
  ])

const second = Date.UTC(2026, 1, 1) / 1000

async function everyPage(
  request: object,
  between: (page: number) => Promise<void> = async () => {},
): Promise<string[][]> {
  const pages: string[][] = []
  for (let pageToken = ''; ; ) {
    const page = await list({ ...request, pageToken })
    pages.push(page.apiKeys.map(key => key.name))
    if (page.nextPageToken === '') return pages
    pageToken = page.nextPageToken
    await between(pages.length)
    if (pages.length > 100) throw new Error('the listing does not end')
  }
}

describe('field report 1', () => {
  test.each(['create_time', 'create_time desc', 'display_name', 'last_used_time', 'expire_time desc,display_name'])(
    'ordered by %s, rows of one microsecond appear exactly once while others come and go',
    async orderBy => {
      const parent = await client().organization()
      const at = (micros: number) => ({ createTime: { seconds: second, nanos: micros * 1000 } })
      const same = (await importRows(parent, Array(15).fill(at(123_456)))).results
      const later = (await importRows(parent, Array(10).fill(at(123_457)))).results
      const stable = [...same.slice(2), ...later].map(result => result.name)
      const doomed = same.slice(0, 2).map(result => result.name)
      const pages = await everyPage({ parent, orderBy, pageSize: 10 }, async page => {
        if (page !== 1) return
        await importRows(parent, Array(5).fill(at(123_456)))
        for (const name of doomed) await client().call('deleteApiKey', { name })
      })
      const seen = pages.flat()
      expect(new Set(seen).size).toBe(seen.length)
      for (const name of stable) expect(seen.filter(other => other === name)).toHaveLength(1)
    },
  )

  test('the microsecond survives, and 25 rows in pages of 5 and of 25 end without a token', async () => {
    const parent = await client().organization()
    await importRows(parent, Array(25).fill({ createTime: { seconds: second, nanos: 123_456_789 } }))
    for (const pageSize of [5, 25]) {
      const pages = await everyPage({ parent, pageSize })
      expect(pages.map(page => page.length)).toEqual(Array(25 / pageSize).fill(pageSize))
    }
    const { apiKeys } = await list({ parent, pageSize: 1 })
    expect(apiKeys[0]?.createTime).toMatchObject({ seconds: String(second), nanos: 123_456_000 })
  })

  test('unset times have one fixed place: behind all others', async () => {
    const parent = await client().organization()
    const expiring = (days: number) => ({ expireTime: { seconds: second + days * 86_400 }, displayName: `${days}` })
    await importRows(parent, [expiring(2), { displayName: 'never' }, expiring(1), { displayName: 'never' }])
    const names = async (orderBy: string) => (await list({ parent, orderBy })).apiKeys.map(key => key.displayName)
    expect(await names('expire_time')).toEqual(['1', '2', 'never', 'never'])
    expect(await names('expire_time desc')).toEqual(['2', '1', 'never', 'never'])
  })
})

test('a token opens only the listing that it came from', async () => {
  const parent = await client().organization()
  await importRows(parent, Array(3).fill({}))
  const { nextPageToken } = await list({ parent, pageSize: 1, filter: 'environment = live' })
  const refused = async (request: object) => {
    const error = await failure(
      list({ parent, pageSize: 1, filter: 'environment = live', pageToken: nextPageToken, ...request }),
    )
    return fieldsOf(error)
  }
  expect(
    (await list({ parent, pageSize: 2, filter: 'environment = live', pageToken: nextPageToken })).apiKeys,
  ).toHaveLength(2)
  const last = nextPageToken.at(-5) === 'A' ? 'B' : 'A'
  for (const request of [
    { filter: '' },
    { orderBy: 'display_name' },
    { showDeleted: true },
    { parent: await client().organization() },
    { parent: 'organizations/-' },
    { pageToken: `${nextPageToken.slice(0, -5)}${last}${nextPageToken.slice(-4)}` },
    { pageToken: 'x' },
  ]) {
    expect(await refused(request)).toEqual(['page_token PAGE_TOKEN_INVALID'])
  }
})

test('page sizes are bounded, faults are named together', async () => {
  const parent = await client().organization()
  const error = await failure(list({ parent, pageSize: -1, filter: 'nope = 1', orderBy: 'nope' }))
  expect(fieldsOf(error)).toEqual(['page_size FIELD_INVALID', 'filter FILTER_INVALID', 'order_by ORDER_INVALID'])
  expect(fieldsOf(await failure(list({ parent: 'nope' })))).toEqual(['parent FIELD_INVALID'])
  expect((await failure(list({ parent: 'organizations/nobody' }))).reason).toBe('ORGANIZATION_UNKNOWN')
})

test('organizations/- lists every organization, deleted keys only when asked for', async () => {
  const [one, two] = [await client().organization(), await client().organization('bitgpt')]
  const names = [(await client().key(one)).apiKey.name, (await client().key(two)).apiKey.name]
  const mine = async (request: object) =>
    (await everyPage({ parent: 'organizations/-', pageSize: 1000, ...request }))
      .flat()
      .filter(name => names.includes(name))
  expect((await mine({})).sort()).toEqual([...names].sort())
  await client().call('deleteApiKey', { name: names[0] })
  expect(await mine({})).toEqual([names[1]])
  expect((await mine({ showDeleted: true })).sort()).toEqual([...names].sort())
  expect(await mine({ showDeleted: true, filter: 'state = DELETED' })).toEqual([names[0]])
})

test('a row of another hand, every column hostile, is listed as far as it can be read', async () => {
  const parent = await client().organization()
  const { apiKey } = await client().key(parent)
  const { client: sql } = client().world
  await sql.query('BEGIN')
  const { rows } = await sql.query(
    `UPDATE api_keys SET expire_time = '-infinity', grace_end_time = 'infinity', suspend_time = '294000-01-01',
       labels = '[1]', allowlist = '{"a": 1}', revoke_reason = 99, scopes = '{"", "\u{1F600}"}', rate_limit = 5
     WHERE id = $1 RETURNING digest`,
    [apiKey.name.split('/')[3]],
  )
  await sql.query('SELECT gw_record($1, $2, $3)', [[1], [rows[0].digest], [null]])
  await sql.query('COMMIT')
  const { apiKeys } = await list({ parent })
  expect(apiKeys).toHaveLength(1)
  expect(apiKeys[0]).toMatchObject({ name: apiKey.name, state: 'EXPIRED', labels: {}, allowlist: [], rateLimit: null })
})

describe('filters', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
  let state = seed
  const pick = (n: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
  const one = <Value>(values: readonly Value[]): Value => values[pick(values.length)] ?? expect.fail('nothing to pick')
  const texts = ['a', 'ab', 'b', 'B', 'ä', '😀', "it's", 'x*', '%', '_']
  const scopes = ['customers:READ', 'customers:WRITE', 'orders:READ']
  let parent = ''
  let rows: readonly (PlainRow & { readonly name: string })[] = []

  beforeAll(async () => {
    parent = await client().organization()
    const reply = await importRows(
      parent,
      Array.from({ length: 60 }, () => ({
        displayName: one(texts),
        environment: 'live',
        scopes: scopes.filter(() => pick(2) === 0),
        labels: pick(3) === 0 ? {} : { team: one(texts), ...(pick(2) === 0 ? { stage: 'x' } : {}) },
        createTime: { seconds: second + pick(5), nanos: pick(3) * 1000 },
        ...(pick(2) === 0 ? { expireTime: { seconds: second + pick(1_000_000_000) } } : {}),
      })),
    )
    expect(reply.imported).toBe(60)
    const names = reply.results.map(result => result.name)
    await client()
      .call('suspendApiKey', { name: names[0] })
      .catch(() => undefined)
    await client().call('revokeApiKey', { name: names[1], revokeReason: 'LEAKED' })
    await client()
      .call('rotateApiKey', { name: names[2], requestId: randomUUID() })
      .catch(() => undefined)
    rows = (await list({ parent, pageSize: 1000 })).apiKeys.map(plain)
  })

  const micros = (time: Seconds | null) =>
    time === null
      ? null
      : (parseInstant(new Date(Number(time.seconds) * 1000).toISOString()) ?? 0) + (time.nanos ?? 0) / 1000

  function plain(key: KeyJson): PlainRow & { readonly name: string } {
    const numberOf = (field: string, value: string) => {
      const type = apiKeyListing.filterFields.get(field)
      return type?.kind === 'enum' ? (type.values.get(value) ?? 0) : 0
    }
    return {
      name: key.name,
      display_name: key.displayName,
      environment: key.environment,
      key_hint: key.keyHint,
      pepper_id: key.pepperId,
      scopes: key.scopes,
      state: numberOf('state', key.state),
      scope_mode: numberOf('scope_mode', key.scopeMode),
      form: numberOf('form', key.form),
      create_time: micros(key.createTime),
      expire_time: micros(key.expireTime),
      last_used_time: null,
      rotated_from: key.rotatedFrom === '' ? null : key.rotatedFrom,
      rotated_to: key.rotatedTo === '' ? null : key.rotatedTo,
      labels: new Map(Object.entries(key.labels)),
    }
  }

  const quote = (text: string) => `"${text.replace(/[\\"*]/g, '\\$&')}"`

  function term(): string {
    const operator = one(['=', '!=', '<', '<=', '>', '>='])
    switch (pick(9)) {
      case 0:
        return `display_name ${operator} ${quote(one(texts))}`
      case 1:
        return one([
          `display_name:${quote(one(texts))}`,
          `display_name:"${one(['a', 'ä', '😀', 'it'])}*"`,
          'key_hint:bbb_*',
        ])
      case 2:
        return one([`scopes:${one(scopes)}`, 'scopes:customers:*', 'scopes:*', 'scopes:nope'])
      case 3:
        return `${one(['create_time', 'expire_time'])} ${operator} ${instantText(one(rows.flatMap(row => [row['create_time'], row['expire_time']]).filter(value => typeof value === 'number')))}`
      case 4:
        return one(['expire_time:*', 'last_used_time:*', 'rotated_to:*', 'rotated_from != "x"', 'create_time:*'])
      case 5:
        return `state ${one(['=', '!='])} ${one(['ACTIVE', 'EXPIRED', 'REVOKED', 'SUSPENDED', 'ROTATING_OUT', 'DELETED'])}`
      case 6:
        return one([
          'form = IMPORTED',
          'form:ISSUED',
          'scope_mode != ALL',
          'scope_mode = LISTED',
          'environment = live',
          'pepper_id = p1',
        ])
      case 7:
        return `labels.${one(['team', 'stage', 'nope'])} ${operator} ${quote(one(texts))}`
      default:
        return one(['labels:team', 'labels.stage:*', 'labels.team:a*', `labels.team:${quote(one(texts))}`])
    }
  }

  function expression(depth: number): string {
    if (depth === 0 || pick(3) === 0) return term()
    const [a, b] = [expression(depth - 1), expression(depth - 1)]
    return one([
      `(${a}) AND (${b})`,
      `(${a}) OR (${b})`,
      `NOT (${a})`,
      `${a} AND ${b}`,
      `${a} OR ${b}`,
      `NOT ${a} AND ${b}`,
    ])
  }

  test('300 random filters find what the oracle finds', async () => {
    let found = 0
    for (let i = 0; i < 300; i++) {
      const filter = expression(2)
      const parsed = parseFilter(filter, apiKeyListing.filterFields)
      if (!parsed.ok || parsed.filter === null) throw new Error(`${filter}: ${JSON.stringify(parsed)} seed ${seed}`)
      const meant = parsed.filter
      const expected = rows.filter(row => plainMatches(meant, row)).map(row => row.name)
      const actual = (await list({ parent, pageSize: 1000, filter })).apiKeys.map(key => key.name)
      expect(actual.sort(), `${filter} seed ${seed}`).toEqual(expected.sort())
      if (expected.length > 0 && expected.length < rows.length) found++
    }
    expect(found).toBeGreaterThan(100)
  })
})

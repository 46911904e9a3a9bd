// Filters, orders and pages as SQL against a plain reading of the same rows in memory.
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ApiKeyRow, ApiKeyRows, NewApiKey } from '../../src/admin/api-key-rows.ts'
import type { Filter, FilterTerm } from '../../src/admin/filter.ts'
import type { OrderKey } from '../../src/admin/order.ts'
import type { PagePosition } from '../../src/admin/page-token.ts'
import { stateOf } from '../../src/core/api-key.ts'
import { instantText } from '../../src/core/instant.ts'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { adminApiKeyRows } from '../../src/store/admin-api-keys.ts'
import { useTestDatabase } from '../support/test-database.ts'

const database = useTestDatabase()
const now = microsFromUnixMs(Date.UTC(2026, 5, 1))
const seed = Number(process.env['GATEWARDEN_TEST_SEED'] ?? Date.now() % 1e9)
const rowCount = 120
let client: pg.Client
let keys: ApiKeyRows
let rows: readonly ApiKeyRow[]

/** Few values, so that they meet; among them what SQL or a pattern might take for something else. */
const texts = ['', 'a', 'A', 'ab', 'a%', 'a_b', "a'b", 'é', '😀', 'zz', 'a\\']
const times = [-2, -1, 0, 1, 2].map(step => now + step * 1_000_001)
const words = ['a.read', 'a.write', 'b:read', 'b:*']
const labelKeys = ['team', 'env']

const text = fc.constantFrom(...texts)
const time = fc.constantFrom(...times)
const optionalTime = fc.option(time, { nil: null })

const newKey = fc.record({
  displayName: text,
  environment: fc.constantFrom('live', 'test'),
  scopeMode: fc.constantFrom('LISTED' as const, 'ALL' as const),
  scopes: fc.uniqueArray(fc.constantFrom(...words)),
  keyHint: text,
  form: fc.constantFrom('ISSUED' as const, 'IMPORTED' as const),
  pepperId: fc.constantFrom('p1', 'p2'),
  createAt: time,
  expireAt: optionalTime,
  graceEndAt: optionalTime,
  suspendAt: optionalTime,
  revokeAt: optionalTime,
  deleteAt: fc.constantFrom(null, null, null, now - 5),
  rotatedTo: fc.option(fc.constantFrom('k_1', 'k_2'), { nil: null }),
  labels: fc.dictionary(fc.constantFrom(...labelKeys), text).map(labels => new Map(Object.entries(labels))),
})

beforeAll(async () => {
  client = database().client()
  await client.connect()
  keys = adminApiKeyRows(client)
  await client.query('BEGIN')
  await client.query(
    `INSERT INTO organizations (id, display_name, profile) VALUES ('org_1', 'x', 'x'), ('org_2', 'x', 'x')`,
  )
  const made: NewApiKey[] = fc.sample(newKey, { seed, numRuns: rowCount }).map((given, index) => ({
    ...given,
    id: `k_${index}`,
    organization: index % 3 === 0 ? 'org_2' : 'org_1',
    digest: randomBytes(32),
    description: '',
    allowlist: [],
    rateLimit: null,
    lineage: `k_${index}`,
    rotatedFrom: null,
    rotateAt: null,
    suspendReason: '',
    revokeReason: null,
    revokeComment: '',
    purgeAt: given.deleteAt === null ? null : now + 1,
    creator: 'test',
    updateAt: given.createAt,
  }))
  for (const row of made) {
    expect(await keys.insert(row)).toBeUndefined()
    const written = { ...row, allowlist: null, lastUsedAt: null, version: 1n, revision: 0n }
    expect(await keys.update(written)).toBe(true)
  }
  await client.query(`SELECT gw_record(array_agg(1::smallint), array_agg(digest), array_agg(NULL::text)) FROM api_keys`)
  await client.query(`SELECT gw_record('{2,2}', '{NULL,NULL}', '{org_1,org_2}')`)
  await client.query('COMMIT')
  rows = await list(null, [], null, 1000)
  expect(rows).toHaveLength(rowCount)
})
afterAll(() => client.end())

function list(filter: Filter | null, order: readonly OrderKey[], after: PagePosition | null, limit: number) {
  return keys.list({ filter, order, after, limit, organizations: null, showDeleted: true, now })
}

// The reading in memory ------------------------------------------------------------------------------------------------

const stateNumbers = { ACTIVE: 1, SUSPENDED: 2, ROTATING_OUT: 3, REVOKED: 4, EXPIRED: 5, DELETED: 6 }

function fieldOf(row: ApiKeyRow, field: string): string | number | readonly string[] | null {
  switch (field) {
    case 'state':
      return stateNumbers[stateOf(row, now)]
    case 'scope_mode':
      return row.scopeMode === 'LISTED' ? 1 : 2
    case 'form':
      return row.form === 'ISSUED' ? 1 : 2
    case 'rotated_to':
      return row.rotatedTo === null ? null : `organizations/${row.organization}/apiKeys/${row.rotatedTo}`
    case 'rotated_from':
      return null
    case 'display_name':
      return row.displayName
    case 'environment':
      return row.environment
    case 'key_hint':
      return row.keyHint
    case 'pepper_id':
      return row.pepperId
    case 'scopes':
      return row.scopes
    case 'create_time':
      return row.createAt
    case 'expire_time':
      return row.expireAt
    case 'last_used_time':
      return row.lastUsedAt
    default:
      throw new Error(field)
  }
}

/** Texts by their octets: the order of collation C. */
function compareValues(a: string | number, b: string | number): number {
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b))
  return Number(a) - Number(b)
}

function compares(operator: string, a: string | number | null, b: string | number): boolean {
  if (operator === '!=') return a === null || compareValues(a, b) !== 0
  if (a === null) return false
  const order = compareValues(a, b)
  return { '=': order === 0, '<': order < 0, '<=': order <= 0, '>': order > 0, '>=': order >= 0 }[operator] ?? false
}

function scalar(row: ApiKeyRow, field: string): string | number | null {
  const value = fieldOf(row, field)
  if (typeof value === 'object' && value !== null) throw new Error(`${field} is a list`)
  return value
}

function holdsTerm(term: FilterTerm, row: ApiKeyRow): boolean {
  switch (term.kind) {
    case 'text':
    case 'time':
    case 'enum':
      return compares(term.operator, scalar(row, term.field), term.value)
    case 'text-prefix':
      return scalar(row, term.field) !== null && String(scalar(row, term.field)).startsWith(term.prefix)
    case 'has':
      return row.scopes.some(scope => (term.prefix ? scope.startsWith(term.value) : scope === term.value))
    case 'set': {
      const value = fieldOf(row, term.field)
      return Array.isArray(value) ? value.length > 0 : value !== null && value !== ''
    }
    case 'label':
      return compares(term.operator, row.labels.get(term.key) ?? null, term.value)
    case 'label-prefix':
      return row.labels.get(term.key)?.startsWith(term.prefix) ?? false
    case 'label-set':
      return row.labels.has(term.key)
    case 'integer':
    case 'address':
      throw new Error(`no API key has a field of kind ${term.kind}`)
  }
}

function holds(filter: Filter, row: ApiKeyRow): boolean {
  switch (filter.kind) {
    case 'and':
      return filter.parts.every(part => holds(part, row))
    case 'or':
      return filter.parts.some(part => holds(part, row))
    case 'not':
      return !holds(filter.part, row)
    default:
      return holdsTerm(filter, row)
  }
}

// What is asked --------------------------------------------------------------------------------------------------------

const operator = fc.constantFrom('=' as const, '!=' as const, '<' as const, '<=' as const, '>' as const, '>=' as const)
const textField = fc.constantFrom('display_name', 'environment', 'key_hint', 'pepper_id', 'rotated_to', 'rotated_from')
const timeField = fc.constantFrom('create_time', 'expire_time', 'last_used_time')
const labelKey = fc.constantFrom(...labelKeys, '__proto__')
const textValue = fc.oneof(text, fc.constantFrom('live', 'p1', 'organizations/org_1/apiKeys/k_1'))

const term: fc.Arbitrary<FilterTerm> = fc.oneof(
  fc.record({ kind: fc.constant('text' as const), field: textField, operator, value: textValue }),
  fc.record({ kind: fc.constant('time' as const), field: timeField, operator, value: time }),
  fc.record({
    kind: fc.constant('enum' as const),
    field: fc.constant('state'),
    operator: fc.constantFrom('=' as const, '!=' as const),
    value: fc.integer({ min: 0, max: 6 }),
  }),
  fc.record({
    kind: fc.constant('enum' as const),
    field: fc.constantFrom('scope_mode', 'form'),
    operator: fc.constantFrom('=' as const, '!=' as const),
    value: fc.integer({ min: 0, max: 2 }),
  }),
  fc.record({ kind: fc.constant('text-prefix' as const), field: textField, prefix: textValue }),
  fc.record({
    kind: fc.constant('has' as const),
    field: fc.constant('scopes'),
    value: fc.constantFrom(...words, 'a.', 'b:', ''),
    prefix: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('set' as const), field: fc.oneof(textField, timeField, fc.constant('scopes')) }),
  fc.record({
    kind: fc.constant('label' as const),
    field: fc.constant('labels'),
    key: labelKey,
    operator,
    value: text,
  }),
  fc.record({ kind: fc.constant('label-prefix' as const), field: fc.constant('labels'), key: labelKey, prefix: text }),
  fc.record({ kind: fc.constant('label-set' as const), field: fc.constant('labels'), key: labelKey }),
)

const { filter } = fc.letrec<{ filter: Filter }>(tie => ({
  filter: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    term,
    fc.record({ kind: fc.constant('not' as const), part: tie('filter') }),
    fc.record({
      kind: fc.constantFrom('and' as const, 'or' as const),
      parts: fc.array(tie('filter'), { minLength: 2, maxLength: 3 }),
    }),
  ),
}))

const orderFields = ['create_time', 'display_name', 'expire_time', 'last_used_time']
const order = fc
  .uniqueArray(fc.constantFrom(...orderFields), { maxLength: 3 })
  .chain(fields => fc.tuple(...fields.map(field => fc.record({ field: fc.constant(field), descending: fc.boolean() }))))

function positionOf(row: ApiKeyRow, keysOfOrder: readonly OrderKey[]): PagePosition {
  const values = keysOfOrder.map(({ field }) => {
    const value = scalar(row, field)
    return typeof value === 'number' ? instantText(value) : value
  })
  return [...values, row.id]
}

function sorted(given: readonly ApiKeyRow[], keysOfOrder: readonly OrderKey[]): readonly ApiKeyRow[] {
  return [...given].sort((a, b) => {
    for (const { field, descending } of keysOfOrder) {
      const [x, y] = [scalar(a, field), scalar(b, field)]
      if (x === null || y === null) {
        if (x === y) continue
        return x === null ? 1 : -1
      }
      const difference = compareValues(x, y)
      if (difference !== 0) return descending ? -difference : difference
    }
    return compareValues(a.id, b.id)
  })
}

const ids = (given: readonly ApiKeyRow[]) => given.map(row => row.id)

test(`every filter finds what a plain reading finds (seed ${seed})`, async () => {
  let found = 0
  await fc.assert(
    fc.asyncProperty(filter, async asked => {
      const expected = rows.filter(row => holds(asked, row))
      found += expected.length
      expect(ids(sorted(await list(asked, [], null, 1000), []))).toEqual(ids(sorted(expected, [])))
    }),
    { seed, numRuns: 400 },
  )
  expect(found).toBeGreaterThan(rowCount)
})

test(`pages in every order neither skip nor repeat a row (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(order, fc.integer({ min: 1, max: 50 }), async (asked, size) => {
      const seen: string[] = []
      for (let after: PagePosition | null = null; ; ) {
        const page: readonly ApiKeyRow[] = await list(null, asked, after, size)
        seen.push(...ids(page))
        const last = page.at(-1)
        if (last === undefined || page.length < size) break
        after = positionOf(last, asked)
      }
      expect(seen).toEqual(ids(sorted(rows, asked)))
    }),
    { seed, numRuns: 60 },
  )
})

test('deleted and purged keys are listed only while they may be', async () => {
  const at = (instant: number, showDeleted: boolean) =>
    keys.list({
      filter: null,
      order: [],
      after: null,
      limit: 1000,
      organizations: ['org_1'],
      showDeleted,
      now: instant,
    })
  const own = rows.filter(row => row.organization === 'org_1')
  const alive = own.filter(row => row.deleteAt === null)
  expect(alive.length).toBeLessThan(own.length)
  expect(ids(sorted(await at(now, true), []))).toEqual(ids(sorted(own, [])))
  expect(ids(sorted(await at(now, false), []))).toEqual(ids(sorted(alive, [])))
  expect(ids(sorted(await at(now + 1, true), []))).toEqual(ids(sorted(alive, [])))
})

// Poison rows and decisions: whatever stands in any column of one row, every other API key gets the same reply to the octet, and the
// poisoned one is denied with 503 unless the value is one that the column may hold (faults.md section 8).
import { expect, it } from 'vitest'
import { storeApiKeys, storeOrganizations } from '../../src/feed/apply-change.ts'
import type { RawRow } from '../../src/feed/feed-source.ts'
import { createStand, pepper, type Stand, digestOf as secretDigest } from '../check/check-stand.ts'
import { encodeCheck } from '../check/encode-check.ts'
import { block } from '../feed/support/rows.ts'
import { pick } from '../oracle/random-worlds.ts'
import { below, randomFor, seed, Tally, times } from './tally.ts'

const uuid = (n: number) => `019ca000-0000-7000-8000-${n.toString(16).padStart(12, '0')}`
const secretOf = (n: number) => `bbb_live_poison${String(n).padStart(12, '0')}`
const keyCount = 8
const unixMicros = (text: string) => BigInt(Date.parse(text)) * 1000n

/** Keys of every kind, so that a fault in any shared part would show. */
function row(n: number, columns: RawRow = {}): RawRow {
  const kinds: readonly RawRow[] = [
    {},
    { allowlist_binary: Buffer.concat([block(4, 24, 203, 0, 113), block(6, 32, 0x20, 0x01, 0x0d, 0xb8)]) },
    { scopes: ['orders:READ'] },
    { expire_time: unixMicros('2026-02-01T00:00:00Z') },
    { suspend_time: unixMicros('2026-02-01T00:00:00Z') },
    { revoke_time: unixMicros('2026-02-01T00:00:00Z') },
    { scope_mode: 2, scopes: [] },
    { grace_end_time: unixMicros('2026-04-01T00:00:00Z'), lineage_id: `key_${uuid(900)}` },
  ]
  return {
    id: `key_${uuid(n)}`,
    organization_id: `org_${uuid(n % 3)}`,
    digest: secretDigest(secretOf(n)),
    pepper_id: pepper.id,
    environment: 'live',
    scope_mode: 1,
    scopes: ['customers:READ', 'orders:READ'],
    allowlist_binary: Buffer.alloc(0),
    expire_time: null,
    grace_end_time: null,
    suspend_time: null,
    revoke_time: null,
    delete_time: null,
    rate_limit: 1_000_000n,
    rate_window_us: 3_600_000_000n,
    lineage_id: `key_${uuid(n)}`,
    ...kinds[n % kinds.length],
    ...columns,
  }
}

const organization = (n: number, columns: RawRow = {}): RawRow => ({
  id: `org_${uuid(n)}`,
  profile: 'bitbybit',
  suspend_time: null,
  ...columns,
})
const observer = { record: () => undefined }

const request = (n: number, path: string) =>
  encodeCheck({
    path: `/customer/open/v1/${path}`,
    host: 'api.bitbybit.studio',
    headers: [
      ['x-api-key', secretOf(n)],
      ['x-forwarded-for', '203.0.113.9'],
    ],
  })
const requests = Array.from({ length: keyCount }, (_, n) => [request(n, 'customers'), request(n, 'orders/o_1')])

/** Everything that a reply says but what is drawn anew for each: ids of the decision, seconds to wait. */
function saidTo(stand: Stand, n: number): string {
  return (requests[n] ?? [])
    .map(octets => {
      const { octets: reply, metadata } = stand.checkOctets(octets)
      if (reply === undefined) throw new Error('the call failed')
      const text = reply.toString('latin1').replace(metadata['decision_id'] ?? '', '')
      return metadata['reason'] === 'authz_unavailable' ? text.replace(/retry-after.{2}[123]/s, '') : text
    })
    .join('|')
}

function loaded(stand: Stand, rows: readonly RawRow[], organizations: readonly RawRow[]): void {
  stand.table.clear()
  storeOrganizations(organizations, stand.table, observer)
  storeApiKeys(rows, stand.table, observer)
}

const cyclic: unknown[] = []
cyclic.push(cyclic)
const throwing = {
  get length() {
    throw new Error('hostile')
  },
  toString() {
    throw new Error('hostile')
  },
}
const hostile: readonly unknown[] = [
  undefined,
  null,
  '',
  ' ',
  'x',
  'x'.repeat(255),
  'x'.repeat(256),
  'a\0b',
  'é',
  '\u202e',
  '😀',
  '\ud800',
  'key_x',
  `key_${uuid(1)}`,
  `key_${uuid(1)}_${uuid(2)}`,
  `org_${uuid(0)}`,
  `org_${uuid(99)}`,
  'live',
  'LIVE',
  'test',
  'toString',
  '__proto__',
  'constructor',
  'p1',
  'p2',
  0,
  1,
  2,
  3,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  -0,
  2 ** 53,
  0n,
  1n,
  -1n,
  5n,
  1_000_001n,
  2n ** 63n,
  -(2n ** 63n),
  2n ** 70n,
  unixMicros('2026-01-01T00:00:00Z'),
  unixMicros('2036-01-01T00:00:00Z'),
  unixMicros('9999-12-31T23:59:59Z'),
  '1',
  '-1',
  'infinity',
  '-infinity',
  '2030-01-01 00:00:00+00',
  '99999999999999999999',
  true,
  false,
  [],
  [null],
  [''],
  ['customers:READ'],
  ['customers:READ', 'customers:READ'],
  ['x'.repeat(300)],
  ['a b'],
  ['customers:READ\0'],
  [[]],
  Array.from({ length: 1024 }, (_, i) => `s${i}`),
  Array.from({ length: 1025 }, () => 's'),
  cyclic,
  {},
  Object.create(null),
  throwing,
  new Date(0),
  new Map(),
  /x/,
  Symbol('x'),
  () => 'x',
  new Uint8Array(0),
  Buffer.alloc(31),
  Buffer.alloc(32),
  Buffer.alloc(33),
  Buffer.alloc(17),
  Buffer.alloc(18),
  Buffer.alloc(18 * 257),
  new Uint16Array(16),
  new Float64Array(4),
  block(4, 33),
  block(6, 129),
  block(4, 24, 192, 0, 2, 1),
  block(4, 0),
  block(6, 0),
  block(4, 8, 10, 0, 0, 0, 1),
  block(4, 32, 203, 0, 113, 9),
  block(6, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255),
]

it('any value in any column of one row changes no other reply', () => {
  const stand = createStand({ keys: [] })
  const random = randomFor('rows')
  const tally = new Tally('poison rows')
  const organizations = [0, 1, 2].map(n => organization(n))
  const clean = Array.from({ length: keyCount }, (_, n) => row(n))
  loaded(stand, clean, organizations)
  const expected = clean.map((_, n) => saidTo(stand, n))
  expect(new Set(expected).size).toBe(keyCount)
  const columns = [...Object.keys(row(0)), 'unknown_column', '__proto__']
  let invalid = 0
  for (const column of columns) {
    for (const value of hostile) {
      const poisoned = below(random, keyCount)
      const rows = clean.map((each, n) => (n === poisoned ? { ...each, [column]: value } : each))
      loaded(stand, rows, organizations)
      const isInvalid = stand.table.invalidCount > 0
      if (isInvalid) {
        invalid++
        const reasons = (requests[poisoned] ?? []).map(octets => stand.checkOctets(octets).metadata['reason'])
        // Without a readable digest the row names no secret at all.
        if (column !== 'digest') expect(reasons, column).toEqual(['authz_unavailable', 'authz_unavailable'])
        else expect(reasons).not.toContain(undefined)
      }
      // A pepper that this process lacks makes no miss certain; hits stay what they are.
      const others = expected.every((said, n) => n === poisoned || saidTo(stand, n) === said)
      tally.note(!isInvalid, !others, () => JSON.stringify({ column, value: String(typeof value), poisoned, seed }))
    }
  }
  expect(stand.errors).toEqual([])
  expect(invalid).toBeGreaterThan(1000)
  tally.finish(columns.length * hostile.length, 50)
})

it('any value in any column of an organization condemns at most its own keys', () => {
  const stand = createStand({ keys: [] })
  const clean = Array.from({ length: keyCount }, (_, n) => row(n))
  loaded(
    stand,
    clean,
    [0, 1, 2].map(n => organization(n)),
  )
  const expected = clean.map((_, n) => saidTo(stand, n))
  const tally = new Tally('poison organizations')
  for (const column of ['id', 'profile', 'suspend_time', 'unknown_column']) {
    for (const value of hostile) {
      loaded(
        stand,
        clean,
        [0, 1, 2].map(n => (n === 1 ? organization(n, { [column]: value }) : organization(n))),
      )
      const others = expected.every(
        (said, n) => n % 3 === 1 || (column === 'id' && value === `org_${uuid(0)}`) || saidTo(stand, n) === said,
      )
      // Nobody of the poisoned organization is let in who was not before.
      const own = expected.every(
        (said, n) => n % 3 !== 1 || saidTo(stand, n) === said || !/decision.{4}allow/s.test(saidTo(stand, n)),
      )
      tally.note(stand.table.size === keyCount, !others || !own, () =>
        JSON.stringify({ column, value: String(typeof value), others, own }),
      )
    }
  }
  expect(stand.errors).toEqual([])
  tally.finish(4 * hostile.length)
})

it('random edits of rows, written one over the other, leave the rest alone', () => {
  const stand = createStand({ keys: [] })
  const random = randomFor('row histories')
  const tally = new Tally('row histories')
  const clean = Array.from({ length: keyCount }, (_, n) => row(n))
  loaded(
    stand,
    clean,
    [0, 1, 2].map(n => organization(n)),
  )
  const expected = clean.map((_, n) => saidTo(stand, n))
  const columns = Object.keys(row(0)).filter(column => column !== 'digest' && column !== 'pepper_id')
  for (let i = 0; i < times(1500); i++) {
    const edits = Object.fromEntries(
      Array.from({ length: 1 + below(random, 3) }, () => [pick(random, columns), pick(random, hostile)]),
    )
    storeApiKeys([{ ...row(0), ...edits }], stand.table, observer)
    const other = 1 + below(random, keyCount - 1)
    tally.note(stand.table.invalidCount === 0, saidTo(stand, other) !== expected[other], () =>
      JSON.stringify(Object.keys(edits)),
    )
  }
  storeApiKeys([row(0)], stand.table, observer)
  expect(saidTo(stand, 0)).toBe(expected[0])
  expect(stand.table.invalidCount).toBe(0)
  tally.finish(times(1500), 10)
})

// The decoder is total, strict, and condemns one API key at a time (faults.md section 8).
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ApiKeyEntry } from '../../src/core/api-key-entry.ts'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { storeApiKeys } from '../../src/feed/apply-change.ts'
import { decodeApiKey, decodeOrganization } from '../../src/feed/decode-row.ts'
import type { FeedEvent } from '../../src/feed/feed-observer.ts'
import { block, digestOf, idOf, keyRow, organizationRow, unixMicros } from './support/rows.ts'
import { MapTable } from './support/sidecar.ts'

const END = Date.parse('2030-01-02T03:04:05.678Z')

/** What hostile, newer or broken writers may leave in any column. */
const HOSTILE: readonly unknown[] = [
  undefined,
  null,
  '',
  ' ',
  'x'.repeat(256),
  'a\u0000b',
  'é',
  '‮',
  0,
  -1,
  3,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2n ** 70n,
  '99999999999999999999',
  'infinity',
  '-infinity',
  '2030-01-01 00:00:00+00',
  true,
  [],
  [null],
  ['x'.repeat(300)],
  ['a b'],
  [[]],
  Array.from({ length: 2_000 }, () => 'scope'),
  {},
  new Date(0),
  Buffer.alloc(31),
  Buffer.alloc(33),
  Buffer.alloc(17),
  Buffer.alloc(18),
  block(4, 33),
  block(6, 129),
  block(4, 24, 192, 0, 2, 1),
  block(4, 8, 10, 0, 0, 0, 1),
  block(6, 0),
  Symbol('hostile'),
  () => 'hostile',
  Object.create(null),
]

const COLUMNS = Object.keys(keyRow(1)).filter(column => column !== 'digest')

/** Whether a hostile value is sound in that column after all, so that it changes only this API key's own meaning. */
function isSound(column: string, value: unknown): boolean {
  if (column === 'scope_mode') return value === 2
  if (column === 'scopes') return Array.isArray(value) && value.length === 0
  if (column === 'environment') return typeof value === 'string' && /^[a-z][a-z0-9-]{0,62}$/.test(value)
  return ['organization_id', 'pepper_id', 'profile'].includes(column) && isName(value)
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && ['99999999999999999999', 'infinity', '-infinity'].includes(value)
}

describe('a sound row', () => {
  it('becomes the entry it describes', () => {
    const row = keyRow(7, 1, {
      scopes: ['customers.read', 'invoices:*'],
      allowlist_binary: Buffer.concat([block(4, 24, 192, 0, 2), block(6, 32, 0x20, 0x01, 0x0d, 0xb8)]),
      expire_time: unixMicros(END),
      grace_end_time: String(unixMicros(END) + 1n),
      rate_limit: 0n,
      rate_window_us: 3_600_000_000n,
      lineage_id: idOf(3),
    })
    expect(decodeApiKey(digestOf(7), row)).toEqual({
      kind: 'api_key',
      digest: digestOf(7),
      pepperId: 'p1',
      id: idOf(7),
      organization: 'org_1',
      environment: 'live',
      scopeMode: 'LISTED',
      scopes: ['customers.read', 'invoices:*'],
      allowlist: [
        { family: 4, prefix: 24, octets: new Uint8Array([192, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) },
        { family: 6, prefix: 32, octets: new Uint8Array([32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) },
      ],
      expireAt: microsFromUnixMs(END),
      graceEndAt: microsFromUnixMs(END) + 1,
      revoked: false,
      deleted: false,
      suspended: false,
      limit: { limit: 0, windowMicros: 3_600_000_000 },
      lineage: idOf(3),
    } satisfies ApiKeyEntry)
  })

  it('of a key revoked during its grace period is revoked, however long the grace would last', () => {
    const row = keyRow(1, 1, { grace_end_time: unixMicros(END), revoke_time: unixMicros(END - 1_000) })
    expect(decodeApiKey(digestOf(1), row)).toMatchObject({ revoked: true, graceEndAt: microsFromUnixMs(END) })
  })

  it('keeps suspension, revocation and deletion apart', () => {
    const at = unixMicros(END)
    expect(decodeApiKey(digestOf(1), keyRow(1, 1, { suspend_time: at }))).toMatchObject({ suspended: true })
    expect(decodeApiKey(digestOf(1), keyRow(1, 1, { delete_time: at }))).toMatchObject({ deleted: true })
    expect(decodeApiKey(digestOf(1), keyRow(1, 1, { scope_mode: 2, scopes: [] }))).toMatchObject({ scopeMode: 'ALL' })
  })

  it('that ends in the year 9999 never ends in the life of this process', () => {
    const row = keyRow(1, 1, { expire_time: 253_402_300_799_999_999n })
    expect(decodeApiKey(digestOf(1), row)).toMatchObject({ expireAt: Number.MAX_SAFE_INTEGER })
  })

  it('gives addresses of its own, not a window on the driver’s buffer', () => {
    const column = block(4, 32, 192, 0, 2, 1)
    const entry = decodeApiKey(digestOf(1), keyRow(1, 1, { allowlist_binary: column }))
    column.fill(0xff)
    expect(entry).toMatchObject({ allowlist: [{ octets: new Uint8Array([192, 0, 2, 1, ...new Array(12).fill(0)]) }] })
  })
})

describe('a row that is not sound', () => {
  it.each([
    ['allowlist NULL would read as no restriction', 'allowlist_binary', null],
    ['allowlist with a torn entry', 'allowlist_binary', Buffer.alloc(19)],
    ['allowlist of another family', 'allowlist_binary', block(5, 8, 10)],
    ['allowlist with host bits', 'allowlist_binary', block(4, 24, 192, 0, 2, 1)],
    ['allowlist with octets behind an IPv4 address', 'allowlist_binary', block(4, 32, 192, 0, 2, 1, 9)],
    ['allowlist prefix too long', 'allowlist_binary', block(6, 129)],
    ['allowlist spanning the IPv4-mapped block', 'allowlist_binary', block(6, 0)],
    [
      'allowlist inside the IPv4-mapped block',
      'allowlist_binary',
      block(6, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1),
    ],
    ['more allowlist entries than the engine takes', 'allowlist_binary', Buffer.alloc(257 * 18, block(4, 0))],
    ['scope mode of a newer writer', 'scope_mode', 3],
    ['scopes NULL', 'scopes', null],
    ['a scope that is no text', 'scopes', ['ok', 7]],
    ['an instant that is no number', 'expire_time', 'infinity'],
    ['an instant out of range', 'expire_time', 253_402_300_800_000_000n],
    ['a missing instant is not "never"', 'expire_time', undefined],
    ['a missing revocation is not "not revoked"', 'revoke_time', undefined],
    ['an id without UUID', 'id', 'key_1'],
    ['an id with two', 'id', `${idOf(1)}${idOf(2)}`],
    ['no organization', 'organization_id', ''],
    ['limit without window', 'rate_limit', 5n],
    ['window without limit', 'rate_window_us', 1_000_000n],
  ])('%s: invalid, naming the column', (_name, column, value) => {
    const entry = decodeApiKey(digestOf(1), keyRow(1, 1, { [column]: value }))
    const cause = column === 'rate_window_us' ? 'rate_limit' : column
    const unread = column === 'id' || column === 'organization_id'
    expect(entry).toEqual({ kind: 'invalid', digest: digestOf(1), cause, ...(unread ? {} : { pepperId: 'p1' }) })
  })

  it('has scopes beside ALL, which contradict each other', () => {
    const row = keyRow(1, 1, { scope_mode: 2, scopes: ['a'] })
    expect(decodeApiKey(digestOf(1), row)).toMatchObject({ kind: 'invalid', cause: 'scopes' })
  })

  it('has a limit outside its bounds or finer than 100 µs a request', () => {
    for (const [limit, window] of [
      [-1n, 1_000_000n],
      [1_000_001n, 3_600_000_000n],
      [10n, 999_999n],
      [10n, 2_678_400_000_001n],
      [10_001n, 1_000_000n],
    ]) {
      const row = keyRow(1, 1, { rate_limit: limit, rate_window_us: window })
      expect(decodeApiKey(digestOf(1), row)).toMatchObject({ kind: 'invalid', cause: 'rate_limit' })
    }
  })

  it('carries another digest than the change that named it', () => {
    expect(decodeApiKey(digestOf(2), keyRow(1))).toMatchObject({
      kind: 'invalid',
      digest: digestOf(2),
      cause: 'digest',
    })
  })

  it('cannot be read at all', () => {
    const row = { ...keyRow(1) }
    Object.defineProperty(row, 'scopes', {
      get: () => {
        throw new Error('trap')
      },
    })
    expect(decodeApiKey(digestOf(1), row)).toEqual({ kind: 'invalid', digest: digestOf(1), cause: 'row' })
  })
})

describe('poison', () => {
  it('in any column makes that API key invalid, with no exception', () => {
    let tried = 0
    for (const column of COLUMNS) {
      for (const value of HOSTILE) {
        if (value === null && keyRow(1)[column] === null) continue
        const row = keyRow(1, 1, { scopes: [], [column]: value })
        const expected = isSound(column, value) ? 'api_key' : 'invalid'
        expect([column, value, decodeApiKey(digestOf(1), row).kind]).toEqual([column, value, expected])
        tried++
      }
    }
    expect(tried).toBeGreaterThan(500)
  })

  it('in any column of one row leaves the entries of all other rows as they are', () => {
    const clean = (): MapTable => {
      const table = new MapTable()
      storeApiKeys([keyRow(1), keyRow(2), keyRow(3)], table, { record: () => undefined })
      return table
    }
    const expected = clean()
    const anything = fc.oneof(fc.constantFrom(...HOSTILE), fc.anything())
    fc.assert(
      fc.property(
        fc.constantFrom('digest', ...COLUMNS),
        anything,
        fc.dictionary(fc.string(), anything, { maxKeys: 3 }),
        (column, value, more) => {
          const events: FeedEvent[] = []
          const table = new MapTable()
          const poisoned = { ...more, ...keyRow(2), [column]: value }
          storeApiKeys([keyRow(1), poisoned, keyRow(3)], table, { record: event => events.push(event) })
          for (const n of [1, 3]) {
            const hex = digestOf(n).toString('hex')
            expect(table.keys.get(hex)).toEqual(expected.keys.get(hex))
          }
          expect(table.keys.size).toBeLessThanOrEqual(3)
        },
      ),
      { numRuns: 2_000 },
    )
  })

  it('is reported with the column and the id, never with the value', () => {
    const events: FeedEvent[] = []
    const observer = { record: (event: FeedEvent) => events.push(event) }
    const table = new MapTable()
    storeApiKeys([keyRow(1, 1, { scopes: 'canary' }), keyRow(2, 1, { digest: 'canary' })], table, observer)
    expect(events).toEqual([
      { type: 'row_invalid', table: 'api_key', subject: idOf(1), cause: 'scopes' },
      { type: 'row_invalid', table: 'api_key', subject: idOf(2), cause: 'digest' },
    ])
    expect(JSON.stringify(events)).not.toContain('canary')
  })
})

describe('an organization', () => {
  it('is what its row says', () => {
    expect(decodeOrganization(organizationRow('org_1'))).toEqual({
      id: 'org_1',
      profile: 'alpha',
      suspended: false,
      valid: true,
    })
    const suspended = organizationRow('org_1', { suspend_time: unixMicros(END) })
    expect(decodeOrganization(suspended)).toMatchObject({ suspended: true, valid: true })
  })

  it('with an unreadable column is invalid and keeps its id', () => {
    for (const column of ['profile', 'suspend_time'] as const) {
      for (const value of HOSTILE) {
        if ((value === null && column === 'suspend_time') || isSound(column, value)) continue
        const row = organizationRow('org_1', { [column]: value })
        expect(decodeOrganization(row), `${column} ${String(typeof value)}`).toMatchObject({
          id: 'org_1',
          valid: false,
        })
      }
    }
  })

  it('without a readable id is nobody', () => {
    for (const value of HOSTILE) {
      if (!isName(value)) expect(decodeOrganization({ ...organizationRow('x'), id: value })).toBeNull()
    }
  })
})

describe('a row that cannot be read', () => {
  it('still names its pepper, so that a process without that pepper cannot call its secret unknown', () => {
    const row = { ...keyRow(1), pepper_id: 'p9', allowlist_binary: Buffer.alloc(17) }
    expect(decodeApiKey(digestOf(1), row)).toMatchObject({ kind: 'invalid', pepperId: 'p9' })
  })
})

// Poison rows against the real key table: whatever stands in any column of one row, nothing throws and every other API key
// reads bit for bit as before (faults.md section 8).
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { KEY_INVALID } from '../../src/core/key-lookup.ts'
import { createNames } from '../../src/core/names.ts'
import { storeApiKeys, storeOrganizations } from '../../src/feed/apply-change.ts'
import type { RawRow } from '../../src/feed/feed-source.ts'
import { KeyTable } from '../../src/keys/key-table.ts'
import { block, idOf, keyRow, organizationRow, unixMicros } from './support/rows.ts'

const names = createNames()
const observer = { record: () => undefined }
const PEPPERS = [{ id: 'p1', bytes: Buffer.alloc(32, 1) }]

function rich(n: number): RawRow {
  return keyRow(n, n, {
    allowlist_binary: Buffer.concat([block(4, 24, 192, 0, n), block(6, 64, 0x20, 0x01, 0x0d, 0xb8, 0, n)]),
    expire_time: unixMicros(1_900_000_000_000 + n),
    grace_end_time: unixMicros(1_890_000_000_000 + n),
    rate_limit: 5n + BigInt(n),
    rate_window_us: 3_600_000_000n,
    lineage_id: idOf(n + 500),
  })
}

/** A table loaded with these rows, as a load would. */
function tableOf(rows: readonly RawRow[], organizations: readonly RawRow[] = [organizationRow('org_1')]): KeyTable {
  const table = new KeyTable({ names, peppers: PEPPERS })
  storeOrganizations(organizations, table, observer)
  storeApiKeys(rows, table, observer)
  return table
}

/** Everything a decision reads of one API key. */
function reading(table: KeyTable, id: string): unknown {
  for (let slot = 0; slot < table.size; slot++) {
    if (table.apiKeyId(slot) !== id) continue
    return {
      flags: table.flags(slot),
      expireAt: table.expireAt(slot),
      graceEndAt: table.graceEndAt(slot),
      environment: table.environment(slot),
      scopes: [...table.scopes(slot).words],
      allowlist: [
        table.allowlistLength(slot),
        table.allows(slot, 4, 0xc0000005, 0, 0, 0),
        table.allows(slot, 4, 0xc0000305, 0, 0, 0),
      ],
      limit: [table.ownLimit(slot), table.ownLimitWindow(slot)],
      lineage: [0, 1, 2, 3].map(i => table.lineageWord(slot, i)),
      organization: table.organizationId(slot),
      profile: table.profile(slot),
    }
  }
  return undefined
}

const COLUMNS = Object.keys(rich(1))

it('a poison row of an API key changes no other API key', () => {
  const clean = tableOf([rich(1), rich(2), rich(3)])
  const expected = [1, 3].map(n => reading(clean, idOf(n)))
  expect(expected).not.toContain(undefined)
  fc.assert(
    fc.property(fc.constantFrom(...COLUMNS), fc.anything({ withBigInt: true }), (column, value) => {
      const table = tableOf([rich(1), { ...rich(2), [column]: value }, rich(3)])
      expect([1, 3].map(n => reading(table, idOf(n)))).toEqual(expected)
    }),
    { numRuns: 2_000 },
  )
})

it('a poison row of an organization condemns its own API keys only', () => {
  const other = { ...rich(3), organization_id: 'org_2' }
  const organizations = [organizationRow('org_1'), organizationRow('org_2')]
  const expected = reading(tableOf([rich(1), other], organizations), idOf(3))
  fc.assert(
    fc.property(fc.constantFrom('profile', 'suspend_time'), fc.anything({ withBigInt: true }), (column, value) => {
      const table = tableOf([rich(1), other], [organizationRow('org_1', { [column]: value }), organizationRow('org_2')])
      expect(reading(table, idOf(3))).toEqual(expected)
      const slot = table.apiKeyId(0) === idOf(1) ? 0 : 1
      const sound = typeof value === 'string' || value === null || typeof value === 'bigint'
      if (!sound) expect(table.flags(slot) & KEY_INVALID).toBe(KEY_INVALID)
    }),
    { numRuns: 500 },
  )
})

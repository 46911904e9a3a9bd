// What a slot must say of an API key, checked field by field against the entry it was made from.
import { expect } from 'vitest'
import type { ApiKeyEntry } from '../../src/core/api-key-entry.ts'
import type { Cidr } from '../../src/core/cidr.ts'
import type { Names } from '../../src/core/names.ts'
import { hasScope } from '../../src/core/scope-set.ts'
import type { KeyTable } from '../../src/keys/key-table.ts'
import { scopes } from './key-fixtures.ts'

function contains(allowlist: readonly Cidr[], family: number, words: readonly number[]): boolean {
  const bits = words.map(word => (word >>> 0).toString(2).padStart(32, '0')).join('')
  return allowlist.some(
    cidr =>
      cidr.family === family &&
      [...cidr.octets]
        .map(octet => octet.toString(2).padStart(8, '0'))
        .join('')
        .slice(0, cidr.prefix) === bits.slice(0, cidr.prefix),
  )
}

/** Every field of the row in `slot` is that of the entry. */
export function expectSame(table: KeyTable, slot: number, row: ApiKeyEntry, names: Names): void {
  expect(table.apiKeyId(slot)).toBe(row.id)
  expect(table.organizationId(slot)).toBe(row.organization)
  expect(table.expireAt(slot)).toBe(row.expireAt ?? Number.POSITIVE_INFINITY)
  expect(table.graceEndAt(slot)).toBe(row.graceEndAt ?? Number.POSITIVE_INFINITY)
  expect(names.environments.text(table.environment(slot))).toBe(row.environment)
  for (const scope of scopes)
    expect(hasScope(table.scopes(slot), names.scopes.intern(scope))).toBe(row.scopes.includes(scope))
  expect(table.ownLimit(slot)).toBe(row.limit?.limit ?? -1)
  if (row.limit !== null) expect(table.ownLimitWindow(slot)).toBe(row.limit.windowMicros)
  if (row.lineage.startsWith('key_'))
    expect(table.lineageWord(slot, 3)).toBe(Number.parseInt(row.lineage.slice(-8), 16))
  expect(table.allowlistLength(slot)).toBe(row.allowlist.length)
  for (const octet of [0, 0x0f, 0xaa, 0xff]) {
    const word = octet * 0x01010101
    expect(table.allows(slot, 4, word, 0, 0, 0)).toBe(contains(row.allowlist, 4, [word]))
    expect(table.allows(slot, 6, word, word, word, word)).toBe(contains(row.allowlist, 6, [word, word, word, word]))
  }
}

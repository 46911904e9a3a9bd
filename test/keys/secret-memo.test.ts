// The memo of recent secrets: it never names a slot for another secret, and the table never believes it about a slot that
// has been written to since.
import { createHash, randomBytes } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { MISS } from '../../src/core/key-lookup.ts'
import { createNames } from '../../src/core/names.ts'
import { KeyTable } from '../../src/keys/key-table.ts'
import { NOT_REMEMBERED, SecretMemo } from '../../src/keys/secret-memo.ts'
import { hashAfterBlock, stateAfterBlock } from '../../src/keys/sha256.ts'
import { digestOf, entryOf, peppers, profiles, secretOf, uuid } from './key-fixtures.ts'

const secrets = Array.from({ length: 30_000 }, (_, i) => Buffer.from(`secret ${i} ${'y'.repeat(i % 130)}`))

function find(memo: SecretMemo, secret: Buffer): number {
  return memo.find(secret, 0, secret.length)
}

/** The arrays of a memo, to disturb single bits of them. */
function insides(memo: SecretMemo): { readonly entries: Int32Array } {
  return memo as unknown as { readonly entries: Int32Array }
}

describe('the memo', () => {
  test('knows nothing at first, and remembers secrets of every length with slot and stamp', () => {
    const memo = new SecretMemo()
    for (let length = 0; length <= 200; length++) {
      const secret = randomBytes(length)
      expect(find(memo, secret)).toBe(NOT_REMEMBERED)
      memo.remember(length, -length - 1)
      expect(find(memo, secret)).toBe(length)
      expect(memo.stamp).toBe(-length - 1)
    }
  })

  test('gives, of more secrets than it has room for, the right slot or none', () => {
    const memo = new SecretMemo()
    for (const [slot, secret] of secrets.entries()) {
      find(memo, secret)
      memo.remember(slot, slot + 1)
    }
    let remembered = 0
    for (const [slot, secret] of secrets.entries()) {
      const found = find(memo, secret)
      if (found === NOT_REMEMBERED) continue
      remembered++
      expect([found, memo.stamp]).toEqual([slot, slot + 1])
    }
    expect(remembered).toBeGreaterThan(4000)
  })

  test('forgets a secret when any one bit of its hash is another', () => {
    const memo = new SecretMemo()
    const [secret] = secrets
    if (secret === undefined) throw new Error('there are secrets')
    find(memo, secret)
    memo.remember(5, 6)
    const { entries } = insides(memo)
    const at = entries.findIndex(word => word !== 0)
    for (let bit = 0; bit < 256; bit++) {
      const word = at + (bit >>> 5)
      entries[word] = (entries[word] ?? 0) ^ (1 << (bit & 31))
      expect(find(memo, secret)).toBe(NOT_REMEMBERED)
      entries[word] = (entries[word] ?? 0) ^ (1 << (bit & 31))
    }
    expect(find(memo, secret)).toBe(5)
  })

  test('keeps the two secrets of a set that were remembered last, each once', () => {
    const memo = new SecretMemo()
    for (const [slot, secret] of secrets.slice(0, 3).entries()) {
      find(memo, secret)
      memo.remember(slot, 1000)
      memo.remember(slot, 2000)
    }
    for (const [slot, secret] of secrets.slice(0, 3).entries()) {
      expect(find(memo, secret)).toBe(slot)
      expect(memo.stamp).toBe(2000)
    }
    // Written twice, each takes one entry of ten words.
    expect(insides(memo).entries.filter(word => word === 2000)).toHaveLength(3)
    expect(insides(memo).entries).not.toContain(1000)
  })

  test('is salted: two processes note different hashes, and neither that of the secret', () => {
    const noted = [new SecretMemo(), new SecretMemo()].map(memo => {
      const secret = Buffer.from('one secret')
      find(memo, secret)
      memo.remember(1, 1)
      const { entries } = insides(memo)
      const at = entries.findIndex(word => word !== 0)
      return [...entries.subarray(at, at + 8)].map(word => (word >>> 0).toString(16).padStart(8, '0')).join('')
    })
    expect(noted[0]).not.toBe(noted[1])
    expect(noted).not.toContain(createHash('sha256').update('one secret').digest('hex'))
  })

  test('grows with its table up to a bound, and clearing forgets everything', () => {
    const memo = new SecretMemo()
    const small = memo.bytes
    memo.fit(50_000)
    expect(memo.bytes).toBe(small)
    find(memo, Buffer.from('a'))
    memo.remember(1, 1)
    memo.fit(200_000)
    expect(memo.bytes).toBeGreaterThan(small)
    expect(memo.bytes).toBeLessThan(7 * 200_000)
    expect(find(memo, Buffer.from('a'))).toBe(NOT_REMEMBERED)
    memo.fit(10_000_000)
    expect(memo.bytes).toBeLessThan(7 * 200_000)
    find(memo, Buffer.from('a'))
    memo.remember(1, 1)
    memo.clear()
    expect(memo.bytes).toBe(small)
    expect(find(memo, Buffer.from('a'))).toBe(NOT_REMEMBERED)
  })

  test('hashes a block and what follows as the platform does', () => {
    const out = new Int32Array(8)
    for (let length = 0; length <= 200; length++) {
      const block = randomBytes(64)
      const rest = randomBytes(length)
      hashAfterBlock(stateAfterBlock(block), rest, 0, length, out)
      const octets = Buffer.alloc(32)
      for (const [i, word] of out.entries()) octets.writeInt32BE(word, i * 4)
      expect(octets.equals(createHash('sha256').update(block).update(rest).digest())).toBe(true)
    }
    expect(() => stateAfterBlock(randomBytes(63))).toThrow(RangeError)
  })
})

describe('a table asked again', () => {
  let table: KeyTable
  const drawn = (number: number) => ({
    number,
    pepper: 0,
    organization: 0,
    environment: 'live',
    mode: 'LISTED' as const,
    scopes: [],
    allowlist: [],
    expireAt: null,
    graceEndAt: null,
    revoked: false,
    deleted: false,
    suspended: false,
    limit: null,
    lineage: number,
  })
  const slotOf = (number: number, profile = 0) => table.find(secretOf(number), 0, secretOf(number).length, profile)

  beforeEach(() => {
    const names = createNames()
    for (const profile of profiles) names.profiles.intern(profile)
    table = new KeyTable({ names, peppers: peppers.slice(0, 2) })
    table.setOrganization({ id: `org_${uuid(0)}`, profile: profiles[0] ?? '', suspended: false, valid: true })
    for (let number = 0; number < 4; number++) table.replace(entryOf(drawn(number)))
    for (let number = 0; number < 4; number++) slotOf(number)
  })

  test('finds what it found', () => {
    for (let number = 0; number < 4; number++) {
      const slot = slotOf(number)
      expect(table.apiKeyId(slot)).toBe(entryOf(drawn(number)).id)
    }
  })

  test('tells of a replaced row what it says now', () => {
    table.replace({ ...entryOf(drawn(1)), suspended: true })
    const slot = slotOf(1)
    expect(table.apiKeyId(slot)).toBe(entryOf(drawn(1)).id)
    expect(table.flags(slot)).not.toBe(table.flags(slotOf(2)))
    table.replace({ kind: 'invalid', digest: digestOf(1, 0), cause: 'scopes', pepperId: peppers[0]?.id ?? '' })
    expect(table.apiKeyId(slotOf(1))).toBe('')
  })

  test('misses a removed row, also when another has moved into its slot, and finds that one', () => {
    table.remove(digestOf(0, 0))
    expect(slotOf(0)).toBe(MISS)
    // The last row stands where the removed one stood.
    expect(slotOf(3)).toBe(0)
    expect(table.apiKeyId(slotOf(3))).toBe(entryOf(drawn(3)).id)
    table.replace(entryOf(drawn(4)))
    expect(slotOf(0)).toBe(MISS)
    expect(table.apiKeyId(slotOf(3))).toBe(entryOf(drawn(3)).id)
    expect(table.apiKeyId(slotOf(4))).toBe(entryOf(drawn(4)).id)
  })

  test('misses everything once it was cleared, whatever is loaded into the same slots', () => {
    table.clear()
    for (let number = 0; number < 4; number++) expect(slotOf(number)).toBe(MISS)
    table.setOrganization({ id: `org_${uuid(0)}`, profile: profiles[0] ?? '', suspended: false, valid: true })
    for (let number = 10; number < 14; number++) table.replace(entryOf(drawn(number)))
    for (let number = 0; number < 4; number++) expect(slotOf(number)).toBe(MISS)
  })

  test('asks the organization anew each time', () => {
    expect(slotOf(2, 1)).toBe(MISS)
    expect(slotOf(2, 0)).toBe(2)
    table.setOrganization({ id: `org_${uuid(0)}`, profile: profiles[1] ?? '', suspended: false, valid: true })
    expect(slotOf(2, 0)).toBe(MISS)
    expect(slotOf(2, 1)).toBe(2)
  })
})

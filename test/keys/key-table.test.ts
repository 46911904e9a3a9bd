// The key table: exactly what the feed said, under the right profile and pepper, whatever the order of writes; invalid rows deny.
import { randomBytes } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import type { ApiKeyEntry } from '../../src/core/api-key-entry.ts'
import {
  KEY_ALL_SCOPES,
  KEY_DELETED,
  KEY_INVALID,
  KEY_ORGANIZATION_SUSPENDED,
  KEY_REVOKED,
  KEY_SUSPENDED,
  MISS,
  UNKNOWABLE,
} from '../../src/core/key-lookup.ts'
import { createNames, type Names } from '../../src/core/names.ts'
import { hasScope } from '../../src/core/scope-set.ts'
import { digestSecret, type Pepper, pepperProof } from '../../src/keys/digest.ts'
import { KeyTable } from '../../src/keys/key-table.ts'

const primary: Pepper = { id: 'p2', bytes: randomBytes(32) }
const second: Pepper = { id: 'p1', bytes: randomBytes(32) }
const absent: Pepper = { id: 'p0', bytes: randomBytes(32) }

const organization = 'org_0197c0ec-0000-7000-8000-000000000001'
const keyId = 'key_0197c0ec-a197-745e-a5bc-c425483bbf01'

let names: Names
let table: KeyTable
let alpha: number
let beta: number

beforeEach(() => {
  names = createNames()
  table = new KeyTable({ names, peppers: [primary, second] })
  alpha = names.profiles.intern('alpha')
  beta = names.profiles.intern('beta')
  table.setOrganization({ id: organization, profile: 'alpha', suspended: false, valid: true })
})

function entryOf(secret: string, change: Partial<ApiKeyEntry> = {}, pepper = primary): ApiKeyEntry {
  return {
    kind: 'api_key',
    digest: digestSecret(pepper, Buffer.from(secret)),
    pepperId: pepper.id,
    id: keyId,
    organization,
    environment: 'live',
    scopeMode: 'LISTED',
    scopes: ['read'],
    allowlist: [],
    expireAt: null,
    graceEndAt: null,
    revoked: false,
    deleted: false,
    suspended: false,
    limit: null,
    lineage: change.id ?? keyId,
    ...change,
  }
}

function find(secret: string, profile = alpha): number {
  const bytes = Buffer.from(`--${secret}--`)
  return table.find(bytes, 2, bytes.length - 2, profile)
}

function octets(...values: number[]): Uint8Array {
  const block = new Uint8Array(16)
  block.set(values)
  return block
}

describe('find', () => {
  test('a key is found by its secret, under its own profile only', () => {
    table.replace(entryOf('s1'))
    expect(find('s1')).toBeGreaterThanOrEqual(0)
    expect(find('s1', beta)).toBe(MISS)
    expect(find('s2')).toBe(MISS)
    expect(find('s')).toBe(MISS)
    expect(find('')).toBe(MISS)
  })

  test('an empty table answers a miss', () => {
    table.clear()
    expect(find('s1')).toBe(MISS)
  })

  test('a key under the second pepper is found, and its removal makes it unknown', () => {
    const entry = entryOf('s1', { id: 'key_0197c0ec-a197-745e-a5bc-c425483bbf02' }, second)
    table.replace(entry)
    expect(table.apiKeyId(find('s1'))).toBe(entry.id)
    table.remove(entry.digest)
    expect(find('s1')).toBe(MISS)
    expect(table.size).toBe(0)
  })

  test('while a live row names a pepper this process lacks, a miss proves nothing', () => {
    table.replace(entryOf('s1'))
    const unknown = entryOf('s2', {}, absent)
    table.replace(unknown)
    expect(find('s2')).toBe(UNKNOWABLE)
    expect(find('never issued')).toBe(UNKNOWABLE)
    expect(find('s1')).toBeGreaterThanOrEqual(0)
    expect(find('s1', beta)).toBe(MISS)
    table.replace({ ...unknown, revoked: true })
    expect(find('s2')).toBe(MISS)
    table.replace(unknown)
    expect(find('s2')).toBe(UNKNOWABLE)
    table.replace({ ...unknown, deleted: true })
    expect(find('s2')).toBe(MISS)
    table.replace(unknown)
    table.remove(unknown.digest)
    expect(find('s2')).toBe(MISS)
    expect(table.missingPeppers()).toBe(0)
  })

  describe('a pepper whose proof in the database is another', () => {
    const other = randomBytes(32)
    const proofs = (...wrong: readonly Pepper[]) =>
      new Map(
        [primary, second, absent]
          .map(pepper => [pepper.id, pepperProof(pepper, 'api_keys')] as const)
          .concat(wrong.map(({ id }) => [id, pepperProof({ id, bytes: other }, 'api_keys')] as const)),
      )
    /** What stands in the database where the file of this process is wrong: a digest that it will never make. */
    const beyond = (secret: string, pepper: Pepper, change: Partial<ApiKeyEntry> = {}) =>
      entryOf(secret, { digest: digestSecret({ id: pepper.id, bytes: other }, Buffer.from(secret)), ...change }, pepper)

    test.each([primary, second])('counts as one that this process lacks: $id', pepper => {
      table.replace(beyond('s1', pepper))
      expect([find('s1'), table.isBlind()]).toEqual([MISS, false]) // as long as nobody tells
      expect(table.judgePeppers(proofs(pepper))).toEqual([pepper.id])
      expect([find('s1'), find('never issued'), table.missingPeppers(), table.isBlind()]).toEqual([
        UNKNOWABLE,
        UNKNOWABLE,
        1,
        true,
      ])
    })

    test('has the same effect whether the proof or the row comes first', () => {
      table.judgePeppers(proofs(primary))
      expect([find('s1'), table.isBlind()]).toEqual([MISS, false]) // no key is under it: nothing can be missed
      table.replace(beyond('s1', primary))
      expect([find('s1'), table.isBlind()]).toEqual([UNKNOWABLE, true])
      table.replace(beyond('s1', primary, { revoked: true }))
      expect([find('s1'), table.isBlind()]).toEqual([MISS, false])
      table.replace(beyond('s1', primary))
      table.remove(beyond('s1', primary).digest)
      expect([find('s1'), table.isBlind(), table.missingPeppers()]).toEqual([MISS, false, 0])
    })

    test('counts no longer once the database says otherwise, or nothing', () => {
      table.replace(beyond('s1', primary))
      for (const well of [proofs(), new Map<string, Uint8Array>()]) {
        table.judgePeppers(proofs(primary))
        expect(find('s1')).toBe(UNKNOWABLE)
        expect(table.judgePeppers(well)).toEqual([])
        expect([find('s1'), table.missingPeppers(), table.isBlind()]).toEqual([MISS, 0, false])
      }
    })

    test('leaves the keys of the other pepper as they are', () => {
      table.replace(beyond('s1', primary))
      table.replace(entryOf('s2', {}, second))
      expect(table.judgePeppers(proofs(primary))).toEqual([primary.id])
      expect(find('s2')).toBeGreaterThanOrEqual(0)
      expect([find('s1'), table.isBlind()]).toEqual([UNKNOWABLE, true])
    })

    test('under which keys are found: a miss proves nothing, and the process stays ready', () => {
      table.replace(entryOf('s1'))
      table.replace(entryOf('s2', {}, second))
      table.judgePeppers(proofs(primary, second))
      expect(table.isBlind()).toBe(true)
      expect(find('s1')).toBeGreaterThanOrEqual(0)
      expect(table.isBlind()).toBe(true) // of the second no key was found yet
      expect(find('s2')).toBeGreaterThanOrEqual(0)
      expect([find('never issued'), table.isBlind()]).toEqual([UNKNOWABLE, false])
      table.clear()
      table.setOrganization({ id: organization, profile: 'alpha', suspended: false, valid: true })
      table.replace(beyond('s1', primary))
      expect([find('s1'), table.isBlind()]).toEqual([UNKNOWABLE, true]) // another history: what was found there says nothing
    })

    test('under which only keys of another id are found is no better for it', () => {
      // The files of both peppers were exchanged: each finds the keys of the other.
      const exchanged = new KeyTable({
        names,
        peppers: [
          { id: primary.id, bytes: second.bytes },
          { id: second.id, bytes: primary.bytes },
        ],
      })
      exchanged.setOrganization({ id: organization, profile: 'alpha', suspended: false, valid: true })
      exchanged.replace(entryOf('s1'))
      exchanged.replace(entryOf('s2', {}, second))
      expect(exchanged.judgePeppers(proofs())).toEqual([primary.id, second.id])
      for (const secret of ['s1', 's2'])
        expect(exchanged.find(Buffer.from(secret), 0, 2, alpha)).toBeGreaterThanOrEqual(0)
      expect(exchanged.isBlind()).toBe(true)
    })
  })

  test('digests that differ in one bit of any octet are different keys', () => {
    const entry = entryOf('s1')
    for (let bit = 0; bit < 256; bit++) {
      const digest = Buffer.from(entry.digest)
      digest[bit >>> 3] = (digest[bit >>> 3] ?? 0) ^ (1 << (bit & 7))
      table.replace({ ...entry, digest })
    }
    expect(table.size).toBe(256)
    expect(find('s1')).toBe(MISS)
  })

  test('a look-up leaves nothing of the secret or its bare hash in the table', () => {
    table.replace(entryOf('s1'))
    find('s1')
    const arrays: Int32Array[] = []
    collectArrays(table, arrays, new Set())
    const hash = new Int32Array(8)
    return import('../../src/keys/sha256.ts').then(({ sha256 }) => {
      sha256(Buffer.from('s1'), 0, 2, hash)
      const needle = Buffer.from(hash.buffer)
      expect(arrays.length).toBeGreaterThan(3)
      for (const array of arrays) expect(Buffer.from(array.buffer).includes(needle)).toBe(false)
    })
  })
})

function collectArrays(value: unknown, into: Int32Array[], seen: Set<unknown>): void {
  if (typeof value !== 'object' || value === null || seen.has(value)) return
  seen.add(value)
  if (value instanceof Int32Array) into.push(value)
  else for (const member of Object.values(value)) collectArrays(member, into, seen)
}

describe('what a slot tells', () => {
  test('every field comes back as it was given', () => {
    table.replace(
      entryOf('s1', {
        scopes: ['read', 'write'],
        environment: 'test',
        expireAt: 123_456_789_012_345,
        graceEndAt: 123_456_789_012_346,
        limit: { limit: 77, windowMicros: 2_678_400_000_000 },
        lineage: 'key_0197c0ec-a197-745e-a5bc-c42548300000',
      }),
    )
    const slot = find('s1')
    expect(table.flags(slot)).toBe(0)
    expect(table.expireAt(slot)).toBe(123_456_789_012_345)
    expect(table.graceEndAt(slot)).toBe(123_456_789_012_346)
    expect(names.environments.text(table.environment(slot))).toBe('test')
    expect(hasScope(table.scopes(slot), names.scopes.intern('write'))).toBe(true)
    expect(hasScope(table.scopes(slot), names.scopes.intern('delete'))).toBe(false)
    expect(table.ownLimit(slot)).toBe(77)
    expect(table.ownLimitWindow(slot)).toBe(2_678_400_000_000)
    expect([0, 1, 2, 3].map(i => table.lineageWord(slot, i) >>> 0)).toEqual([
      0x0197c0ec, 0xa197745e, 0xa5bcc425, 0x48300000,
    ])
    expect(table.apiKeyId(slot)).toBe(keyId)
    expect(table.organizationId(slot)).toBe(organization)
    expect(table.profile(slot)).toBe(alpha)
  })

  test('a key without expiry, grace, limit and list says so, and is its own lineage', () => {
    table.replace(entryOf('s1'))
    const slot = find('s1')
    expect(table.expireAt(slot)).toBe(Number.POSITIVE_INFINITY)
    expect(table.graceEndAt(slot)).toBe(Number.POSITIVE_INFINITY)
    expect(table.ownLimit(slot)).toBe(-1)
    expect(table.allowlistLength(slot)).toBe(0)
    expect(table.allows(slot, 4, 0, 0, 0, 0)).toBe(false)
    expect([0, 1, 2, 3].map(i => table.lineageWord(slot, i) >>> 0)).toEqual([
      0x0197c0ec, 0xa197745e, 0xa5bcc425, 0x483bbf01,
    ])
  })

  test('instants before 2020 and a limit of 0 survive', () => {
    table.replace(entryOf('s1', { expireAt: -1, limit: { limit: 0, windowMicros: 1_000_000 } }))
    expect(table.expireAt(find('s1'))).toBe(-1)
    expect(table.ownLimit(find('s1'))).toBe(0)
  })

  test.each([
    [{ revoked: true }, KEY_REVOKED],
    [{ deleted: true }, KEY_DELETED],
    [{ suspended: true }, KEY_SUSPENDED],
    [{ scopeMode: 'ALL' }, KEY_ALL_SCOPES],
    [{ revoked: true, deleted: true, suspended: true }, KEY_REVOKED | KEY_DELETED | KEY_SUSPENDED],
  ] as const)('%j has its flags', (change, flags) => {
    table.replace(entryOf('s1', change))
    expect(table.flags(find('s1'))).toBe(flags)
  })

  test.each([
    'key_1',
    'x',
    'ключ',
    'api_key_0197c0ec-a197-745e-a5bc-c425483bbf01',
    '0197C0EC-A197-745E-A5BC-C425483BBF01',
    'a0197c0ec-a197-745e-a5bc-c425483bbf01-0197c0ec-a197-745e-a5bc-c425483bbf01z',
  ])('the id %j comes back exactly, as text and as octets', id => {
    table.replace(entryOf('s1', { id }))
    const slot = find('s1')
    expect(table.apiKeyId(slot)).toBe(id)
    const target = Buffer.alloc(200, 0x2e)
    const end = table.writeApiKeyId(slot, target, 7)
    expect(target.toString('utf8', 7, end)).toBe(id)
    expect(target[end]).toBe(0x2e)
    expect(target[6]).toBe(0x2e)
  })

  test('the allowlist admits what lies in a block, and never across families', () => {
    table.replace(
      entryOf('s1', {
        allowlist: [
          { family: 4, prefix: 24, octets: octets(203, 0, 113, 0) },
          { family: 6, prefix: 48, octets: octets(0x20, 0x01, 0x0d, 0xb8, 0, 0) },
          { family: 4, prefix: 32, octets: octets(198, 51, 100, 7) },
        ],
      }),
    )
    const slot = find('s1')
    expect(table.allowlistLength(slot)).toBe(3)
    expect(table.allows(slot, 4, 0xcb007105, 0, 0, 0)).toBe(true)
    expect(table.allows(slot, 4, 0xcb007205, 0, 0, 0)).toBe(false)
    expect(table.allows(slot, 4, 0xc6336407, 0, 0, 0)).toBe(true)
    expect(table.allows(slot, 4, 0xc6336408, 0, 0, 0)).toBe(false)
    expect(table.allows(slot, 6, 0x20010db8, 0x0000ffff, 0, 1)).toBe(true)
    expect(table.allows(slot, 6, 0x20010db8, 0x00010000, 0, 1)).toBe(false)
    expect(table.allows(slot, 6, 0xcb007105, 0, 0, 0)).toBe(false)
    expect(table.allows(slot, 5, 0xcb007105, 0, 0, 0)).toBe(false)
  })
})

describe('invalid rows and organizations', () => {
  test('an invalid row is found under every profile and is nothing but invalid', () => {
    table.replace({ kind: 'invalid', digest: entryOf('s1').digest, cause: 'scopes' })
    for (const profile of [alpha, beta]) {
      const slot = find('s1', profile)
      expect(slot).toBeGreaterThanOrEqual(0)
      expect(table.flags(slot)).toBe(KEY_INVALID)
      expect(table.environment(slot)).toBe(-1)
      expect(table.scopes(slot).words.length).toBe(0)
      expect(table.expireAt(slot)).toBe(Number.NEGATIVE_INFINITY)
      expect(table.apiKeyId(slot)).toBe('')
      expect(table.organizationId(slot)).toBe('')
      expect(table.writeApiKeyId(slot, Buffer.alloc(1), 0)).toBe(0)
      expect(table.ownLimit(slot)).toBe(0)
    }
    expect(table.invalidCount).toBe(1)
    table.replace(entryOf('s1'))
    expect(table.flags(find('s1'))).toBe(0)
    expect(table.invalidCount).toBe(0)
  })

  test('an invalid row whose digest was made with the second pepper is found too', () => {
    table.replace({ kind: 'invalid', digest: entryOf('s1', {}, second).digest, cause: 'pepper_id' })
    expect(find('s1')).toBeGreaterThanOrEqual(0)
    expect(table.flags(find('s1'))).toBe(KEY_INVALID)
  })

  test('an invalid row that names a pepper this process lacks makes misses ambiguous', () => {
    const { digest } = entryOf('s1', {}, absent)
    table.replace({ kind: 'invalid', digest, pepperId: absent.id, cause: 'scopes' })
    expect(find('s1')).toBe(UNKNOWABLE)
    table.replace({ kind: 'invalid', digest, pepperId: primary.id, cause: 'scopes' })
    expect(find('s1')).toBe(MISS)
  })

  test.each([
    ['id', { id: '' }],
    ['expire_time', { expireAt: Number.NaN }],
    ['expire_time', { expireAt: 0.5 }],
    ['grace_end_time', { graceEndAt: Number.POSITIVE_INFINITY }],
    ['rate_limit', { limit: { limit: -1, windowMicros: 1 } }],
    ['rate_limit', { limit: { limit: 1.5, windowMicros: 1 } }],
    ['rate_limit', { limit: { limit: 1, windowMicros: 0 } }],
    ['allowlist', { allowlist: [{ family: 4, prefix: 33, octets: octets(1) }] }],
    ['allowlist', { allowlist: [{ family: 6, prefix: -1, octets: octets(1) }] }],
    ['allowlist', { allowlist: [{ family: 4, prefix: 8, octets: new Uint8Array(4) }] }],
    ['allowlist', { allowlist: Array.from({ length: 1025 }, () => ({ family: 4, prefix: 8, octets: octets(1) })) }],
  ] as const)('an entry with an impossible %s becomes invalid, in place of a good one', (cause, change) => {
    table.replace(entryOf('s1'))
    const before = table.partCount
    expect(table.replace(entryOf('s1', change as Partial<ApiKeyEntry>))).toBe(cause)
    expect(table.flags(find('s1'))).toBe(KEY_INVALID)
    expect(table.size).toBe(1)
    expect(table.partCount).toBeLessThan(before)
  })

  test('more kinds of ids than a row can number make the key invalid, not another one', () => {
    const entry = entryOf('s2')
    for (let i = 0; i < 0x10000; i++) table.replace({ ...entry, digest: randomBytes(32), id: `key_${i}` })
    expect(table.invalidCount).toBe(0)
    expect(table.replace(entryOf('s1', { id: 'one too many' }))).toBe('id')
    expect(table.flags(find('s1'))).toBe(KEY_INVALID)
  })

  test('a digest of another length changes nothing', () => {
    expect(() => table.replace({ ...entryOf('s1'), digest: new Uint8Array(31) })).toThrow(RangeError)
    expect(() => table.remove(new Uint8Array(33))).toThrow(RangeError)
    expect(table.size).toBe(0)
    expect(table.partCount).toBe(1)
  })

  test('the suspension of an organization is seen by all of its keys at once', () => {
    table.replace(entryOf('s1'))
    table.replace(entryOf('s2', { suspended: true }))
    table.setOrganization({ id: organization, profile: 'alpha', suspended: true, valid: true })
    expect(table.flags(find('s1'))).toBe(KEY_ORGANIZATION_SUSPENDED)
    expect(table.flags(find('s2'))).toBe(KEY_ORGANIZATION_SUSPENDED | KEY_SUSPENDED)
    table.setOrganization({ id: organization, profile: 'alpha', suspended: false, valid: true })
    expect(table.flags(find('s1'))).toBe(0)
  })

  test('a key whose organization is missing, unreadable or removed is invalid, and mended when it comes', () => {
    table.clear()
    table.replace(entryOf('s1'))
    expect(table.flags(find('s1'))).toBe(KEY_INVALID)
    table.setOrganization({ id: organization, profile: 'alpha', suspended: false, valid: true })
    expect(table.flags(find('s1'))).toBe(0)
    table.setOrganization({ id: organization, profile: '', suspended: false, valid: false })
    expect(table.flags(find('s1'))).toBe(KEY_INVALID)
    expect(table.flags(find('s1', beta))).toBe(KEY_INVALID)
    table.setOrganization({ id: organization, profile: 'alpha', suspended: false, valid: true })
    table.removeOrganization(organization)
    expect(table.flags(find('s1'))).toBe(KEY_INVALID)
    table.setOrganization({ id: organization, profile: 'beta', suspended: false, valid: true })
    expect(find('s1')).toBe(MISS)
    expect(table.flags(find('s1', beta))).toBe(0)
  })

  test('a slot that does not exist is invalid and has no stamp', () => {
    expect(table.flags(0)).toBe(KEY_INVALID)
    expect(table.flags(-1)).toBe(KEY_INVALID)
    expect(table.stamp(0)).toBe(0)
    expect(table.stamp(-1)).toBe(0)
  })
})

describe('stamps', () => {
  test('every write to a slot, and every move into it, changes its stamp', () => {
    const [first, last] = [entryOf('s1'), entryOf('s2')]
    table.replace(first)
    table.replace(last)
    const slot = find('s1')
    const stamps = new Set([table.stamp(slot)])
    table.replace(first)
    stamps.add(table.stamp(slot))
    table.replace({ kind: 'invalid', digest: first.digest, cause: 'x' })
    stamps.add(table.stamp(slot))
    table.remove(first.digest)
    expect(find('s2')).toBe(slot)
    stamps.add(table.stamp(slot))
    expect(stamps.size).toBe(4)
    expect(stamps.has(0)).toBe(false)
  })
})

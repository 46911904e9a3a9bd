// The key table at size: memory after churn and unknown secrets, octets a key.
import { describe, expect, test } from 'vitest'
import type { ApiKeyEntry } from '../../src/core/api-key-entry.ts'
import { MISS } from '../../src/core/key-lookup.ts'
import { createNames } from '../../src/core/names.ts'
import { KeyTable } from '../../src/keys/key-table.ts'
import { expectSame } from './expect-key.ts'
import { block, digestOf, entryOf, peppers, randomOf, scopes, secretOf, uuid } from './key-fixtures.ts'

describe('at size', () => {
  const names = createNames()
  const alpha = names.profiles.intern('alpha')
  const seed = Math.floor(Math.random() * 2 ** 32)

  /** Key `number` in its state `version`; its digest is real only for the secrets that are looked up. */
  function keyOf(number: number, version: number): ApiKeyEntry {
    const random = randomOf(number)
    const isProbe = number % 100 === 0
    const digest = isProbe ? digestOf(number, 0) : Buffer.alloc(32)
    if (!isProbe) for (let i = 0; i < 8; i++) digest.writeUInt32BE(random(), i * 4)
    const base = { organization: number % 300, pepper: 0, number, lineage: version % 2 === 0 ? number : number + 1 }
    const blocks = Array.from({ length: version % 4 }, (_, i) => block(4, 32, (number + version + i) & 255))
    const drawn = {
      ...base,
      environment: 'live',
      mode: 'LISTED' as const,
      scopes: scopes.slice(version % 4),
      allowlist: blocks,
    }
    const rest = {
      expireAt: null,
      graceEndAt: version % 3 === 0 ? 5 : null,
      revoked: false,
      deleted: false,
      suspended: false,
    }
    return {
      ...entryOf({ ...drawn, ...rest, limit: { limit: version % 50, windowMicros: 1_000_000 } } as never),
      digest,
    }
  }

  test(`20 000 keys and 50 000 changes later memory is what it was (seed ${seed})`, () => {
    const table = new KeyTable({ names, peppers: peppers.slice(0, 1) })
    const random = randomOf(seed)
    const versions = new Uint32Array(20_000)
    for (let i = 0; i < 300; i++)
      table.setOrganization({ id: `org_${uuid(i)}`, profile: 'alpha', suspended: false, valid: true })
    for (let number = 0; number < versions.length; number++) table.replace(keyOf(number, 0))
    const churn = (changes: number) => {
      for (let i = 0; i < changes; i++) {
        const number = random() % versions.length
        versions[number] = random() % 1000
        if (i % 5 === 0) table.remove(keyOf(number, 0).digest)
        table.replace(keyOf(number, versions[number] ?? 0))
      }
    }
    churn(25_000)
    const settled = table.bytes
    churn(25_000)
    expect(table.bytes).toBeLessThan(settled * 1.02)
    expect(table.size).toBe(versions.length)
    for (let number = 0; number < versions.length; number += 100) {
      const secret = secretOf(number)
      const slot = table.find(secret, 0, secret.length, alpha)
      expectSame(table, slot, keyOf(number, versions[number] ?? 0), names)
    }
    for (let number = 0; number < versions.length; number++) table.remove(keyOf(number, 0).digest)
    expect(table.size).toBe(0)
    expect(table.partCount).toBe(300)
  })

  test('unknown secrets leave memory as it was', () => {
    const table = new KeyTable({ names, peppers: peppers.slice(0, 2) })
    for (let number = 0; number < 1000; number++) table.replace(keyOf(number, 0))
    const before = table.bytes
    const secret = Buffer.from('unknown-00000000')
    for (let i = 0; i < 200_000; i++) {
      secret.writeUInt32LE(i, 8)
      if (table.find(secret, 0, secret.length, alpha) !== MISS) throw new Error(`found ${i}`)
    }
    expect(table.bytes).toBe(before)
  })

  test('a table of 200 000 keys takes at most 100 octets a key, and reserving spares growth, not room', () => {
    for (const [keys, reserve] of [
      [200_000, 0],
      [50_000, 50_000],
    ] as const) {
      const table = new KeyTable({ names, peppers: peppers.slice(0, 1) })
      table.reserve(reserve)
      for (let i = 0; i < 300; i++)
        table.setOrganization({ id: `org_${uuid(i)}`, profile: 'alpha', suspended: false, valid: true })
      const entry = keyOf(1, 0)
      const digest = Buffer.alloc(32)
      const random = randomOf(seed)
      for (let number = 0; number < keys; number++) {
        for (let i = 0; i < 8; i++) digest.writeUInt32BE(random(), i * 4)
        table.replace({ ...entry, digest, graceEndAt: null, lineage: entry.id })
      }
      expect(table.size).toBe(keys)
      expect(table.bytes / table.size).toBeLessThan(100)
    }
  })
})

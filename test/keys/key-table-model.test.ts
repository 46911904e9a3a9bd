// The key table against a plain map under random histories: replace, remove, organizations coming and going, growth, churn.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ApiKeyEntry, InvalidEntry, OrganizationEntry } from '../../src/core/api-key-entry.ts'
import type { Cidr } from '../../src/core/cidr.ts'
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
import { createNames } from '../../src/core/names.ts'
import { KeyTable } from '../../src/keys/key-table.ts'
import { expectSame } from './expect-key.ts'
import { block, digestOf, entryOf, peppers, profiles, scopes, secretOf, uuid } from './key-fixtures.ts'

/** The feed's rows in maps, and what a look-up must say of them, found by going through all of them. */
class Model {
  readonly rows = new Map<string, ApiKeyEntry | InvalidEntry>()
  readonly organizations = new Map<string, OrganizationEntry>()

  find(number: number, profile: string): ApiKeyEntry | InvalidEntry | typeof MISS | typeof UNKNOWABLE {
    for (const pepper of [0, 1]) {
      const row = this.rows.get(digestOf(number, pepper).toString('hex'))
      if (row === undefined) continue
      if (row.kind === 'invalid') return row
      const organization = this.organizations.get(row.organization)
      return organization?.valid === true && organization.profile !== profile ? MISS : row
    }
    const isUnknowable = [...this.rows.values()].some(
      row => row.kind === 'api_key' && row.pepperId === 'gone' && !row.deleted && !row.revoked,
    )
    return isUnknowable ? UNKNOWABLE : MISS
  }

  flags(row: ApiKeyEntry | InvalidEntry): number {
    if (row.kind === 'invalid') return KEY_INVALID
    const organization = this.organizations.get(row.organization)
    let flags = organization?.valid === true ? 0 : KEY_INVALID
    if (organization?.valid === true && organization.suspended) flags |= KEY_ORGANIZATION_SUSPENDED
    if (row.deleted) flags |= KEY_DELETED
    if (row.revoked) flags |= KEY_REVOKED
    if (row.suspended) flags |= KEY_SUSPENDED
    if (row.scopeMode === 'ALL') flags |= KEY_ALL_SCOPES
    return flags
  }
}

const cidrs: fc.Arbitrary<Cidr> = fc.oneof(
  fc
    .record({ prefix: fc.integer({ min: 0, max: 32 }), octet: fc.nat(255) })
    .map(({ prefix, octet }) => block(4, prefix, octet)),
  fc
    .record({ prefix: fc.integer({ min: 0, max: 128 }), octet: fc.nat(255) })
    .map(({ prefix, octet }) => block(6, prefix, octet)),
)

const entries = fc.record({
  number: fc.nat(30),
  pepper: fc.constantFrom(0, 0, 0, 1, 2),
  organization: fc.nat(4),
  environment: fc.constantFrom('live', 'test'),
  mode: fc.constantFrom('LISTED' as const, 'ALL' as const),
  scopes: fc.subarray(scopes),
  allowlist: fc.array(cidrs, { maxLength: 4 }),
  expireAt: fc.option(fc.maxSafeInteger()),
  graceEndAt: fc.option(fc.maxSafeInteger(), { freq: 2 }),
  revoked: fc.boolean(),
  deleted: fc.boolean(),
  suspended: fc.boolean(),
  limit: fc.option(
    fc.record({ limit: fc.nat(1_000_000), windowMicros: fc.integer({ min: 1, max: 2_678_400_000_000 }) }),
  ),
  lineage: fc.nat(30),
})

const commands = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('replace' as const), entry: entries }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('poison' as const), number: fc.nat(30), pepper: fc.nat(1) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('remove' as const), number: fc.nat(30), pepper: fc.nat(2) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('organization' as const),
      number: fc.nat(4),
      profile: fc.nat(1),
      suspended: fc.boolean(),
      valid: fc.constantFrom(true, true, true, false),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('forget' as const), number: fc.nat(4) }) },
)

type Command = typeof commands extends fc.Arbitrary<infer C> ? C : never

function apply(command: Command, table: KeyTable, model: Model): void {
  if (command.kind === 'replace') {
    const entry = entryOf(command.entry)
    expect(table.replace(entry)).toBeNull()
    model.rows.set(Buffer.from(entry.digest).toString('hex'), entry)
  } else if (command.kind === 'poison') {
    const digest = digestOf(command.number, command.pepper)
    table.replace({ kind: 'invalid', digest, cause: 'scopes' })
    model.rows.set(digest.toString('hex'), { kind: 'invalid', digest, cause: 'scopes' })
  } else if (command.kind === 'remove') {
    const digest = digestOf(command.number, command.pepper)
    table.remove(digest)
    model.rows.delete(digest.toString('hex'))
  } else if (command.kind === 'organization') {
    const id = `org_${uuid(command.number)}`
    const entry = { id, profile: profiles[command.profile] ?? '', suspended: command.suspended, valid: command.valid }
    table.setOrganization(entry)
    model.organizations.set(id, entry)
  } else {
    table.removeOrganization(`org_${uuid(command.number)}`)
    model.organizations.delete(`org_${uuid(command.number)}`)
  }
}

describe('under any history', () => {
  test('every secret answers as the rows say, under every profile', () => {
    fc.assert(
      fc.property(fc.array(commands, { maxLength: 60 }), history => {
        const names = createNames()
        const table = new KeyTable({ names, peppers: peppers.slice(0, 2) })
        const model = new Model()
        for (const command of history) apply(command, table, model)
        expect(table.size).toBe(model.rows.size)
        for (let number = 0; number <= 30; number++) {
          for (const profile of profiles) {
            const secret = secretOf(number)
            const slot = table.find(secret, 0, secret.length, names.profiles.intern(profile))
            const row = model.find(number, profile)
            if (typeof row === 'number') {
              expect(slot).toBe(row)
              continue
            }
            expect(table.flags(slot)).toBe(model.flags(row))
            if (row.kind === 'api_key') expectSame(table, slot, row, names)
          }
        }
      }),
      { numRuns: 300 },
    )
  })

  test('when everything is removed, nothing is left', () => {
    fc.assert(
      fc.property(fc.array(commands, { maxLength: 60 }), history => {
        const table = new KeyTable({ names: createNames(), peppers: peppers.slice(0, 2) })
        const model = new Model()
        for (const command of history) apply(command, table, model)
        for (const row of model.rows.values()) table.remove(row.digest)
        for (const id of model.organizations.keys()) table.removeOrganization(id)
        expect([table.size, table.partCount, table.invalidCount, table.missingPeppers()]).toEqual([0, 0, 0, 0])
      }),
      { numRuns: 300 },
    )
  })
})

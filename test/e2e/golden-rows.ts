// The fixtures of the golden cases as rows, written under the writer's rules: the feed record is the last statement.
import type pg from 'pg'
import { parseEntry } from '../../src/core/address.ts'
import { cidrText, encodeCidr } from '../../src/core/cidr.ts'
import { digestOf, fixtureId, organizationOf } from '../check/check-stand.ts'
import { goldenKey, goldenKeys, goldenSettings, type KeyFixture } from '../core/cases.ts'
import { transact } from '../support/rows.ts'

const columns = [
  ...['id', 'organization_id', 'digest', 'pepper_id', 'form', 'key_hint', 'display_name', 'environment', 'scope_mode'],
  ...[
    'scopes',
    'allowlist',
    'allowlist_binary',
    'expire_time',
    'lineage_id',
    'rotated_from',
    'rotated_to',
    'rotate_time',
  ],
  ...['grace_end_time', 'suspend_time', 'revoke_time', 'delete_time', 'creator'],
]

function valuesOf(fixture: KeyFixture): unknown[] {
  const blocks = fixture.allowlist.map(text => {
    const entry = parseEntry(text)
    if (entry === null) throw new Error(`no block: ${text}`)
    return entry.block
  })
  const idOf = (name: string | undefined) => (name === undefined ? null : fixtureId(goldenKey(name)))
  const before = (flag: boolean | undefined) => (flag === true ? '2026-02-01T00:00:00Z' : null)
  return [
    ...[fixtureId(fixture), organizationOf(fixture), digestOf(fixture.secret), goldenSettings.pepper.id],
    ...[fixture.issued === true ? 1 : 2, `…${fixture.secret.slice(-4)}`, fixture.name, fixture.environment],
    ...[fixture.scopeMode === 'ALL' ? 2 : 1, fixture.scopes],
    ...[
      JSON.stringify(blocks.map(block => ({ cidr: cidrText(block), label: '' }))),
      Buffer.concat(blocks.map(encodeCidr)),
    ],
    ...[fixture.expireAt ?? null, idOf(fixture.rotatedFrom) ?? fixtureId(fixture), idOf(fixture.rotatedFrom)],
    ...[idOf(fixture.successor), fixture.rotatedAt ?? null, fixture.graceEndAt ?? null],
    ...[before(fixture.suspended), fixture.revokedAt ?? null, before(fixture.deleted), 'test'],
  ]
}

/** Writes all fixtures and their organizations in one transaction. */
export async function insertGoldenRows(client: pg.ClientBase): Promise<void> {
  await transact(client, async () => {
    const organizations = new Map(goldenKeys.map(key => [organizationOf(key), key.profile]))
    for (const [id, profile] of organizations) {
      await client.query('INSERT INTO organizations (id, display_name, profile) VALUES ($1, $2, $2)', [id, profile])
    }
    const places = columns.map((_, index) => `$${index + 1}`).join(', ')
    for (const fixture of goldenKeys) {
      await client.query(`INSERT INTO api_keys (${columns.join(', ')}) VALUES (${places})`, valuesOf(fixture))
    }
    const kinds = [...goldenKeys.map(() => 1), ...[...organizations].map(() => 2)]
    const digests = [...goldenKeys.map(key => digestOf(key.secret)), ...[...organizations].map(() => null)]
    const names = [...goldenKeys.map(() => null), ...organizations.keys()]
    await client.query('SELECT gw_record($1, $2, $3)', [kinds, digests, names])
  })
}

// Every role × statement: what a process may do to the database is what its role needs, and nothing else.
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DatabaseRole, sessionConfig } from '../../src/store/connection.ts'
import { insertApiKey, insertOrganization, record, transact } from '../support/rows.ts'
import { useTestDatabase } from '../support/test-database.ts'

const database = useTestDatabase()
const own = '00000000-0000-4000-8000-000000000001'
const foreign = '00000000-0000-4000-8000-000000000002'
const roles: readonly DatabaseRole[] = ['gw_admin', 'gw_sidecar', 'gw_usage']
const clients = new Map<DatabaseRole, pg.Client>()

/** Every table and what each role may do to it: S select, I insert, U update, D delete. */
const rights: Readonly<Record<string, Readonly<Record<DatabaseRole, string>>>> = {
  feed_head: { gw_admin: 'SU', gw_sidecar: 'S', gw_usage: '' },
  feed_revision: { gw_admin: 'SID', gw_sidecar: 'S', gw_usage: '' },
  changes: { gw_admin: 'SID', gw_sidecar: 'S', gw_usage: '' },
  sidecars: { gw_admin: 'SD', gw_sidecar: 'SIUD', gw_usage: '' },
  organizations: { gw_admin: 'SIU', gw_sidecar: 'S', gw_usage: '' },
  api_keys: { gw_admin: 'SIUD', gw_sidecar: 'S', gw_usage: '' },
  digest_tombstones: { gw_admin: 'SI', gw_sidecar: '', gw_usage: '' },
  audit_events: { gw_admin: 'SI', gw_sidecar: '', gw_usage: '' },
  idempotency: { gw_admin: 'SIUD', gw_sidecar: '', gw_usage: '' },
  admin_keys: { gw_admin: 'SIU', gw_sidecar: '', gw_usage: '' },
  admin_principals: { gw_admin: 'SIUD', gw_sidecar: '', gw_usage: '' },
  bootstrap_tokens: { gw_admin: 'SIUD', gw_sidecar: '', gw_usage: '' },
  usage_log: { gw_admin: 'S', gw_sidecar: 'I', gw_usage: 'SD' },
  usage_log_other: { gw_admin: '', gw_sidecar: '', gw_usage: '' },
  usage_rollup: { gw_admin: '', gw_sidecar: '', gw_usage: 'SD' },
  usage_rollup_delta: { gw_admin: '', gw_sidecar: '', gw_usage: 'S' },
  usage_position: { gw_admin: '', gw_sidecar: 'SIUD', gw_usage: 'SD' },
  usage_loss: { gw_admin: '', gw_sidecar: 'I', gw_usage: 'SD' },
  pepper_proofs: { gw_admin: 'SI', gw_sidecar: 'S', gw_usage: '' },
  schema_migrations: { gw_admin: 'S', gw_sidecar: 'S', gw_usage: 'S' },
}

const statements: Readonly<Record<string, (table: string, column: string) => string>> = {
  S: table => `SELECT * FROM ${table} LIMIT 0`,
  I: table => `INSERT INTO ${table} SELECT * FROM jsonb_populate_recordset(NULL::${table}, '[]')`,
  U: (table, column) => `UPDATE ${table} SET ${column} = ${column} WHERE false`,
  D: table => `DELETE FROM ${table} WHERE false`,
  T: table => `TRUNCATE ${table}`,
}

beforeAll(async () => {
  for (const role of roles) {
    const session = { role, applicationName: 'test', settings: { 'gatewarden.sidecar': own } }
    const client = new pg.Client(sessionConfig(database().database.servers[0], session))
    await client.connect()
    clients.set(role, client)
  }
  const superuser = database().client()
  await superuser.connect()
  await transact(superuser, async () => {
    await insertOrganization(superuser, 'org_1')
    await insertApiKey(superuser, 'org_1', 'one')
    await record(superuser, { apiKeys: ['one'], organizations: ['org_1'] })
  })
  await superuser.query(beat(foreign, "clock_timestamp() - interval '2 days'"))
  await superuser.end()
})
afterAll(async () => {
  for (const client of clients.values()) await client.end()
})

function as(role: DatabaseRole): pg.Client {
  const client = clients.get(role)
  if (client === undefined) throw new Error(`no connection as ${role}`)
  return client
}

function beat(id: string, seen = 'clock_timestamp()'): string {
  return `INSERT INTO sidecars VALUES ('${id}', 0, 0, 7000, 0, 0, '{}', '{}', 'v', clock_timestamp(), ${seen})`
}

describe('rights on tables', () => {
  it('are stated here for every table of the schema', async () => {
    const found = await as('gw_admin').query<{ tablename: string }>(
      "SELECT tablename FROM pg_tables WHERE schemaname = 'gatewarden'",
    )
    expect(found.rows.map(row => row.tablename).sort()).toEqual(Object.keys(rights).sort())
  })

  const cells = Object.entries(rights).flatMap(([table, byRole]) =>
    roles.flatMap(role =>
      Object.keys(statements).map(verb => ({ table, role, verb, allowed: byRole[role].includes(verb) })),
    ),
  )

  it.each(cells)('$role $verb $table: $allowed', async ({ table, role, verb, allowed }) => {
    const columns = await as('gw_admin').query<{ attname: string }>(
      'SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum = 1',
      [`gatewarden.${table}`],
    )
    const statement = statements[verb]?.(table, columns.rows[0]?.attname ?? '') ?? ''
    const outcome = as(role).query(statement)
    if (allowed) await outcome
    else await expect(outcome).rejects.toMatchObject({ code: '42501' })
  })
})

describe('beyond tables', () => {
  it('only admin can record a revision', async () => {
    const call = "SELECT gw_record('{1}', ARRAY[sha256('one')], '{NULL}')"
    for (const role of ['gw_sidecar', 'gw_usage'] as const)
      await expect(as(role).query(call)).rejects.toMatchObject({ code: '42501' })
    await as('gw_admin').query(call)
  })

  it.each(roles)('%s can make nothing in the schema and no role of more rights', async role => {
    await expect(as(role).query('CREATE TABLE gatewarden.mine (a int)')).rejects.toMatchObject({ code: '42501' })
    await expect(as(role).query('ALTER TABLE gatewarden.api_keys DISABLE TRIGGER ALL')).rejects.toMatchObject({
      code: '42501',
    })
    await expect(as(role).query('CREATE ROLE mine')).rejects.toMatchObject({ code: '42501' })
  })

  it('a sidecar writes its own heartbeat and no other', async () => {
    const sidecar = as('gw_sidecar')
    await sidecar.query(beat(own))
    await expect(sidecar.query(beat('00000000-0000-4000-8000-000000000003'))).rejects.toMatchObject({ code: '42501' })
    expect((await sidecar.query('UPDATE sidecars SET applied_revision = 9')).rowCount).toBe(1)
    expect((await sidecar.query('SELECT FROM sidecars')).rowCount).toBe(2)
    expect((await sidecar.query('DELETE FROM sidecars')).rowCount).toBe(1)
  })

  it('admin removes only heartbeats of sidecars that are long gone', async () => {
    await as('gw_sidecar').query(beat(own))
    expect((await as('gw_admin').query('DELETE FROM sidecars')).rowCount).toBe(1)
    const left = await as('gw_admin').query<{ id: string }>('SELECT id FROM sidecars')
    expect(left.rows).toEqual([{ id: own }])
  })

  it('a session starts in its role, with a pinned search_path and UTC', async () => {
    const found = await as('gw_sidecar').query(
      "SELECT current_user::text AS role, current_setting('search_path') AS path, current_setting('timezone') AS zone",
    )
    expect(found.rows).toEqual([{ role: 'gw_sidecar', path: 'gatewarden,pg_temp', zone: 'UTC' }])
    await as('gw_sidecar').query('RESET ROLE')
    expect((await as('gw_sidecar').query('SELECT current_user::text AS role')).rows).toEqual([{ role: 'gw_sidecar' }])
  })
})

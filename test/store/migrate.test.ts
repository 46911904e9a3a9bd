// The runner applies each migration once, in one transaction, and refuses what it does not understand.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type pg from 'pg'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { type Migration, migrate, requireSchema, shippedMigrations } from '../../src/store/migrate.ts'
import { packageRoot } from '../../src/store/package-root.ts'
import { StoreSetupError } from '../../src/store/store-error.ts'
import type { TestDatabase } from '../support/postgres.ts'
import { startTestCluster } from '../support/postgres.ts'

const cluster = await startTestCluster()
let db: TestDatabase
let config: pg.ClientConfig

beforeEach(async () => {
  await db?.drop()
  db = await cluster.createDatabase('empty')
  config = db.database.servers[0]
})
afterAll(() => cluster.stop())

function further(version: number, sql = `CREATE TABLE gatewarden.t${version} (a int)`): Migration {
  return { version, name: `000${version}_test`, sql, checksum: Buffer.from(`${version}`) }
}

async function tables(): Promise<readonly string[]> {
  const client = db.client()
  await client.connect()
  const found = await client.query<{ relname: string }>(
    "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('gatewarden') AND relkind = 'r' ORDER BY 1",
  )
  await client.end()
  return found.rows.map(row => row.relname)
}

describe('migrate', () => {
  const shipped = shippedMigrations()
  const names = shipped.map(migration => migration.name)

  it('makes the schema on a fresh database and nothing on the second call', async () => {
    expect(await migrate(config)).toEqual(names)
    expect(await tables()).toContain('feed_revision')
    expect(await migrate(config)).toEqual([])
  })

  it('applies each migration once when several processes start at the same time', async () => {
    const applied = await Promise.all([1, 2, 3, 4].map(() => migrate(config)))
    expect(applied.flat()).toEqual(names)
  })

  it('applies what is missing in order', async () => {
    await migrate(config)
    expect(await migrate(config, [...shipped, further(shipped.length + 1)])).toEqual([further(shipped.length + 1).name])
    expect(await tables()).toContain(`t${shipped.length + 1}`)
  })

  it('leaves nothing of a migration that fails, nor of those before it in the same call', async () => {
    const bad = [
      ...shipped,
      further(shipped.length + 1),
      further(shipped.length + 2, 'CREATE TABLE gatewarden.half (a int); SELECT 1/0'),
    ]
    await expect(migrate(config, bad)).rejects.toThrow('division by zero')
    expect(await tables()).toEqual([])
  })

  it('refuses a database whose applied migration was edited since', async () => {
    await migrate(config)
    const edited = shipped.map(migration => ({ ...migration, checksum: Buffer.from('other') }))
    await expect(migrate(config, edited)).rejects.toThrow(StoreSetupError)
    await expect(migrate(config, edited)).rejects.toThrow(/0001_initial differs .* restore the file/)
  })

  it('accepts a database one version newer than the build and refuses one two versions newer', async () => {
    const next = further(shipped.length + 1)
    await migrate(config, [...shipped, next])
    expect(await migrate(config, shipped)).toEqual([])
    await migrate(config, [...shipped, next, further(shipped.length + 2)])
    await expect(migrate(config, shipped)).rejects.toThrow(StoreSetupError)
    await expect(migrate(config, shipped)).rejects.toThrow(/run a newer gatewarden/)
  })

  it('lets a login without superuser rights migrate and take the roles, if it may create roles', async () => {
    const client = db.client()
    await client.connect()
    await client.query('DROP ROLE IF EXISTS app_login')
    await client.query('CREATE ROLE app_login LOGIN CREATEROLE')
    await client.query(`GRANT CREATE ON DATABASE ${db.name} TO app_login`)
    // The roles of this cluster were made by the superuser: their administrator grants them, as the documentation says.
    await client.query('GRANT gw_owner, gw_admin, gw_sidecar, gw_usage TO app_login')
    await migrate({ ...config, user: 'app_login' })
    const login = new (client.constructor as new (c: pg.ClientConfig) => pg.Client)({
      ...config,
      user: 'app_login',
      options: '-c role=gw_admin',
    })
    await login.connect()
    expect((await login.query('SELECT count(*)::int AS n FROM gatewarden.api_keys')).rows).toEqual([{ n: 0 }])
    await login.end()
    await client.query('DROP OWNED BY app_login')
    await client.query('DROP ROLE app_login')
    await client.end()
  })

  it('says which rights are missing to a login that has none', async () => {
    const client = db.client()
    await client.connect()
    await client.query('DROP ROLE IF EXISTS poor_login')
    await client.query('CREATE ROLE poor_login LOGIN')
    await expect(migrate({ ...config, user: 'poor_login' })).rejects.toThrow(/give it CREATEROLE/)
    await client.query('DROP ROLE poor_login')
    await client.end()
  })
})

describe('requireSchema', () => {
  const shipped = shippedMigrations()

  async function required(migrations: readonly Migration[]): Promise<void> {
    const client = db.client()
    await client.connect()
    try {
      await requireSchema(client, migrations)
    } finally {
      await client.end()
    }
  }

  it('names the command when there is no schema', async () => {
    await expect(required(shipped)).rejects.toThrow(/no gatewarden schema.*gatewarden migrate/)
  })

  it('accepts one version less, the same and one more, and nothing beyond', async () => {
    await migrate(config, [...shipped, further(shipped.length + 1)])
    const build = (versions: number) =>
      Array.from({ length: versions }, (_, index) => shipped[index] ?? further(index + 1))
    await required(build(shipped.length))
    await required(build(shipped.length + 1))
    await required(build(shipped.length + 2))
    await expect(required(build(shipped.length + 3))).rejects.toThrow(/gatewarden migrate/)
  })
})

describe('shippedMigrations', () => {
  it('finds them from the package root and gives the same checksum for either line end', () => {
    const [first] = shippedMigrations()
    const folder = mkdtempSync(join(tmpdir(), 'gw-migrations-'))
    writeFileSync(join(folder, '0001_initial.sql'), first?.sql.replaceAll('\n', '\r\n') ?? '')
    expect(shippedMigrations(folder)).toEqual([first])
    writeFileSync(join(folder, '0003_gap.sql'), '')
    expect(() => shippedMigrations(folder)).toThrow(/out of sequence/)
    rmSync(folder, { recursive: true })
  })

  it('lists them in package.json, so that an installed package has them', async () => {
    const { default: manifest } = await import(join(packageRoot(), 'package.json'), { with: { type: 'json' } })
    expect(manifest.files).toContain('src/store/migrations')
  })
})

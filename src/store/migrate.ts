// Brings the database's schema to what this build knows: numbered SQL files, applied once, in order, all in one transaction
// under an advisory lock, so that several processes may start at once. It never edits, never goes back, and refuses what it
// does not understand: an applied file that was changed, a schema more than one version newer than this build.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { explainLogin } from './connect-failure.ts'
import { packageRoot } from './package-root.ts'
import { StoreSetupError, sqlState } from './store-error.ts'

export interface Migration {
  readonly version: number
  /** File name without `.sql`, e.g. `0001_initial`. */
  readonly name: string
  readonly sql: string
  /** SHA-256 of the text with LF line ends. */
  readonly checksum: Buffer
}

interface AppliedMigration {
  readonly version: number
  readonly name: string
  readonly checksum: Buffer
}

/** A schema this many versions newer than the build is accepted: migrations are additive, and a rollout has both. */
const newerVersionsMax = 1
/** Any number; the same for everybody who migrates a database. */
const migrationLock = 7_305_814_226
const migrationFile = /^(\d{4})_[a-z0-9_]+\.sql$/

/** The shipped migrations in order. @throws Error when the numbers have a gap: a defect of the build. */
export function shippedMigrations(folder = join(packageRoot(), 'src/store/migrations')): readonly Migration[] {
  const files = readdirSync(folder)
    .filter(file => migrationFile.test(file))
    .sort()
  return files.map((file, index) => {
    const sql = readFileSync(join(folder, file), 'utf8').replaceAll('\r\n', '\n')
    const version = Number(file.slice(0, 4))
    if (version !== index + 1) throw new Error(`migration ${file} is out of sequence`)
    return { version, name: file.slice(0, -4), sql, checksum: createHash('sha256').update(sql).digest() }
  })
}

/**
 * Applies what is missing.
 * @returns names of the migrations that this call applied; empty when the schema was up to date.
 * @throws StoreSetupError in one sentence when the schema is not one that this build may touch, or rights are missing.
 */
export async function migrate(config: pg.ClientConfig, migrations = shippedMigrations()): Promise<readonly string[]> {
  const client = new pg.Client({ ...config, application_name: 'gatewarden migrate' })
  client.on('error', () => undefined) // a lost connection also rejects the query under way, which is where it is told
  try {
    await client.connect()
    await client.query('BEGIN')
    await client.query('SELECT pg_advisory_xact_lock($1)', [migrationLock])
    const applied = await appliedMigrations(client)
    refuseForeign(applied, migrations)
    const missing = migrations.slice(applied.length)
    for (const migration of missing) await apply(client, migration)
    await client.query('COMMIT')
    return missing.map(migration => migration.name)
  } catch (error) {
    throw explained(error)
  } finally {
    await client.end() // ends an open transaction as well
  }
}

/**
 * Whether a process of this build may work on the schema that is there: version n works on n − 1, n and n + 1.
 * @throws StoreSetupError when it may not.
 */
export async function requireSchema(client: pg.ClientBase, migrations = shippedMigrations()): Promise<void> {
  const applied = await appliedMigrations(client)
  refuseForeign(applied, migrations)
  if (applied.length > 0 && applied.length >= migrations.length - newerVersionsMax) return
  const found = applied.length === 0 ? 'no gatewarden schema' : `schema version ${applied.length}`
  throw new StoreSetupError(
    `The database has ${found}, this build needs ${migrations.length}: run "gatewarden migrate".`,
  )
}

async function appliedMigrations(client: pg.ClientBase): Promise<readonly AppliedMigration[]> {
  const table = await client.query(
    `SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'gatewarden' AND c.relname = 'schema_migrations'`,
  )
  if (table.rowCount === 0) return []
  const applied = await client.query<AppliedMigration>(
    'SELECT version, name, checksum FROM gatewarden.schema_migrations ORDER BY version',
  )
  return applied.rows
}

function refuseForeign(applied: readonly AppliedMigration[], migrations: readonly Migration[]): void {
  if (applied.length > migrations.length + newerVersionsMax) {
    throw new StoreSetupError(
      `The database has schema version ${applied.length}, this build knows ${migrations.length} and works up to ` +
        `${migrations.length + newerVersionsMax}: run a newer gatewarden.`,
    )
  }
  for (const [index, row] of applied.entries()) {
    const known = migrations[index]
    if (known !== undefined && (row.version !== known.version || !known.checksum.equals(row.checksum))) {
      throw new StoreSetupError(
        `Migration ${known.name} differs from the one this database was made with (${row.name}): ` +
          'run the build that made it, or restore the file.',
      )
    }
  }
}

async function apply(client: pg.ClientBase, migration: Migration): Promise<void> {
  await client.query(migration.sql)
  await client.query('SET LOCAL ROLE gw_owner')
  await client.query('INSERT INTO gatewarden.schema_migrations (version, name, checksum) VALUES ($1, $2, $3)', [
    migration.version,
    migration.name,
    migration.checksum,
  ])
  await client.query('RESET ROLE')
}

function explained(error: unknown): unknown {
  if (sqlState(error) !== '42501') return explainLogin(error) // insufficient_privilege
  return new StoreSetupError(
    'The login of DATABASE_URL may not create the roles gw_owner, gw_admin, gw_sidecar and gw_usage or the schema: give it ' +
      'CREATEROLE and CREATE on the database, or let a superuser run "gatewarden migrate".',
    { cause: error },
  )
}

// Real PostgreSQL for tests: one embedded cluster for the calling process (fsync off), a database of its own for each suite,
// made from a template that holds the migrated schema. The cluster is copied from one prepared once per machine and schema.
import { execFile } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statfsSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { columnTypes } from '../../src/store/column-values.ts'
import type { Database } from '../../src/store/connection.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/store/embedded-postgres.ts'
import { migrate, shippedMigrations } from '../../src/store/migrate.ts'

export interface TestDatabase {
  readonly name: string
  /** For what the program opens itself; sessions take their role. */
  readonly database: Database
  /** A superuser's client with the program's search_path and value types; not connected yet. */
  client(): pg.Client
  drop(): Promise<void>
}

export interface TestCluster {
  readonly server: pg.ClientConfig
  /** A database with the shipped schema, or an empty one. */
  createDatabase(kind?: 'migrated' | 'empty'): Promise<TestDatabase>
  /** Stops the server and removes its files. */
  stop(): Promise<void>
}

/** What the clusters of a test run may grow to. */
const roomNeededBytes = 2 * 2 ** 30

/** Memory where there is enough of it: a cluster is a thousand files, which a busy disk takes a second to copy. */
export function fastFolder(): string {
  const memory = '/dev/shm'
  if (!existsSync(memory)) return tmpdir()
  const { bavail, bsize } = statfsSync(memory)
  return bavail * bsize > roomNeededBytes ? memory : tmpdir()
}

const templateName = 'base'
const clusterPrefix = 'gw-cluster-'
const preparedPrefix = 'gw-prepared-'
const preparedLifeMs = 86_400_000

/** Starts a cluster of its own for this process. */
export async function startTestCluster(): Promise<TestCluster> {
  removeOrphans()
  const folder = await preparedDataDir()
  const embedded = await startEmbeddedPostgres({ dataDir: folder, exclusive: true, fsync: false })
  const server = embedded.database.servers[0]
  return {
    server,
    createDatabase: (kind = 'migrated') => createDatabase(server, kind === 'migrated' ? templateName : 'template1'),
    async stop() {
      await embedded.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A data directory of its own with a stopped cluster in it, so that a test need not wait for initdb. The caller removes it. */
export async function preparedDataDir(): Promise<string> {
  const prepared = await preparedCluster()
  const folder = mkdtempSync(join(fastFolder(), `${clusterPrefix}${process.pid}-`))
  await promisify(execFile)('cp', ['-a', `${prepared}/.`, folder])
  return folder
}

async function createDatabase(server: pg.ClientConfig, template: string): Promise<TestDatabase> {
  const name = `w_${randomUUID().replaceAll('-', '')}`
  await execute(server, `CREATE DATABASE ${name} TEMPLATE ${template}`)
  const own = { ...server, database: name }
  return {
    name,
    database: { servers: [own] },
    client: () =>
      new pg.Client({ ...own, types: columnTypes, options: '-c search_path=gatewarden,pg_temp -c timezone=UTC' }),
    drop: () => execute(server, `DROP DATABASE ${name} WITH (FORCE)`),
  }
}

async function execute(config: pg.ClientConfig, statement: string): Promise<void> {
  const client = new pg.Client(config)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

/** The folder of a stopped cluster with the template database; made by whoever comes first. */
async function preparedCluster(): Promise<string> {
  const hash = createHash('sha256')
  for (const migration of shippedMigrations()) hash.update(migration.checksum)
  const version = `${process.version}-${process.getuid?.() ?? 0}-${hash.digest('hex').slice(0, 16)}`
  const folder = join(fastFolder(), `${preparedPrefix}${version}`)
  if (!existsSync(folder)) {
    removeOldPrepared()
    const draft = mkdtempSync(join(fastFolder(), 'gw-preparing-'))
    const embedded = await startEmbeddedPostgres({ dataDir: draft, exclusive: true, fsync: false })
    await prepare(embedded)
    try {
      renameSync(draft, folder)
    } catch (error) {
      rmSync(draft, { recursive: true, force: true })
      if (!existsSync(folder)) throw error // else another process was first
    }
  }
  if (statSync(folder).uid !== process.getuid?.()) throw new Error(`${folder} belongs to somebody else: remove it`)
  return folder
}

/** Prepared clusters of schemas that nobody has tested for a day. */
function removeOldPrepared(): void {
  for (const name of readdirSync(fastFolder()).filter(entry => entry.startsWith(preparedPrefix))) {
    const folder = join(fastFolder(), name)
    const { uid, mtimeMs } = statSync(folder)
    if (uid === process.getuid?.() && Date.now() - mtimeMs > preparedLifeMs)
      rmSync(folder, { recursive: true, force: true })
  }
}

async function prepare(embedded: EmbeddedPostgres): Promise<void> {
  const server = embedded.database.servers[0]
  await execute(server, `CREATE DATABASE ${templateName}`)
  await migrate({ ...server, database: templateName })
  await embedded.stop()
}

/** Clusters of test processes that were killed: their server is stopped by the pid in its own folder. */
function removeOrphans(): void {
  for (const name of readdirSync(fastFolder())) {
    const owner = new RegExp(`^${clusterPrefix}(\\d+)-`).exec(name)?.[1]
    if (owner === undefined || isAlive(Number(owner))) continue
    const folder = join(fastFolder(), name)
    const lockFile = join(folder, 'postgres/data/postmaster.pid')
    try {
      const [pid, cluster] = existsSync(lockFile) ? readFileSync(lockFile, 'utf8').split('\n') : []
      if (cluster?.startsWith(folder) === true && isPostgresOf(Number(pid), folder))
        process.kill(Number(pid), 'SIGQUIT')
      rmSync(folder, { recursive: true, force: true })
    } catch {
      // another test process is removing it as well, or it belongs to another user
    }
  }
}

/** A pid may have been given again: only a process whose command line names the folder is the server. */
function isPostgresOf(pid: number, folder: string): boolean {
  const commandLine = `/proc/${pid}/cmdline`
  return existsSync(commandLine) && readFileSync(commandLine, 'utf8').includes(folder)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

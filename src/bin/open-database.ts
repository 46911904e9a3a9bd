// The database of a process: the one of DATABASE_URL, or the embedded one in the data directory.

import pg from 'pg'
import type { Config } from '../config/config.ts'
import type { Log } from '../observe/log.ts'
import { explainLogin } from '../store/connect-failure.ts'
import { type Database, databaseFromUrl } from '../store/connection.ts'
import { startEmbeddedPostgres } from '../store/embedded-postgres.ts'
import { migrate, requireSchema } from '../store/migrate.ts'
import { StoreSetupError, sqlState } from '../store/store-error.ts'

export interface OpenedDatabase {
  readonly database: Database
  /** Stops an embedded server that this process owns. */
  close(): Promise<void>
}

export interface DatabaseUse {
  /** Own the embedded database until the end; false: visit it beside an owner or alone. */
  readonly exclusive: boolean
  readonly log: Log
  /** The embedded database is lost for good. */
  readonly onFailure: (error: unknown) => void
}

/** Opens what the settings name. @throws StoreSetupError */
export async function openDatabase(
  config: Config,
  { exclusive, log, onFailure }: DatabaseUse,
): Promise<OpenedDatabase> {
  if (config.database.url !== null)
    return { database: databaseFromUrl(config.database.url), close: async () => undefined }
  const embedded = await startEmbeddedPostgres({
    dataDir: config.dataDir,
    exclusive,
    onRestart: restarts => log.error('the embedded database died and was started again', { restarts }),
    onFailure,
  })
  return { database: embedded.database, close: () => embedded.stop() }
}

/** Pause between attempts to reach a database that is not there yet. */
const retryMs = 1000

/**
 * Migrates, waiting for a database that does not answer yet: at most `waitMs`, or as long as it takes.
 * @returns names of the migrations applied
 */
export async function migrateWhenReachable(
  { servers }: Database,
  log: Log,
  waitMs = Number.POSITIVE_INFINITY,
): Promise<readonly string[]> {
  const started = performance.now()
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await migrate(servers[0])
    } catch (error) {
      if (error instanceof StoreSetupError || !isUnreachable(error)) throw error
      if (performance.now() - started >= waitMs) throw unreachable(error)
      if (attempt === 1) log.warn('the database does not answer; waiting for it', { error })
      await new Promise(resolve => setTimeout(resolve, retryMs))
    }
  }
}

/**
 * Refuses a schema that this build must not touch, as far as the database answers now. A schema that is missing or old is
 * no reason to end: somebody may be about to migrate. @throws StoreSetupError
 */
export async function refuseNewerSchema({ servers }: Database, log: Log): Promise<void> {
  try {
    await readSchema(servers[0])
  } catch (error) {
    if (error instanceof StoreSetupError && /run a newer gatewarden|differs from the one/.test(error.message))
      throw error
    log.warn('the database is not ready yet', { error })
  }
}

/** Makes sure that a command finds what it needs. @throws StoreSetupError for no answer, and for a schema that is not there */
export async function requireReady({ servers }: Database): Promise<void> {
  try {
    await readSchema(servers[0])
  } catch (error) {
    throw isUnreachable(error) ? unreachable(error) : error
  }
}

/** @throws StoreSetupError for a schema that this build cannot work on, and what the driver throws */
async function readSchema(server: Database['servers'][0]): Promise<void> {
  const client = new pg.Client({ ...server, application_name: 'gatewarden start' })
  client.on('error', () => undefined) // the query under way rejects as well
  try {
    await client.connect()
    await requireSchema(client)
  } catch (error) {
    throw sqlState(error) === '42501' ? withoutRole(error) : explainLogin(error)
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** The sentence for a login that was given no role. */
function withoutRole(cause: unknown): StoreSetupError {
  const text =
    'The login of DATABASE_URL has no role of the schema: let its administrator run ' +
    '"GRANT gw_sidecar TO …" for check, "GRANT gw_admin, gw_usage TO …" for admin and bootstrap.'
  return new StoreSetupError(text, { cause })
}

/** The sentence for a database that does not answer. */
function unreachable(cause: unknown): StoreSetupError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  const text = `The database does not answer (${reason}): start it, or mend DATABASE_URL.`
  return new StoreSetupError(text, { cause })
}

/** Errors of the network, of a server that is starting, and of a name that does not resolve yet. */
function isUnreachable(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const text = error instanceof Error ? error.message : ''
  return (
    /^(ECONN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|EPIPE|ENOENT|57P0|08)/.test(code) ||
    /timeout|terminated/i.test(text)
  )
}

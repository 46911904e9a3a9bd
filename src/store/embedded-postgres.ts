// The database of a `gatewarden` without DATABASE_URL: a real PostgreSQL on a unix socket inside the data directory.
// One process owns a data directory: the one that holds an advisory lock in its database, which ends with that process
// however it ends. A server that survived its owner is attached to. The owner restarts a server that died.
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import type { Database } from './connection.ts'
import { explainFailure } from './embedded-failure.ts'
import { openServer, prepareServer, type RunningServer, socketConfig, stopServer } from './embedded-server.ts'
import { StoreSetupError } from './store-error.ts'

export interface EmbeddedOptions {
  readonly dataDir: string
  /** Off in tests alone: a crash of the machine then loses data. */
  readonly fsync?: boolean
  /**
   * True: own the data directory, or fail if another process does; restart the server when it dies. False: a short visit
   * (migrate, bootstrap), beside an owner or alone.
   */
  readonly exclusive: boolean
  /** The server died and runs again. */
  readonly onRestart?: (restartsInWindow: number) => void
  /** The server died too often, or does not come back: the process should end with this sentence. */
  readonly onFailure?: (error: StoreSetupError) => void
}

export interface EmbeddedPostgres {
  /** Connects as superuser over the socket; sessions take their role (connection.ts). */
  readonly database: Database
  /** Stops the server, unless another process uses it. Idempotent. */
  stop(): Promise<void>
}

const ownerLock = 1_935_827_142
/** The lock of an owner that was just killed is freed when its backend notices; that takes milliseconds. */
const claimWaitMs = 500
const claimPollMs = 20
/** A server that dies more often than this is broken: restarting it again would hide that. */
const restartPausesMs: readonly number[] = [100, 500, 2000]
const restartWindowMs = 5 * 60_000

/** Starts or attaches to the embedded database. @throws StoreSetupError, one sentence that names the mend. */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const fsync = options.fsync ?? true
  const server = await prepareServer(options.dataDir, fsync)
  const restarts: number[] = []
  let running: RunningServer | undefined
  let reviving: Promise<void> | undefined
  let stopping: Promise<void> | undefined

  async function open(): Promise<void> {
    const opened = await openServer(server, fsync)
    if (options.exclusive) await claim(opened.client, options.dataDir)
    running = opened
    opened.client.once('end', () => {
      running = undefined
      if (options.exclusive && stopping === undefined) reviving = revive()
    })
  }

  async function revive(): Promise<void> {
    try {
      const now = Date.now()
      restarts.splice(0, restarts.length, ...restarts.filter(at => now - at < restartWindowMs), now)
      const pauseMs = restartPausesMs[restarts.length - 1]
      if (pauseMs === undefined) throw new Error(`error: it died ${restarts.length} times within 5 minutes`)
      await sleep(pauseMs)
      if (stopping !== undefined) return
      await open()
      options.onRestart?.(restarts.length)
    } catch (error) {
      options.onFailure?.(explainFailure(server.folder, error))
    }
  }

  async function stop(): Promise<void> {
    await reviving
    const last = running
    if (last === undefined) return // it died; nothing runs
    // A visitor stops only what it started, and only if nobody owns it meanwhile.
    const mine = options.exclusive || (last.child !== undefined && (await tryLock(last.client)))
    if (mine) await stopServer(server, last.child)
    await last.client.end()
  }

  await open()
  return {
    database: { servers: [socketConfig(server.folder)] },
    stop() {
      stopping ??= stop()
      return stopping
    },
  }
}

/** Takes the owner's lock. @throws StoreSetupError when another process has it. */
async function claim(client: pg.Client, dataDir: string): Promise<void> {
  const deadline = Date.now() + claimWaitMs
  while (!(await tryLock(client))) {
    if (Date.now() > deadline) {
      const owner = await ownerOf(client)
      await client.end()
      throw new StoreSetupError(
        `${owner} already serves the data directory ${dataDir}: stop it, or choose another data_dir.`,
      )
    }
    await sleep(claimPollMs)
  }
}

async function ownerOf(client: pg.Client): Promise<string> {
  const holder = await client.query<{ name: string }>(
    `SELECT a.application_name AS name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.objid = $1 AND l.granted`,
    [ownerLock],
  )
  const pid = /pid=(\d+)/.exec(holder.rows[0]?.name ?? '')?.[1]
  return pid === undefined ? 'Another process' : `The process ${pid}`
}

async function tryLock(client: pg.Client): Promise<boolean> {
  const lock = await client.query<{ free: boolean }>('SELECT pg_try_advisory_lock($1) AS free', [ownerLock])
  return lock.rows[0]?.free === true
}

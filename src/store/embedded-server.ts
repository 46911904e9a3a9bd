// One PostgreSQL server process on one folder: made by initdb, started or attached to, reached by a unix socket in a folder
// that only its owner may enter (which is why `trust` is safe), stopped by SIGINT. No TCP port is ever opened.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { connectTimeoutMs } from './connection.ts'
import { closedFolder, embeddedBinaries, type ProcessOwner } from './embedded-binaries.ts'
import { explainFailure } from './embedded-failure.ts'
import { StoreSetupError, sqlState } from './store-error.ts'

/** sun_path holds 108 bytes with the terminating zero on Linux, 104 on macOS. */
const socketPathBytesMax = process.platform === 'darwin' ? 103 : 107
const socketName = '.s.PGSQL.5432'
/** PostgreSQL refuses to run as root; this is `nobody` on the platforms that the binaries are for. */
const unprivilegedOwner: ProcessOwner = { uid: 65534, gid: 65534 }
/** Recovery after a crash may take a while; before it ends, connections are refused with 57P03. */
const startTimeoutMs = 60_000
/** How long a server that another process is starting, or that is still stopping, may hold the lock file. */
const lockedStartMs = 5000
const pollMs = 20
/** A fast shutdown ends connections and writes a checkpoint; after this it is made immediate, and the next start recovers. */
const fastStopMs = 8000
const immediateStopMs = 2000
const logBytesMax = 1 << 20

const settings: Readonly<Record<string, string>> = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: '40',
  shared_buffers: '64MB',
  max_wal_size: '256MB',
  io_method: 'sync', // no worker processes for a database this small
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_min_messages: 'log', // no ERROR lines: they would repeat what callers are told, with values
  log_min_error_statement: 'panic',
  log_checkpoints: 'off',
}

export interface ServerFolder {
  /** Holds the cluster, the socket and the log; mode 0700. */
  readonly folder: string
  readonly cluster: string
  readonly log: string
  readonly owner: ProcessOwner | undefined
}

export interface RunningServer {
  /** A connection as superuser, open. */
  readonly client: pg.Client
  /** The process, if this call started it. */
  readonly child: ChildProcess | undefined
}

interface Launched {
  readonly child: ChildProcess
  /** Where its part of the log begins, in bytes. */
  readonly logStart: number
}

/** Another process started a server in between, or an old one is still stopping. */
const heldByAnother = /lock file "postmaster\.pid" already exists|pre-existing shared memory block/

/** How to connect as the superuser of the server in `folder`. */
export function socketConfig(folder: string): pg.ClientConfig {
  return { host: folder, port: 5432, user: 'postgres', database: 'postgres', connectionTimeoutMillis: connectTimeoutMs }
}

/** Makes the folder and, if it has none, the cluster. Safe for several processes at once. */
export async function prepareServer(dataDir: string, fsync: boolean): Promise<ServerFolder> {
  const folder = join(resolve(dataDir), 'postgres')
  const excess = Buffer.byteLength(join(folder, socketName)) - socketPathBytesMax
  if (excess > 0) {
    throw new StoreSetupError(
      `The path of the data directory ${dataDir} is ${excess} bytes too long for a unix socket: choose a shorter data_dir.`,
    )
  }
  const server = makeFolder(resolve(dataDir), folder)
  if (!existsSync(join(server.cluster, 'PG_VERSION'))) await initialise(server, fsync)
  return server
}

function makeFolder(dataDir: string, folder: string): ServerFolder {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw explainFailure(dataDir, error)
  }
  const cluster = join(folder, 'data')
  const owner = process.getuid?.() === 0 ? serverOwner(folder) : undefined
  if (owner !== undefined) {
    chownSync(folder, owner.uid, owner.gid)
    chmodSync(dataDir, statSync(dataDir).mode | 0o001) // enter, not list; the files in it have modes of their own
    const closed = closedFolder(folder, owner) ?? closedFolder(embeddedBinaries().postgres, owner)
    if (closed !== undefined) {
      throw new StoreSetupError(
        `PostgreSQL does not run as root, and ${closed} is closed to the uid ${owner.uid} that it would run as: ` +
          'start as an ordinary user, use folders that everybody may enter, or set DATABASE_URL.',
      )
    }
  }
  return { folder, cluster, log: join(folder, 'server.log'), owner }
}

/** A folder that an ordinary user made keeps that user. */
function serverOwner(folder: string): ProcessOwner {
  const { uid, gid } = statSync(folder)
  return uid === 0 ? unprivilegedOwner : { uid, gid }
}

async function initialise(server: ServerFolder, fsync: boolean): Promise<void> {
  const draft = join(server.folder, `initdb-${randomUUID()}`)
  const args = ['-D', draft, '-A', 'trust', '-E', 'UTF8', '--locale=C', '-U', 'postgres', '--no-instructions']
  try {
    await promisify(execFile)(embeddedBinaries().initdb, fsync ? args : [...args, '--no-sync'], {
      ...server.owner,
      cwd: server.folder,
      env: { LC_ALL: 'C', PATH: '/usr/bin:/bin' },
    })
    if (!existsSync(join(server.cluster, 'PG_VERSION'))) renameSync(draft, server.cluster)
  } catch (error) {
    if (!existsSync(join(server.cluster, 'PG_VERSION'))) throw explainFailure(server.folder, error)
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

/** Connects to the server of the folder, starting it first if none answers. */
export async function openServer(server: ServerFolder, fsync: boolean): Promise<RunningServer> {
  const started = Date.now()
  let launched: Launched | undefined
  for (;;) {
    const client = await answering(server.folder)
    if (client !== undefined) return { client, child: launched?.child }
    const waitedMs = Date.now() - started
    if (launched === undefined) {
      launched = await launch(server, fsync)
    } else if (hasEnded(launched.child)) {
      const said = logSince(server, launched.logStart)
      if (!heldByAnother.test(said) || waitedMs > lockedStartMs) throw explainFailure(server.folder, new Error(said))
      launched = undefined
    } else if (waitedMs > startTimeoutMs) {
      throw explainFailure(server.folder, new Error(logSince(server, launched.logStart)))
    }
    await sleep(pollMs)
  }
}

async function answering(folder: string): Promise<pg.Client | undefined> {
  const client = new pg.Client({ ...socketConfig(folder), application_name: `gatewarden pid=${process.pid}` })
  client.on('error', () => undefined) // its end is what the holder watches
  try {
    await client.connect()
    return client
  } catch (error) {
    await client.end().catch(() => undefined)
    const state = sqlState(error)
    if (state === undefined || state === '57P03') return undefined // no socket, refused, starting up or stopping
    throw explainFailure(folder, error)
  }
}

async function launch(server: ServerFolder, fsync: boolean): Promise<Launched> {
  const all = { ...settings, ...(fsync ? {} : { fsync: 'off', full_page_writes: 'off' }) }
  const args = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const size = existsSync(server.log) ? statSync(server.log).size : 0
  const logStart = size > logBytesMax ? 0 : size
  const log = openSync(server.log, logStart === size ? 'a' : 'w', 0o600)
  try {
    const child = spawn(embeddedBinaries().postgres, ['-D', server.cluster, '-k', server.folder, ...args], {
      ...server.owner,
      cwd: server.folder,
      env: { LC_ALL: 'C', PATH: '/usr/bin:/bin', TZ: 'UTC' },
      detached: true, // a terminal's Ctrl-C must reach this program alone, which stops the server last
      stdio: ['ignore', log, log],
    })
    child.unref()
    await new Promise((done, failed) => child.once('spawn', done).once('error', failed))
    return { child, logStart }
  } catch (error) {
    throw explainFailure(server.folder, error)
  } finally {
    closeSync(log)
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

function logSince(server: ServerFolder, start: number): string {
  return existsSync(server.log) ? readFileSync(server.log).subarray(start).toString().slice(-2000) : ''
}

/** Stops the server; the caller is connected to it or knows otherwise that it runs. Resolves when it is gone. */
export async function stopServer(server: ServerFolder, child: ChildProcess | undefined): Promise<void> {
  const lockFile = join(server.cluster, 'postmaster.pid')
  const pid = existsSync(lockFile) ? Number.parseInt(readFileSync(lockFile, 'utf8'), 10) : Number.NaN
  if (!(pid > 1)) return
  const gone = () => (child?.pid === pid ? hasEnded(child) : !existsSync(lockFile))
  for (const [signal, waitMs] of [
    ['SIGINT', fastStopMs],
    ['SIGQUIT', immediateStopMs],
  ] as const) {
    try {
      process.kill(pid, signal)
    } catch {
      return // it ended by itself
    }
    const deadline = Date.now() + waitMs
    while (Date.now() < deadline) {
      if (gone()) return
      await sleep(pollMs)
    }
  }
  throw new Error(`PostgreSQL (pid ${pid}) does not stop`)
}

// The embedded database: started or attached to, owned by one process, restarted when it dies, stopped without a trace.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, describe, expect, it } from 'vitest'
import { closedFolder } from '../../src/store/embedded-binaries.ts'
import { explainFailure } from '../../src/store/embedded-failure.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/store/embedded-postgres.ts'
import { StoreSetupError } from '../../src/store/store-error.ts'
import { fastFolder, preparedDataDir } from '../support/postgres.ts'
import { until } from '../support/until.ts'

const folders: string[] = []
const running: EmbeddedPostgres[] = []

afterEach(async () => {
  for (const embedded of running.splice(0)) await embedded.stop()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** With a cluster in it, made beforehand. */
async function preparedDir(): Promise<string> {
  const folder = await preparedDataDir()
  folders.push(folder)
  return folder
}

function dataDir(): string {
  const folder = mkdtempSync(join(fastFolder(), 'gw-embedded-'))
  folders.push(folder)
  return folder
}

async function start(
  folder: string,
  options: Partial<Parameters<typeof startEmbeddedPostgres>[0]> = {},
): Promise<EmbeddedPostgres> {
  const embedded = await startEmbeddedPostgres({ dataDir: folder, exclusive: true, fsync: false, ...options })
  running.push(embedded)
  return embedded
}

async function ask(embedded: EmbeddedPostgres, statement: string): Promise<unknown> {
  const client = new pg.Client(embedded.database.servers[0])
  client.on('error', () => undefined)
  await client.connect()
  try {
    const [row] = (await client.query<Record<string, unknown>>(statement)).rows
    return row === undefined ? undefined : Object.values(row)[0]
  } finally {
    await client.end()
  }
}

function serverPid(folder: string): number {
  const file = join(folder, 'postgres/data/postmaster.pid')
  return existsSync(file) ? Number.parseInt(readFileSync(file, 'utf8'), 10) : 0
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('an owner', () => {
  it('starts a server that listens on a private unix socket and no port, and stops it', async () => {
    const folder = dataDir()
    const embedded = await start(folder)
    expect(await ask(embedded, 'SHOW listen_addresses')).toBe('')
    expect(await ask(embedded, 'SHOW server_encoding')).toBe('UTF8')
    expect(statSync(join(folder, 'postgres')).mode & 0o777).toBe(0o700)
    expect(statSync(join(folder, 'postgres/data')).mode & 0o777).toBe(0o700)
    const pid = serverPid(folder)
    expect(lives(pid)).toBe(true)
    await embedded.stop()
    expect(existsSync(join(folder, 'postgres/data/postmaster.pid'))).toBe(false)
    await until('the server is gone', () => !lives(pid))
    await embedded.stop() // a second time does nothing
  })

  it('keeps what was committed over a stop', async () => {
    const folder = await preparedDir()
    const first = await start(folder)
    await ask(first, 'CREATE TABLE kept AS SELECT 7 AS n')
    await first.stop()
    expect(await ask(await start(folder), 'SELECT n FROM kept')).toBe(7)
  })

  it('keeps fsync on unless a test turns it off', async () => {
    expect(await ask(await start(await preparedDir(), { fsync: true }), 'SHOW fsync')).toBe('on')
  })

  it('refuses a second owner in one sentence that names the process, and goes on undisturbed', async () => {
    const folder = await preparedDir()
    const first = await start(folder)
    const refusal = start(folder)
    await expect(refusal).rejects.toThrow(StoreSetupError)
    await expect(refusal).rejects.toThrow(
      `The process ${process.pid} already serves the data directory ${folder}: stop it, or choose another data_dir.`,
    )
    expect(await ask(first, 'SELECT 1')).toBe(1)
  })

  it('is exactly one of several that start at once on a fresh folder', async () => {
    const folder = dataDir()
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => start(folder)))
    expect(outcomes.filter(outcome => outcome.status === 'fulfilled').length).toBe(1)
    expect(readdirSync(join(folder, 'postgres')).filter(name => name.startsWith('initdb'))).toEqual([])
  })

  it('attaches to a server that survived the kill of its owner', async () => {
    const folder = await preparedDir()
    const script = `
      import { startEmbeddedPostgres } from ${JSON.stringify(new URL('../../dist/src/store/embedded-postgres.js', import.meta.url).href)}
      await startEmbeddedPostgres({ dataDir: ${JSON.stringify(folder)}, exclusive: true, fsync: false })
      process.stdout.write('ready')
      setInterval(() => undefined, 1000)
    `
    const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(owner.stdout, 'data')
    const pid = serverPid(folder)
    owner.kill('SIGKILL')
    await once(owner, 'exit')
    const next = await start(folder)
    expect(serverPid(folder)).toBe(pid)
    expect(await ask(next, 'SELECT 1')).toBe(1)
    await next.stop()
    expect(serverPid(folder)).toBe(0)
  })
})

describe('a server that dies', () => {
  it('is restarted with what it had, three times, and then given up with one sentence', async () => {
    const folder = await preparedDir()
    const restarts: number[] = []
    const failures: Error[] = []
    const embedded = await start(folder, {
      onRestart: count => restarts.push(count),
      onFailure: error => failures.push(error),
    })
    await ask(embedded, 'CREATE TABLE kept AS SELECT 7 AS n')
    for (const expected of [1, 2, 3]) {
      process.kill(serverPid(folder), 'SIGKILL')
      await until(`restart ${expected}`, () => restarts.length === expected, 20_000)
      expect(await ask(embedded, 'SELECT n FROM kept')).toBe(7)
    }
    process.kill(serverPid(folder), 'SIGKILL')
    await until('it is given up', () => failures.length === 1)
    expect(failures[0]).toBeInstanceOf(StoreSetupError)
    expect(failures[0]?.message).toMatch(/it died 4 times within 5 minutes/)
    expect(restarts).toEqual([1, 2, 3])
  })

  it('stays down when its owner stops in the meantime', async () => {
    const folder = await preparedDir()
    const embedded = await start(folder)
    const pid = serverPid(folder)
    process.kill(pid, 'SIGKILL')
    await embedded.stop()
    await until('nothing runs', () => !lives(pid))
    await expect(ask(embedded, 'SELECT 1')).rejects.toThrow()
  })

  it('stays down when its owner stops during the restart', async () => {
    const folder = await preparedDir()
    const embedded = await start(folder)
    const first = serverPid(folder)
    process.kill(first, 'SIGKILL')
    const second = await until('another server starts', () => {
      const pid = serverPid(folder)
      return pid > 0 && pid !== first && pid
    })
    await embedded.stop()
    await until('nothing runs', () => !lives(second))
    expect(serverPid(folder)).toBe(0)
  })
})

describe('a visitor', () => {
  it('uses the server of an owner and leaves it running', async () => {
    const folder = await preparedDir()
    const owner = await start(folder)
    const visitor = await start(folder, { exclusive: false })
    expect(await ask(visitor, 'SELECT 1')).toBe(1)
    await visitor.stop()
    expect(await ask(owner, 'SELECT 1')).toBe(1)
  })

  it('stops the server that it started itself, unless an owner came meanwhile', async () => {
    const folder = await preparedDir()
    await (await start(folder, { exclusive: false })).stop()
    expect(serverPid(folder)).toBe(0)
    const visitor = await start(folder, { exclusive: false })
    const owner = await start(folder)
    await visitor.stop()
    expect(await ask(owner, 'SELECT 1')).toBe(1)
  })
})

describe('what cannot work is said in one sentence', () => {
  const oneSentence = /^[^\n]+[.…]$/

  it('a path too long for a unix socket', async () => {
    const folder = join(dataDir(), 'x'.repeat(100))
    await expect(start(folder)).rejects.toThrow(/bytes too long for a unix socket: choose a shorter data_dir\.$/)
    expect(existsSync(folder)).toBe(false)
  })

  it('files of another PostgreSQL version', async () => {
    const folder = await preparedDir()
    await (await start(folder)).stop()
    writeFileSync(join(folder, 'postgres/data/PG_VERSION'), '12\n')
    await expect(start(folder)).rejects.toThrow(/belong to another PostgreSQL version/)
  })

  it('a broken cluster', async () => {
    const folder = await preparedDir()
    await (await start(folder)).stop()
    rmSync(join(folder, 'postgres/data/global/pg_control'))
    await expect(start(folder)).rejects.toThrow(oneSentence)
  })

  it('a file where the folder should be', async () => {
    const folder = dataDir()
    writeFileSync(join(folder, 'postgres'), '')
    await expect(start(folder)).rejects.toThrow(oneSentence)
  })

  it.each([
    ['initdb: error: could not write file: No space left on device', /the disk is full/],
    ['FATAL:  could not write lock file "postmaster.pid": No space left on device', /the disk is full/],
    ['LOG: x\nFATAL:  data directory "/d" has wrong ownership\nHINT: y', /belong to another user/],
    ['spawn /x/postgres ENOENT', /need glibc.*DATABASE_URL/],
    ['initdb: error: could not look up effective user ID 65534: user does not exist', /start as an ordinary user/],
    ['FATAL:  lock file "postmaster.pid" already exists', /end the process named in/],
    ['2026-01-01 UTC [7] FATAL:  something new happened', /failed: something new happened; see \/d\/server\.log/],
    ['', /it gave no reason/],
  ])('%s', (said, sentence) => {
    const error = explainFailure('/d', new Error(said))
    expect(error.message).toMatch(sentence)
    expect(error.message).toMatch(oneSentence)
  })
})

describe('closedFolder', () => {
  it('finds the folder on the way that a user may not enter', () => {
    const top = dataDir()
    chmodSync(top, 0o755)
    mkdirSync(join(top, 'closed/open'), { recursive: true })
    chmodSync(join(top, 'closed'), 0o700)
    expect(closedFolder(join(top, 'closed/open'), { uid: 4321, gid: 4321 })).toBe(join(top, 'closed'))
    chmodSync(join(top, 'closed'), 0o701)
    expect(closedFolder(join(top, 'closed/open'), { uid: 4321, gid: 4321 })).toBeUndefined()
  })
})

describe.runIf(process.getuid?.() === 0)('as root', () => {
  it('runs the server as another user, and opens the data directory for entering only', async () => {
    const folder = await preparedDir()
    await start(folder)
    expect(statSync(join(folder, 'postgres/data')).uid).toBe(65534)
    expect(statSync(folder).mode & 0o777).toBe(0o701)
    const owner = execFileSync('ps', ['-o', 'uid=', '-p', String(serverPid(folder))])
      .toString()
      .trim()
    expect(owner).toBe('65534')
  })

  it('says which folder is closed to that user', async () => {
    const top = dataDir()
    const folder = join(top, 'data')
    await expect(start(folder)).rejects.toThrow(`${top} is closed to the uid 65534`)
  })
})

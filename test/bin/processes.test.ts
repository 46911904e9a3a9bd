// The built command as a person starts it: `serve` needs nothing, keeps what it made, ends in order, and says in one sentence
// why it cannot start. Everything listens on unix sockets of a directory of its own.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { callCheck } from '../support/check-call.ts'
import {
  commandFile,
  type Finished,
  type Running,
  runGatewarden,
  startGatewarden,
} from '../support/gatewarden-process.ts'
import { preparedDataDir } from '../support/postgres.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { until } from '../support/until.ts'
import { openDirectory, settingsIn, untilPrinted } from './serving.ts'

let directory = ''
const running: Running[] = []
beforeEach(() => {
  directory = openDirectory('gwb-')
})
const prepareds: string[] = []
/** A data directory with a database that has no schema yet; spares initdb. */
async function prepared(): Promise<string> {
  const made = await preparedDataDir()
  prepareds.push(made)
  return made
}
afterEach(async () => {
  for (const each of running.splice(0)) await each.stop('SIGINT')
  for (const each of prepareds.splice(0)) rmSync(each, { recursive: true, force: true })
  rmSync(directory, { recursive: true, force: true })
})

function environment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { ...settingsIn(directory), ...more }
}

async function serve(more: Readonly<Record<string, string>> = {}): Promise<Running> {
  const started = startGatewarden(['serve'], environment(more), directory)
  running.push(started)
  await untilPrinted(started, 'gatewarden keys create')
  return started
}

const run = (...args: string[]): Promise<Finished> => runGatewarden(args, environment(), directory)

async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout, stderr, code } = await run(...args, '--json')
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as Record<string, unknown>
}

const check = (secret: string) => callCheck(`unix:${directory}/check.sock`, secret)

function http(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: join(directory, 'metrics.sock'), path, agent: false }, response => {
      let text = `${response.statusCode} `
      response.on('data', chunk => {
        text += String(chunk)
      })
      response.on('end', () => resolve(text))
    })
    call.once('error', reject)
    call.end()
  })
}

describe('serve', () => {
  it('from nothing to an allowed check, through a restart, to the end', async () => {
    const first = await serve()
    const keyFile = join(directory, 'd/admin.key')
    const adminKey = readFileSync(keyFile, 'utf8').trim()
    expect(statSync(keyFile).mode & 0o777).toBe(0o600)
    // It comes behind the text that was waited for, in a write of its own.
    await until('the admin key is shown', () => first.output().includes(adminKey))
    expect(first.output().split(adminKey).length).toBe(2)
    expect(await http('/readyz')).toBe('200 ready\n')

    const { organization } = await json('orgs', 'create', '--profile', 'bitbybit', '--name', 'Example')
    const { name } = organization as { name: string }
    const made = await json('keys', 'create', name, '--name', 'reader', '--scope', 'customers:READ', '--wait')
    const secret = String(made['secret'])
    const allowed = await check(secret)
    expect(allowed.status?.code ?? 0).toBe(0)
    expect(allowed.httpResponse?.$case).toBe('okResponse')
    const denied = await check('bbb_live_ffffffffffff')
    expect(denied.status?.code).toBeGreaterThan(0)

    const page = await http('/metrics')
    expect(page).toContain('gatewarden_decisions_total{profile="bitbybit",reason="allow"} 1')
    expect(page).toContain('gatewarden_decisions_total{profile="bitbybit",reason="credential_unknown"} 1')
    expect(page).toContain('gatewarden_table_keys 1')
    expect(page).toMatch(/gatewarden_confirm_age_seconds 0?\.?\d/)
    expect(page + first.output()).not.toContain(secret)

    const second = await run('serve')
    expect(second.stderr).toContain(`gatewarden serve: The process ${first.pid} already serves the data directory`)
    expect(second.code).toBe(1)
    expect((await check(secret)).httpResponse?.$case).toBe('okResponse')

    expect(await first.stop('SIGINT')).toBe(0)
    running.splice(0)
    const again = await serve()
    expect(again.output()).not.toContain(adminKey)
    expect((await check(secret)).httpResponse?.$case).toBe('okResponse')

    const key = (made['apiKey'] as { name: string }).name
    const { stdout } = await run('keys', 'revoke', key, '--reason', 'leaked', '--wait')
    expect(stdout).toContain('revoked')
    expect((await check(secret)).httpResponse?.$case).toBe('deniedResponse')

    const before = Date.now()
    const stopping = again.stop('SIGTERM')
    await until('it says that it is not ready', async () => (await http('/readyz')).startsWith('503'))
    expect((await check(secret)).httpResponse?.$case).toBe('deniedResponse')
    expect(await stopping).toBe(0)
    expect(Date.now() - before).toBeGreaterThan(4500)
    running.splice(0)
    expect(existsSync(join(directory, 'd/postgres/data/postmaster.pid'))).toBe(false)
  }, 120_000)
})

describe('a start that cannot go on', () => {
  it('names a database that is newer than the build', async () => {
    const more = { GATEWARDEN_DATA_DIR: await prepared() }
    await serve(more)
    const socket = join(more.GATEWARDEN_DATA_DIR, 'postgres')
    const client = new pg.Client({ host: socket, user: 'postgres', database: 'postgres' })
    await client.connect()
    await client.query(
      `INSERT INTO gatewarden.schema_migrations (version, name, checksum)
       SELECT n, 'later_' || n, sha256('x') FROM generate_series((SELECT max(version) + 1 FROM gatewarden.schema_migrations), (SELECT max(version) + 2 FROM gatewarden.schema_migrations)) n`,
    )
    await client.end()
    for (const each of running.splice(0)) expect(await each.stop('SIGINT')).toBe(0)
    const { code, stderr } = await runGatewarden(['serve'], environment(more), directory)
    expect(stderr).toContain('run a newer gatewarden')
    expect(sentences(stderr)).toBe(1)
    expect(code).toBe(1)
  }, 120_000)

  it('names a port that is taken', async () => {
    const blocker = createServer()
    await new Promise<void>(resolve => blocker.listen(0, '127.0.0.1', resolve))
    const address = blocker.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const dataDir = await prepared()
    try {
      for (const setting of ['check.listen', 'admin.listen', 'metrics.listen']) {
        const name = `GATEWARDEN_${setting.toUpperCase().replace('.', '_')}`
        const { code, stderr } = await runGatewarden(
          ['serve'],
          environment({ GATEWARDEN_DATA_DIR: dataDir, [name]: `127.0.0.1:${port}` }),
          directory,
        )
        expect(stderr).toContain(`127.0.0.1:${port}`)
        expect(stderr).toContain(`the port is taken; stop the other process, or set ${setting} to another address.`)
        expect(sentences(stderr)).toBe(1)
        expect(code).toBe(1)
      }
    } finally {
      await new Promise(resolve => blocker.close(resolve))
    }
  }, 120_000)

  it('lists every fault of settings and profiles and starts nothing', async () => {
    const settings = await runGatewarden(
      ['serve'],
      environment({ GATEWARDEN_LOG_LEVEL: 'loud', GATEWARDEN_NOPE: '1' }),
      directory,
    )
    expect(settings.stderr).toContain('configuration: 2 faults')
    expect(settings.code).toBe(78)
    const profiles = join(directory, 'profiles')
    const text = readFileSync(repositoryFile('profiles/bitbybit.yaml'), 'utf8')
    mkdirSync(profiles)
    writeFileSync(join(profiles, 'bitbybit.yaml'), text.replace('checks:', 'chekcs:'))
    const bad = await runGatewarden(['serve'], environment({ GATEWARDEN_PROFILES_DIR: profiles }), directory)
    expect(bad.stderr).toContain('bitbybit.yaml:')
    expect(bad.stderr).toContain('unknown_field')
    expect(bad.code).toBe(78)
    expect(existsSync(join(directory, 'd'))).toBe(false)
  }, 60_000)

  it('names a full disk', () => {
    // A bound on the size of files is met with the same errors as a full disk.
    const script = 'ulimit -f 4000; exec "$0" "$1" serve'
    const { status, stderr } = spawnSync('sh', ['-c', script, process.execPath, commandFile()], {
      cwd: directory,
      env: { PATH: process.env['PATH'], ...environment() },
      encoding: 'utf8',
    })
    expect(stderr).toContain('the disk is full; free some space')
    expect(sentences(stderr)).toBe(1)
    expect(status).toBe(1)
  }, 60_000)

  it('refuses a pepper that others may read', async () => {
    writeFileSync(join(directory, 'p1'), 'ab'.repeat(32), { mode: 0o640 })
    const { code, stderr } = await runGatewarden(
      ['serve', '--check-config'],
      environment({ GATEWARDEN_PEPPERS: 'p1=p1' }),
      directory,
    )
    expect(stderr).toContain('mode 0640, readable by others')
    expect(code).toBe(78)
  }, 60_000)

  it('finds in files and profiles what settings name wrongly, all at once and before anything is made', async () => {
    for (const name of ['cert', 'key']) writeFileSync(join(directory, name), 'no PEM at all')
    for (const name of ['p1', 'p2']) writeFileSync(join(directory, name), 'ab'.repeat(32), { mode: 0o600 })
    const wrong = {
      GATEWARDEN_ADMIN_TLS_CERT: 'cert',
      GATEWARDEN_ADMIN_TLS_KEY: 'key',
      GATEWARDEN_CLIENT_ADDRESS_MODE: 'xff-trusted-cidrs',
      GATEWARDEN_CLIENT_ADDRESS_TRUSTED_CIDRS: '10.0.0.1/8,0.0.0.0/0,::/0,::/80,proxy,10.0.0.0/8',
      GATEWARDEN_DEPLOYMENT_ACCEPT: 'liev,test',
      GATEWARDEN_CHECK_PROFILES: 'nobody,bitgpt',
      GATEWARDEN_PEPPERS: 'p1=p1,p2=p2',
    }
    const expected = [
      'client_address.trusted_cidrs (GATEWARDEN_CLIENT_ADDRESS_TRUSTED_CIDRS): found "10.0.0.1/8"; accepted: an address, or a block without host bits: 10.0.0.0/8',
      'found "0.0.0.0/0"; accepted: the blocks of the proxies in front of Envoy alone',
      'found "::/0"; accepted: the blocks of the proxies in front of Envoy alone',
      'found "::/80"; accepted: an IPv6 block that does not hold the IPv4 addresses',
      'found "proxy"; accepted: an address or a block, such as 10.0.0.0/8',
      'admin.tls.cert (GATEWARDEN_ADMIN_TLS_CERT): found',
      'admin.tls.key (GATEWARDEN_ADMIN_TLS_KEY): found',
      'pepper p2: found the octets of pepper p1; accepted: octets of its own',
      'deployment.accept (GATEWARDEN_DEPLOYMENT_ACCEPT): found "liev"; accepted: environments of the profiles: live, test; did you mean live?',
      'check.profiles (GATEWARDEN_CHECK_PROFILES): found "nobody"; accepted: profiles: billoget, bitbybit, bitgpt',
    ]
    const { code, stderr } = await runGatewarden(['serve', '--check-config'], environment(wrong), directory)
    expect(stderr).toContain(`configuration: ${expected.length} faults`)
    for (const text of expected) expect(stderr).toContain(text)
    expect(sentences(stderr)).toBe(expected.length + 1)
    expect(code).toBe(78)
    const started = [
      { GATEWARDEN_DEPLOYMENT_ACCEPT: 'prod' },
      { GATEWARDEN_CHECK_PROFILES: 'nobody' },
      { GATEWARDEN_CLIENT_ADDRESS_MODE: 'xff-trusted-cidrs', GATEWARDEN_CLIENT_ADDRESS_TRUSTED_CIDRS: '0.0.0.0/0' },
    ]
    for (const more of started) {
      const start = await runGatewarden(['serve'], environment(more), directory)
      expect(start.stderr).toContain('configuration: 1 fault')
      expect(start.code).toBe(78)
    }
    expect(existsSync(join(directory, 'd'))).toBe(false)
  }, 60_000)

  it('warns of a profile none of whose environments is accepted', async () => {
    const profiles = join(directory, 'profiles')
    const text = readFileSync(repositoryFile('profiles/bitgpt.yaml'), 'utf8')
    mkdirSync(profiles)
    writeFileSync(join(profiles, 'bitgpt.yaml'), text.replace(/, test: \{[^}]*\}/, ''))
    cpSync(repositoryFile('profiles/bitbybit.yaml'), join(profiles, 'bitbybit.yaml'))
    const more = { GATEWARDEN_PROFILES_DIR: profiles, GATEWARDEN_DEPLOYMENT_ACCEPT: 'test' }
    const { code, stderr } = await runGatewarden(['serve', '--check-config'], environment(more), directory)
    expect(stderr).toContain('"profile":"bitgpt"')
    expect(stderr).not.toContain('"profile":"bitbybit"')
    expect(code).toBe(0)
  }, 60_000)

  it('says that a sound configuration is sound', async () => {
    const { code, stdout } = await run('serve', '--check-config')
    expect(stdout).toBe('The configuration of serve is sound; profiles: billoget, bitbybit, bitgpt.\n')
    expect(code).toBe(0)
    expect(existsSync(join(directory, 'd'))).toBe(false)
  }, 60_000)
})

/** Lines for people: the log's lines are JSON. */
function sentences(stderr: string): number {
  return stderr.split('\n').filter(line => line !== '' && !line.startsWith('{')).length
}

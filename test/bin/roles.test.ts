// Check and admin as processes of their own on a PostgreSQL that others run: they start in any order, meet through the database
// alone, speak TLS where they are told to, and end as they are told to.

import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { issueCertificate } from '../support/certificate-authority.ts'
import { callCheck } from '../support/check-call.ts'
import { freePort } from '../support/free-port.ts'
import { commandFile, type Running, runGatewarden, startGatewarden } from '../support/gatewarden-process.ts'
import { startTestCluster, type TestCluster, type TestDatabase } from '../support/postgres.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { until } from '../support/until.ts'
import { openDirectory, runClient, untilPrinted } from './serving.ts'

let cluster: TestCluster
let database: TestDatabase
let directory = ''
const started: Running[] = []
beforeAll(async () => {
  cluster = await startTestCluster()
  database = await cluster.createDatabase('empty')
  directory = openDirectory('gwr-')
  for (const name of ['p1', 'a1'])
    writeFileSync(join(directory, name), randomBytes(32).toString('hex'), { mode: 0o600 })
})
afterAll(async () => {
  for (const each of started) await each.stop('SIGKILL')
  await database.drop()
  await cluster.stop()
  rmSync(directory, { recursive: true, force: true })
})

function environment(more: Readonly<Record<string, string>>): Record<string, string> {
  const { host } = cluster.server
  return {
    DATABASE_URL: `postgres://localhost/${database.name}?host=${encodeURIComponent(host ?? '')}&user=postgres`,
    GATEWARDEN_DATA_DIR: join(directory, 'd'),
    GATEWARDEN_PEPPERS: `p1=${join(directory, 'p1')}`,
    GATEWARDEN_PROFILES_DIR: repositoryFile('profiles'),
    ...more,
  }
}

const checkEnvironment = () =>
  environment({
    GATEWARDEN_CHECK_LISTEN: `unix:${directory}/check.sock`,
    GATEWARDEN_ALS_LISTEN: `unix:${directory}/als.sock`,
    GATEWARDEN_METRICS_LISTEN: `unix:${directory}/metrics.sock`,
    GATEWARDEN_CLIENT_ADDRESS_MODE: 'source-address',
  })

const check = (secret: string) => callCheck(`unix:${directory}/check.sock`, secret)

function status(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: join(directory, 'metrics.sock'), path, agent: false }, response => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    call.once('error', reject)
    call.end()
  })
}

describe('check and admin apart', () => {
  it('check starts before there is a schema, answers 503 in the product shape, and serves once admin is there', async () => {
    const sidecar = startGatewarden(['check'], checkEnvironment(), directory)
    started.push(sidecar)
    await untilPrinted(sidecar, '"msg":"listening"')
    expect(await status('/livez')).toBe(200)
    expect(await status('/readyz')).toBe(503)
    const early = await check('bbb_live_ffffffffffff')
    expect(early.httpResponse?.$case === 'deniedResponse' && early.httpResponse.value.status?.code).toBe(503)
    expect(early.httpResponse?.$case === 'deniedResponse' && early.httpResponse.value.body).toContain(
      'SERVICE_UNAVAILABLE',
    )

    const adminPepper = { GATEWARDEN_ADMIN_PEPPER_FILE: join(directory, 'a1'), GATEWARDEN_ADMIN_PEPPER_ID: 'a1' }
    const migrated = await runGatewarden(['migrate'], environment(adminPepper), directory)
    expect(migrated.stdout).toMatch(/^Applied 0001_/)
    expect((await runGatewarden(['migrate'], environment(adminPepper), directory)).stdout).toBe(
      'The schema is up to date.\n',
    )

    const { certificateFile, keyFile, caFile } = issueCertificate(directory, ['localhost'])
    const port = await freePort()
    const adminEnvironment = environment({
      ...adminPepper,
      GATEWARDEN_ADMIN_LISTEN: `localhost:${port}`,
      GATEWARDEN_ADMIN_TLS_CERT: certificateFile,
      GATEWARDEN_ADMIN_TLS_KEY: keyFile,
      GATEWARDEN_METRICS_LISTEN: `unix:${directory}/admin-metrics.sock`,
    })
    const admin = startGatewarden(['admin'], adminEnvironment, directory)
    started.push(admin)
    await untilPrinted(admin, '"msg":"listening"')

    const token = (await runGatewarden(['bootstrap'], environment(adminPepper), directory)).stdout.trim()
    const server = ['--server', `localhost:${port}`, '--ca', caFile]
    const client = (...args: string[]) =>
      runClient({ GATEWARDEN_CLI_KEY_FILE: join(directory, 'root.key') }, directory, [...args, ...server])
    expect((await client('bootstrap', 'complete', token, '--save', 'root.key')).code).toBe(0)
    const made = await client('orgs', 'create', '--profile', 'bitbybit', '--name', 'Example', '--json')
    const { organization } = JSON.parse(made.out) as { organization: { name: string } }
    await until('the sidecar is ready', async () => (await status('/readyz')) === 200, 20_000)
    const key = JSON.parse(
      (
        await client(
          'keys',
          'create',
          organization.name,
          '--name',
          'k',
          '--scope',
          'customers:READ',
          '--wait',
          '--json',
        )
      ).out,
    ) as { secret: string }
    expect((await check(key.secret)).httpResponse?.$case).toBe('okResponse')
    const clear = await runClient({ GATEWARDEN_CLI_KEY_FILE: join(directory, 'root.key') }, directory, [
      'orgs',
      'list',
      '--server',
      `localhost:${port}`,
    ])
    expect(clear.code).toBe(1)

    expect(await sidecar.stop('SIGTERM')).toBe(0)
    const rows = database.client()
    await rows.connect()
    expect((await rows.query('SELECT FROM sidecars')).rowCount).toBe(0)
    await rows.end()
    expect(await admin.stop('SIGINT')).toBe(0)
    expect(sidecar.output() + admin.output()).not.toContain(key.secret)
  }, 120_000)

  it('check makes data_dir for its sockets, and names any other directory that is missing', async () => {
    const data = join(directory, 'fresh')
    const { GATEWARDEN_CHECK_LISTEN: _, GATEWARDEN_ALS_LISTEN: __, ...rest } = checkEnvironment()
    const lacking = { ...rest, GATEWARDEN_DATA_DIR: data, GATEWARDEN_CHECK_LISTEN: `unix:${data}/check.sock` }
    const absent = await runGatewarden(
      ['check'],
      { ...lacking, GATEWARDEN_ALS_LISTEN: `unix:${directory}/absent/als.sock` },
      directory,
    )
    expect(absent.stderr).toContain(
      `cannot listen on unix:${directory}/absent/als.sock: the directory ${directory}/absent`,
    )
    expect(absent.stderr).toContain('does not exist; make it, or set als.listen to another path.')
    expect(absent.code).toBe(1)
    expect(existsSync(data)).toBe(true)
  }, 60_000)

  it('a second signal ends at once with 1', async () => {
    const sidecar = startGatewarden(['check'], checkEnvironment(), directory)
    started.push(sidecar)
    await untilPrinted(sidecar, '"msg":"listening"')
    const before = Date.now()
    process.kill(sidecar.pid, 'SIGTERM')
    await untilPrinted(sidecar, '"msg":"draining"')
    expect(await sidecar.stop('SIGTERM')).toBe(1)
    expect(Date.now() - before).toBeLessThan(4000)
  }, 60_000)

  it('a pepper that is not the one of the keys makes the process not ready, and unknown keys 503', async () => {
    writeFileSync(join(directory, 'p9'), randomBytes(32).toString('hex'), { mode: 0o600 })
    const sidecar = startGatewarden(
      ['check'],
      { ...checkEnvironment(), GATEWARDEN_PEPPERS: `p9=${join(directory, 'p9')}` },
      directory,
    )
    started.push(sidecar)
    await untilPrinted(sidecar, '"msg":"listening"')
    await untilPrinted(sidecar, '"state":"fresh"')
    expect(await status('/readyz')).toBe(503)
    const reply = await check('bbb_live_ffffffffffff')
    expect(reply.httpResponse?.$case === 'deniedResponse' && reply.httpResponse.value.status?.code).toBe(503)
    expect(await sidecar.stop('SIGINT')).toBe(0)
  }, 60_000)
})

describe('bootstrap without what it needs', () => {
  const bootstrap = (url: string) =>
    runGatewarden(
      ['bootstrap'],
      { ...environment({ GATEWARDEN_ADMIN_PEPPER_FILE: join(directory, 'a1') }), DATABASE_URL: url },
      directory,
    )

  it('names a database that does not answer, and one without a schema', async () => {
    const away = await bootstrap('postgres://localhost:1/nowhere')
    expect(away.stderr).toContain('gatewarden bootstrap: The database does not answer')
    expect(away.code).toBe(1)
    const empty = await cluster.createDatabase('empty')
    const bare = await bootstrap(environment({})['DATABASE_URL']?.replace(database.name, empty.name) ?? '')
    expect(bare.stderr).toContain('run "gatewarden migrate"')
    expect(bare.code).toBe(1)
    await empty.drop()
  }, 60_000)

  it.each(['bootstrap', 'migrate'])(
    '%s names a database and a login that do not exist',
    async command => {
      const url = environment({})['DATABASE_URL'] ?? ''
      const run = (wrong: string) =>
        runGatewarden(
          [command],
          { ...environment({ GATEWARDEN_ADMIN_PEPPER_FILE: join(directory, 'a1') }), DATABASE_URL: wrong },
          directory,
        )
      const nowhere = await run(url.replace(database.name, 'no_such_database'))
      expect(nowhere.stderr).toContain(`gatewarden ${command}: The database that DATABASE_URL names does not exist`)
      expect(nowhere.code).toBe(1)
      const nobody = await run(url.replace('user=postgres', 'user=nobody_at_all'))
      expect(nobody.stderr).toContain(`gatewarden ${command}: The database refuses the login of DATABASE_URL`)
      expect(nobody.code).toBe(1)
    },
    60_000,
  )
})

describe('pipes', () => {
  it('a reader that leaves ends a client command quietly', () => {
    const script = `"$1" "$2" profile show --json 2>"$3" | head -c 1 >/dev/null`
    execFileSync('sh', ['-c', script, 'sh', process.execPath, commandFile(), join(directory, 'err')], {
      cwd: repositoryFile('.'),
    })
    const { stdout } = { stdout: execFileSync('cat', [join(directory, 'err')], { encoding: 'utf8' }) }
    expect(stdout).toBe('')
  }, 30_000)
})

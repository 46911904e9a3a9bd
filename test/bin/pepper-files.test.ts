// A pepper file with the wrong content under the right id, as an operator meets it: the check answers 503 and is not ready, never
// "unknown key"; admin and bootstrap refuse to start; the right file and a new start mend it.
import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CheckResponse } from '../../src/gen/envoy/service/auth/v3/external_auth.ts'
import { callCheck } from '../support/check-call.ts'
import { type Running, runGatewarden, startGatewarden } from '../support/gatewarden-process.ts'
import { startTestCluster, type TestCluster, type TestDatabase } from '../support/postgres.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { until } from '../support/until.ts'
import { openDirectory, runClient, untilPrinted } from './serving.ts'

let cluster: TestCluster
let database: TestDatabase
let directory = ''
let organization = ''
let secret = ''
const started: Running[] = []

const content = () => randomBytes(32).toString('hex')
const contents = { p1: { right: content(), wrong: content() }, a1: { right: content(), wrong: content() } }

/** Puts a content where the settings name the pepper. */
function place(file: keyof typeof contents, which: 'right' | 'wrong'): void {
  writeFileSync(join(directory, file), contents[file][which], { mode: 0o600 })
}

function environment(): Record<string, string> {
  const { host } = cluster.server
  return {
    DATABASE_URL: `postgres://localhost/${database.name}?host=${encodeURIComponent(host ?? '')}&user=postgres`,
    GATEWARDEN_DATA_DIR: join(directory, 'd'),
    GATEWARDEN_PEPPERS: `p1=${join(directory, 'p1')}`,
    GATEWARDEN_PROFILES_DIR: repositoryFile('profiles'),
  }
}

const adminEnvironment = () => ({
  ...environment(),
  GATEWARDEN_ADMIN_PEPPER_FILE: join(directory, 'a1'),
  GATEWARDEN_ADMIN_LISTEN: `unix:${directory}/admin.sock`,
  GATEWARDEN_FACADE_LISTEN: `unix:${directory}/facade.sock`,
  GATEWARDEN_METRICS_LISTEN: `unix:${directory}/admin-metrics.sock`,
})

const checkEnvironment = () => ({
  ...environment(),
  GATEWARDEN_CHECK_LISTEN: `unix:${directory}/check.sock`,
  GATEWARDEN_ALS_LISTEN: `unix:${directory}/als.sock`,
  GATEWARDEN_METRICS_LISTEN: `unix:${directory}/metrics.sock`,
  GATEWARDEN_CLIENT_ADDRESS_MODE: 'source-address',
})

function start(role: 'admin' | 'check'): Running {
  const running = startGatewarden([role], role === 'admin' ? adminEnvironment() : checkEnvironment(), directory)
  started.push(running)
  return running
}

function client(...args: string[]) {
  const settings = { GATEWARDEN_CLI_SERVER: `unix:${directory}/admin.sock`, GATEWARDEN_CLI_KEY_FILE: 'root.key' }
  return runClient(settings, directory, args)
}

const createKey = () => client('keys', 'create', organization, '--name', 'k', '--scope', 'customers:READ', '--json')

const check = (key: string) => callCheck(`unix:${directory}/check.sock`, key)

/** 200 for an allow. */
function statusOf({ httpResponse }: CheckResponse): number {
  return httpResponse?.$case === 'deniedResponse' ? Number(httpResponse.value.status?.code) : 200
}

function page(path: string): Promise<string> {
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

beforeAll(async () => {
  cluster = await startTestCluster()
  database = await cluster.createDatabase('migrated')
  directory = openDirectory('gwp-')
  for (const file of ['p1', 'a1'] as const) place(file, 'right')
  const admin = start('admin')
  await untilPrinted(admin, '"msg":"listening"')
  expect(admin.output()).toContain('"msg":"the database knows these peppers from now on"')
  const token = (await runGatewarden(['bootstrap'], adminEnvironment(), directory)).stdout.trim()
  expect((await client('bootstrap', 'complete', token, '--save', 'root.key')).code).toBe(0)
  const made = await client('orgs', 'create', '--profile', 'bitbybit', '--name', 'Example', '--json')
  organization = (JSON.parse(made.out) as { organization: { name: string } }).organization.name
  secret = (JSON.parse((await createKey()).out) as { secret: string }).secret
}, 120_000)
afterAll(async () => {
  for (const each of started) await each.stop('SIGKILL')
  await database.drop()
  await cluster.stop()
  rmSync(directory, { recursive: true, force: true })
})

describe('a check whose pepper file has the wrong content', () => {
  it('answers 503 to a valid key and to any other, is not ready, and says which file it is', async () => {
    place('p1', 'wrong')
    const sidecar = start('check')
    await untilPrinted(sidecar, '"state":"fresh"')
    for (const key of [secret, 'bbb_live_ffffffffffff']) expect(statusOf(await check(key))).toBe(503)
    expect(await page('/readyz')).toMatch(/^503 /)
    expect(await page('/metrics')).toMatch(/^gatewarden_wrong_peppers 1$/m)
    expect(await page('/metrics')).toMatch(/^gatewarden_table_missing_peppers 1$/m)
    const line = sidecar
      .output()
      .split('\n')
      .filter(each => each.includes('a pepper file has not the content'))
    expect(line).toHaveLength(1)
    expect(JSON.parse(line[0] ?? '')).toMatchObject({ level: 'error', pepperIds: ['p1'] })
    expect(sidecar.output()).not.toContain(contents.p1.wrong)
    expect(sidecar.output()).not.toContain('credential_unknown')
  }, 60_000)

  it('keeps admin from making keys that it would not know', async () => {
    const refused = await until('a heartbeat has told of it', async () => {
      const { code, err, out } = await createKey()
      return code === 0 ? undefined : `${err}${out}`
    })
    expect(refused).toContain('PEPPER_NOT_PROPAGATED')
  }, 60_000)

  it('is mended by the right file and a new start', async () => {
    expect(await started.at(-1)?.stop('SIGINT')).toBe(0)
    place('p1', 'right')
    const sidecar = start('check')
    await untilPrinted(sidecar, '"state":"fresh"')
    expect(await page('/readyz')).toMatch(/^200 /)
    expect(statusOf(await check(secret))).toBe(200)
    expect(statusOf(await check('bbb_live_ffffffffffff'))).toBe(401)
    expect(await page('/metrics')).toMatch(/^gatewarden_wrong_peppers 0$/m)
    expect((await createKey()).code).toBe(0)
  }, 60_000)
})

describe('a command that writes keys, with a pepper file of the wrong content', () => {
  const run = (command: 'admin' | 'bootstrap') => runGatewarden([command], adminEnvironment(), directory)

  it.each([
    ['admin', 'p1', "p1 is not pepper p1 of this database's API keys (setting peppers)"],
    ['admin', 'a1', "a1 is not pepper a1 of this database's admin keys (setting admin.pepper)"],
    ['bootstrap', 'a1', "a1 is not pepper a1 of this database's admin keys (setting admin.pepper)"],
  ] as const)(
    '%s refuses %s with one sentence and exit 78, and leaves what is there',
    async (command, file, text) => {
      place(file, 'wrong')
      try {
        const { code, stderr } = await run(command)
        const sentences = stderr.split('\n').filter(line => line.startsWith(`gatewarden ${command}:`))
        expect(sentences).toEqual([expect.stringContaining(`${directory}/${text}`)])
        expect(stderr).not.toContain(contents[file].wrong)
        expect(code).toBe(78)
      } finally {
        place(file, 'right')
      }
      expect(statusOf(await check(secret))).toBe(200)
      expect((await createKey()).code).toBe(0) // the admin with the right files goes on
    },
    60_000,
  )
})

describe('a proof that an admin with the wrong file wrote first, as an upgrade could bring about', () => {
  it('takes nothing from a check that finds its keys, and is mended as the documentation says', async () => {
    const rows = database.client()
    await rows.connect()
    try {
      await rows.query("UPDATE gatewarden.pepper_proofs SET proof = sha256('wrong') WHERE purpose = 'api_keys'")
      await until('it is found out', async () => (await page('/metrics')).includes('gatewarden_wrong_peppers 1'))
      expect(statusOf(await check(secret))).toBe(200)
      expect(statusOf(await check('bbb_live_ffffffffffff'))).toBe(503)
      expect(await page('/readyz')).toMatch(/^200 /)
      await rows.query(
        "SET ROLE gw_owner; DELETE FROM gatewarden.pepper_proofs WHERE purpose = 'api_keys' AND pepper_id = 'p1'; RESET ROLE",
      )
      await until('it is forgotten', async () => statusOf(await check('bbb_live_ffffffffffff')) === 401)
      await until('admin writes the right one', async () => (await createKey()).code === 0)
      expect((await rows.query('SELECT FROM gatewarden.pepper_proofs')).rowCount).toBe(2)
      expect(await page('/metrics')).toMatch(/^gatewarden_wrong_peppers 0$/m)
    } finally {
      await rows.end()
    }
  }, 60_000)
})

// The database goes and comes back under a running check process behind Envoy (faults.md F1, 4.40, section 8): what was proved is
// answered until the lease ends, then 503 in the product's own shape, never 401 or 403 for a key that may be good.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { credentials } from '@grpc/grpc-js'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { HealthCheckResponse_ServingStatus, HealthClient } from '../../src/gen/grpc/health/v1/health.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/store/embedded-postgres.ts'
import { digestOf } from '../check/check-stand.ts'
import { goldenHosts, goldenKey, goldenPattern, goldenRenderings } from '../core/cases.ts'
import { envoyConfig } from '../support/envoy-config.ts'
import { type EnvoyProcess, startEnvoy } from '../support/envoy-process.ts'
import { preparedDataDir } from '../support/postgres.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { transact } from '../support/rows.ts'
import { until } from '../support/until.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { insertGoldenRows } from './golden-rows.ts'
import { type CheckProcess, killProcesses, startCheckProcess, untilReady } from './processes.ts'
import { type RawAnswer, sendRaw } from './raw-request.ts'

const leaseMs = 7000
/** The lease is read at each Check; what is added is one sampling interval and a busy machine. */
const leaseSlackMs = 1000
/** Goal 2 s; a busy machine starts and reconnects more slowly. */
const recoveryLimitMs = 10_000
const suiteLimitMs = 60_000

const directory = mkdtempSync(join(tmpdir(), 'gw-out-'))
let dataDir = ''
let postgres: EmbeddedPostgres | undefined
let upstream: Upstream
let envoy: EnvoyProcess
let check: CheckProcess

const server = () => ({ host: join(dataDir, 'postgres'), port: 5432, user: 'postgres', database: 'base' })

async function startDatabase(): Promise<void> {
  postgres = await startEmbeddedPostgres({ dataDir, exclusive: false, fsync: false })
}

/** Ends the database as a crash does. */
async function killDatabase(): Promise<void> {
  const lockFile = join(dataDir, 'postgres/data/postmaster.pid')
  const pid = Number(readFileSync(lockFile, 'utf8').split('\n')[0])
  process.kill(pid, 'SIGKILL')
  await until('the database is gone', () => !existsSync(`/proc/${pid}/exe`))
}

async function withClient<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ ...server(), options: '-c search_path=gatewarden,pg_temp' })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

beforeAll(async () => {
  dataDir = await preparedDataDir()
  await startDatabase()
  await withClient(insertGoldenRows)
  await killDatabase()
  upstream = await startUpstream()
  check = await startCheckProcess({ directory, database: { servers: [server()] } }, 'check')
  envoy = await startEnvoy(
    envoyConfig(repositoryFile('envoy/golden.yaml'), {
      listeners: ['raw'],
      clusters: { gatewarden: { socket: check.socket }, api: { port: upstream.port } },
    }),
  )
})
afterAll(async () => {
  check?.close()
  await killProcesses()
  await envoy?.stop()
  await upstream?.stop()
  await postgres?.stop()
  rmSync(dataDir, { recursive: true, force: true })
  rmSync(directory, { recursive: true, force: true })
})

const bitbybit = (secret: string | null, path = '/customer/open/v1/customers'): Promise<RawAnswer> =>
  sendRaw(envoy.port('raw'), {
    path,
    host: goldenHosts.bitbybit,
    lines: secret === null ? [] : [`x-api-key: ${secret}`],
  })
const bearer = (product: 'billoget' | 'bitgpt', path: string, secret: string): Promise<RawAnswer> =>
  sendRaw(envoy.port('raw'), { path, host: goldenHosts[product], lines: [`authorization: Bearer ${secret}`] })

function expectUnavailable(product: 'bitbybit' | 'billoget' | 'bitgpt', answer: RawAnswer): void {
  const rendering = goldenRenderings[product]['unavailable']
  expect(answer.status).toBe(503)
  expect(answer.body).toMatch(goldenPattern(rendering?.body ?? '', {}))
  expect(answer.header('retry-after')).toMatch(/^[123]$/)
  expect(answer.header('cache-control')).toBe('no-store')
  expect(answer.header('content-type')).toBe('application/json')
}

/** What every product says of itself, and what needs no table. */
async function expectOutage(): Promise<void> {
  expectUnavailable('bitbybit', await bitbybit(goldenKey('B1').secret))
  expectUnavailable('bitbybit', await bitbybit('bbb_live_ffffffffffff')) // unknown, as far as anybody can tell
  expectUnavailable('bitbybit', await bitbybit(goldenKey('B4').secret)) // revoked
  expectUnavailable('billoget', await bearer('billoget', '/v1/api/public/budgets', goldenKey('L1').secret))
  expectUnavailable('bitgpt', await bearer('bitgpt', '/invoices', goldenKey('G4').secret))
  expect((await bitbybit(null)).status).toBe(401)
  expect((await bitbybit('not-a-key')).status).toBe(401)
  expect((await bitbybit(goldenKey('B1').secret, '/customer/open/v1/../x')).status).toBe(400)
}

async function servingStatus(): Promise<HealthCheckResponse_ServingStatus> {
  const health = new HealthClient(`unix:${check.socket}`, credentials.createInsecure())
  try {
    return await new Promise((resolve, reject) => {
      health.check({ service: 'envoy.service.auth.v3.Authorization' }, (error, reply) =>
        error === null ? resolve(reply.status) : reject(error),
      )
    })
  } finally {
    health.close()
  }
}

it(
  'a check process starts without its database: it listens, answers 503 and NOT_SERVING, and serves once it has loaded',
  async () => {
    await until('it listens', async () => (await check.ready()) === false, 20_000)
    expect(await servingStatus()).toBe(HealthCheckResponse_ServingStatus.NOT_SERVING)
    await expectOutage()
    await startDatabase()
    const began = performance.now()
    await untilReady(check, recoveryLimitMs)
    process.stdout.write(
      `ready ${Math.round(performance.now() - began)} ms after the database came; goal 2 s and one load\n`,
    )
    expect(await servingStatus()).toBe(HealthCheckResponse_ServingStatus.SERVING)
    expect((await bitbybit(goldenKey('B1').secret)).status).toBe(200)
    expect((await bitbybit('bbb_live_ffffffffffff')).status).toBe(401)
  },
  suiteLimitMs,
)

it(
  'a killed database: answers until the lease ends, then 503 and nothing else, and recovery by itself',
  async () => {
    await killDatabase()
    const seen = new Map<number, number>()
    let age = 0
    await until(
      'the lease has ended',
      async () => {
        const { status } = await bitbybit(goldenKey('B1').secret)
        age = (await check.metric('gatewarden_confirm_age_seconds')) * 1000
        seen.set(status, (seen.get(status) ?? 0) + 1)
        return status !== 200
      },
      leaseMs + 5000,
    )
    expect([...seen.keys()].sort()).toEqual([200, 503])
    expect(age).toBeGreaterThanOrEqual(leaseMs)
    expect(age).toBeLessThan(leaseMs + leaseSlackMs)
    await expectOutage()
    // All hosts share the database: taking them out of Envoy would turn our 503 into its bare one.
    expect(await servingStatus()).toBe(HealthCheckResponse_ServingStatus.SERVING)
    expect(await check.metric('gatewarden_fresh')).toBe(0)
    await startDatabase()
    const began = performance.now()
    await until('it recovers', async () => (await bitbybit(goldenKey('B1').secret)).status === 200, recoveryLimitMs)
    process.stdout.write(`recovered ${Math.round(performance.now() - began)} ms after the database; goal 2 s\n`)
    expect((await bitbybit(goldenKey('B4').secret)).status).toBe(401)
    expect(await check.metric('gatewarden_feed_reload_total{cause="history"}')).toBeNaN()
    // Every answer of both outages is in the usage log, once.
    const recorded = await check.metric('gatewarden_usage_recorded_total')
    expect(recorded).toBeGreaterThan([...seen.values()].reduce((sum, count) => sum + count, 0))
    const rows = () =>
      withClient(async client => {
        const text = 'SELECT count(*)::int AS rows, count(DISTINCT decision_id)::int AS decisions FROM usage_log'
        return (await client.query<{ rows: number; decisions: number }>(text)).rows[0]
      })
    await until('what was recorded is stored', async () => ((await rows())?.rows ?? 0) >= recorded, recoveryLimitMs)
    expect(await rows()).toEqual({ rows: recorded, decisions: recorded })
  },
  suiteLimitMs,
)

/** Columns of one row, each with a value that no writer of ours could have stored. */
const poisons: readonly (readonly [column: string, value: unknown])[] = [
  ['scope_mode', 9],
  ['allowlist_binary', Buffer.alloc(17, 4)],
  ['allowlist_binary', Buffer.alloc(18, 255)],
  ['environment', ''],
  ['scopes', ['']],
  ['rate_limit', -1],
  ['expire_time', '250000-01-01T00:00:00Z'],
]

it(
  'a row that cannot be read condemns its own key with 503, until it is mended',
  async () => {
    const victim = goldenKey('B1')
    const others = async () => [
      (await bitbybit(goldenKey('B2').secret)).status,
      (await bitbybit(goldenKey('B4').secret)).status,
      (await bitbybit('bbb_live_ffffffffffff')).status,
      (await bearer('billoget', '/v1/api/public/budgets', goldenKey('L1').secret)).status,
    ]
    const before = await others()
    expect(before).toEqual([200, 401, 401, 200])
    await withClient(async client => {
      await client.query('SET session_replication_role = replica') // no trigger of ours runs
      const { rows } = await client.query<{ conname: string }>(
        `SELECT conname FROM pg_constraint WHERE conrelid = 'api_keys'::regclass AND contype = 'c'`,
      )
      for (const { conname } of rows) await client.query(`ALTER TABLE api_keys DROP CONSTRAINT ${conname}`)
      const digest = digestOf(victim.secret)
      const record = () => client.query('SELECT gw_record($1, $2, $3)', [[1], [digest], [null]])
      const mended = await client.query<Record<string, unknown>>('SELECT * FROM api_keys WHERE digest = $1', [digest])
      for (const [column, value] of poisons) {
        const set = `UPDATE api_keys SET ${column} = $2 WHERE digest = $1`
        await transact(client, async () => {
          await client.query(set, [digest, value])
          await record()
        })
        await until(`${column} = ${value} is applied`, async () => (await bitbybit(victim.secret)).status === 503)
        expectUnavailable('bitbybit', await bitbybit(victim.secret))
        expect(await others(), column).toEqual(before)
        expect(await check.metric('gatewarden_table_invalid')).toBe(1)
        await transact(client, async () => {
          await client.query(set, [digest, mended.rows[0]?.[column]])
          await record()
        })
        await until('the mended row is applied', async () => (await bitbybit(victim.secret)).status === 200)
      }
      expect(await check.metric('gatewarden_table_invalid')).toBe(0)
    })
    expect(check.running.output()).not.toContain(victim.secret)
  },
  suiteLimitMs,
)

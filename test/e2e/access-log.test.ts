// Every request through a real Envoy on the shipped configuration gets its end into its row of the usage log: final status, duration,
// bytes, flags, upstream. The check role is wired as in production, the database is real; streams end and servers die meanwhile.
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, request as httpRequest, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningAls, startAls } from '../../src/bin/run-als.ts'
import { systemClock, systemTimers } from '../../src/bin/system-clock.ts'
import { loadConfig } from '../../src/config/load-config.ts'
import { createLog } from '../../src/observe/log.ts'
import { goldenHosts, goldenKey } from '../core/cases.ts'
import { envoyConfig } from '../support/envoy-config.ts'
import { type EnvoyProcess, startEnvoy } from '../support/envoy-process.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'
import { type CheckRole, startCheckRole } from './check-role.ts'
import { editEnvoy, patient } from './edit-envoy.ts'
import { insertGoldenRows } from './golden-rows.ts'

/** A record rests a while, and Envoy flushes four times a second; the rest is a busy machine. */
const joinedWithinMs = 30_000
const base = '/customer/open/v1'
const b1 = goldenKey('B1')

const database = useTestDatabase()
let client: pg.Client

interface Row {
  readonly path: string
  readonly decision: string
  readonly status: number
  readonly final_status: number | null
  readonly duration_us: bigint | null
  readonly request_bytes: bigint | null
  readonly response_bytes: bigint | null
  readonly response_flags: string | null
  readonly upstream: string | null
  readonly grpc_status: number | null
}

/** Rows whose path begins so, in order of time. */
async function rowsOf(path: string): Promise<readonly Row[]> {
  const { rows } = await client.query<Row>(
    `SELECT path, decision, status, final_status, duration_us, request_bytes, response_bytes, response_flags, upstream,
       grpc_status FROM usage_log WHERE starts_with(path, $1) ORDER BY time`,
    [`${base}${path}`],
  )
  return rows
}

async function joined(path: string, count: number): Promise<readonly Row[]> {
  const of = async () => (await rowsOf(path)).filter(row => row.final_status !== null)
  await until(`${count} rows of ${path} are joined`, async () => (await of()).length >= count, joinedWithinMs)
  const rows = await rowsOf(path)
  expect(rows.length).toBe(count)
  return rows
}

interface Sent {
  readonly method?: string
  readonly key?: string
  readonly query?: string
  readonly body?: string
}

/** One request on a connection of its own. @returns its status; 0 when it got none */
function send(port: number, path: string, sent: Sent = {}): Promise<number> {
  return new Promise(resolve => {
    const { method = 'GET', key = b1.secret, query = '', body } = sent
    const headers = { host: goldenHosts.bitbybit, ...(key === '' ? {} : { 'x-api-key': key }) }
    const call = httpRequest(
      { host: '127.0.0.1', port, method, path: `${base}${path}${query}`, headers, agent: false },
      response => response.resume().on('end', () => resolve(response.statusCode ?? 0)),
    )
    call.on('error', () => resolve(0))
    call.end(body)
  })
}

/** Paths that the API has been asked for. */
const arrived = new Set<string>()

/** An API that does what the query says. */
async function startApi(): Promise<Server> {
  const server = createServer((request, response) => {
    request.resume()
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://api')
    arrived.add(pathname)
    const wait = Number(searchParams.get('wait') ?? 0)
    setTimeout(() => {
      if (searchParams.has('die')) {
        request.socket.destroy()
        return
      }
      if (searchParams.has('grpc')) response.setHeader('grpc-status', '5')
      response.writeHead(Number(searchParams.get('status') ?? 200)).end('x'.repeat(1000))
    }, wait)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return server
}

const directory = mkdtempSync(join(tmpdir(), 'gw-als-'))
let api: Server
let apiPort = 0

beforeAll(async () => {
  client = database().client()
  await client.connect()
  await insertGoldenRows(client)
  api = await startApi()
  apiPort = (api.address() as AddressInfo).port
})
afterAll(async () => {
  api?.closeAllConnections()
  api?.close()
  await client?.end()
  rmSync(directory, { recursive: true, force: true })
})

async function edge(role: CheckRole, als = role.als): Promise<EnvoyProcess> {
  const [gatewarden] = role.endpoints
  if (gatewarden === undefined) throw new Error('the check role listens nowhere')
  const shipped = envoyConfig(repositoryFile('envoy/envoy-uds.yaml'), {
    listeners: ['edge'],
    clusters: { gatewarden, gatewarden_als: als, api: { port: apiPort } },
  })
  return startEnvoy(
    editEnvoy(shipped, edit => patient(edit, 'edge')),
    { concurrency: 2 },
  )
}

const startRole = (spool: string) =>
  startCheckRole(database().database, {
    directory,
    settings: { GATEWARDEN_CLIENT_ADDRESS_MODE: 'grpc-metadata', GATEWARDEN_USAGE_SPOOL_DIR: join(directory, spool) },
  })

describe('a request', () => {
  let role: CheckRole
  let envoy: EnvoyProcess
  let statuses: readonly number[]
  const put = { method: 'PUT', body: 'y'.repeat(50_000) }
  const sent: readonly (readonly [string, Sent])[] = [
    ['/customers/allowed', { query: '?wait=50' }],
    ['/customers/body', put],
    ['/customers/failed', { query: '?status=500' }],
    ['/customers/grpc', { query: '?grpc' }],
    ['/customers/dropped', { query: '?die' }],
    ['/customers/keyless', { key: '' }],
    ['/orders/forbidden', { method: 'POST' }],
  ]
  const statusOf = (path: string) => statuses[sent.findIndex(([each]) => each === path)]

  beforeAll(async () => {
    role = await startRole('spool')
    envoy = await edge(role)
    statuses = await Promise.all(sent.map(([path, how]) => send(envoy.port('edge'), path, how)))
    await leave('/customers/gone')
  })
  afterAll(async () => {
    await envoy?.stop()
    await role?.stop()
  })

  /** Asks, and goes away while the API works. */
  async function leave(path: string): Promise<void> {
    const headers = { host: goldenHosts.bitbybit, 'x-api-key': b1.secret }
    const port = envoy.port('edge')
    const call = httpRequest({ host: '127.0.0.1', port, path: `${base}${path}?wait=5000`, headers, agent: false })
    call.on('error', () => undefined)
    call.end()
    await until('the API has it', () => arrived.has(`${base}${path}`))
    call.destroy()
  }

  it('that is allowed gets the status of the API, its time and its sizes', async () => {
    const [row] = await joined('/customers/allowed', 1)
    expect(row).toMatchObject({
      decision: 'allow',
      status: 0,
      final_status: 200,
      response_flags: '',
      upstream: `api 127.0.0.1:${apiPort}`,
      grpc_status: null,
    })
    expect(Number(row?.duration_us)).toBeGreaterThan(49_000)
    expect(Number(row?.duration_us)).toBeLessThan(10_000_000)
    expect(Number(row?.request_bytes)).toBeGreaterThan(100)
    expect(Number(row?.response_bytes)).toBeGreaterThan(1000)
  })

  it('with a body has its octets counted', async () => {
    const [row] = await joined('/customers/body', 1)
    expect(Number(row?.request_bytes)).toBeGreaterThan(put.body.length)
  })

  it('that the API fails, answers in gRPC, or drops gets that', async () => {
    expect((await joined('/customers/failed', 1))[0]).toMatchObject({ final_status: 500, decision: 'allow' })
    expect((await joined('/customers/grpc', 1))[0]).toMatchObject({ final_status: 200, grpc_status: 5 })
    expect((await joined('/customers/dropped', 1))[0]).toMatchObject({ final_status: 503, response_flags: 'UC' })
    expect([statusOf('/customers/failed'), statusOf('/customers/dropped')]).toEqual([500, 503])
  })

  it('that is denied gets the status of the denial, its sizes, and no upstream', async () => {
    for (const path of ['/customers/keyless', '/orders/forbidden']) {
      const [row] = await joined(path, 1)
      expect(row).toMatchObject({ decision: 'deny', response_flags: 'UAEX', upstream: '' })
      expect([row?.final_status, row?.status]).toEqual([statusOf(path), statusOf(path)])
      expect(Number(row?.response_bytes)).toBeGreaterThan(50)
    }
  })

  it('whose client leaves before the answer says so', async () => {
    const [row] = await joined('/customers/gone', 1)
    expect(row).toMatchObject({ final_status: 0, decision: 'allow', response_flags: 'DC' })
  })

  it('of a run of hundreds gets its own end, every single one', async () => {
    const count = 400
    const answers = new Map<string, number>()
    const ask = async (number: number) => {
      const path = `/products/run-${number}`
      const how = { query: number % 5 === 0 ? '?status=404' : '', ...(number % 7 === 0 ? { key: 'x' } : {}) }
      answers.set(`${base}${path}`, await send(envoy.port('edge'), path, how))
    }
    for (let start = 0; start < count; start += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, index) => ask(start + index)))
    }
    const rows = await joined('/products/run-', count)
    expect(new Map(rows.map(row => [row.path, row.final_status]))).toEqual(answers)
    expect(rows.every(row => row.duration_us !== null && row.request_bytes !== null)).toBe(true)
  })
})

/** Rows of a path that are stored, joined or not. */
async function decided(path: string): Promise<number> {
  return (await rowsOf(path)).length
}

describe('an access log service in another process than the one that decides', () => {
  const listen = `unix:${join(directory, 'other.sock')}`
  const log = createLog('error', { write: text => process.stderr.write(text) })
  let role: CheckRole
  let envoy: EnvoyProcess
  let als: RunningAls

  async function startOther(): Promise<RunningAls> {
    const environment = {
      DATABASE_URL: 'postgres://unused',
      GATEWARDEN_ALS_LISTEN: listen,
      GATEWARDEN_PEPPERS: 'p1=unused',
      GATEWARDEN_CLIENT_ADDRESS_MODE: 'source-address',
    }
    const loaded = loadConfig({ role: 'check', cwd: directory, file: undefined, environment })
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.faults))
    return startAls(loaded.config, {
      database: database().database,
      log,
      clock: systemClock,
      timers: systemTimers,
      isRecorded: () => true,
      streamAgeMs: 400,
    })
  }

  beforeAll(async () => {
    als = await startOther()
    role = await startRole('other-spool')
    envoy = await edge(role, { socket: listen.replace('unix:', '') })
  })
  afterAll(async () => {
    await envoy?.stop()
    await als?.drain({ noticeMs: 0, deadlineMs: 0 })
    await als?.end(0)
    await role?.stop()
  })

  it('completes the rows that the other stores, also while its streams end and begin anew all the time', async () => {
    const count = 100
    for (let number = 0; number < count; number++) {
      await send(envoy.port('edge'), `/messages/other-${number}`)
      await sleep(20)
    }
    const rows = await joined('/messages/other-', count)
    expect(rows.every(row => row.final_status === (row.status === 0 ? 200 : row.status))).toBe(true)
    expect(als.join.joinedLater).toBe(count)
    expect(als.streams.begun).toBeGreaterThan(3)
  })

  it('that is killed and comes back completes what comes then; no row is wrong', async () => {
    await als.drain({ noticeMs: 0, deadlineMs: 0 })
    await als.end(2000)
    for (let number = 0; number < 5; number++) await send(envoy.port('edge'), `/messages/gap-${number}`)
    await until('the rows of the gap are stored', async () => (await decided('/messages/gap-')) === 5, joinedWithinMs)
    als = await startOther()
    // Envoy opens a new stream when it has something to tell; what it was told in the gap may be lost.
    await until(
      'Envoy has found it again',
      async () => {
        await send(envoy.port('edge'), '/messages/probe')
        return als.join.newHalves + als.join.joinedLater > 0
      },
      joinedWithinMs,
    )
    for (let number = 0; number < 20; number++) await send(envoy.port('edge'), `/messages/again-${number}`)
    await joined('/messages/again-', 20)
    for (const row of await rowsOf('/messages/gap-'))
      expect([null, row.status === 0 ? 200 : row.status]).toContain(row.final_status)
  })
})

// How a check process ends (field report 5, faults.md section 5): it says so first, answers all the while, and is gone in time;
// behind an Envoy with two of them a rolling restart fails no request.
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { credentials, status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HealthCheckResponse_ServingStatus, HealthClient } from '../../src/gen/grpc/health/v1/health.ts'
import { goldenHosts, goldenKey } from '../core/cases.ts'
import { envoyConfig } from '../support/envoy-config.ts'
import { startEnvoy } from '../support/envoy-process.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'
import { startUpstream } from '../support/upstream.ts'
import { editEnvoy, patient } from './edit-envoy.ts'
import { insertGoldenRows } from './golden-rows.ts'
import { startLoad } from './load.ts'
import {
  type CheckProcess,
  killProcesses,
  openCheckClient,
  type Site,
  startCheckProcess,
  untilReady,
} from './processes.ts'

/** SIGTERM to exit, faults.md section 5. */
const goneWithinMs = 15_000
const rollingLoadPerSecond = 100
const suiteLimitMs = 60_000

const database = useTestDatabase()
/** For the one whose load is held up. */
const lockedDatabase = useTestDatabase()
const directory = mkdtempSync(join(tmpdir(), 'gw-drain-'))
let site: Site
const allowed = {
  path: '/customer/open/v1/customers',
  host: goldenHosts.bitbybit,
  headers: [['x-api-key', goldenKey('B1').secret]],
} as const

beforeAll(async () => {
  site = { directory, database: database().database }
  const client = database().client()
  await client.connect()
  await insertGoldenRows(client).finally(() => client.end())
})
afterAll(async () => {
  await killProcesses()
  rmSync(directory, { recursive: true, force: true })
})

/** A connection whose preface, and perhaps the beginning of a request, has been sent, and then nothing more. */
async function halfOpen(port: number, octets: Buffer): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.resume()
  await new Promise<void>(resolve => socket.write(octets, () => resolve()))
  return socket
}

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const emptySettings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])
/** HEADERS of a request that announces a thousand octets, without the octets that would follow. */
const unfinishedHeaders = Buffer.from([0, 0x03, 0xe8, 1, 4, 0, 0, 0, 1, 0x83])

/** States that a watcher is told, each once: by Watch, or where the transport has none by asking again and again. */
function watchHealth(port: number, told: string[]): { readonly ended: Promise<void> } {
  const request = { service: 'envoy.service.auth.v3.Authorization' }
  const health = new HealthClient(`127.0.0.1:${port}`, credentials.createInsecure())
  const take = ({ status }: { status: number }) => {
    const state = HealthCheckResponse_ServingStatus.SERVING === status ? 'SERVING' : 'NOT_SERVING'
    if (told.at(-1) !== state) told.push(state)
  }
  const ended = new Promise<void>(resolve => {
    const ask = () =>
      health.check(request, (error, reply) => {
        if (error !== null) return resolve()
        take(reply)
        setTimeout(ask, 20)
      })
    const watch = health.watch(request)
    watch.on('data', take)
    watch.on('error', () => undefined) // the status follows
    watch.on('status', ({ code }: { code: number }) => (code === status.UNIMPLEMENTED ? ask() : resolve()))
  })
  return { ended: ended.finally(() => health.close()) }
}

/** A Check whose message never ends: headers, and then silence. */
function hangingCall(port: number): { readonly ended: Promise<void>; close(): void } {
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  session.on('error', () => undefined)
  const stream = session.request({
    ':method': 'POST',
    ':path': '/envoy.service.auth.v3.Authorization/Check',
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  stream.on('error', () => undefined)
  stream.write(Buffer.from([0, 0, 0, 1, 0])) // a frame of 256 octets that do not come
  return { ended: new Promise(resolve => stream.once('close', () => resolve())), close: () => session.destroy() }
}

// Each has a process of its own, and most of the time is the notice of 5 s: they run beside each other.
describe.concurrent('SIGTERM', () => {
  it(
    'is told to watchers first, answers what runs and what comes, cuts what hangs, and ends with 0',
    async ({ expect }) => {
      const check = await startCheckProcess(site, 'lonely')
      await untilReady(check)
      const watched: string[] = []
      const watch = watchHealth(check.port, watched)
      await until('the watch says SERVING', () => watched.length === 1)
      const idle = await halfOpen(check.port, Buffer.concat([preface, emptySettings]))
      const stuck = await halfOpen(check.port, Buffer.concat([preface, emptySettings, unfinishedHeaders]))
      const silent = await halfOpen(check.port, preface.subarray(0, 7))
      const hanging = hangingCall(check.port)
      const tcp = openCheckClient(`127.0.0.1:${check.port}`)
      expect(await tcp.outcome(allowed)).toBe('allow')

      const began = performance.now()
      let exited: { code: number | null; afterMs: number } | undefined
      const stopped = check.running.stop('SIGTERM', 20_000).then(code => {
        exited = { code, afterMs: performance.now() - began }
      })
      await until('the watch says NOT_SERVING', () => watched.at(-1) === 'NOT_SERVING', 2000)
      expect(performance.now() - began).toBeLessThan(2000)
      // While the notice lasts, calls on the old connection and on new ones are answered as ever.
      const answers = new Map<string, number>()
      let failedAfterMs = 0
      while (failedAfterMs === 0) {
        const fresh = openCheckClient(`127.0.0.1:${check.port}`)
        const results = await Promise.allSettled([tcp, check, fresh].map(each => each.outcome(allowed)))
        fresh.close()
        for (const result of results) {
          if (result.status === 'fulfilled') answers.set(result.value, (answers.get(result.value) ?? 0) + 1)
          else failedAfterMs = performance.now() - began
        }
      }
      expect([...answers.keys()]).toEqual(['allow'])
      expect(failedAfterMs).toBeGreaterThan(4500)
      await stopped
      expect(exited?.code).toBe(0)
      expect(exited?.afterMs).toBeLessThan(goneWithinMs)
      expect(watched).toEqual(['SERVING', 'NOT_SERVING'])
      await watch.ended
      await hanging.ended
      for (const socket of [idle, stuck, silent]) socket.destroy()
      hanging.close()
      tcp.close()
      check.close()
    },
    suiteLimitMs,
  )

  it(
    'for the second time ends the process at once with 1',
    async ({ expect }) => {
      const check = await startCheckProcess(site, 'twice')
      await untilReady(check)
      const hanging = hangingCall(check.port)
      process.kill(check.running.pid, 'SIGTERM')
      await until('it drains', async () => !(await check.ready()))
      const began = performance.now()
      expect(await check.running.stop('SIGTERM', 10_000)).toBe(1)
      expect(performance.now() - began).toBeLessThan(2000)
      await hanging.ended
      check.close()
    },
    suiteLimitMs,
  )

  it(
    'during the load ends with 0 and frees the load slot',
    async ({ expect }) => {
      const blocker = lockedDatabase().client()
      await blocker.connect()
      await blocker.query('BEGIN')
      await blocker.query('LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE')
      const observer = lockedDatabase().client()
      await observer.connect()
      const check = await startCheckProcess({ directory, database: lockedDatabase().database }, 'loading')
      const slots = async () => {
        const { rows } = await observer.query<{ count: bigint }>(
          `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        )
        return Number(rows[0]?.count)
      }
      // More than one where the first load was given up for its stall while its backend waits for the lock.
      await until('the load has its slot', async () => (await slots()) >= 1, 20_000)
      expect(await check.outcome(allowed)).toBe('authz_unavailable')
      const began = performance.now()
      expect(await check.running.stop('SIGTERM', 20_000)).toBe(0)
      expect(performance.now() - began).toBeLessThan(goneWithinMs)
      // A backend that waits for a lock does not notice that its client has gone; it does as soon as it may go on.
      await blocker.end()
      await until('the slot is free', async () => (await slots()) === 0, 3000)
      await observer.end()
      check.close()
    },
    suiteLimitMs,
  )

  it(
    'before anything is started ends with 0',
    async ({ expect }) => {
      const check = await startCheckProcess(site, 'early')
      await until('it has begun', () => check.running.output().length > 0, 20_000)
      expect(await check.running.stop('SIGTERM', 20_000)).toBe(0)
      check.close()
    },
    suiteLimitMs,
  )
})

describe('two check processes behind one Envoy', () => {
  it(
    'fail no request while one after the other is replaced under load',
    async () => {
      const upstream = await startUpstream()
      const ports: number[] = []
      const processes: CheckProcess[] = []
      for (const name of ['a', 'b']) {
        const check = await startCheckProcess(site, name)
        processes.push(check)
        ports.push(check.port)
      }
      await Promise.all(processes.map(each => untilReady(each)))
      const shipped = envoyConfig(repositoryFile('envoy/envoy.yaml'), {
        listeners: ['edge'],
        clusters: {
          gatewarden: { port: 1 }, // replaced below: there are two
          api: { port: upstream.port },
        },
      })
      const config = editEnvoy(shipped, edit => {
        patient(edit, 'edge')
        edit.cluster('gatewarden')['load_assignment'] = {
          cluster_name: 'gatewarden',
          endpoints: [
            {
              lb_endpoints: ports.map(port_value => ({
                endpoint: { address: { socket_address: { address: '127.0.0.1', port_value } } },
              })),
            },
          ],
        }
      })
      const envoy = await startEnvoy(config)
      const agent = new Agent({ keepAlive: true, maxSockets: 64 })
      const ask = () =>
        new Promise<string>((resolve, reject) => {
          const call = request(
            {
              agent,
              ...{ host: '127.0.0.1', port: envoy.port('edge'), path: allowed.path },
              headers: { host: allowed.host, 'x-api-key': goldenKey('B1').secret },
            },
            response => {
              response.resume()
              response.once('end', () => resolve(String(response.statusCode)))
            },
          )
          call.once('error', reject)
          call.end()
        })
      await until('Envoy has found a healthy process', async () => (await ask()) === '200')
      const load = startLoad(rollingLoadPerSecond, ask)
      const codes: (number | null)[] = []
      for (const [index, old] of processes.entries()) {
        codes.push(await old.running.stop('SIGTERM', 20_000))
        old.close()
        if (index > 0) break // the first replacement serves alone now
        const next = await startCheckProcess(site, `${index}-next`, {
          GATEWARDEN_CHECK_LISTEN: `127.0.0.1:${old.port}`,
        })
        processes.push(next)
        await untilReady(next)
        await until('Envoy calls it healthy again', async () => (await healthyHosts(envoy.adminPort)) === 2)
      }
      await load.stop()
      expect(codes).toEqual([0, 0])
      expect([...load.answers]).toEqual([['200', load.sent()]])
      expect(load.sent()).toBeGreaterThan(500)
      await processes.at(-1)?.running.stop('SIGINT')
      agent.destroy()
      await envoy.stop()
      await upstream.stop()
    },
    suiteLimitMs,
  )
})

async function healthyHosts(adminPort: number): Promise<number> {
  const page = await fetch(`http://127.0.0.1:${adminPort}/stats?filter=cluster.gatewarden.membership_healthy`)
  return Number(/: (\d+)/.exec(await page.text())?.[1])
}

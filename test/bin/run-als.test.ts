// The access log service as it is wired: where it listens and for whom, what its health says, how it ends, and that a database
// that is away is no reason not to listen.
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ChannelCredentials, type ClientWritableStream, credentials } from '@grpc/grpc-js'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { Profiles } from '../../src/bin/profiles.ts'
import { type RunningAls, recordedBy, startAls } from '../../src/bin/run-als.ts'
import { systemClock, systemTimers } from '../../src/bin/system-clock.ts'
import { loadConfig } from '../../src/config/load-config.ts'
import { HealthClient } from '../../src/gen/grpc/health/v1/health.ts'
import { createLog } from '../../src/observe/log.ts'
import { independentClient } from '../rpc/harness.ts'
import { issueCertificate } from '../support/certificate-authority.ts'
import { until } from '../support/until.ts'
import { uuid7 } from '../usage/halves.ts'
import { entry, httpLogs, identifier } from '../usage/log-entries.ts'

const directory = mkdtempSync(join(tmpdir(), 'gw-run-als-'))
const socket = join(directory, 'als.sock')
const service = 'envoy.service.accesslog.v3.AccessLogService'
const running: RunningAls[] = []

afterEach(async () => {
  for (const als of running.splice(0)) {
    await als.drain({ noticeMs: 0, deadlineMs: 0 })
    await als.end(0)
  }
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

async function start(settings: Readonly<Record<string, string>>): Promise<RunningAls> {
  const environment = {
    DATABASE_URL: 'postgres://unused',
    GATEWARDEN_PEPPERS: 'p1=unused',
    GATEWARDEN_CLIENT_ADDRESS_MODE: 'source-address',
    ...settings,
  }
  const loaded = loadConfig({ role: 'check', cwd: directory, file: undefined, environment })
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.faults))
  const als = await startAls(loaded.config, {
    // Nobody listens there.
    database: { servers: [{ host: directory, user: 'nobody', database: 'none' }] },
    log: createLog('error', { write: () => undefined }),
    clock: systemClock,
    timers: systemTimers,
    isRecorded: () => true,
  })
  running.push(als)
  return als
}

/** State of a service, or the message of the error. */
function health(
  address: string,
  name: string,
  channel: ChannelCredentials = credentials.createInsecure(),
): Promise<unknown> {
  const client = new HealthClient(address, channel)
  return new Promise(resolve => {
    client.check({ service: name }, (error, reply) => {
      client.close()
      resolve(error === null ? reply.status : error.message)
    })
  })
}

const serving = 1

describe('the access log service', () => {
  it('listens on a socket for its group and on loopback, with health on both, whether or not the database answers', async () => {
    const als = await start({ GATEWARDEN_ALS_LISTEN: `unix:${socket},127.0.0.1:0` })
    expect(als.addresses).toEqual([`unix:${socket}`, expect.stringMatching(/^127\.0\.0\.1:[1-9]\d+$/)])
    expect(statSync(socket).mode & 0o777).toBe(0o660)
    for (const address of als.addresses) {
      for (const name of ['', service]) expect(await health(address, name)).toBe(serving)
    }
  })

  it('takes entries while the database is away, and ends in time', async () => {
    const als = await start({ GATEWARDEN_ALS_LISTEN: `unix:${socket}` })
    const client = independentClient('envoy/service/accesslog/v3/als.proto', service, `unix:${socket}`)
    let ended = ''
    const open = client['StreamAccessLogs'] as (done: (error: Error | null) => void) => ClientWritableStream<unknown>
    const stream = open.call(client, error => {
      ended = error === null ? 'ok' : error.message
    })
    stream.write({ identifier: identifier(), ...httpLogs([entry({ decisionId: uuid7(Date.now()) })]) })
    await until('it is taken', () => als.join.newHalves === 1)
    const began = performance.now()
    await als.drain({ noticeMs: 0, deadlineMs: 2000 })
    await als.end(1000)
    expect(performance.now() - began).toBeLessThan(3500)
    expect(ended).toBe('ok')
    client.close()
  })

  it('that cannot have all its addresses has none', async () => {
    const [taken = ''] = (await start({ GATEWARDEN_ALS_LISTEN: '127.0.0.1:0' })).addresses
    await expect(start({ GATEWARDEN_ALS_LISTEN: `unix:${socket},${taken}` })).rejects.toThrow(
      `cannot listen on ${taken}`,
    )
    await expect(
      new Promise((resolve, reject) => connect(socket).once('connect', resolve).once('error', reject)),
    ).rejects.toThrow(/ECONNREFUSED|ENOENT/)
  })

  it('speaks TLS on TCP where checks do, and hears nobody without a certificate', async () => {
    const { certificateFile, keyFile, caFile } = issueCertificate(directory, ['localhost'])
    const tls = { GATEWARDEN_CHECK_TLS_CERT: certificateFile, GATEWARDEN_CHECK_TLS_KEY: keyFile }
    const listen = { GATEWARDEN_ALS_LISTEN: `unix:${socket},127.0.0.1:0` }
    const channel = ChannelCredentials.createSsl(readFileSync(caFile))
    const [unix = '', tcp = ''] = (await start({ ...listen, ...tls })).addresses
    const name = tcp.replace('127.0.0.1', 'localhost')
    expect(await health(unix, '')).toBe(serving)
    expect(await health(name, '', channel)).toBe(serving)
    expect(await health(tcp, '')).not.toBe(serving)
    for (const als of running.splice(0)) await als.drain({ noticeMs: 0, deadlineMs: 0 })
    const mutual = await start({ ...listen, ...tls, GATEWARDEN_CHECK_TLS_CLIENT_CA: caFile })
    expect(await health((mutual.addresses[1] ?? '').replace('127.0.0.1', 'localhost'), '', channel)).not.toBe(serving)
  })
})

it('halves of requests that a profile does not record wait for nothing, as the profiles are now', () => {
  type Change = Parameters<Profiles['subscribe']>[0]
  let change: Change = () => undefined
  const profiles = {
    subscribe: (on: Change) => {
      change = on
    },
  } as unknown as Profiles
  const isRecorded = recordedBy(profiles)
  const set = (record: string) =>
    ({ profiles: [{ name: 'petshop', usageLog: { record } }] }) as unknown as Parameters<Change>[0]
  change(set('denied'))
  expect([isRecorded('petshop', true), isRecorded('petshop', false), isRecorded('', true)]).toEqual([false, true, true])
  change(set('all'))
  expect(isRecorded('petshop', true)).toBe(true)
})

// `gatewarden check` and `gatewarden admin` as processes of their own on one real database, as production runs them.
// Everything listens on sockets of one directory or free loopback ports; processes are stopped by pid.
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { Client, credentials } from '@grpc/grpc-js'
import type { ClientConfig } from 'pg'
import { makeBootstrapToken } from '../../src/bin/bootstrap.ts'
import { AccessAdminService, AdminKey } from '../../src/gen/gatewarden/admin/v1/access_admin.ts'
import { openChannel, type RpcChannel } from '../../src/rpc/client.ts'
import type { Database } from '../../src/store/connection.ts'
import { type Answer, readAnswer } from '../check/check-stand.ts'
import { encodeCheck, type SentRequest } from '../check/encode-check.ts'
import { goldenSettings } from '../core/cases.ts'
import { freePort } from '../support/free-port.ts'
import { type Bounds, type Running, startGatewarden } from '../support/gatewarden-process.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { until } from '../support/until.ts'

/** Node starts, connects and loads; a busy machine takes its time. */
const startWithinMs = 30_000
const callDeadlineMs = 10_000
const adminPepper = randomBytes(32)

/** What a Check said: `allow` or the canonical reason. */
export type Outcome = string

export interface CheckClient {
  /** One Check. @throws when the call itself fails */
  ask(sent: SentRequest): Promise<Answer>
  /** The outcome of one Check. */
  outcome(sent: SentRequest): Promise<Outcome>
  close(): void
}

export interface CheckProcess extends CheckClient {
  readonly running: Running
  readonly port: number
  readonly socket: string
  /** The value of a metric's first sample with these labels; NaN: none. */
  metric(name: string): Promise<number>
  /** Whether /readyz says so. */
  ready(): Promise<boolean>
}

export interface AdminProcess {
  readonly running: Running
  readonly channel: RpcChannel
}

const processes = new Set<Running>()

function keep(running: Running): Running {
  processes.add(running)
  void running.exited.then(() => processes.delete(running))
  return running
}

/** Ends what a failed test has left running. For `afterAll`, before the database goes. */
export async function killProcesses(): Promise<void> {
  await Promise.all([...processes].map(each => each.stop('SIGKILL')))
}

/** Clients of one database under one directory. */
export interface Site {
  readonly directory: string
  readonly database: Database
  readonly profilesDir?: string
}

const outcomeOf = (answer: Answer): Outcome =>
  answer.outcome === 'allow' ? 'allow' : (answer.metadata['reason'] ?? '')

/** A client of one check listener: raw octets out, the reply read by the full decoder. */
export function openCheckClient(address: string): CheckClient {
  const options = { 'grpc.enable_channelz': 0, 'grpc.use_local_subchannel_pool': 1 } // a connection of its own
  const client = new Client(address, credentials.createInsecure(), options)
  const ask = (sent: SentRequest) =>
    new Promise<Answer>((resolve, reject) => {
      const pass = (octets: Buffer) => octets
      client.makeUnaryRequest<Buffer, Buffer>(
        '/envoy.service.auth.v3.Authorization/Check',
        pass,
        pass,
        encodeCheck(sent),
        { deadline: Date.now() + callDeadlineMs },
        (error, reply) => (error === null ? resolve(readAnswer(reply)) : reject(error)),
      )
    })
  return { ask, outcome: async sent => outcomeOf(await ask(sent)), close: () => client.close() }
}

/** The settings that both roles share. */
export function siteSettings({ directory, database, profilesDir }: Site): Record<string, string> {
  const apiKeyPepper = join(directory, 'pepper')
  const adminPepperFile = join(directory, 'admin-pepper')
  writeFileSync(apiKeyPepper, goldenSettings.pepper.hex, { mode: 0o600 })
  writeFileSync(adminPepperFile, adminPepper.toString('hex'), { mode: 0o600 })
  return {
    DATABASE_URL: urlOf(database.servers[0]),
    GATEWARDEN_DATA_DIR: directory,
    GATEWARDEN_PROFILES_DIR: profilesDir ?? repositoryFile('profiles'),
    GATEWARDEN_PEPPERS: `${goldenSettings.pepper.id}=${apiKeyPepper}`,
    GATEWARDEN_ADMIN_PEPPER_ID: 'a1',
    GATEWARDEN_ADMIN_PEPPER_FILE: adminPepperFile,
  }
}

/** A client configuration as the URL that an operator would write. */
function urlOf({ host = '', port, user = '', database = '' }: ClientConfig): string {
  const socket = host.startsWith('/')
  const place = socket ? 'localhost' : `${host}:${port}`
  return `postgres://${user}@${place}/${database}${socket ? `?host=${encodeURIComponent(host)}${port === undefined ? '' : `&port=${port}`}` : ''}`
}

/** Starts a check process; it listens on a socket and on a port. Does not wait for readiness. */
export async function startCheckProcess(
  site: Site,
  name: string,
  settings: Readonly<Record<string, string>> = {},
  bounds: Bounds = {},
): Promise<CheckProcess> {
  const socket = join(site.directory, `${name}.sock`)
  const metrics = join(site.directory, `${name}-metrics.sock`)
  const port = await freePort()
  const running = keep(
    startGatewarden(
      ['check'],
      {
        ...siteSettings(site),
        GATEWARDEN_CHECK_LISTEN: `unix:${socket},127.0.0.1:${port}`,
        GATEWARDEN_ALS_LISTEN: `unix:${join(site.directory, `${name}-als.sock`)}`,
        GATEWARDEN_METRICS_LISTEN: `unix:${metrics}`,
        GATEWARDEN_CLIENT_ADDRESS_MODE: 'source-address',
        ...settings,
      },
      site.directory,
      bounds,
    ),
  )
  const client = openCheckClient(`unix:${socket}`)
  const page = async (path: string) => read(metrics, path)
  return {
    ...client,
    running,
    port,
    socket,
    async metric(sample) {
      const line = (await page('/metrics')).body.split('\n').find(each => each.startsWith(`${sample} `))
      return Number(line?.slice(sample.length + 1) ?? Number.NaN)
    },
    ready: async () => (await page('/readyz')).status === 200,
  }
}

/** Waits until a process is ready; throws with its output if it ends before. */
export async function untilReady(process: CheckProcess, limitMs = startWithinMs): Promise<void> {
  let ended = false
  void process.running.exited.then(() => {
    ended = true
  })
  await until('the check process is ready', async () => ended || (await process.ready()), limitMs)
  if (ended) throw new Error(`the check process ended: ${process.running.output()}`)
}

/** Starts an admin process and makes its first admin key. */
export async function startAdminProcess(site: Site): Promise<AdminProcess> {
  const settings = siteSettings(site)
  const address = `unix:${join(site.directory, 'admin.sock')}`
  const running = keep(
    startGatewarden(
      ['admin'],
      {
        ...settings,
        GATEWARDEN_ADMIN_LISTEN: address,
        GATEWARDEN_METRICS_LISTEN: `unix:${join(site.directory, 'admin-metrics.sock')}`,
      },
      site.directory,
    ),
  )
  const stranger = openChannel({ address })
  const token = await makeBootstrapToken(site.database, { id: 'a1', octets: adminPepper }, false)
  const expireTime = { seconds: BigInt(Math.floor(Date.now() / 1000) + 86_400), nanos: 0 }
  const value: AdminKey = { ...AdminKey.create({}), displayName: 'suite', expireTime }
  const access = stranger.client(AccessAdminService)
  const { secret } = await until(
    'the admin process answers',
    () => access.completeBootstrap({ token, root: { $case: 'adminKey', value } }),
    startWithinMs,
  )
  stranger.close()
  return { running, channel: openChannel({ address, adminKey: secret }) }
}

function read(socketPath: string, path: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, agent: false, timeout: callDeadlineMs }, response => {
      let body = ''
      response.setEncoding('utf8').on('data', chunk => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    call.once('error', reject)
    call.end()
  })
}

// A real Envoy on envoy/golden.yaml in front of the check role as it is wired for production, on a real database with the golden rows.
// Database time alone is replaced, by the case's now; the lease clock is real.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openProfiles } from '../../src/bin/profiles.ts'
import { type RunningCheck, startCheck } from '../../src/bin/run-check.ts'
import { loadConfig } from '../../src/config/load-config.ts'
import { createNames } from '../../src/core/names.ts'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { createLog } from '../../src/observe/log.ts'
import { type GoldenCase, goldenHosts, goldenSettings, secretsFilled } from '../core/cases.ts'
import { envoyConfig } from '../support/envoy-config.ts'
import { startEnvoy } from '../support/envoy-process.ts'
import { type Answer, sendRequest } from '../support/http-request.ts'
import type { TestDatabase } from '../support/postgres.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { until } from '../support/until.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

export type CheckTransport = 'tcp' | 'unix'
/** Listeners of the golden configuration: `raw` sends header_map, `map` sends headers. */
export type HeaderForm = 'raw' | 'map'

/** What cases of one edge share: settings that a deployment fixes. */
export interface EdgeSettings {
  readonly transport: CheckTransport
  readonly hops: number
  readonly accept: readonly string[] | null
}

export interface GoldenEdge {
  readonly upstream: Upstream
  /** Sets database time. */
  setNow(now: string): void
  send(golden: GoldenCase, form: HeaderForm): Promise<Answer>
  stop(): Promise<void>
}

const timers = {
  after(delayMs: number, task: () => void) {
    const timer = setTimeout(task, delayMs)
    return () => clearTimeout(timer)
  },
  nextTurn: () => new Promise<void>(resolve => setImmediate(resolve)),
  random: Math.random,
}
const clock = { mono: () => performance.now(), wall: () => Date.now() }

interface CheckSide {
  readonly check: RunningCheck
  setNow(now: string): void
  stop(): Promise<void>
}

async function startCheckSide(database: TestDatabase, settings: EdgeSettings, directory: string): Promise<CheckSide> {
  const loaded = loadConfig({
    role: 'check',
    cwd: directory,
    file: undefined,
    environment: {
      DATABASE_URL: 'postgres://unused',
      GATEWARDEN_DATA_DIR: directory,
      GATEWARDEN_PROFILES_DIR: repositoryFile('profiles'),
      GATEWARDEN_CHECK_LISTEN: settings.transport === 'tcp' ? '127.0.0.1:0' : `unix:${join(directory, 'check.sock')}`,
      GATEWARDEN_CLIENT_ADDRESS_MODE: 'xff-hops',
      GATEWARDEN_CLIENT_ADDRESS_HOPS: String(settings.hops),
      GATEWARDEN_CLIENT_ADDRESS_APPENDED: 'true',
      GATEWARDEN_PEPPERS: `${goldenSettings.pepper.id}=unused`,
      ...(settings.accept === null ? {} : { GATEWARDEN_DEPLOYMENT_ACCEPT: settings.accept.join(',') }),
    },
  })
  if (!loaded.ok) throw new Error(`the suite's own configuration: ${JSON.stringify(loaded.faults)}`)
  const log = createLog('error', { write: text => process.stderr.write(text) })
  const profiles = await openProfiles(loaded.config, createNames(), log)
  let now = 0
  const setNow = (text: string) => {
    now = microsFromUnixMs(Date.parse(text))
  }
  setNow(goldenSettings.now)
  const check = await startCheck(loaded.config, {
    database: database.database,
    peppers: [{ id: goldenSettings.pepper.id, octets: Buffer.from(goldenSettings.pepper.hex, 'hex') }],
    profiles,
    log,
    clock,
    timers,
    version: 'test',
    dbNow: () => now,
    loadJitterMs: 0,
    onFatal: error => {
      throw error
    },
  })
  const stop = async () => {
    await check.drain({ noticeMs: 0, deadlineMs: 2000 })
    await profiles.close()
  }
  return { check, setNow, stop }
}

/** Starts the edge; it is ready to be asked. */
export async function startGoldenEdge(database: TestDatabase, settings: EdgeSettings): Promise<GoldenEdge> {
  const directory = mkdtempSync(join(tmpdir(), 'gw-golden-'))
  const upstream = await startUpstream()
  const side = await startCheckSide(database, settings, directory)
  await until('the table is loaded and confirmed', () => side.check.ready(), 20_000)
  const [address = ''] = side.check.addresses
  const gatewarden =
    settings.transport === 'unix'
      ? { socket: address.replace(/^unix:/, '') }
      : { port: Number(address.split(':').at(-1)) }
  const envoy = await startEnvoy(
    envoyConfig(repositoryFile('envoy/golden.yaml'), {
      listeners: ['raw', 'map'],
      clusters: { gatewarden, api: { port: upstream.port } },
    }),
  )
  return {
    upstream,
    setNow: side.setNow,
    send: (golden, form) =>
      sendRequest({
        port: envoy.port(form),
        host: goldenHosts[golden.profile],
        method: golden.method,
        path: golden.path,
        headers: [
          ...(golden.credential === null
            ? []
            : [[golden.credential.header, secretsFilled(golden.credential.value)] as const]),
          ...(golden.xff === null ? [] : [['x-forwarded-for', golden.xff] as const]),
        ],
      }),
    async stop() {
      await envoy.stop()
      await side.stop()
      await upstream.stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

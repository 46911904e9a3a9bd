// The check role as it is wired for production, in the process of a suite, on a real database.
// Database time alone may be replaced; the lease clock is real. The settings of the calling shell play no part.
import { join } from 'node:path'
import { openProfiles } from '../../src/bin/profiles.ts'
import { type RunningCheck, startCheck } from '../../src/bin/run-check.ts'
import { systemClock, systemTimers } from '../../src/bin/system-clock.ts'
import { loadConfig } from '../../src/config/load-config.ts'
import { createNames } from '../../src/core/names.ts'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { createLog } from '../../src/observe/log.ts'
import type { Database } from '../../src/store/connection.ts'
import { goldenSettings } from '../core/cases.ts'
import { transportSettings } from '../support/check-transport.ts'
import type { Endpoint } from '../support/envoy-config.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { until } from '../support/until.ts'

/** A role with a herd of one has no reason to wait; loading takes milliseconds. */
const readyWithinMs = 20_000

/** Roles started so far: several may share a directory. */
let roles = 0

export interface CheckRole {
  readonly check: RunningCheck
  /** Where it listens, for Envoy; in the order of `listen`. */
  readonly endpoints: readonly Endpoint[]
  /** Where it takes the access log. */
  readonly als: Endpoint
  /** Sets database time, RFC 3339. */
  setNow(now: string): void
  /** Lines of the log at level error. */
  errors(): string
  stop(): Promise<void>
}

export interface CheckRoleOptions {
  /** For sockets; the caller removes it. */
  readonly directory: string
  /** Default: `127.0.0.1:0`. */
  readonly listen?: readonly string[]
  /** Default: the three products. */
  readonly profilesDir?: string
  /** RFC 3339; absent: real database time. */
  readonly now?: string
  /** Default true: its table is loaded and confirmed when it is handed over. */
  readonly ready?: boolean
  /** More settings, as environment variables: the client-address mode at least. */
  readonly settings: Readonly<Record<string, string>>
}

/** Starts it with the pepper of the golden cases. */
export async function startCheckRole(database: Database, options: CheckRoleOptions): Promise<CheckRole> {
  const { directory, listen = ['127.0.0.1:0'], profilesDir = repositoryFile('profiles') } = options
  const loaded = loadConfig({
    role: 'check',
    cwd: directory,
    file: undefined,
    environment: {
      DATABASE_URL: 'postgres://unused',
      ...transportSettings(),
      GATEWARDEN_DATA_DIR: directory,
      GATEWARDEN_PROFILES_DIR: profilesDir,
      GATEWARDEN_CHECK_LISTEN: listen.join(','),
      GATEWARDEN_ALS_LISTEN: `unix:${join(directory, `als-${++roles}.sock`)}`,
      GATEWARDEN_PEPPERS: `${goldenSettings.pepper.id}=unused`,
      ...options.settings,
    },
  })
  if (!loaded.ok) throw new Error(`the suite's own configuration: ${JSON.stringify(loaded.faults)}`)
  let logged = ''
  const log = createLog('error', {
    write: text => {
      logged += text
      process.stderr.write(text)
    },
  })
  const profiles = await openProfiles(loaded.config, createNames(), log)
  let now = 0
  const setNow = (text: string) => {
    now = microsFromUnixMs(Date.parse(text))
  }
  if (options.now !== undefined) setNow(options.now)
  const check = await startCheck(loaded.config, {
    database,
    peppers: [{ id: goldenSettings.pepper.id, octets: Buffer.from(goldenSettings.pepper.hex, 'hex') }],
    profiles,
    log,
    clock: systemClock,
    timers: systemTimers,
    version: 'test',
    ...(options.now === undefined ? {} : { dbNow: () => now }),
    loadJitterMs: 0,
    onFatal: error => {
      throw error
    },
  })
  if (options.ready !== false) await until('the table is loaded and confirmed', () => check.ready(), readyWithinMs)
  return {
    check,
    endpoints: check.addresses.map(toEndpoint),
    als: toEndpoint(check.alsAddresses[0] ?? ''),
    setNow,
    errors: () => logged,
    async stop() {
      await check.drain({ noticeMs: 0, deadlineMs: 2000 })
      await profiles.close()
    },
  }
}

/** An address that something listens on, as Envoy is told it. */
export function toEndpoint(address: string): Endpoint {
  return address.startsWith('unix:')
    ? { socket: address.replace(/^unix:/, '') }
    : { port: Number(address.split(':').at(-1)) }
}

// The admin role, wired: store, profiles, the services of the admin interface, health, reflection, one listener.
// Handlers see ports only; the peppers, the pool and the random numbers meet them here.
import { createHmac, randomBytes } from 'node:crypto'
import type { Pool } from 'pg'
import type { AdminContext } from '../admin/admin-services.ts'
import type { AdminStore } from '../admin/admin-store.ts'
import { FailedAttempts } from '../admin/failed-attempts.ts'
import { PageTokens } from '../admin/page-token.ts'
import type { LoadedProfile, ProfileContext } from '../admin/profile-admin.ts'
import { purgeApiKeys } from '../admin/purge-api-keys.ts'
import type { UsageReads } from '../admin/usage-rows.ts'
import type { Config } from '../config/config.ts'
import { parseListen } from '../config/listen-address.ts'
import type { LoadedPepper } from '../config/pepper-file.ts'
import type { FeedTimers } from '../feed/feed-source.ts'
import type { Pepper } from '../keys/digest.ts'
import type { Log } from '../observe/log.ts'
import type { Metrics } from '../observe/metrics.ts'
import type { LintThread } from '../profile/lint-thread.ts'
import { type DrainTimes, drain } from '../rpc/drain.ts'
import { listen } from '../rpc/listen.ts'
import { createAdminStore } from '../store/admin-store.ts'
import type { Database } from '../store/connection.ts'
import { adminConnectionsMax, adminSession, createPool } from '../store/pool.ts'
import { upkeep } from '../store/upkeep.ts'
import { createAdminServer } from './admin-server.ts'
import { closeTimes } from './lifecycle.ts'
import { openLintThread } from './lint-thread.ts'
import type { Profiles } from './profiles.ts'
import { type Proving, startProving } from './prove-peppers.ts'
import { startFacade } from './run-facade.ts'
import { StartError } from './start-error.ts'
import { watchedCredentials } from './tls-watch.ts'
import { scheduleUpkeep } from './upkeep-schedule.ts'
import { openUsageLog } from './usage-log.ts'

/** What the admin role gets from outside. */
export interface AdminPorts {
  readonly database: Database
  /** Of API keys, the primary first. */
  readonly peppers: readonly LoadedPepper[]
  /** Of admin keys. */
  readonly adminPepper: LoadedPepper
  readonly profiles: Profiles
  readonly log: Log
  readonly timers: FeedTimers
  /** Milliseconds that never go back. */
  readonly mono: () => number
  /** Unix milliseconds, for what is only shown. */
  readonly wall: () => number
  /** A pepper file turned out to be the wrong one: the process should end. */
  readonly onFatal: (error: unknown) => void
}

export interface RunningAdmin {
  /** Bound address, with the real port. */
  readonly address: string
  /** Bound address of the facade. */
  readonly facade: string
  /** What bootstrapping needs; for the wiring of `serve` alone. */
  readonly access: AdminContext
  ready(): boolean
  /** Shows this role's metrics. */
  observe(metrics: Metrics): void
  drain(times: DrainTimes): Promise<void>
  /** Ends without notice; does nothing after a drain. */
  close(): Promise<void>
}

/**
 * Starts the role. It listens whether or not the database answers.
 * @throws StartError, also for a pepper file whose content the database contradicts; ListenError
 */
export async function startAdmin(config: Config, ports: AdminPorts): Promise<RunningAdmin> {
  const { log } = ports
  const target = parseListen(config.admin.listen)
  if (target === undefined) throw new StartError(`admin.listen is ${config.admin.listen}, which is no address.`)
  let ended: Promise<void> | undefined
  const pool = createPool(ports.database, {
    session: adminSession,
    connectionsMax: adminConnectionsMax,
    // One that breaks while it is being closed, since the embedded database closes as well, is nobody's concern.
    onIdleError(error) {
      if (ended === undefined) log.warn('a database connection broke', { error })
    },
  })
  const store = createAdminStore(pool)
  const proving = await prove(config, store, ports).catch(async (error: unknown) => {
    await pool.end()
    throw error
  })
  const usage = openUsageLog({ database: ports.database, profiles: ports.profiles.current, log })
  const lintThread = openLintThread()
  const context = adminContext(store, usage.reads, lintThread, ports)
  const { server, health } = createAdminServer(context, log, { reflection: config.admin.reflection })
  const open = async () => {
    const tls = config.admin.tls === null ? {} : { tls: watchedCredentials('admin.tls', config.admin.tls, ports) }
    const address = await listen(server, target, tls)
    const facade = await startFacade(config, { context, profiles: ports.profiles, log, wall: ports.wall }).catch(
      async (error: unknown) => {
        await drain(server, health, closeTimes)
        throw error
      },
    )
    return { address, facade }
  }
  const { address, facade } = await open().catch(async (error: unknown) => {
    await proving.stop()
    await pool.end()
    throw error
  })
  health.set('', 'SERVING')
  const upkeepSchedule = scheduleUpkeep(stopped => upkeepRound(pool, context.store, stopped), ports.timers, log)
  const end = async (times: DrainTimes) => {
    const notice = new Promise(resolve => setTimeout(resolve, times.noticeMs))
    await Promise.all([
      proving.stop(),
      upkeepSchedule.stop(),
      drain(server, health, times),
      notice.then(() => facade.drain(times.deadlineMs)),
    ])
    await lintThread.close()
    await usage.close()
    await pool.end()
  }
  const drainOnce = (times: DrainTimes) => {
    ended ??= end(times)
    return ended
  }
  return {
    address,
    facade: facade.address,
    access: context,
    ready: () => ended === undefined,
    observe(metrics) {
      upkeepSchedule.observe(metrics)
      facade.observe(metrics)
    },
    drain: drainOnce,
    close: () => drainOnce(closeTimes),
  }
}

/** Compares the peppers with the database before anything is served, once for each of its servers. @throws StartError */
function prove(config: Config, store: AdminStore, ports: AdminPorts): Promise<Proving> {
  const { log, timers, onFatal } = ports
  const peppers = { apiKeys: ports.peppers.map(toPepper), adminKeys: toPepper(ports.adminPepper) }
  return startProving(config, { store, ...peppers, log, timers, onWrong: onFatal }, ports.database.servers.length)
}

async function upkeepRound(pool: Pool, store: AdminStore, stopped: () => boolean) {
  const apiKeys = await purgeApiKeys(store, stopped)
  return { apiKeys, ...(await upkeep(pool, stopped)) }
}

function adminContext(store: AdminStore, usage: UsageReads, lint: LintThread, ports: AdminPorts): AdminContext {
  const [primary, ...others] = ports.peppers.map(toPepper)
  if (primary === undefined) throw new StartError('peppers: found none; accepted: one or two.')
  const { profiles } = ports
  return {
    store,
    pepper: toPepper(ports.adminPepper),
    failures: new FailedAttempts(ports.mono),
    findProfile: name => profiles.current().byName(name),
    peppers: [primary, ...others],
    pageTokens: new PageTokens(pageTokenKey(ports.adminPepper)),
    random: octets => randomBytes(octets),
    keyQuota: null,
    usage,
    profiles: profileCatalog(profiles, ports.wall),
    judgeProfile: lint.judge,
    redact: text => ports.log.redact?.(text) ?? text,
  }
}

function toPepper({ id, octets }: LoadedPepper): Pepper {
  return { id, bytes: octets }
}

/** A key of its own, so that a page token is evidence of nothing else. */
function pageTokenKey({ octets }: LoadedPepper): Buffer {
  return createHmac('sha256', octets).update('gatewarden page tokens').digest()
}

/** The profiles with what is shown of them. */
function profileCatalog(profiles: Profiles, wall: () => number): ProfileContext['profiles'] {
  let loaded: readonly LoadedProfile[] = []
  profiles.subscribe(set => {
    loaded = set.profiles.map(profile => {
      const known = loaded.find(each => each.profile === profile)
      if (known !== undefined) return known
      const status = profiles.status().find(({ name }) => name === profile.name)
      return { profile, findingsCount: status?.findingsCount ?? 0, loadedUnixMs: wall() }
    })
  })
  return { list: () => loaded }
}

// The access log part of the check role, wired: streams, join, store, listeners, health. It stands beside the checks: nothing that
// happens here changes an answer.
import type { Config, TlsFiles } from '../config/config.ts'
import { parseListen } from '../config/listen-address.ts'
import type { FeedClock, FeedTimers } from '../feed/feed-source.ts'
import type { Log } from '../observe/log.ts'
import { type Metrics, samplesOfMap } from '../observe/metrics.ts'
import { type DrainTimes, drain } from '../rpc/drain.ts'
import { createHealth } from '../rpc/health.ts'
import { type ListenTarget, type ListenTls, listen } from '../rpc/listen.ts'
import { addService, createServer } from '../rpc/server.ts'
import { createAccessHalfStore } from '../store/access-half-store.ts'
import type { Database } from '../store/connection.ts'
import { AccessJoin } from '../usage/als-join.ts'
import { AccessLogStreams, accessLogService } from '../usage/als-service.ts'
import type { Profiles } from './profiles.ts'
import { StartError } from './start-error.ts'
import { readTlsFiles } from './tls-files.ts'

/** Whether a profile's decisions of a kind are recorded, by the profiles as they are now. */
export function recordedBy(profiles: Profiles): AlsPorts['isRecorded'] {
  const deniedOnly = new Set<string>()
  profiles.subscribe(set => {
    deniedOnly.clear()
    for (const { name, usageLog } of set.profiles) if (usageLog.record === 'denied') deniedOnly.add(name)
  })
  return (profile, allowed) => !allowed || !deniedOnly.has(profile)
}

export interface AlsPorts {
  readonly database: Database
  readonly log: Log
  readonly clock: FeedClock
  readonly timers: FeedTimers
  /** Whether decisions of this profile and kind are recorded. */
  readonly isRecorded: (profile: string, allowed: boolean) => boolean
  /** Suites let streams end sooner. */
  readonly streamAgeMs?: number
}

export interface RunningAls {
  /** Bound addresses, with real ports. */
  readonly addresses: readonly string[]
  readonly join: AccessJoin
  readonly streams: AccessLogStreams
  observe(metrics: Metrics): void
  /** Ends streams and listeners; halves still wait for the writer. */
  drain(times: DrainTimes): Promise<void>
  /** Looks a last time for halves. After the writer has stored what it had. */
  end(deadlineMs: number): Promise<void>
}

const alsService = 'envoy.service.accesslog.v3.AccessLogService'

/** Starts it; it takes entries at once, whether or not the database answers. @throws StartError, ListenError */
export async function startAls(config: Config, ports: AlsPorts): Promise<RunningAls> {
  const { log, clock, timers } = ports
  const onIdleError = (error: Error) => log.warn('a database connection broke', { error })
  const join = new AccessJoin({
    store: createAccessHalfStore(ports.database, onIdleError),
    mono: clock.mono,
    wall: clock.wall,
    timers,
    onStore(error) {
      if (error === undefined) log.info('access log entries reach the database again')
      else log.warn('access log entries wait: the database does not take them', { error })
    },
  })
  const streams = new AccessLogStreams({
    join,
    timers,
    isRecorded: ports.isRecorded,
    ...(ports.streamAgeMs === undefined ? {} : { ageMs: ports.streamAgeMs }),
    onStream: identity => log.debug('an access log stream began', { ...identity }),
  })
  const health = createHealth([alsService])
  const server = createServer()
  addService(server, accessLogService, { streamAccessLogs: streams.handle }, log)
  health.addTo(server)
  const options = config.check.tls === null ? {} : { tls: readTls(config.check.tls) }
  const addresses: string[] = []
  try {
    for (const address of config.als.listen) addresses.push(await listen(server, targetOf(address), options))
  } catch (error) {
    server.forceShutdown()
    await join.stop(0)
    throw error
  }
  health.set('', 'SERVING')
  return {
    addresses,
    join,
    streams,
    observe: metrics => showAlsMetrics(metrics, streams, join),
    async drain(times) {
      // Not before new streams go elsewhere.
      const ended = new Promise(resolve => setTimeout(resolve, times.noticeMs)).then(() => streams.endAll())
      await Promise.all([drain(server, health, times), ended])
    },
    end: deadlineMs => join.stop(deadlineMs),
  }
}

function targetOf(address: string): ListenTarget {
  const target = parseListen(address)
  if (target === undefined) throw new StartError(`als.listen is ${address}, which is no address.`)
  return target
}

function readTls(files: TlsFiles): ListenTls {
  const { cert, key, clientCa } = readTlsFiles('check.tls', files)
  return clientCa === null ? { cert, key } : { cert, key, clientCa }
}

function showAlsMetrics(metrics: Metrics, streams: AccessLogStreams, join: AccessJoin): void {
  metrics.read('gatewarden_als_streams', () => streams.open)
  metrics.read('gatewarden_als_streams_total', () => streams.begun)
  metrics.read('gatewarden_als_entries_total', () => samplesOfMap('outcome', streams.counts))
  metrics.read('gatewarden_als_malformed_messages_total', () => streams.malformedMessages)
  metrics.read('gatewarden_als_read_paused_total', () => streams.pauses)
  metrics.read('gatewarden_usage_halves', () => [
    { labels: { state: 'new' }, value: join.newHalves },
    { labels: { state: 'orphan' }, value: join.orphans },
  ])
  metrics.read('gatewarden_usage_joined_total', () => [
    { labels: { when: 'stored' }, value: join.joinedAtOnce },
    { labels: { when: 'later' }, value: join.joinedLater },
  ])
  metrics.read('gatewarden_usage_orphans_total', () => [
    { labels: { cause: 'not_found' }, value: join.givenUp },
    { labels: { cause: 'no_room' }, value: join.pushedOut },
  ])
  metrics.read('gatewarden_usage_unjoined', () => join.unjoined)
}

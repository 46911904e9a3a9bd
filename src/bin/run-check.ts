// The check role, wired: profiles, key table, feed, limits, handler, listeners, health. The only place where these rooms meet.
// Clocks come in as ports, so a suite may replace database time; nothing in the settings of the product can.

import { randomUUID } from 'node:crypto'
import { type CheckObserver, createCheckHandler } from '../check/check-handler.ts'
import { type CheckProfiles, compileCheckProfiles, makeTemplates } from '../check/check-profiles.ts'
import type { Config } from '../config/config.ts'
import type { LoadedPepper } from '../config/pepper-file.ts'
import { ALLOW } from '../core/reason.ts'
import { type Micros, microsFromUnixMs } from '../core/time.ts'
import { Feed } from '../feed/feed.ts'
import type { FeedClock, FeedTimers } from '../feed/feed-source.ts'
import { KeyTable } from '../keys/key-table.ts'
import { LimitBuckets } from '../keys/limit-buckets.ts'
import { DecisionCounts } from '../observe/decision-counts.ts'
import type { Log } from '../observe/log.ts'
import type { Metrics } from '../observe/metrics.ts'
import type { DrainTimes } from '../rpc/drain.ts'
import { createHealth } from '../rpc/health.ts'
import type { Database } from '../store/connection.ts'
import { createFeedSource } from '../store/feed-source.ts'
import { type CheckServer, startCheckServer } from './check-listeners.ts'
import { showCheckMetrics } from './check-metrics.ts'
import { toClientAddressMode } from './client-address-mode.ts'
import { watchFeed } from './feed-watch.ts'
import { closeTimes } from './lifecycle.ts'
import { type Profiles, served } from './profiles.ts'
import { recordedBy, startAls } from './run-als.ts'
import { safetyOptOutSamples } from './safety-opt-outs.ts'
import { StartError } from './start-error.ts'
import { flushMs, openRecording, showRecordingMetrics } from './usage-recording.ts'

/** What the check role gets from outside. */
export interface CheckPorts {
  readonly database: Database
  /** Of API keys, the primary first. */
  readonly peppers: readonly LoadedPepper[]
  readonly profiles: Profiles
  readonly log: Log
  readonly clock: FeedClock
  readonly timers: FeedTimers
  readonly version: string
  /** The feed has given up: the process should end. */
  readonly onFatal: (error: unknown) => void
  /** Replaces database time in decisions, and nothing else: for suites with a fixed clock. */
  readonly dbNow?: () => Micros
  /** 0 where no herd can be: one process on a database of its own. */
  readonly loadJitterMs?: number
}

export interface RunningCheck {
  /** Bound addresses, with real ports. */
  readonly addresses: readonly string[]
  /** Where it takes the access log, likewise. */
  readonly alsAddresses: readonly string[]
  /** Loaded and confirmed, every pepper there, not draining. */
  ready(): boolean
  /** Shows this role's metrics. */
  observe(metrics: Metrics): void
  /** Stops answering in the orderly way; resolves when everything of the role has ended. */
  drain(times: DrainTimes): Promise<void>
  /** Ends without notice; does nothing after a drain. */
  close(): Promise<void>
}

const authorizationService = 'envoy.service.auth.v3.Authorization'
/** A loop that stood still this long says NOT_SERVING until it turns again (faults.md section 5). */
const stallMs = 5000
const stallPollMs = 1000
/** How often rate-limit buckets that count nothing any more are given back, and how many are looked at: under 1 ms of work. */
const sweepEveryMs = 1000
const sweepBudget = 20_000

/** Rules of a changed profile whose templates are made in one turn of the event loop: under 1 ms for an environment or two. */
const templatesPerTurn = 16

/** From the GOAWAY of access log streams until they are cut: they end within a quiet moment. */
const alsDeadlineMs = 500

/** Starts the role: listens at once, answers 503 until the table is loaded and confirmed. @throws StartError */
export async function startCheck(config: Config, ports: CheckPorts): Promise<RunningCheck> {
  const { profiles, log, clock } = ports
  if (config.clientAddress === null) throw new StartError('client_address.mode is not set.')
  const clientAddress = toClientAddressMode(config.clientAddress)
  let inForce: CheckProfiles | undefined
  profiles.subscribe(set => {
    const next = compileCheckProfiles(served(set, config.check.profiles), clientAddress.mode, inForce)
    inForce = next
    inTurns(() => next === inForce && makeTemplates(next, templatesPerTurn))
  })
  const { names } = profiles
  const table = new KeyTable({ names, peppers: ports.peppers.map(({ id, octets }) => ({ id, bytes: octets })) })
  const limits = new LimitBuckets(table)
  const decisions = new DecisionCounts(ALLOW)
  const sidecar = randomUUID()
  const { database } = ports
  const clientIpMode = clientAddress.mode
  const als = await startAls(config, { database, log, clock, timers: ports.timers, isRecorded: recordedBy(profiles) })
  const { join } = als
  const recording = openRecording(config, { database, profiles, log, clock, sidecar, clientIpMode, join })
  const health = createHealth([authorizationService])
  let ended: Promise<void> | undefined
  const feedWatch = watchFeed(log, () => {
    for (const [name, live] of feed.liveSidecars()) {
      const number = names.profiles.find(name)
      if (number !== undefined) limits.setShare(number, live)
    }
  })
  const feed: Feed = new Feed({
    source: createFeedSource(ports.database, {
      id: sidecar,
      version: ports.version,
      pepperIds: ports.peppers.map(pepper => pepper.id),
      profiles: () => reported(inForce),
      onlyProfiles: config.check.profiles,
    }),
    clock,
    timers: ports.timers,
    table,
    observer: feedWatch,
    onReadiness: ready => health.set('', ready ? 'SERVING' : 'NOT_SERVING'),
    onFatal: ports.onFatal,
    proof: config.feed.proof,
    ...(ports.loadJitterMs === undefined ? {} : { loadJitterMs: ports.loadJitterMs }),
  })
  const dbNow = ports.dbNow ?? (() => feed.dbNow())
  // Before the first confirm database time is not known, and nothing is fresh: the wall clock only dates the reply.
  const now = () => finite(dbNow(), () => microsFromUnixMs(clock.wall()))
  const service = createCheckHandler({
    profiles: () => inForce ?? noProfiles,
    table,
    limits,
    clock: { fresh: () => feed.fresh(), now },
    environments: names.environments,
    clientAddress,
    ownFailure: config.check.ownFailure,
    observer: checkObserver(decisions, log),
    sink: recording.encoder,
  })
  let server: CheckServer
  try {
    server = await startCheckServer(config, service, health, ports)
  } catch (error) {
    await als.drain({ noticeMs: 0, deadlineMs: 0 })
    await recording.end(0)
    await als.end(0)
    throw error
  }
  feed.start()
  const sweeping = setInterval(() => limits.sweep(now(), sweepBudget), sweepEveryMs)
  sweeping.unref()
  const stopStallWatch = watchStalls(clock, () => {
    if (ended !== undefined) return
    health.set('', 'NOT_SERVING')
    log.warn('the event loop stood still')
    ports.timers.after(stallPollMs, () => health.set('', feed.ready() ? 'SERVING' : 'NOT_SERVING'))
  })
  const end = async (times: DrainTimes) => {
    health.startDraining()
    await new Promise(resolve => setTimeout(resolve, times.noticeMs))
    health.endWatches()
    await server.drain(times.deadlineMs)
    stopStallWatch()
    // After the checks, so that it hears of the last of them.
    await als.drain({ noticeMs: 0, deadlineMs: alsDeadlineMs })
    await recording.end(flushMs)
    await als.end(flushMs)
    await feed.stop()
  }
  const drainOnce = (times: DrainTimes) => {
    ended ??= end(times)
    return ended
  }
  return {
    addresses: server.addresses,
    alsAddresses: als.addresses,
    ready: () => feed.ready() && ended === undefined,
    observe(metrics) {
      showCheckMetrics(metrics, { names, feed, table, limits, decisions, counts: feedWatch.counts })
      metrics.read('gatewarden_h2_limit_total', server.h2Limits)
      metrics.read('gatewarden_h2_resets_total', () => server.h2Events().resets)
      metrics.read('gatewarden_h2_goaway_total', () => server.h2Events().goaways)
      metrics.read('gatewarden_h2_read_paused_total', () => server.h2Events().pauses)
      showRecordingMetrics(metrics, config, recording)
      als.observe(metrics)
      metrics.read('gatewarden_safety_opt_out', () => safetyOptOutSamples(config))
    },
    drain: drainOnce,
    close: () => drainOnce(closeTimes),
  }
}

const noProfiles: CheckProfiles = compileCheckProfiles([], 'grpc-metadata')

/** Calls `work` in turns of the event loop of their own while it says that there is more. */
function inTurns(work: () => boolean): void {
  setImmediate(() => {
    if (work()) inTurns(work)
  })
}

function finite(value: number, otherwise: () => number): number {
  return Number.isFinite(value) ? value : otherwise()
}

/** What the heartbeat says of the profiles served. */
function reported(inForce: CheckProfiles | undefined): Record<string, { version: string; digest: string }> {
  const list = inForce?.list ?? []
  return Object.fromEntries(
    list.map(({ profile }) => [profile.name, { version: String(profile.version), digest: profile.digest }]),
  )
}

function checkObserver(decisions: DecisionCounts, log: Log): CheckObserver {
  let lastText = ''
  return {
    add: (profile, code) => decisions.add(profile, code),
    unexpected: error => {
      // One line for a fault that every check meets, not one a check.
      const text = error instanceof Error ? `${error.message}${error.stack ?? ''}` : String(error)
      if (text === lastText) return
      lastText = text
      log.error('a check threw and was answered with our own failure', { error })
    },
  }
}

function watchStalls(clock: FeedClock, onStall: () => void): () => void {
  let last = clock.mono()
  const timer = setInterval(() => {
    const now = clock.mono()
    if (now - last > stallMs + stallPollMs) onStall()
    last = now
  }, stallPollMs)
  timer.unref()
  return () => clearInterval(timer)
}

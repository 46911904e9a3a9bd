// Recording of requests in the check role, wired: spool directory, database, log, metrics. The check gets its sink from here.
import { statfsSync } from 'node:fs'
import type { Config } from '../config/config.ts'
import type { FeedClock } from '../feed/feed-source.ts'
import type { Log } from '../observe/log.ts'
import type { Metrics } from '../observe/metrics.ts'
import type { Database } from '../store/connection.ts'
import { createUsageWriter } from '../store/usage-writer.ts'
import type { AccessJoin } from '../usage/als-join.ts'
import { joiningStore } from '../usage/joining-store.ts'
import { createProcessProbe } from '../usage/process-probe.ts'
import { type Recording, startRecording } from '../usage/recording.ts'
import type { SpoolCounts, SpoolObserver } from '../usage/spool-counts.ts'
import { realFiles } from '../usage/spool-files.ts'
import { keyPrefixes, type Profiles } from './profiles.ts'

export interface RecordingPorts {
  readonly database: Database
  readonly profiles: Profiles
  readonly log: Log
  readonly clock: FeedClock
  /** UUID of this process. */
  readonly sidecar: string
  /** Name of the client-address mode. */
  readonly clientIpMode: string
  /** Completes decisions from the access log as they are stored. */
  readonly join: AccessJoin
}

/** What the drain leaves recording to store what is there (faults.md section 5). */
export const flushMs = 2000
/** Prefixes of this product's own secrets. */
const ownPrefixes = ['gwa_', 'gwb_']

/** Starts recording. Neither disk nor database need be there. */
export function openRecording({ usage }: Config, ports: RecordingPorts): Recording {
  const { database, profiles, log, clock, sidecar } = ports
  const recording = startRecording({
    directory: usage.spoolDir,
    maxBytes: usage.spoolMaxBytes,
    sidecar,
    clientIpMode: ports.clientIpMode,
    files: realFiles,
    probe: createProcessProbe(),
    store: joiningStore(createUsageWriter(database, sidecar), ports.join),
    observer: logSpool(log),
    timers: {
      pause: after,
      expire: after,
      random: Math.random,
    },
    mono: clock.mono,
    wall: clock.wall,
    takeHalf: ports.join.take,
  })
  profiles.subscribe(set => recording.encoder.coverPrefixes([...keyPrefixes(set), ...ownPrefixes]))
  return recording
}

/** Keeps no process alive. */
function after(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms).unref())
}

function logSpool(log: Log): SpoolObserver {
  return {
    spoolFailed: error => log.warn('the usage spool cannot be written; records are kept in memory', { error }),
    spoolRecovered: () => log.info('the usage spool can be written again'),
    dropped: counts => log.warn('usage records were given up', { so_far: dropsOf(counts) }),
    storeFailed: error => log.warn('usage cannot be stored; it waits in the spool', { error }),
    storeRecovered: () => log.info('usage is stored again'),
    noticed: (text, detail) => log.warn(text, detail),
  }
}

function dropsOf(counts: SpoolCounts): Readonly<Record<string, number>> {
  return Object.fromEntries(counts.drops().map(({ decision, cause, records }) => [`${decision}_${cause}`, records]))
}

/** Shows what recording counts. */
export function showRecordingMetrics(metrics: Metrics, { usage }: Config, { spool, counts }: Recording): void {
  metrics.read('gatewarden_usage_recorded_total', () => counts.recorded)
  metrics.read('gatewarden_usage_written_total', () => counts.written)
  metrics.read('gatewarden_usage_replayed_total', () => counts.replayed)
  metrics.read('gatewarden_usage_dropped_total', () =>
    counts.drops().map(({ decision, cause, records }) => ({ labels: { decision, cause }, value: records })),
  )
  metrics.read('gatewarden_usage_spool_bytes', () => spool.fileBytes)
  metrics.read('gatewarden_usage_spool_limit_bytes', () => usage.spoolMaxBytes)
  metrics.read('gatewarden_usage_memory_bytes', () => spool.memoryBytes)
  metrics.read('gatewarden_usage_set_aside_total', () => counts.setAside)
  metrics.read('gatewarden_spool_write_errors_total', () => counts.writeErrors)
  metrics.read('gatewarden_disk_free_bytes', () => {
    const { bavail, bsize } = statfsSync(usage.spoolDir)
    return bavail * bsize
  })
}

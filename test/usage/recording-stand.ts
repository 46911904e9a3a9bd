// Recording in tests: a temporary spool directory, files that can be made to fail, a store in memory that can be away, and
// requests without a check around them. Rows are read back from the octets that the store was given.
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ALLOW } from '../../src/core/reason.ts'
import type { UsageLoss } from '../../src/usage/losses.ts'
import { Constant, RecordBuffer, viewOf } from '../../src/usage/record-buffer.ts'
import { type Lane, outcomeAt, requestIdAt, ruleAt, ruleColumns } from '../../src/usage/record-format.ts'
import { outcomeOf } from '../../src/usage/record-plan.ts'
import { type Recording, type RecordingOptions, startRecording } from '../../src/usage/recording.ts'
import type { SpoolObserver } from '../../src/usage/spool-counts.ts'
import { realFiles, type SpoolFiles } from '../../src/usage/spool-files.ts'
import type { Position } from '../../src/usage/spool-segment.ts'
import type { UsageRow } from '../../src/usage/usage-row.ts'
import type { StoreOutcome, UsageBatch, UsageStore } from '../../src/usage/usage-store.ts'
import { fastFolder } from '../support/postgres.ts'
import { decodeRows } from './decode-rows.ts'

/** A store that keeps rows in memory and does what the test says. */
export class MemoryStore implements UsageStore {
  readonly rows: UsageRow[] = []
  readonly positions = new Map<string, Position>()
  readonly losses = new Map<string, UsageLoss>()
  /** Called before a batch is stored; may throw, or say how the batch is to end. */
  before: (batch: UsageBatch) => 'store' | 'unknown-stored' | 'unknown-lost' = () => 'store'
  isAway = false
  closed = false

  async position(sidecar: string, lane: Lane): Promise<Position | null> {
    this.demand()
    return this.positions.get(`${sidecar} ${lane}`) ?? null
  }

  async store(batch: UsageBatch): Promise<StoreOutcome> {
    this.demand()
    const key = `${batch.sidecar} ${batch.lane}`
    const known = this.positions.get(key) ?? null
    if (JSON.stringify(known) !== JSON.stringify(batch.from)) return { kind: 'moved' }
    const how = this.before(batch)
    await Promise.resolve()
    if (how !== 'unknown-lost') {
      this.positions.set(key, batch.to)
      this.rows.push(...decodeRows(batch, batch.sidecar))
    }
    return how === 'store' ? { kind: 'stored', refused: 0 } : { kind: 'unknown', error: new Error('no answer') }
  }

  async forget(sidecar: string): Promise<void> {
    this.demand()
    for (const key of this.positions.keys()) if (key.startsWith(sidecar)) this.positions.delete(key)
  }

  async lose(sidecar: string, loss: UsageLoss): Promise<void> {
    this.demand()
    this.losses.set(`${sidecar} ${loss.number}`, loss)
  }

  async close(): Promise<void> {
    this.closed = true
  }

  /** Request ids of the rows, as made by `write`. */
  ids(): string[] {
    return this.rows.map(row => row.requestId)
  }

  private demand(): void {
    if (this.isAway) throw new Error('the database is away')
  }
}

/** Files on disk, any call of which a test can make fail. */
export function faultyFiles(): {
  files: SpoolFiles
  fail: (call: keyof SpoolFiles, error: string | null) => void
  calls: string[]
  shorten: (octets: number | null) => void
} {
  const failing = new Map<string, string>()
  const calls: string[] = []
  let short: number | null = null
  const files: SpoolFiles = new Proxy(realFiles, {
    get(target, name: keyof SpoolFiles) {
      const call = target[name] as (...values: unknown[]) => unknown
      return (...values: unknown[]) => {
        calls.push(name)
        const code = failing.get(name)
        if (name === 'write' && short !== null) {
          const [file, bytes, start, end] = values as [number, Uint8Array, number, number]
          const some = Math.min(end - start, short)
          if (some > 0) realFiles.write(file, bytes, start, start + some)
          throw fault('ENOSPC')
        }
        if (code !== undefined) throw fault(code)
        return call(...values)
      }
    },
  })
  return {
    files,
    calls,
    fail: (call, error) => void (error === null ? failing.delete(call) : failing.set(call, error)),
    shorten: octets => {
      short = octets
    },
  }
}

function fault(code: string): Error {
  return Object.assign(new Error(`${code}: made to fail`), { code })
}

export interface Started extends Recording {
  readonly sidecar: string
  readonly told: string[]
  /** Puts a record with `id` as its request id into a lane; call `encoder.endOfBatch` or `batch`. */
  batch(lane: Lane, ...ids: readonly string[]): void
}

const after = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms).unref())

let started = 0
export function nextSidecar(): string {
  started += 1
  return `00000000-0000-4000-8000-${String(started).padStart(12, '0')}`
}

/** A probe in which only processes named here live. */
export function probeOf(living: ReadonlySet<string>, self: string): RecordingOptions['probe'] {
  return { self, namespace: 'test', isRunning: process => living.has(process) }
}

export function start(directory: string, store: UsageStore, options: Partial<RecordingOptions> = {}): Started {
  const sidecar = options.sidecar ?? nextSidecar()
  const told: string[] = []
  const observer: SpoolObserver = {
    spoolFailed: error => told.push(`spool failed: ${String(error)}`),
    spoolRecovered: () => told.push('spool recovered'),
    dropped: counts => told.push(`dropped ${counts.droppedTotal}`),
    storeFailed: error => told.push(`store failed: ${String(error)}`),
    storeRecovered: () => told.push('store recovered'),
    noticed: text => told.push(text),
  }
  const recording = startRecording({
    directory,
    maxBytes: 1_073_741_824,
    sidecar,
    clientIpMode: 'source-address',
    files: realFiles,
    probe: probeOf(new Set(), sidecar),
    store,
    observer,
    timers: { pause: ms => after(Math.min(ms, 5)), expire: ms => after(ms), random: () => 0.5 },
    mono: () => performance.now(),
    wall: () => Date.now(),
    takeHalf: null,
    ...options,
  })
  const buffer = new RecordBuffer()
  const batch = (lane: Lane, ...ids: readonly string[]) => {
    buffer.clear()
    for (const id of ids) putRecord(buffer, lane, id)
    recording.spool.append(lane, buffer)
  }
  return { ...recording, sidecar, told, batch }
}

/** A record with nothing in it but its id. */
export function putRecord(buffer: RecordBuffer, lane: Lane, id: string): void {
  const octets = Buffer.from(id, 'latin1')
  buffer.beginRecord(800_000_000_000_000, Int32Array.of(0x0197c0ec, 0x7000, 0x8000_0000 | 0, 0), 0)
  buffer.putConstant(ruleAt, emptyRule)
  buffer.putConstant(outcomeAt, outcomeOf(lane === 1 ? ALLOW : 0))
  buffer.putText(requestIdAt, viewOf(octets), 0, octets.length, 128)
  buffer.endRecord()
}

const emptyRule = new Constant(Buffer.alloc(4 * ruleColumns))

/** A temporary folder and its removal. */
export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(fastFolder(), 'gw-spool-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

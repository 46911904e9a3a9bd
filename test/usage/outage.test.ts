// The database is away for an hour of virtual time while checks go on (row F16 of the faults): no answer changes, nothing waits, and
// what was recorded is stored once when it is back; where the spool is too small, what went is counted to the record, and told.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryBytesMax } from '../../src/usage/spool.ts'
import type { SpoolFiles } from '../../src/usage/spool-files.ts'
import type { UsageStore } from '../../src/usage/usage-store.ts'
import { type Answer, createStand } from '../check/check-stand.ts'
import type { SentRequest } from '../check/encode-check.ts'
import { goldenHosts, goldenKey } from '../core/cases.ts'
import { VirtualTime } from '../feed/support/virtual-time.ts'
import { until } from '../support/until.ts'
import {
  faultyFiles,
  MemoryStore,
  nextSidecar,
  probeOf,
  type Started,
  start,
  temporaryFolder,
} from './recording-stand.ts'

const MiB = 1_048_576
const hour = 3600
/** Checks of a virtual second. */
const perSecond = 4

let folder: ReturnType<typeof temporaryFolder>
beforeEach(() => {
  folder = temporaryFolder()
})
afterEach(() => folder.remove())

const requests: readonly SentRequest[] = [
  { host: goldenHosts.bitbybit, path: '/customer/open/v1/customers', headers: [['x-api-key', goldenKey('B1').secret]] },
  { host: goldenHosts.bitbybit, path: '/customer/open/v1/customers', headers: [] },
  { host: goldenHosts.bitbybit, path: '/customer/open/v1/orders', headers: [['x-api-key', goldenKey('B2').secret]] },
  { host: 'unknown.test', path: '/', headers: [] },
]
/** The check of a number: one in ten lacks a key, one in ten asks for a product that there is not. */
const kindOf = (number: number) => (number % 10 === 3 ? 1 : number % 10 === 7 ? 3 : number % 2 === 0 ? 0 : 2)
const isDenied = (number: number) => kindOf(number) % 2 === 1

/** What a client sees of an answer, apart from ids. */
const shown = ({ outcome, code, status, body, headers }: Answer) =>
  JSON.stringify([outcome, code, status, body, [...headers]]).replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'id')

/** A store that a process has no more of once it is dead. */
function whileLiving(store: MemoryStore, lives: () => boolean): UsageStore {
  const whileAlive = <T>(call: () => Promise<T>): Promise<T> => (lives() ? call() : new Promise<T>(() => undefined))
  return {
    position: (sidecar, lane) => whileAlive(() => store.position(sidecar, lane)),
    store: batch => whileAlive(() => store.store(batch)),
    forget: sidecar => whileAlive(() => store.forget(sidecar)),
    lose: (sidecar, loss) => whileAlive(() => store.lose(sidecar, loss)),
    close: () => store.close(),
  }
}

/** Files that say when none of them is being read or changed; a dead process has none any more. */
function watched(files: SpoolFiles) {
  let open = 0
  const filesOf = (lives: () => boolean) =>
    new Proxy(files, {
      get(target, name: keyof SpoolFiles) {
        const call = target[name] as (...values: unknown[]) => unknown
        return (...values: unknown[]) => {
          if (!lives()) return new Promise(() => undefined)
          const result = call(...values)
          if (!(result instanceof Promise)) return result
          open += 1
          return result.finally(() => {
            open -= 1
          })
        }
      },
    })
  const quiet = async () => {
    do await nextTurn()
    while (open > 0)
  }
  return { filesOf, quiet }
}

/** Checks that are recorded by whatever process lives, in virtual time. */
function world(maxBytes: number) {
  const time = new VirtualTime()
  const store = new MemoryStore()
  const faulty = faultyFiles()
  const { filesOf, quiet } = watched(faulty.files)
  const living = new Set<string>()
  const processes: Started[] = []
  const begin = () => {
    const sidecar = nextSidecar()
    living.add(sidecar)
    const lives = () => living.has(sidecar)
    const recording = start(folder.path, whileLiving(store, lives), {
      sidecar,
      maxBytes,
      files: filesOf(lives),
      probe: probeOf(living, sidecar),
      mono: () => time.mono(),
      wall: () => time.wall(),
      // Files are read in real time: a writer that is at work goes on without waiting for the clock.
      timers: {
        pause: ms => (ms === 0 ? nextTurn() : time.sleep(ms)),
        expire: ms => time.sleep(ms),
        random: () => time.random(),
      },
    })
    processes.push(recording)
    return recording
  }
  let current = begin()
  /** A second passes; what the writer does in it takes real time, which it gets. */
  const pass = async () => {
    await time.advance(1000)
    await quiet()
  }
  const keys = [goldenKey('B1'), goldenKey('B2')]
  const stand = createStand({
    keys,
    sink: {
      record: decided => current.encoder.record(decided),
      endOfBatch: () => current.encoder.endOfBatch(),
    },
  })
  const plain = createStand({ keys })
  const expected = requests.map(request => shown(plain.check(request)))
  let asked = 0
  return {
    time,
    pass,
    store,
    faulty,
    asked: () => asked,
    recording: () => current,
    processes,
    /** Checks for so many seconds; every answer is the one without recording. */
    async run(seconds: number) {
      for (let second = 0; second < seconds; second++) {
        for (let i = 0; i < perSecond; i++) {
          const request = requests[kindOf(asked)] ?? {}
          const headers = [...(request.headers ?? []), ['x-request-id', String(asked)] as const]
          const answer = stand.check({ ...request, headers })
          stand.service.endOfBatch?.()
          if (shown(answer) !== expected[kindOf(asked)]) throw new Error(`check ${asked}: ${shown(answer)}`)
          asked += 1
        }
        await pass()
      }
      expect(stand.errors).toEqual([])
    },
    /** The process dies, and another starts. */
    restart() {
      living.delete(current.sidecar)
      current = begin()
    },
    /** Time passes and files are read until it holds. */
    async settle(what: string, holds: () => boolean) {
      await until(
        what,
        async () => {
          await pass()
          return holds()
        },
        20_000,
      )
    },
  }
}

const numbers = (count: number) => Array.from({ length: count }, (_, number) => number)
const unstoredOf = ({ lanes }: Started['spool']) =>
  lanes.flatMap(lane => lane.segments).reduce((sum, { records, stored: there }) => sum + records - there, 0)
const byNumber = (a: number, b: number) => a - b
const stored = (store: MemoryStore) => store.ids().map(Number).sort(byNumber)

describe('an hour without the database', () => {
  it('changes no answer, and every check of it is stored once when it is back', async () => {
    const { store, run, recording, settle, asked } = world(1024 * MiB)
    await run(60)
    await settle('the first minute is stored', () => store.rows.length === asked())
    store.isAway = true
    const before = store.rows.length
    await run(hour)
    expect(store.rows).toHaveLength(before)
    const { spool, counts, told } = recording()
    // A segment a minute for each lane: what comes back is given to the database in pieces.
    for (const lane of spool.lanes) expect(lane.segments.length).toBeGreaterThan(50)
    expect(told.filter(text => text.startsWith('store failed'))).toHaveLength(1)
    store.isAway = false
    await settle('all is stored', () => store.rows.length >= asked())
    expect(stored(store)).toEqual(numbers(asked()))
    expect([counts.droppedTotal, counts.losses.isUntold, store.losses.size]).toEqual([0, false, 0])
    expect(told).toContain('store recovered')
    await settle('the spool is empty', () => spool.fileBytes < 64 * 1024)
  })

  it('through restarts and a full disk of some minutes in it loses nothing either', async () => {
    const { store, run, restart, settle, asked, faulty, recording, processes } = world(1024 * MiB)
    store.isAway = true
    for (let quarter = 0; quarter < 4; quarter++) {
      await run(hour / 8)
      if (quarter === 1) faulty.fail('write', 'ENOSPC')
      await run(120)
      expect(recording().spool.memoryBytes > 0).toBe(quarter === 1)
      // Memory is all that a death loses: the disk is back before the next one.
      faulty.fail('write', null)
      if (quarter === 1) store.isAway = false
      if (quarter === 1) await settle('what is in memory is stored', () => unstoredOf(recording().spool) === 0)
      store.isAway = true
      await run(hour / 8 - 120)
      restart()
    }
    store.isAway = false
    await settle('all is stored', () => store.rows.length >= asked())
    expect(stored(store)).toEqual(numbers(asked()))
    expect(processes.map(({ counts }) => counts.droppedTotal)).toEqual([0, 0, 0, 0, 0])
    expect(new Set(store.rows.map(row => row.sidecar)).size).toBe(4)
  })

  it('with a spool that is too small costs the oldest allowed records, counted and told', async () => {
    const { store, run, recording, settle, asked, time } = world(3 * MiB)
    await run(10)
    await settle('the first seconds are stored', () => store.rows.length === asked())
    store.isAway = true
    const first = asked()
    const awayAt = time.wall()
    await run(hour)
    const { spool, counts } = recording()
    expect(spool.fileBytes).toBeLessThanOrEqual(3 * MiB)
    store.isAway = false
    await settle('what is left is stored', () => store.rows.length + counts.droppedTotal >= asked())
    await settle('the loss is told', () => !counts.losses.isUntold)
    const kept = stored(store)
    expect(new Set(kept).size).toBe(kept.length)
    expect(counts.drops()).toEqual([{ decision: 'allow', cause: 'full', records: asked() - kept.length }])
    expect(counts.droppedTotal).toBeGreaterThan(1000)
    // All denied ones are there.
    expect(kept.filter(isDenied)).toEqual(numbers(asked()).filter(isDenied))
    const allowed = numbers(asked()).filter(number => number >= first && !isDenied(number))
    const isKept = new Set(kept)
    const lost = allowed.filter(number => !isKept.has(number))
    expect(lost).toEqual(allowed.slice(0, lost.length))
    // The database has heard of all of it, and of when it was.
    const losses = [...store.losses.values()]
    expect(losses.reduce((sum, loss) => sum + loss.allowed, 0)).toBe(counts.droppedTotal)
    const lastLostAt = awayAt + Math.floor(((lost.at(-1) ?? 0) - first) / perSecond) * 1000
    expect(Math.min(...losses.map(({ span }) => span.from))).toBeLessThan(awayAt + 120_000)
    const end = Math.max(...losses.map(({ span }) => span.to))
    expect(end).toBeGreaterThanOrEqual(lastLostAt)
    expect(end).toBeLessThan(lastLostAt + 120_000)
  })

  it('and without a disk fills its memory, then costs the oldest allowed records, counted', async () => {
    const { store, recording, settle, faulty, pass } = world(1024 * MiB)
    for (const call of ['makeFolder', 'create'] as const) faulty.fail(call, 'EROFS')
    store.isAway = true
    const { spool, counts, batch } = recording()
    let sent = 0
    const run = async (seconds: number) => {
      for (let second = 0; second < seconds; second++) {
        batch(1, ...numbers(60).map(number => String(sent + number).padStart(100, '0')))
        sent += 60
        await pass()
      }
    }
    await run(600)
    expect(counts.droppedTotal).toBe(0)
    await run(1200)
    expect(counts.droppedTotal).toBeGreaterThan(0)
    expect(spool.memoryBytes).toBeLessThanOrEqual(memoryBytesMax)
    // Nothing of it is wasted on the tries of the disk, one a second.
    expect(unstoredOf(spool) * 200).toBeGreaterThan(memoryBytesMax * 0.8)
    store.isAway = false
    await settle('what is left is stored', () => store.rows.length + counts.droppedTotal >= sent)
    expect(stored(store)).toEqual(numbers(sent).slice(counts.droppedTotal))
  })
})

// What recording costs: the same checks with and without it, in turn, at one and at 64 in flight; then how many rows a second the
// writer puts into PostgreSQL, and its CPU time. Run with `npm run bench:usage`; it starts a PostgreSQL of its own.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createUsageWriter } from '../src/store/usage-writer.ts'
import { type FrameSink, RecordEncoder } from '../src/usage/record-encoder.ts'
import { type RecordingOptions, startRecording } from '../src/usage/recording.ts'
import { realFiles } from '../src/usage/spool-files.ts'
import { startTestCluster } from '../test/support/postgres.ts'
import {
  answers,
  createService,
  keyCount,
  measureChecks,
  median,
  range,
  requests,
  unknown,
  verify,
} from './usage-world.ts'

const rounds = 9
const checksPerRound = 100_000
/** Rows that the writer is given. */
const rowCount = 300_000
const print = (line: string) => process.stdout.write(`${line}\n`)
const after = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))
const gibibyte = 1_073_741_824

const directory = mkdtempSync(join(tmpdir(), 'gw-bench-usage-'))
const cluster = await startTestCluster()
const database = await cluster.createDatabase()

function options(sidecar: string, path: string, isStored: boolean): RecordingOptions {
  const store = createUsageWriter(database.database, sidecar)
  return {
    directory: path,
    maxBytes: gibibyte,
    sidecar,
    clientIpMode: 'grpc-metadata',
    files: realFiles,
    probe: { self: sidecar, namespace: 'bench', isRunning: () => true },
    // Measuring the check, nothing else may run.
    store: isStored ? store : { ...store, position: never, store: never, forget: never, close: async () => undefined },
    observer: {
      spoolFailed: fail,
      spoolRecovered: () => undefined,
      dropped: () => undefined,
      storeFailed: isStored ? fail : () => undefined,
      storeRecovered: () => undefined,
      noticed: () => undefined,
    },
    timers: { pause: isStored ? after : never, expire: after, random: Math.random },
    mono: () => performance.now(),
    wall: () => Date.now(),
    takeHalf: null,
  }
}

function never<T>(): Promise<T> {
  return new Promise(() => undefined)
}

function fail(error: unknown): never {
  throw error
}

try {
  measureCost()
  await measureWriter()
} finally {
  await database.drop()
  await cluster.stop()
  rmSync(directory, { recursive: true, force: true })
}

function measureCost(): void {
  const recording = startRecording(options('00000000-0000-4000-8000-00000000000a', join(directory, 'cost'), false))
  recording.encoder.coverPrefixes(['bn_live_', 'gwa_', 'gwb_'])
  const nothing: FrameSink = { append: () => undefined }
  const encoder = new RecordEncoder({ sink: nothing, clientIpMode: 'grpc-metadata' })
  encoder.coverPrefixes(['bn_live_', 'gwa_', 'gwb_'])
  const without = createService()
  const encoded = createService(encoder)
  const recorded = createService(recording.encoder)
  for (const service of [without, encoded, recorded]) {
    verify(service, requests, true)
    verify(service, unknown, false)
    service.endOfBatch?.()
  }
  print(
    `node ${process.version}, ${keyCount} API keys, ${requests[0]?.length} octets a request, rounds ${rounds} × ${checksPerRound}`,
  )
  for (const [name, list] of [
    ['allowed', requests],
    ['unknown', unknown],
  ] as const) {
    for (const batch of [64, 1]) {
      const ns = { without: [] as number[], encoded: [] as number[], recorded: [] as number[] }
      for (let round = 0; round <= rounds; round++) {
        const [a, b, c] = [without, encoded, recorded].map(service =>
          measureChecks(service, list, checksPerRound, batch),
        )
        if (round === 0 || a === undefined || b === undefined || c === undefined) continue // warm
        ns.without.push(a)
        ns.encoded.push(b - a)
        ns.recorded.push(c - a)
      }
      print(
        `${name}, ${batch} in flight: check ${Math.round(median(ns.without))} ns; encoding + ${Math.round(median(ns.encoded))} (${range(ns.encoded)}); recording + ${Math.round(median(ns.recorded))} (${range(ns.recorded)})`,
      )
    }
  }
  if (answers.failures > 0) throw new Error(`${answers.failures} checks failed`)
  print(
    `spool        ${Math.round(recording.spool.fileBytes / recording.counts.recorded)} octets a record while it is not full`,
  )
}

async function measureWriter(): Promise<void> {
  const recording = startRecording(options('00000000-0000-4000-8000-00000000000b', join(directory, 'writer'), true))
  const service = createService(recording.encoder)
  for (let done = 0; done < rowCount; done += requests.length) measureChecks(service, requests, requests.length, 64)
  const cpu = process.cpuUsage()
  const began = performance.now()
  while (recording.counts.written < rowCount) await after(20)
  const seconds = (performance.now() - began) / 1000
  const { user, system } = process.cpuUsage(cpu)
  print(
    `writer       ${Math.round(rowCount / seconds)} rows/s, ${((user + system) / rowCount).toFixed(2)} µs of this process a row`,
  )
  await recording.end(5000)
  const client = database.client()
  await client.connect()
  const found = await client.query<{ n: bigint }>('SELECT count(*) AS n FROM usage_log')
  await client.end()
  if (Number(found.rows[0]?.n) !== rowCount) throw new Error(`${found.rows[0]?.n} rows of ${rowCount} are in the log`)
}

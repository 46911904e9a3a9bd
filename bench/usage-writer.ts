// How many rows a second the writer puts into PostgreSQL out of a full spool: the shipped writer and schema, durable commits, counters kept.
// `npm run bench:usage-writer`. CPU of this process is told beside wall time; the database has a core of its own where there are two.
// The last line is the headline; goal 20 000 rows a second on one core.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { startEmbeddedPostgres } from '../src/store/embedded-postgres.ts'
import { migrate } from '../src/store/migrate.ts'
import { createUsageWriter } from '../src/store/usage-writer.ts'
import { CheckStand, knownRequests, median, range, readDepth } from './check-stand.ts'
import { machineLine } from './machine-line.ts'
import { after, recordTo } from './usage-recording.ts'

const rounds = 5
const rowsPerRound = 300_032
const goalRows = 20_000
const waitMs = 10
const print = (line: string) => process.stdout.write(`${line}\n`)

const directory = mkdtempSync(join(tmpdir(), 'gw-bench-writer-'))
const dataDir = mkdtempSync(join(tmpdir(), 'gw-bench-database-'))
const embedded = await startEmbeddedPostgres({ dataDir, exclusive: true })
const [server] = embedded.database.servers
try {
  await migrate(server)
  print(machineLine())
  print(`${rounds} rounds of ${rowsPerRound} rows; fsync on; the checks that make them are not in the time`)
  const perSecond: number[] = []
  const cpuMicros: number[] = []
  for (let round = 0; round < rounds; round++) {
    const { rows, micros } = await measure(`00000000-0000-4000-8000-0000000000b${round}`)
    perSecond.push(rows)
    cpuMicros.push(micros)
  }
  const stored = await count()
  if (stored !== rounds * rowsPerRound) throw new Error(`${stored} rows of ${rounds * rowsPerRound} are in the log`)
  print(`rows a second   ${Math.round(median(perSecond))} (${range(perSecond)}), wall time`)
  print(`CPU             ${median(cpuMicros).toFixed(1)} µs of this process a row (${range(cpuMicros, 1)})`)
  print(`rows_per_s=${Math.round(median(perSecond))} goal_rows_per_s=${goalRows}`)
} finally {
  await embedded.stop()
  for (const each of [directory, dataDir]) rmSync(each, { recursive: true, force: true })
}

/** Fills a spool while nothing is taken from it, then lets the writer work. */
async function measure(sidecar: string): Promise<{ readonly rows: number; readonly micros: number }> {
  const store = createUsageWriter(embedded.database, sidecar)
  const recording = recordTo(join(directory, `spool-${sidecar}`), sidecar, store)
  const stand = new CheckStand(recording.encoder)
  // One synchronous piece of work: the writer gets no turn in it.
  stand.measureReads(knownRequests, Math.ceil(rowsPerRound / readDepth) * readDepth)
  const before = recording.counts.written
  const cpu = process.cpuUsage()
  const began = performance.now()
  while (recording.counts.written < rowsPerRound) await after(waitMs)
  const seconds = (performance.now() - began) / 1000
  const { user, system } = process.cpuUsage(cpu)
  await recording.end(10_000)
  const rows = rowsPerRound - before
  return { rows: rows / seconds, micros: (user + system) / rows }
}

async function count(): Promise<number> {
  const client = new pg.Client({ ...server, options: '-c search_path=gatewarden' })
  await client.connect()
  try {
    const found = await client.query<{ n: string }>('SELECT count(*) AS n FROM usage_log')
    return Number(found.rows[0]?.n)
  } finally {
    await client.end()
  }
}

// Row F15 of the faults: check processes are killed with SIGKILL under load, again and again, on one spool directory; afterwards
// every answer that a client got must be in the usage log exactly once. Loops end by count and by time; the seed is told.
import { randomInt } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { goldenHosts, goldenKey } from '../core/cases.ts'
import { insertGoldenRows } from '../e2e/golden-rows.ts'
import { type CheckProcess, type Site, startCheckProcess } from '../e2e/processes.ts'
import { seededRandom } from '../oracle/random-worlds.ts'
import { fastFolder, type TestDatabase } from '../support/postgres.ts'
import { until } from '../support/until.ts'

export interface KillOptions {
  readonly database: TestDatabase
  readonly kills: number
  /** Processes at a time; they share the spool directory. */
  readonly parallel: number
  readonly seed: number
}

/** What came of it. */
export interface KillReport {
  readonly kills: number
  /** Checks whose reply a client has read. */
  readonly answered: number
  /** Rows in the log; more than answered, since some replies never arrived. */
  readonly rows: number
  /** Answered, and not in the log. */
  readonly lost: readonly string[]
  /** In the log more than once. */
  readonly doubled: number
  /** Given up and counted by the process that lives last; 0 unless something is wrong. */
  readonly dropped: number
  /** Files set aside. */
  readonly setAside: number
  /** Lives that ended before any answer came. */
  readonly silent: number
}

/** Checks in flight per process. */
const inFlight = 32
/** How long a process lives from its first answer. */
const lifeMsMax = 250
const firstAnswerWithinMs = 30_000
const storedWithinMs = 60_000

/** Kills `kills` processes and recounts. */
export async function killUnderLoad({ database, kills, parallel, seed }: KillOptions): Promise<KillReport> {
  const directory = mkdtempSync(join(fastFolder(), 'gw-kills-'))
  const site: Site = { directory, database: database.database }
  const client = database.client()
  await client.connect()
  try {
    await insertGoldenRows(client)
    const random = seededRandom(seed)
    const answered = new Set<string>()
    const counts = { started: 0, silent: 0 }
    const worker = async () => {
      while (counts.started < kills) {
        const number = ++counts.started
        const got = await oneLife(site, `check-${number}`, random() * lifeMsMax, answered)
        if (got === 0) counts.silent += 1
      }
    }
    await Promise.all(Array.from({ length: parallel }, worker))
    const { dropped, setAside } = await replay(site, client, answered)
    return {
      kills: counts.started,
      answered: answered.size,
      silent: counts.silent,
      dropped,
      setAside,
      ...(await recount(client, answered)),
    }
  } finally {
    await client.end()
    rmSync(directory, { recursive: true, force: true })
  }
}

const requests = [
  { host: goldenHosts.bitbybit, headers: [['x-api-key', goldenKey('B1').secret]] },
  { host: goldenHosts.bitbybit, headers: [] },
  { host: goldenHosts.billoget, headers: [['authorization', `Bearer ${goldenKey('L1').secret}`]] },
  { host: 'unknown.test', headers: [] },
] as const

/** @returns how many answers came. */
async function oneLife(site: Site, name: string, lifeMs: number, answered: Set<string>): Promise<number> {
  const process = await startCheckProcess(site, name, { GATEWARDEN_LOG_LEVEL: 'error' })
  const state = { ended: false, answers: 0 }
  const asking = Array.from({ length: inFlight }, async (_, lane) => {
    for (let i = 0; !state.ended && i < 100_000; i++) {
      const request = requests[(lane + i) % requests.length] ?? requests[0]
      try {
        const answer = await process.ask({ path: `/customer/open/v1/customers?n=${i}`, ...request })
        const id = answer.metadata['decision_id']
        if (id === undefined) throw new Error('an answer without a decision id')
        answered.add(id)
        state.answers += 1
      } catch {
        if (state.answers > 0) return // killed
        await sleep(20) // not there yet
      }
    }
  })
  try {
    await until('the first answer', () => state.answers > 0, firstAnswerWithinMs)
    await sleep(lifeMs)
  } finally {
    await process.running.stop('SIGKILL')
    state.ended = true
    await Promise.all(asking)
    process.close()
  }
  return state.answers
}

/** A last process stores what the others left. */
async function replay(site: Site, client: pg.Client, answered: ReadonlySet<string>) {
  const last = await startCheckProcess(site, 'last')
  try {
    const folders = () => readdirSync(join(site.directory, 'spool')).filter(each => !each.startsWith('.'))
    await until(
      'everything is stored',
      () => folders().length === 1 && rowsAtLeast(client, answered.size),
      storedWithinMs,
    )
    return { dropped: await dropsOf(last), setAside: await last.metric('gatewarden_usage_set_aside_total') }
  } finally {
    await last.running.stop('SIGTERM')
    last.close()
  }
}

async function dropsOf(process: CheckProcess): Promise<number> {
  let dropped = 0
  for (const decision of ['allow', 'deny']) {
    for (const cause of ['full', 'age', 'memory', 'corrupt', 'refused']) {
      const value = await process.metric(`gatewarden_usage_dropped_total{decision="${decision}",cause="${cause}"}`)
      if (Number.isFinite(value)) dropped += value
    }
  }
  return dropped
}

async function rowsAtLeast(client: pg.Client, count: number): Promise<boolean> {
  const found = await client.query<{ n: bigint }>('SELECT count(*) AS n FROM usage_log')
  return Number(found.rows[0]?.n) >= count
}

async function recount(client: pg.Client, answered: ReadonlySet<string>) {
  const found = await client.query<{ id: string; n: bigint }>(
    'SELECT decision_id AS id, count(*) AS n FROM usage_log GROUP BY decision_id',
  )
  const counts = new Map(found.rows.map(({ id, n }) => [id, Number(n)]))
  return {
    rows: [...counts.values()].reduce((sum, n) => sum + n, 0),
    lost: [...answered].filter(id => !counts.has(id)),
    doubled: [...counts.values()].filter(n => n > 1).length,
  }
}

/** The report as one line. */
export function reportText(report: KillReport, seed: number): string {
  const { kills, answered, rows, lost, doubled, dropped, setAside, silent } = report
  return `kills ${kills}, answered ${answered}, rows ${rows}, lost ${lost.length}, doubled ${doubled}, dropped ${dropped}, set aside ${setAside}, without an answer ${silent} (seed ${seed})`
}

/** A seed of its own for each run. */
export function drawSeed(): number {
  return Number(process.env['SEED'] ?? randomInt(1_000_000))
}

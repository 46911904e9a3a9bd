// Row F15 of the faults: check processes are killed with SIGKILL under load, again and again, on one spool directory; afterwards
// every answer that a client got must be in the usage log exactly once. Kills hit starts and take-overs, the writing of batches, and
// the storing of a process's own records, over both transports. Loops end by count and by time; the seed is told.
import { randomInt } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { dropCauses } from '../../src/usage/spool-counts.ts'
import type { SentRequest } from '../check/encode-check.ts'
import { goldenHosts, goldenKey } from '../core/cases.ts'
import { insertGoldenRows } from '../e2e/golden-rows.ts'
import { type CheckProcess, type Site, startCheckProcess, untilReady } from '../e2e/processes.ts'
import { seededRandom } from '../oracle/random-worlds.ts'
import { fastFolder, type TestDatabase } from '../support/postgres.ts'
import { repositoryFile } from '../support/repository-file.ts'
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
  /** Lives that were to end before anybody was answered. */
  readonly inStart: number
  /** Lives that had stored some of their own records when they ended: the others left all of them to the next. */
  readonly whileStoring: number
  /** Lives that should have answered and did not. */
  readonly silent: number
  /** Checks whose reply a client has read. */
  readonly answered: number
  /** Of those, the allowed ones: they have a lane of their own. */
  readonly allowed: number
  /** Rows in the log; more than answered, since some replies never arrived. */
  readonly rows: number
  /** Answered, and not in the log. */
  readonly lost: readonly string[]
  /** In the log more than once. */
  readonly doubled: number
  /** Rows of checks that nobody can have asked for: beyond the answered ones and those in flight at a kill. */
  readonly invented: number
  /** Given up and counted by the process that lives last; 0 unless something is wrong. */
  readonly dropped: number
  /** Files set aside. */
  readonly setAside: number
}

/** Checks in flight per process. */
const inFlight = 16
/** How long most processes live from their first answer. */
const lifeMsMax = 250
/** Every so many lives is a long one: records rest 2.5 s before their own process stores them. */
const longEvery = 8
const longLifeMs = [2700, 4200] as const
/** Every so many lives ends while it starts. */
const startEvery = 10
/** Answers of a lane in one life, about: a long life asks more slowly. */
const answersPerLane = 25
const firstAnswerWithinMs = 60_000
const storedWithinMs = 60_000

/** Kills `kills` processes and recounts. */
export async function killUnderLoad({ database, kills, parallel, seed }: KillOptions): Promise<KillReport> {
  const directory = mkdtempSync(join(fastFolder(), 'gw-kills-'))
  const site: Site = { directory, database: database.database, profilesDir: oneProfile(directory) }
  const client = database.client()
  await client.connect()
  try {
    await insertGoldenRows(client)
    const tally = new Tally(client)
    const random = seededRandom(seed)
    let started = 0
    const worker = async () => {
      while (started < kills) {
        const number = ++started
        await oneLife(site, drawLife(number, random), tally)
      }
    }
    await Promise.all(Array.from({ length: parallel }, worker))
    const { dropped, setAside } = await replay(site, client, tally)
    const { rows, lost, doubled } = await recount(client, tally.answered)
    return {
      ...tally.counts,
      kills: started,
      answered: tally.answered.size,
      rows,
      lost,
      doubled,
      invented: Math.max(0, rows - tally.answered.size - started * inFlight),
      dropped,
      setAside,
    }
  } finally {
    await client.end()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** A process starts faster with one product; which one makes no difference to what is recorded. */
function oneProfile(directory: string): string {
  const folder = join(directory, 'profiles')
  mkdirSync(folder)
  copyFileSync(repositoryFile('profiles/bitbybit.yaml'), join(folder, 'bitbybit.yaml'))
  return folder
}

class Tally {
  readonly answered = new Set<string>()
  readonly counts = { inStart: 0, whileStoring: 0, silent: 0, allowed: 0 }
  /** From the start of a process until it listens, as last seen. */
  startMs = 1000
  private readonly client: pg.Client

  constructor(client: pg.Client) {
    this.client = client
  }

  /** Whether one of these is in the log already. */
  async isStored(ids: readonly string[]): Promise<boolean> {
    const found = await this.client.query('SELECT FROM usage_log WHERE decision_id = ANY ($1::uuid[]) LIMIT 1', [ids])
    return found.rowCount === 1
  }
}

interface Life {
  readonly number: number
  readonly kind: 'start' | 'short' | 'long'
  readonly transport: 'grpc-js' | 'h2'
  /** 0 to 1: when in its life it ends. */
  readonly at: number
}

function drawLife(number: number, random: () => number): Life {
  const kind = number % startEvery === 0 ? 'start' : number % longEvery === 0 ? 'long' : 'short'
  return { number, kind, transport: random() < 0.5 ? 'grpc-js' : 'h2', at: random() }
}

const requests: readonly SentRequest[] = [
  { host: goldenHosts.bitbybit, headers: [['x-api-key', goldenKey('B1').secret]] },
  { host: goldenHosts.bitbybit, headers: [] },
  { host: goldenHosts.bitbybit, headers: [['x-api-key', goldenKey('B2').secret]] },
  { host: 'unknown.test', headers: [] },
]

async function oneLife(site: Site, life: Life, tally: Tally): Promise<void> {
  const settings = { GATEWARDEN_LOG_LEVEL: 'error', GATEWARDEN_CHECK_TRANSPORT: life.transport }
  const began = performance.now()
  const process = await startCheckProcess(site, `check-${life.number}`, settings)
  if (life.kind === 'start') {
    await sleep(life.at * tally.startMs)
    await process.running.stop('SIGKILL')
    process.close()
    tally.counts.inStart += 1
    return
  }
  const listens = () => existsSync(process.socket)
  await until('it listens', listens, firstAnswerWithinMs)
  tally.startMs = performance.now() - began
  const lifeMs = life.kind === 'short' ? life.at * lifeMsMax : between(longLifeMs, life.at)
  const asking = new Asking(process, lifeMs, tally)
  try {
    await until('the first answer', () => asking.ids.length > 0, firstAnswerWithinMs)
    await sleep(lifeMs)
    if (life.kind === 'long' && (await tally.isStored(asking.ids))) tally.counts.whileStoring += 1
  } finally {
    await process.running.stop('SIGKILL')
    await asking.end()
    process.close()
  }
  if (asking.ids.length === 0) tally.counts.silent += 1
}

function between([from, to]: readonly [number, number], share: number): number {
  return from + (to - from) * share
}

/** Clients that ask until their process is gone. */
class Asking {
  /** Of answered checks. */
  readonly ids: string[] = []
  private readonly process: CheckProcess
  private readonly pauseMs: number
  private readonly tally: Tally
  private readonly lanes: Promise<void>[]
  private hasEnded = false

  constructor(process: CheckProcess, lifeMs: number, tally: Tally) {
    this.process = process
    this.pauseMs = (2 * lifeMs) / answersPerLane
    this.tally = tally
    this.lanes = Array.from({ length: inFlight }, (_, lane) => this.ask(lane))
  }

  async end(): Promise<void> {
    this.hasEnded = true
    await Promise.all(this.lanes)
  }

  private async ask(lane: number): Promise<void> {
    for (let i = 0; !this.hasEnded && i < 100_000; i++) {
      const request = requests[(lane + i) % requests.length] ?? {}
      try {
        const answer = await this.process.ask({ path: `/customer/open/v1/customers?n=${i}`, ...request })
        const id = answer.metadata['decision_id']
        if (id === undefined) throw new Error('an answer without a decision id')
        this.ids.push(id)
        this.tally.answered.add(id)
        if (answer.outcome === 'allow') this.tally.counts.allowed += 1
      } catch {
        if (this.ids.length > 0) return // killed
      }
      await sleep(Math.random() * this.pauseMs)
    }
  }
}

/** A last process stores what the others left. */
async function replay(site: Site, client: pg.Client, tally: Tally) {
  const last = await startCheckProcess(site, 'last')
  try {
    // Before that its own folder is not among them, and that of the last one killed would be taken for it.
    await untilReady(last, storedWithinMs)
    const folders = () => readdirSync(join(site.directory, 'spool')).filter(each => !each.startsWith('.'))
    await until(
      'everything is stored',
      async () => folders().length === 1 && (await rowCount(client)) >= tally.answered.size,
      storedWithinMs,
    ).catch((error: unknown) => {
      // What is missing is told by the recount.
      process.stderr.write(`${String(error)}; there are ${folders().join(', ')}\n`)
    })
    return { dropped: await dropsOf(last), setAside: await last.metric('gatewarden_usage_set_aside_total') }
  } finally {
    await last.running.stop('SIGTERM')
    last.close()
  }
}

async function dropsOf(process: CheckProcess): Promise<number> {
  let dropped = 0
  for (const decision of ['allow', 'deny']) {
    for (const cause of dropCauses) {
      const value = await process.metric(`gatewarden_usage_dropped_total{decision="${decision}",cause="${cause}"}`)
      if (Number.isFinite(value)) dropped += value
    }
  }
  return dropped
}

async function rowCount(client: pg.Client): Promise<number> {
  const found = await client.query<{ n: bigint }>('SELECT count(*) AS n FROM usage_log')
  return Number(found.rows[0]?.n)
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
  const { kills, inStart, whileStoring, silent, answered, allowed, rows, lost, doubled, dropped, setAside } = report
  return (
    `${kills} kills (${inStart} in a start, ${whileStoring} while storing), ${answered} answered (${allowed} allowed), ` +
    `${rows} rows, ${lost.length} lost, ${doubled} doubled, ${dropped} dropped, ${setAside} set aside, ` +
    `${silent} lives without an answer (seed ${seed})`
  )
}

/** A seed of its own for each run. */
export function drawSeed(): number {
  return Number(process.env['SEED'] ?? randomInt(1_000_000))
}

// The writer of usage on PostgreSQL: one connection of its own, as gw_sidecar. A batch and the lane's new position commit
// together; the position is compared first, so a batch that is stored already is not stored again. Rows that the database
// takes in no way are found by halves and left out, so that one bad row never holds up the rest.
import pg from 'pg'
import { microsFromUnixMs } from '../core/time.ts'
import type { UsageLoss } from '../usage/losses.ts'
import type { Position } from '../usage/spool-segment.ts'
import type { StoreOutcome, UsageBatch, UsageStore } from '../usage/usage-store.ts'
import { timestamptzParameter } from './column-values.ts'
import { explainConnect } from './connect-failure.ts'
import { type Database, type Session, sessionConfig } from './connection.ts'
import { copyIn } from './copy-in.ts'
import { sqlState, undefinedTable } from './store-error.ts'

/** Session of the writer. A commit that is told is kept: the spool's file is removed on its strength. */
export function usageWriterSession(sidecar: string): Session {
  return {
    role: 'gw_sidecar',
    applicationName: `gatewarden usage ${sidecar}`,
    settings: {
      statement_timeout: '10000',
      lock_timeout: '5000',
      idle_in_transaction_session_timeout: '10000',
      synchronous_commit: 'on',
      jit: 'off',
    },
  }
}

/** One call, client side: beyond it the connection is destroyed. */
const callLimitMs = 15_000
/** Names of days that are known to have a partition; a year of them is more than ever come. */
const daysMax = 400

const positionStatement = 'SELECT segment, position FROM usage_position WHERE sidecar = $1 AND lane = $2'
const moveStatement = `
  INSERT INTO usage_position AS p (sidecar, lane, segment, position) VALUES ($1, $2, $3, $4)
  ON CONFLICT (sidecar, lane) DO UPDATE
    SET segment = excluded.segment, position = excluded.position, update_time = clock_timestamp()
    WHERE p.segment = $5 AND p.position = $6`

const lossStatement = `
  INSERT INTO usage_loss (sidecar, number, from_time, to_time, allowed, denied) VALUES ($1, $2, $3, $4, $5, $6)
  ON CONFLICT DO NOTHING`

/** Connects at the first call and whenever a connection was lost. */
export function createUsageWriter(database: Database, sidecar: string): UsageStore {
  return new PostgresUsageWriter(database, sidecar)
}

class PostgresUsageWriter implements UsageStore {
  private readonly database: Database
  private readonly session: Session
  private client: pg.Client | undefined
  private server = 0
  private readonly days = new Set<string>()
  /** A COMMIT was sent and not answered. */
  private isCommitting = false

  constructor(database: Database, sidecar: string) {
    this.database = database
    this.session = usageWriterSession(sidecar)
  }

  position(sidecar: string, lane: number): Promise<Position | null> {
    return this.limited(async client => {
      const found = await client.query<{ segment: bigint; position: bigint }>(positionStatement, [sidecar, lane])
      const [row] = found.rows
      return row === undefined ? null : { segment: Number(row.segment), at: Number(row.position) }
    })
  }

  async store(batch: UsageBatch): Promise<StoreOutcome> {
    this.isCommitting = false
    try {
      return await this.limited(async client => {
        for (const day of batch.days) await this.makePartition(client, day)
        try {
          return await this.transact(client, batch, () => copyRows(client, batch, 0, batch.starts.length))
        } catch (error) {
          if (!isRefusal(error)) throw error
          return await this.transact(client, batch, () => copyHalves(client, batch, 0, batch.starts.length))
        }
      })
    } catch (error) {
      if (this.isCommitting) return { kind: 'unknown', error }
      throw error
    }
  }

  async forget(sidecar: string): Promise<void> {
    await this.limited(client => client.query('DELETE FROM usage_position WHERE sidecar = $1', [sidecar]))
  }

  async lose(sidecar: string, { number, span, allowed, denied }: UsageLoss): Promise<void> {
    const [from, to] = [span.from, span.to].map(unixMs => timestamptzParameter(microsFromUnixMs(unixMs)))
    try {
      await this.limited(client => client.query(lossStatement, [sidecar, number, from, to, allowed, denied]))
    } catch (error) {
      // A schema one version older has no place for it, and nobody who asks.
      if (sqlState(error) !== undefinedTable) throw error
    }
  }

  async close(): Promise<void> {
    this.destroy()
  }

  /** Where a day has no partition of its own its rows go to the rest; another batch asks again. */
  private async makePartition(client: pg.Client, day: string): Promise<void> {
    if (day === '' || this.days.has(day)) return
    try {
      const made = await client.query<{ made: boolean }>('SELECT gw_usage_partition($1) AS made', [day])
      if (this.days.size >= daysMax) this.days.clear()
      if (made.rows[0]?.made === true) this.days.add(day)
    } catch (error) {
      // Somebody holds the table, or reads the rest: not a reason to keep rows waiting.
      if (sqlState(error) !== '55P03' && sqlState(error) !== '57014') throw error
    }
  }

  /** @returns how the batch ended; throws where nothing of it is stored. */
  private async transact(client: pg.Client, batch: UsageBatch, copy: () => Promise<number>): Promise<StoreOutcome> {
    const { sidecar, lane, from, to } = batch
    await client.query('BEGIN')
    let refused: number
    try {
      const values = [sidecar, lane, to.segment, to.at, from?.segment ?? null, from?.at ?? null]
      const moved = await client.query(moveStatement, values)
      if (moved.rowCount !== 1) {
        await client.query('ROLLBACK')
        return { kind: 'moved' }
      }
      refused = await copy()
    } catch (error) {
      await client.query('ROLLBACK')
      throw error
    }
    this.isCommitting = true
    const end = await client.query('COMMIT')
    this.isCommitting = false
    if (end.command !== 'COMMIT') throw new Error('the database rolled a batch of usage back')
    return { kind: 'stored', refused }
  }

  /** Runs `work` on the connection; whatever is not an answer of the server destroys it. */
  private async limited<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = await this.connected()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.destroy()
        reject(new Error(`the database did not answer within ${callLimitMs} ms`))
      }, callLimitMs)
    })
    try {
      return await Promise.race([late, work(client)])
    } catch (error) {
      if (!isAnswer(error)) this.destroy()
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  private async connected(): Promise<pg.Client> {
    if (this.client !== undefined) return this.client
    const { servers } = this.database
    const client = new pg.Client(sessionConfig(servers[this.server] ?? servers[0], this.session))
    // The statement under way, or the next one, rejects as well.
    client.on('error', () => this.forgetClient(client))
    client.on('end', () => this.forgetClient(client))
    try {
      await client.connect()
    } catch (error) {
      this.server = (this.server + 1) % servers.length
      client.connection.stream.destroy()
      throw explainConnect(error, this.session.role)
    }
    this.client = client
    return client
  }

  private destroy(): void {
    const { client } = this
    if (client === undefined) return
    this.forgetClient(client)
    client.connection.stream.destroy()
  }

  /** The next attempt goes to the next server. */
  private forgetClient(client: pg.Client): void {
    if (this.client !== client) return
    this.client = undefined
    this.server = (this.server + 1) % this.database.servers.length
  }
}

/** Whether the server refuses a row for what is in it. */
function isRefusal(error: unknown): boolean {
  const state = sqlState(error)
  return state !== undefined && /^(22|23|54)/.test(state)
}

/** Whether the server said it and goes on with this connection. A standby cannot take rows. */
function isAnswer(error: unknown): boolean {
  const state = sqlState(error)
  return state !== undefined && state !== '25006' && !/^(08|57P|58|XX)/.test(state)
}

/** Copies rows `[first, end)`. @returns 0: none refused. */
async function copyRows(client: pg.Client, batch: UsageBatch, first: number, end: number): Promise<number> {
  const { tuples, starts, columns } = batch
  const rows = tuples.subarray(starts[first] ?? 0, starts[end] ?? tuples.length)
  const count = await copyIn(client, `COPY usage_log (${columns.join(', ')}) FROM STDIN (FORMAT binary)`, rows)
  if (count !== end - first) throw new Error(`the database took ${count} of ${end - first} rows`)
  return 0
}

/** Copies what can be copied of rows `[first, end)`. @returns how many were refused. */
async function copyHalves(client: pg.Client, batch: UsageBatch, first: number, end: number): Promise<number> {
  await client.query('SAVEPOINT half')
  try {
    const refused = await copyRows(client, batch, first, end)
    await client.query('RELEASE SAVEPOINT half')
    return refused
  } catch (error) {
    if (!isRefusal(error)) throw error
    await client.query('ROLLBACK TO SAVEPOINT half')
    await client.query('RELEASE SAVEPOINT half')
    if (end - first === 1) return 1
    const middle = first + Math.ceil((end - first) / 2)
    return (await copyHalves(client, batch, first, middle)) + (await copyHalves(client, batch, middle, end))
  }
}

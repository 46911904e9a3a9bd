// The feed's port on PostgreSQL: one connection of its own carries heartbeat, read, load and hints.
// What fails or is given up is destroyed with its socket and never used again. It decides nothing: rows go over as they came.
import { Socket } from 'node:net'
import pg from 'pg'
import type { BeatReport, FeedConnection, FeedSource, LoadSink } from '../feed/feed-source.ts'
import { explainConnect } from './connect-failure.ts'
import { type Database, type Session, sessionConfig } from './connection.ts'
import { rawRow, toFeedPage } from './feed-page.ts'
import {
  apiKeyColumns,
  apiKeyEstimateStatement,
  beatStatement,
  declareApiKeys,
  declareOrganizations,
  hasProofsStatement,
  loadHeadStatement,
  loadSlotStatement,
  organizationColumns,
  proofsColumn,
  readStatement,
  readStatementWithoutProofs,
} from './feed-statements.ts'
import { requireSchema } from './migrate.ts'

/** The channel of hints; whoever committed a change notifies it afterwards. */
export const feedChannel = 'gatewarden_feed'

/** What this process says of itself with each beat. */
export interface SidecarSelf {
  /** UUID, drawn at the start of the process. */
  readonly id: string
  readonly version: string
  /** Of API keys; those that the database contradicts are left out of the beats. */
  readonly pepperIds: readonly string[]
  /** The profiles served now, by name; asked anew with each beat since files may change. */
  profiles(): Readonly<Record<string, { readonly version: string; readonly digest: string }>>
  /** Names of `check.profiles`, or null: what belongs to any other is neither loaded nor taken out of a page. */
  readonly onlyProfiles: readonly string[] | null
}

/**
 * Rows of one slice of a load, handed on as they arrive: few enough that they are garbage before the collector looks, and
 * no long turn of the event loop.
 */
const loadSliceRows = 100
/** Rows that the server is asked for at a time: its work and ours overlap within one answer. */
const loadFetchRows = 10_000

const fetchNext: pg.QueryArrayConfig = { text: `FETCH ${loadFetchRows} FROM served`, rowMode: 'array' }

/** Session settings of the feed connection (freshness.md section 4). */
export function feedSession(self: SidecarSelf): Session {
  return {
    role: 'gw_sidecar',
    applicationName: `gatewarden feed ${self.id}`,
    settings: {
      'gatewarden.sidecar': self.id,
      jit: 'off',
      // Before a table was analysed the planner would read all of it for a page of a few rows; by key it never can.
      enable_seqscan: 'off',
      enable_hashjoin: 'off',
      enable_mergejoin: 'off',
      plan_cache_mode: 'force_custom_plan',
      statement_timeout: '2000',
      idle_in_transaction_session_timeout: '10000', // a stopped process must not hold a load's snapshot
      synchronous_commit: 'on', // the beat proves that this server can still commit
      default_transaction_isolation: 'read committed',
    },
  }
}

/**
 * The feed's source. With several servers it stays with the one that answered as primary and goes to the next when a
 * connection ends without such an answer.
 */
export function createFeedSource(database: Database, self: SidecarSelf): FeedSource {
  const session = feedSession(self)
  let server = 0
  let trusted = true // the first attempt goes to the first server
  return {
    async connect(onHint) {
      if (!trusted) server = (server + 1) % database.servers.length
      trusted = false
      const config = sessionConfig(database.servers[server] ?? database.servers[0], session)
      const connection = new PostgresFeedConnection(config, self, () => {
        trusted = true
      })
      await connection.open(onHint)
      return connection
    },
  }
}

class PostgresFeedConnection implements FeedConnection {
  private readonly socket = new Socket()
  private readonly client: pg.Client
  private readonly self: SidecarSelf
  private readonly onPrimary: () => void
  /** False on a schema one version older, until it has been migrated. */
  private hasProofs = false

  constructor(config: pg.ClientConfig, self: SidecarSelf, onPrimary: () => void) {
    this.client = new pg.Client({ ...config, stream: () => this.socket })
    this.client.on('error', () => this.destroy()) // the statement under way, or the next one, rejects
    this.self = self
    this.onPrimary = onPrimary
  }

  async open(onHint: () => void): Promise<void> {
    await this.orDestroy(async () => {
      try {
        await this.client.connect()
      } catch (error) {
        throw explainConnect(error, 'gw_sidecar')
      }
      await requireSchema(this.client)
      this.hasProofs = (await this.rows(hasProofsStatement, []))[0]?.[0] === true
      this.client.on('notification', onHint)
      await this.client.query(`LISTEN ${feedChannel}`)
    })
  }

  beat(report: BeatReport): Promise<ReadonlyMap<string, number>> {
    return this.orDestroy(async () => {
      const rows = await this.rows(beatStatement, [
        this.self.id,
        report.appliedRevision,
        report.appliedNonce,
        report.leaseMs,
        report.staleCapMs,
        report.confirmAgeMs,
        JSON.stringify(this.self.profiles()),
        this.self.pepperIds.filter(id => !report.wrongPeppers.includes(id)),
        this.self.version,
      ])
      return new Map(rows.map(([profile, live]) => [String(profile), Number(live)]))
    })
  }

  read(applied: bigint, witness: bigint, pageRevisions: number) {
    return this.orDestroy(async () => {
      const page = toFeedPage(await this.pageRows([applied, witness, pageRevisions, this.self.onlyProfiles]))
      if (page.timeline !== null) this.onPrimary()
      return page
    })
  }

  load(sink: LoadSink) {
    return this.orDestroy(async () => {
      await this.client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
      await this.client.query(
        'SET LOCAL statement_timeout = 0; SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on',
      )
      const slot = await this.rows(loadSlotStatement, [])
      if (slot.length === 0) {
        await this.client.query('ROLLBACK')
        return null
      }
      // The slot statement took the snapshot: head and rows are of one moment.
      const [revision, nonce] = (await this.rows(loadHeadStatement, []))[0] ?? []
      if (typeof revision !== 'bigint' || typeof nonce !== 'bigint') throw new TypeError('the feed has no head row')
      if (this.self.onlyProfiles === null) {
        const [estimate] = (await this.rows(apiKeyEstimateStatement, []))[0] ?? []
        if (typeof estimate === 'number' && estimate > 0) sink.expect(estimate)
      }
      await this.slices(declareOrganizations, [this.self.onlyProfiles], rows =>
        sink.organizations(rows.map(row => rawRow(row, organizationColumns))),
      )
      await this.slices(declareApiKeys, [this.self.onlyProfiles], rows =>
        sink.apiKeys(rows.map(row => rawRow(row, apiKeyColumns))),
      )
      await this.client.query('COMMIT')
      return { revision, nonce }
    })
  }

  leave() {
    return this.orDestroy(async () => {
      await this.client.query('DELETE FROM sidecars WHERE id = $1', [this.self.id])
    })
  }

  destroy(): void {
    this.client.connection.stream.destroy()
    this.socket.destroy()
  }

  private async slices(
    declare: string,
    values: readonly unknown[],
    take: (rows: readonly (readonly unknown[])[]) => void,
  ): Promise<void> {
    await this.client.query(declare, [...values])
    while ((await this.fetch(take)) === loadFetchRows);
    await this.client.query('CLOSE served')
  }

  /** Fetches once and hands on what arrives, slice by slice. Resolves to the number of rows; a throw of `take` rejects. */
  private fetch(take: (rows: readonly (readonly unknown[])[]) => void): Promise<number> {
    return new Promise((resolve, reject) => {
      const query = new pg.Query<unknown[]>(fetchNext)
      let slice: unknown[][] = []
      let count = 0
      const handOn = () => {
        const rows = slice
        slice = []
        if (rows.length > 0) take(rows)
      }
      const guarded = (work: () => void) => {
        try {
          work()
        } catch (error) {
          reject(error) // the connection is destroyed for it; what still arrives until then goes nowhere
          this.destroy()
        }
      }
      query.on('row', row => {
        count++
        slice.push(row)
        if (slice.length === loadSliceRows) guarded(handOn)
      })
      query.on('end', () => {
        guarded(handOn)
        resolve(count)
      })
      query.on('error', reject)
      this.client.query(query)
    })
  }

  /** Rows of a page. The table of proofs may come while this connection lives: then the page is read once more with them. */
  private async pageRows(values: readonly unknown[]): Promise<readonly (readonly unknown[])[]> {
    if (!this.hasProofs) {
      const rows = await this.rows(readStatementWithoutProofs, values)
      this.hasProofs = rows[0]?.[proofsColumn] === true
      if (!this.hasProofs) return rows
    }
    return this.rows(readStatement, [...values, this.self.pepperIds])
  }

  private async rows(text: string, values: readonly unknown[]): Promise<readonly (readonly unknown[])[]> {
    const result = await this.client.query<unknown[]>({ text, values: [...values], rowMode: 'array' })
    return result.rows
  }

  private async orDestroy<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      this.destroy()
      throw error
    }
  }
}

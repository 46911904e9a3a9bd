// The feed's port on PostgreSQL: one connection of its own carries heartbeat, read, load and hints.
// What fails or is given up is destroyed with its socket and never used again. It decides nothing: rows go over as they came.
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import pg from 'pg'
import type { BeatReport, FeedConnection, FeedSource, LoadSink, RawRow } from '../feed/feed-source.ts'
import { explainConnect } from './connect-failure.ts'
import { type Database, type Session, sessionConfig } from './connection.ts'
import { copyOut } from './copy-out.ts'
import { rawRow, toFeedPage } from './feed-page.ts'
import {
  apiKeyColumns,
  apiKeyEstimateStatement,
  beatStatement,
  copyApiKeys,
  copyOrganizations,
  type FeedColumn,
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

/** Octets after which reading waits for the next turn of the event loop: some 100 rows, a millisecond of parsing. */
const turnOctets = 32 * 1024

/** Without a pause all that the kernel holds is parsed in one turn, and checks wait for a page of some thousand rows. */
function readInTurns(stream: Duplex): void {
  let octets = 0
  stream.on('data', (chunk: Buffer) => {
    if (octets === 0) {
      setImmediate(() => {
        octets = 0
        stream.resume()
      })
    }
    octets += chunk.length
    if (octets >= turnOctets) stream.pause()
  })
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
      readInTurns(this.client.connection.stream)
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
      const profiles = this.self.onlyProfiles?.map(name => this.client.escapeLiteral(name)) ?? null
      await this.slices(copyOrganizations(profiles), organizationColumns, rows => sink.organizations(rows))
      await this.slices(copyApiKeys(profiles), apiKeyColumns, rows => sink.apiKeys(rows))
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

  /** Hands on the rows of a copy slice by slice, as they arrive. A throw of `take` rejects. */
  private async slices(
    statement: string,
    columns: readonly FeedColumn[],
    take: (rows: readonly RawRow[]) => void,
  ): Promise<void> {
    let slice: RawRow[] = []
    const handOn = () => {
      const rows = slice
      slice = []
      if (rows.length > 0) take(rows)
    }
    const forms = columns.map(({ form }) => form)
    await copyOut(this.client, statement, forms, row => {
      slice.push(rawRow(row, columns))
      if (slice.length === loadSliceRows) handOn()
    })
    handOn()
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

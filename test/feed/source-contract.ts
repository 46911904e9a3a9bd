// What every FeedSource owes the feed, whatever is behind it: one suite, run on the scripted server and on PostgreSQL.
// A harness says how to bring the database into a state; everything asserted goes through the port alone.
import { afterEach, describe, expect, it } from 'vitest'
import { decodeApiKey, decodeOrganization } from '../../src/feed/decode-row.ts'
import type { FeedConnection, FeedSource, LoadHead, RawRow } from '../../src/feed/feed-source.ts'
import { digestOf, idOf } from './support/rows.ts'

/** Brings the database behind the source into a state. API keys are numbers; their organization is `org_1`. */
export interface SourceHarness {
  readonly source: FeedSource
  /** Sets the scopes of API keys in one revision, creating those that are not there; answers the revision. */
  commit(apiKeys: readonly number[], scopes: readonly string[]): Promise<bigint>
  /** Records a revision that names nothing, or something of a kind from the future. */
  record(kinds: readonly number[]): Promise<bigint>
  suspendOrganization(): Promise<bigint>
  /** Deletes an API key's row for good, in one revision. */
  remove(apiKey: number): Promise<bigint>
  /** Drops the revisions below `floor`. */
  prune(floor: bigint): Promise<void>
  /** Takes all load slots; the returned function frees them. */
  takeSlots(): Promise<() => Promise<void>>
  /** Sends a hint and waits until it was seen. */
  hint(seen: () => boolean): Promise<void>
  /** Database time, Unix milliseconds. */
  now(): number
  /** Runs virtual time, where it is virtual, until a promise has settled. */
  drive<T>(promise: Promise<T>): Promise<T>
}

const REPORT = {
  appliedRevision: 0n,
  appliedNonce: 0n,
  leaseMs: 7_000,
  staleCapMs: 0,
  wrongPeppers: [],
  confirmAgeMs: 2 ** 31 - 1,
}

interface Loaded {
  readonly head: LoadHead | null
  readonly organizations: RawRow[]
  readonly apiKeys: RawRow[]
  readonly order: string[]
}

/** Registers the suite. `harness` is asked in each test. */
export function sourceContract(name: string, harness: () => SourceHarness): void {
  const open: FeedConnection[] = []
  afterEach(() => {
    for (const connection of open.splice(0)) connection.destroy()
  })

  async function connect(onHint: () => void = () => undefined): Promise<FeedConnection> {
    const connection = await harness().drive(harness().source.connect(onHint))
    open.push(connection)
    return connection
  }

  async function load(connection: FeedConnection): Promise<Loaded> {
    const organizations: RawRow[] = []
    const apiKeys: RawRow[] = []
    const order: string[] = []
    const sink = {
      expect: () => void order.push('expect'),
      organizations: (rows: readonly RawRow[]) => {
        order.push('organizations')
        organizations.push(...rows)
      },
      apiKeys: (rows: readonly RawRow[]) => {
        order.push('apiKeys')
        apiKeys.push(...rows)
      },
    }
    return { head: await harness().drive(connection.load(sink)), organizations, apiKeys, order }
  }

  /** Where the feed stands now, as a load says it. */
  async function position(connection: FeedConnection): Promise<LoadHead> {
    const { head } = await load(connection)
    if (head === null) throw new Error('no slot is free')
    return head
  }

  const read = (connection: FeedConnection, applied: bigint, witness: bigint, pageRevisions: number) =>
    harness().drive(connection.read(applied, witness, pageRevisions))

  describe(`${name} as a feed source`, () => {
    it('counts this process among the live ones with its first beat', async () => {
      const live = await harness().drive((await connect()).beat(REPORT))
      for (const count of live.values()) expect(count).toBeGreaterThanOrEqual(1)
      expect(live.size).toBeGreaterThan(0)
    })

    it('has at its head nothing to read: no revision, the witness is the head, the time is the database’s', async () => {
      const connection = await connect()
      await harness().commit([1], ['a'])
      const at = await position(connection)
      const page = await read(connection, at.revision, at.revision, 50)
      expect(page).toMatchObject({ head: at.revision, headNonce: at.nonce, witnessNonce: at.nonce, revisions: [] })
      expect(page.timeline).toMatch(/^[0-9A-F]{8}$/)
      expect(Math.abs(page.dbTimeMs - harness().now())).toBeLessThan(1_000)
    })

    it('gives a change with the current row, which the decoder takes', async () => {
      const connection = await connect()
      const at = await position(connection)
      await harness().commit([2], ['old'])
      await harness().commit([2], ['x.new', 'x.newer'])
      const page = await read(connection, at.revision, at.revision, 50)
      expect(page.revisions).toHaveLength(2)
      for (const revision of page.revisions) {
        const [change] = revision.rows
        expect(revision.changes).toBe(1)
        expect(change).toMatchObject({ kind: 1, organization: null })
        expect(Buffer.from(change?.digest ?? []).equals(digestOf(2))).toBe(true)
        const entry = decodeApiKey(digestOf(2), change?.row ?? {})
        expect(entry).toMatchObject({
          kind: 'api_key',
          id: idOf(2),
          organization: 'org_1',
          scopes: ['x.new', 'x.newer'],
        })
      }
    })

    it('numbers revisions without a gap, each with its own nonce, the last of which is the head’s', async () => {
      const connection = await connect()
      const at = await position(connection)
      for (let n = 0; n < 5; n++) await harness().commit([3], [`v${n}`])
      const page = await read(connection, at.revision, at.revision, 50)
      expect(page.revisions.map(one => one.revision - at.revision)).toEqual([1n, 2n, 3n, 4n, 5n])
      expect(new Set(page.revisions.map(one => one.nonce)).size).toBe(5)
      expect(page.revisions.at(-1)).toMatchObject({ revision: page.head, nonce: page.headNonce })
    })

    it('ends a page between two revisions, never inside one, and says where the head is', async () => {
      const connection = await connect()
      const at = await position(connection)
      for (let n = 0; n < 4; n++) await harness().commit([4, 5, 6], [`v${n}`])
      const page = await read(connection, at.revision, at.revision, 3)
      expect(page.head).toBe(at.revision + 4n)
      expect(page.revisions.map(one => [one.changes, one.rows.length])).toEqual([
        [3, 3],
        [3, 3],
        [3, 3],
      ])
    })

    it('gives null for a row that is gone', async () => {
      const connection = await connect()
      await harness().commit([7], ['a'])
      const at = await position(connection)
      await harness().remove(7)
      const rows = (await read(connection, at.revision, at.revision, 50)).revisions.flatMap(one => one.rows)
      expect(rows.at(-1)).toMatchObject({ kind: 1, row: null })
    })

    it('passes on revisions that name nothing and kinds it does not know', async () => {
      const connection = await connect()
      const at = await position(connection)
      await harness().record([])
      await harness().record([7])
      const page = await read(connection, at.revision, at.revision, 50)
      expect(page.revisions.map(one => one.changes)).toEqual([0, 1])
      expect(page.revisions.map(one => one.rows.map(change => [change.kind, change.row]))).toEqual([[], [[7, null]]])
    })

    it('gives organizations with the current row, which the decoder takes', async () => {
      const connection = await connect()
      const at = await position(connection)
      await harness().suspendOrganization()
      const [change] = (await read(connection, at.revision, at.revision, 50)).revisions.flatMap(one => one.rows)
      expect(change).toMatchObject({ kind: 2, digest: null, organization: 'org_1' })
      expect(decodeOrganization(change?.row ?? {})).toMatchObject({ id: 'org_1', suspended: true, valid: true })
    })

    it('knows no nonce for a revision that is not in this history', async () => {
      const connection = await connect()
      const at = await position(connection)
      expect((await read(connection, at.revision, at.revision + 100n, 50)).witnessNonce).toBeNull()
    })

    it('tells of a prune by the floor, keeps the row at the floor, and has no witness below it', async () => {
      const connection = await connect()
      const at = await position(connection)
      for (let n = 0; n < 3; n++) await harness().commit([8], [`v${n}`])
      await harness().prune(at.revision + 2n)
      const page = await read(connection, at.revision, at.revision, 50)
      expect(page.floor).toBe(at.revision + 2n)
      expect(page.witnessNonce).toBeNull()
      expect(page.revisions.map(one => one.revision)).toEqual([at.revision + 2n, at.revision + 3n])
    })

    it('loads organizations before API keys, all that is served, as of the head it answers', async () => {
      await harness().commit([9, 10, 11], ['loaded'])
      const connection = await connect()
      const loaded = await load(connection)
      expect(loaded.order.lastIndexOf('organizations')).toBeLessThan(loaded.order.indexOf('apiKeys'))
      expect(loaded.organizations.map(row => row['id'])).toContain('org_1')
      for (const n of [9, 10, 11]) {
        const row = loaded.apiKeys.find(one => one['id'] === idOf(n)) ?? {}
        expect(decodeApiKey(digestOf(n), row)).toMatchObject({ kind: 'api_key', scopes: ['loaded'] })
      }
      const at = loaded.head?.revision ?? -1n
      expect(await read(connection, at, at, 50)).toMatchObject({ head: at, headNonce: loaded.head?.nonce })
    })

    it('answers null while no load slot is free, and the connection stays good', async () => {
      const connection = await connect()
      const free = await harness().takeSlots()
      expect((await load(connection)).head).toBeNull()
      await free()
      expect((await load(connection)).head).not.toBeNull()
    })

    it('rejects a load whose sink throws', async () => {
      await harness().commit([12], ['a'])
      const connection = await connect()
      const sink = {
        expect: () => undefined,
        organizations: () => undefined,
        apiKeys: () => {
          throw new Error('the table threw')
        },
      }
      await expect(harness().drive(connection.load(sink))).rejects.toThrow('the table threw')
    })

    it('passes on hints', async () => {
      let hints = 0
      await connect(() => {
        hints++
      })
      await harness().hint(() => hints > 0)
      expect(hints).toBeGreaterThan(0)
    })
  })
}

// The feed on a real PostgreSQL, with the real adapter and the real table: the contract of the port, and the traps of the
// protocol that only a real server can set.
import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createNames } from '../../src/core/names.ts'
import { Feed } from '../../src/feed/feed.ts'
import type { FeedEvent } from '../../src/feed/feed-observer.ts'
import type { FeedSource } from '../../src/feed/feed-source.ts'
import { createSystemTime } from '../../src/feed/system-time.ts'
import { KeyTable } from '../../src/keys/key-table.ts'
import { createFeedSource, feedChannel } from '../../src/store/feed-source.ts'
import { loadSlotStatement } from '../../src/store/feed-statements.ts'
import { transact } from '../support/rows.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'
import { type SourceHarness, sourceContract } from './source-contract.ts'
import { digestOf, idOf } from './support/rows.ts'

const database = useTestDatabase()
let client: pg.Client
let clockDifference = 0

beforeAll(async () => {
  client = database().client()
  await client.connect()
  await transact(client, async () => {
    await client.query("INSERT INTO organizations (id, display_name, profile) VALUES ('org_1', 'one', 'alpha')")
    await record(client, [2], [null], ['org_1'])
  })
  const now = await client.query<{ now: number }>(
    'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
  )
  clockDifference = (now.rows[0]?.now ?? 0) - Date.now()
})
afterAll(() => client.end())

async function record(
  on: pg.ClientBase,
  kinds: readonly number[],
  digests: readonly (Buffer | null)[],
  organizations: readonly (string | null)[],
): Promise<bigint> {
  const result = await on.query<{ revision: bigint }>('SELECT gw_record($1, $2, $3) AS revision', [
    kinds,
    digests,
    organizations,
  ])
  return result.rows[0]?.revision ?? -1n
}

/** Sets the scopes of API keys, creating those that are not there; the caller commits. */
async function write(on: pg.ClientBase, apiKeys: readonly number[], scopes: readonly string[]): Promise<bigint> {
  for (const n of apiKeys) {
    await on.query(
      `INSERT INTO api_keys (id, organization_id, digest, pepper_id, form, key_hint, display_name, environment,
                             scope_mode, scopes, lineage_id, creator)
       VALUES ($1, 'org_1', $2, 'p1', 1, 'x_…abcd', $1, 'live', 1, $3, $1, 'test')
       ON CONFLICT (id) DO UPDATE SET scopes = excluded.scopes, version = api_keys.version + 1`,
      [idOf(n), digestOf(n), scopes],
    )
  }
  return record(
    on,
    apiKeys.map(() => 1),
    apiKeys.map(digestOf),
    apiKeys.map(() => null),
  )
}

async function commit(apiKeys: readonly number[], scopes: readonly string[]): Promise<bigint> {
  const revision = await transact(client, () => write(client, apiKeys, scopes))
  await client.query(`NOTIFY ${feedChannel}`)
  return revision
}

function newSource(): FeedSource {
  return createFeedSource(database().database, {
    id: randomUUID(),
    version: 'test',
    pepperIds: ['p1'],
    profiles: () => ({ alpha: { version: '1', digest: 'd' } }),
    onlyProfiles: null,
  })
}

let harness: SourceHarness
beforeAll(() => {
  harness = {
    source: newSource(),
    commit,
    record: kinds =>
      record(
        client,
        kinds,
        kinds.map(() => null),
        kinds.map(() => null),
      ),
    suspendOrganization: () =>
      transact(client, async () => {
        await client.query("UPDATE organizations SET suspend_time = clock_timestamp() WHERE id = 'org_1'")
        return record(client, [2], [null], ['org_1'])
      }),
    async remove(n) {
      await transact(client, async () => {
        await client.query("UPDATE api_keys SET purge_time = now() - interval '1 s' WHERE id = $1", [idOf(n)])
        await record(client, [1], [digestOf(n)], [null])
      })
      return transact(client, async () => {
        await client.query(
          `WITH gone AS (DELETE FROM api_keys WHERE id = $1 RETURNING digest, pepper_id, id, organization_id)
           INSERT INTO digest_tombstones SELECT * FROM gone`,
          [idOf(n)],
        )
        return record(client, [1], [digestOf(n)], [null])
      })
    },
    async prune(floor) {
      await transact(client, async () => {
        await client.query('UPDATE feed_head SET floor = $1', [floor])
        await client.query('DELETE FROM feed_revision WHERE revision < $1', [floor])
      })
    },
    async takeSlots() {
      const holders: pg.Client[] = []
      for (let slot = 0; slot < 4; slot++) {
        const holder = database().client()
        await holder.connect()
        await holder.query('BEGIN')
        await holder.query(loadSlotStatement)
        holders.push(holder)
      }
      return async () => {
        for (const holder of holders) await holder.end()
      }
    },
    async hint(seen) {
      await client.query(`NOTIFY ${feedChannel}`)
      await until('the hint', seen)
    },
    now: () => Date.now() + clockDifference,
    drive: promise => promise,
  }
})

sourceContract('PostgreSQL', () => harness)

describe('the feed on PostgreSQL', () => {
  const running: Feed[] = []
  afterEach(async () => {
    for (const feed of running.splice(0)) await feed.stop()
  })

  async function start() {
    const events: FeedEvent[] = []
    const fatal: unknown[] = []
    const table = new KeyTable({ names: createNames(), peppers: [{ id: 'p1', bytes: Buffer.alloc(32, 1) }] })
    const time = createSystemTime()
    const feed = new Feed({
      source: newSource(),
      clock: time,
      timers: time,
      table,
      observer: { record: event => events.push(event) },
      onReadiness: () => undefined,
      onFatal: error => fatal.push(error),
      loadJitterMs: 0,
    })
    running.push(feed)
    feed.start()
    await until('the feed is ready', () => feed.ready())
    return { feed, table, events, fatal }
  }

  it('applies a change within milliseconds of its hint, and without reloading', async () => {
    const { feed, table, events } = await start()
    const size = table.size
    const revision = await commit([100], ['a'])
    await until('the change is applied', () => feed.appliedRevision() === revision)
    expect(table.size).toBe(size + 1)
    expect(feed.fresh()).toBe(true)
    expect(events.filter(event => event.type === 'reload')).toHaveLength(1)
  })

  it('stays fresh while somebody holds the head lock: nothing of a cycle waits for a writer', async () => {
    const { feed } = await start()
    const holder = database().client()
    await holder.connect()
    await holder.query('BEGIN')
    await holder.query('UPDATE feed_head SET floor = floor')
    const end = performance.now() + 2_500
    let oldest = 0
    await until('the lock was held for 2.5 s', () => {
      oldest = Math.max(oldest, feed.confirmAgeMs())
      expect(feed.fresh()).toBe(true)
      return performance.now() > end
    })
    await holder.end()
    expect(oldest).toBeLessThan(2_000)
  })

  it('W1: never moves past a revision that is still uncommitted, since its number is given in commit order', async () => {
    // Red in the schema when the number is a sequence's: then the second writer commits first under a higher number.
    const { feed, table } = await start()
    const [first, second] = [database().client(), database().client()]
    await first.connect()
    await second.connect()
    await first.query('BEGIN')
    const slow = await write(first, [101], ['a'])
    const fast = transact(second, () => write(second, [102], ['a']))
    await until('the second writer waits for the first', async () => {
      const waiting = await client.query(
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
      )
      return waiting.rowCount === 1
    })
    expect(feed.appliedRevision()).toBeLessThan(slow)
    await first.query('COMMIT')
    expect(await fast).toBe(slow + 1n)
    await until('both are applied', () => feed.appliedRevision() === slow + 1n)
    expect(table.size).toBeGreaterThanOrEqual(2)
    await first.end()
    await second.end()
  })

  it('reconnects when its backend is killed, with nothing lost and nothing reloaded', async () => {
    const { feed, events } = await start()
    for (let round = 0; round < 5; round++) {
      await client.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'gatewarden feed%' AND datname = current_database()",
      )
      const revision = await commit([103], [`round.${round}`])
      await until('the change is applied', () => feed.appliedRevision() === revision)
      expect(feed.fresh()).toBe(true)
    }
    expect(events.filter(event => event.type === 'reload')).toHaveLength(1)
    expect(events.filter(event => event.type === 'fault').length).toBeGreaterThan(0)
  })

  it('holds a poison row as invalid in the real table, and everything else goes on', async () => {
    const { feed, table, events, fatal } = await start()
    await transact(client, async () => {
      await write(client, [104], ['a'])
      await client.query("UPDATE api_keys SET expire_time = 'infinity' WHERE id = $1", [idOf(104)])
      return record(client, [1], [digestOf(104)], [null])
    })
    const revision = await commit([105], ['a'])
    await until('the change is applied', () => feed.appliedRevision() === revision)
    expect(table.invalidCount).toBe(1)
    expect(events).toContainEqual({ type: 'row_invalid', table: 'api_key', subject: idOf(104), cause: 'expire_time' })
    expect(feed.fresh()).toBe(true)
    expect(fatal).toEqual([])
  })

  it('answers expiry by the time of the database', async () => {
    const { feed } = await start()
    const now = await client.query<{ micros: number }>(
      "SELECT (extract(epoch FROM clock_timestamp() - '2020-01-01T00:00:00Z'::timestamptz) * 1000000)::float8 AS micros",
    )
    expect(Math.abs(feed.dbNow() - (now.rows[0]?.micros ?? 0))).toBeLessThan(1_000_000)
  })
})

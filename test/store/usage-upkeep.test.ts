// Retention and counters of the usage log: what is past its time goes, nothing else does, and counters outlive rows.
import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createPool } from '../../src/store/pool.ts'
import { usageSession } from '../../src/store/usage-queries.ts'
import { foldUsage, prepareUsagePartition, retainUsage } from '../../src/store/usage-upkeep.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { storeUsage } from '../support/usage-rows.ts'

const database = useTestDatabase()
let sql: pg.Client
let pool: pg.Pool

beforeAll(async () => {
  sql = database().client()
  await sql.connect()
  pool = createPool(database().database, { session: usageSession, connectionsMax: 4, onIdleError: () => undefined })
})
afterAll(async () => {
  await pool.end()
  await sql.end()
})
beforeEach(() => sql.query('TRUNCATE usage_log, usage_rollup, usage_rollup_delta'))

const day = 86_400_000
const ago = (days: number, ms = 0) => new Date(Date.now() - days * day - ms).toISOString()
const retention = (days: Readonly<Record<string, number>>, countersDays = 400) => ({
  byProfile: new Map(Object.entries(days).map(([name, kept]) => [name, kept * day])),
  countersMs: countersDays * day,
})

async function one<Row>(text: string): Promise<Row> {
  return (await sql.query(text)).rows[0] as Row
}

const partitions = async () =>
  (
    await sql.query<{ name: string }>(
      "SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'usage_log'::regclass ORDER BY 1",
    )
  ).rows.map(({ name }) => name)
const named = (days: number) => `usage_log_${ago(days).slice(0, 10).replaceAll('-', '')}`
const left = async () =>
  (await sql.query<{ path: string }>('SELECT path FROM usage_log ORDER BY path')).rows.map(({ path }) => path)

describe('retention', () => {
  it('drops days past the longest, deletes rows of the others, keeps the rest', async () => {
    await storeUsage(sql, [
      { profile: 'long', path: 'a', time: ago(12) },
      { profile: 'short', path: 'b', time: ago(12) },
      { profile: 'long', path: 'c', time: ago(5) },
      { profile: 'short', path: 'd', time: ago(5) },
      { profile: 'short', path: 'e', time: ago(3, 60_000) },
      { profile: 'short', path: 'f', time: ago(3, -60_000) },
      { profile: 'gone', path: 'g', time: ago(5) },
      { profile: '', path: 'h', time: ago(5) },
      { profile: 'long', path: 'i' },
    ])
    const counts = await retainUsage(pool, retention({ long: 10, short: 3 }))
    expect(counts).toEqual({ partitions: [named(12)], rows: 2, counters: 0, losses: 0 })
    expect(await left()).toEqual(['c', 'f', 'g', 'h', 'i'])
    expect(await partitions()).not.toContain(named(12))
    expect(await retainUsage(pool, retention({ long: 10, short: 3 }))).toEqual({
      partitions: [],
      rows: 0,
      counters: 0,
      losses: 0,
    })
  })

  it('deletes more than fits into one transaction', async () => {
    const row = { profile: 'short', time: ago(5) }
    await storeUsage(
      sql,
      Array.from({ length: 12_000 }, () => row),
    )
    await storeUsage(sql, [{ profile: 'long', path: 'kept', time: ago(5, 1) }])
    expect((await retainUsage(pool, retention({ long: 10, short: 3 }))).rows).toBe(12_000)
    expect(await left()).toEqual(['kept'])
  })

  it('rows outside of every day go as well, an hour ahead is no reason', async () => {
    await sql.query(
      `INSERT INTO usage_log (time, decision_id, sidecar, path, decision)
       SELECT t, gen_random_uuid(), gen_random_uuid(), p, 'allow' FROM (VALUES ('2001-01-01'::timestamptz, 'old'),
         ('infinity', 'never'), ('-infinity', 'ever'), (now() + interval '40 days', 'ahead'),
         (now() + interval '1 hour', 'soon')) v(t, p)`,
    )
    await retainUsage(pool, retention({ long: 10 }))
    expect(await left()).toEqual(['soon'])
  })

  it('of no profile is that of the default', async () => {
    await storeUsage(sql, [{ path: 'a', time: ago(29) }])
    await retainUsage(pool, { byProfile: new Map(), countersMs: 400 * day })
    expect(await left()).toEqual(['a'])
  })

  it('of counters is their own', async () => {
    await storeUsage(sql, [{ time: ago(8) }, { time: ago(2) }])
    await foldUsage(pool)
    await retainUsage(pool, retention({ x: 1 }, 5))
    expect(await one('SELECT count(*) FROM usage_rollup')).toEqual({ count: 1n })
  })

  it('of losses is that of the rows that they tell of', async () => {
    await sql.query(
      `INSERT INTO usage_loss (sidecar, number, from_time, to_time, allowed, denied)
       SELECT gen_random_uuid(), 1, now() - days * interval '1 day' - interval '1 hour', now() - days * interval '1 day', 1, 0
       FROM unnest(ARRAY[1, 9, 11, 300]) days`,
    )
    expect((await retainUsage(pool, retention({ long: 10, short: 3 }))).losses).toBe(2)
    expect(await one('SELECT count(*) FROM usage_loss')).toEqual({ count: 2n })
    await sql.query('ALTER TABLE usage_loss RENAME TO not_there_yet')
    expect((await retainUsage(pool, retention({ long: 10 }))).losses).toBe(0)
    await sql.query('ALTER TABLE not_there_yet RENAME TO usage_loss')
  })

  it('cannot take a day that is not over', async () => {
    await storeUsage(sql, [{ path: 'today' }])
    await pool.query("SELECT gw_usage_drop('infinity')")
    for (let drops = 0; drops < 40; drops++) await pool.query("SELECT gw_usage_drop(now() + interval '100 years')")
    expect(await left()).toEqual(['today'])
  })

  it('waits for nobody: a reader keeps a partition for the next round', async () => {
    await storeUsage(sql, [{ path: 'a', time: ago(12) }])
    const reader = database().client()
    await reader.connect()
    try {
      await reader.query('BEGIN; SELECT count(*) FROM usage_log')
      await expect(retainUsage(pool, retention({ long: 10 }))).rejects.toThrow(/lock/)
    } finally {
      await reader.end()
    }
    expect((await retainUsage(pool, retention({ long: 10 }))).partitions).toEqual([named(12)])
  })
})

it("tomorrow's partition is there before tomorrow", async () => {
  await prepareUsagePartition(pool)
  expect(await partitions()).toContain(named(-1))
})

describe('counters', () => {
  it('are added up once, by whoever comes first', async () => {
    await storeUsage(
      sql,
      Array.from({ length: 500 }, (_, n) => ({ organization: `o${n % 7}`, apiKey: `k${n % 11}` })),
    )
    await Promise.all([foldUsage(pool), foldUsage(pool), foldUsage(pool)])
    await foldUsage(pool)
    expect(await one('SELECT sum(requests) FROM usage_rollup')).toEqual({ sum: '500' })
    expect(await one('SELECT count(*) FROM usage_rollup_delta')).toEqual({ count: 0n })
  })

  it('hold no request whose transaction was rolled back', async () => {
    await sql.query('BEGIN')
    await storeUsage(sql, [{}])
    await sql.query('ROLLBACK')
    expect(await one('SELECT count(*) FROM usage_rollup_delta')).toEqual({ count: 0n })
  })

  it('are never those of the sidecar to change', async () => {
    for (const table of ['usage_rollup', 'usage_rollup_delta']) {
      const rights = await one<object>(
        `SELECT has_table_privilege('gw_sidecar', '${table}', 'SELECT, INSERT, UPDATE, DELETE') AS any`,
      )
      expect(rights).toEqual({ any: false })
    }
    const functions = ['gw_usage_fold(integer)', 'gw_usage_drop(timestamptz)', 'gw_usage_count()', 'gw_usage_recount()']
    for (const name of functions) {
      const rights = await one<object>(`SELECT has_function_privilege('gw_sidecar', '${name}', 'EXECUTE') AS any`)
      expect(rights).toEqual({ any: false })
    }
  })
})

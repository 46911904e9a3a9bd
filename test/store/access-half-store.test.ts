// Access-log halves on a real database: each row is filled in once, by the one function that a sidecar may do it with, and the
// search stays small however large the log is.
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createAccessHalfStore } from '../../src/store/access-half-store.ts'
import { sessionConfig } from '../../src/store/connection.ts'
import type { AccessHalfStore } from '../../src/usage/als-join.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'
import { storeUsage } from '../support/usage-rows.ts'
import { halfOf, uuid7 } from '../usage/halves.ts'

const database = useTestDatabase()
let client: pg.Client
let store: AccessHalfStore

beforeAll(async () => {
  client = database().client()
  await client.connect()
  store = createAccessHalfStore(database().database, error => {
    throw error
  })
})
beforeEach(() => client.query('TRUNCATE usage_log, usage_rollup_delta'))
afterAll(async () => {
  await store?.close()
  await client?.end()
})

const at = (unixMs: number) => new Date(unixMs).toISOString()

/** Stores a decision of now, or of another time. */
async function decide(more: Parameters<typeof storeUsage>[1][number] = {}): Promise<string> {
  const [id] = await storeUsage(client, [more])
  if (id === undefined) throw new Error('nothing was stored')
  return id
}

const rowOf = async (id: string) => (await client.query('SELECT * FROM usage_log WHERE decision_id = $1', [id])).rows[0]

describe('a half', () => {
  it('fills in its row, whatever the values', async () => {
    const halves = [
      halfOf(await decide(), { finalStatus: 0, responseFlags: 'DC', upstream: '' }),
      halfOf(await decide(), { finalStatus: 32_767, durationUs: Number.MAX_SAFE_INTEGER, grpcStatus: 16 }),
      halfOf(await decide(), { durationUs: null, requestBytes: null, responseBytes: null }),
      halfOf(await decide(), { upstream: `"\\{},NULL';--`, responseFlags: 'UF,URX' }),
    ]
    expect(await store.join(halves)).toEqual(new Map(halves.map(half => [half.decisionId, true])))
    for (const half of halves) {
      const row = await rowOf(half.decisionId)
      const number = (value: bigint | null) => (value === null ? null : Number(value))
      expect({
        decisionId: half.decisionId,
        finalStatus: row.final_status,
        durationUs: number(row.duration_us),
        requestBytes: number(row.request_bytes),
        responseBytes: number(row.response_bytes),
        responseFlags: row.response_flags,
        upstream: row.upstream,
        grpcStatus: row.grpc_status,
      }).toEqual(half)
    }
  })

  it('is found at the first and the last microsecond of its millisecond, and not beside it', async () => {
    const ms = Math.floor(Date.now() / 1000) * 1000 + 7
    const inside = [uuid7(ms), uuid7(ms)]
    const outside = uuid7(ms)
    await decide({ decisionId: inside[0] ?? '', time: at(ms).replace('Z', '000Z') })
    await decide({ decisionId: inside[1] ?? '', time: at(ms).replace('Z', '999Z') })
    await decide({ decisionId: outside, time: at(ms + 1) })
    const found = await store.join([...inside, outside].map(id => halfOf(id)))
    expect([...found.keys()].sort()).toEqual([...inside].sort())
  })

  it('of a row that is full already changes nothing and says so', async () => {
    const id = await decide()
    await store.join([halfOf(id, { finalStatus: 201 })])
    expect(await store.join([halfOf(id, { finalStatus: 500 })])).toEqual(new Map([[id, false]]))
    expect((await rowOf(id)).final_status).toBe(201)
  })

  it('of no row is not found, among others that are', async () => {
    const [stored, missing] = [await decide(), uuid7(Date.now())]
    expect(await store.join([halfOf(missing), halfOf(stored)])).toEqual(new Map([[stored, true]]))
  })

  it('of a time that cannot be keeps no other from its row', async () => {
    const stored = await decide()
    const halves = [uuid7(0), uuid7(2 ** 48 - 1), stored].map(id => halfOf(id))
    expect(await store.join(halves)).toEqual(new Map([[stored, true]]))
  })

  it('of a row of another day is found in its partition; an old row is left as it is', async () => {
    const yesterday = await decide({ time: at(Date.now() - 86_400_000) })
    const old = await decide({ time: at(Date.now() - 3 * 86_400_000) })
    expect(await store.join([halfOf(yesterday), halfOf(old)])).toEqual(new Map([[yesterday, true]]))
    expect((await rowOf(old)).final_status).toBeNull()
  })

  it('that two processes have is filled in by one of them', async () => {
    const other = createAccessHalfStore(database().database, () => undefined)
    const ids = await storeUsage(
      client,
      Array.from({ length: 200 }, () => ({})),
    )
    const halves = ids.map(id => halfOf(id))
    const found = await Promise.all([store.join(halves), other.join([...halves].reverse())])
    const filled = (id: string) => found.filter(each => each.get(id) === true).length
    for (const id of ids) expect(filled(id)).toBe(1)
    await other.close()
  })

  it('moves the counters by the hour from the status that was not known to the one that is', async () => {
    const id = await decide({ reason: '', status: 0 })
    await store.join([halfOf(id, { finalStatus: 503 })])
    const { rows } = await client.query<{ status: number; requests: string }>(
      'SELECT status, sum(requests)::text AS requests FROM usage_rollup_delta GROUP BY 1 ORDER BY 1',
    )
    expect(rows).toEqual([
      { status: 0, requests: '0' },
      { status: 503, requests: '1' },
    ])
  })
})

describe('a sidecar', () => {
  it('can change rows in no other way, and read none', async () => {
    const id = await decide()
    const [server] = database().database.servers
    const sidecar = new pg.Client(sessionConfig(server, { role: 'gw_sidecar', applicationName: 'test', settings: {} }))
    await sidecar.connect()
    try {
      for (const statement of [
        'UPDATE usage_log SET final_status = 200',
        `UPDATE usage_log SET path = '' WHERE decision_id = '${id}'`,
        'DELETE FROM usage_log',
        'SELECT path FROM usage_log',
      ]) {
        await expect(sidecar.query(statement), statement).rejects.toThrow('permission denied')
      }
    } finally {
      await sidecar.end()
    }
  })
})

/** Scans of the partitions so far. */
async function scans(): Promise<{ readonly whole: number; readonly index: number }> {
  await client.query('SELECT pg_stat_clear_snapshot()')
  const { rows } = await client.query<{ whole: string; index: string }>(
    "SELECT sum(seq_scan) AS whole, sum(idx_scan) AS index FROM pg_stat_user_tables WHERE relname ~ '^usage_log_'",
  )
  return { whole: Number(rows[0]?.whole), index: Number(rows[0]?.index) }
}

it.each([
  ['stored', true],
  ['missing', false],
])(
  '1000 halves of %s decisions are looked for by index, each in one partition of five',
  async (_, stored) => {
    const now = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 1000
    const days = Array.from({ length: 5 }, (_unused, day) => now - day * 86_400_000)
    await storeUsage(
      client,
      days.flatMap(day => Array.from({ length: 1000 }, (_unused, index) => ({ time: at(day - index * 37) }))),
    )
    const times = Array.from({ length: 1000 }, (_unused, index) => now - (index % 2) * 86_400_000 - index)
    const ids = stored
      ? await storeUsage(
          client,
          times.map(time => ({ time: at(time) })),
        )
      : times.map(uuid7)
    await client.query('ANALYZE usage_log')
    await client.query('SELECT pg_stat_force_next_flush()')
    const before = await scans()
    // What a session has done is counted at its end at the latest.
    const session = createAccessHalfStore(database().database, () => undefined)
    const found = await session.join(ids.map(id => halfOf(id)))
    await session.close()
    expect(found.size).toBe(stored ? 1000 : 0)
    await until('the scans are counted', async () => (await scans()).index > before.index)
    const after = await scans()
    expect(after.whole - before.whole).toBe(0)
    // Once to fill in and once to see whether it was full already.
    expect(after.index - before.index).toBeLessThanOrEqual(2100)
  },
  60_000,
)

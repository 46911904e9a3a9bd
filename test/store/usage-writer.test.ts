// The usage log on PostgreSQL: rows arrive as they were recorded, exactly once, in the partition of their day; a bad row holds up
// nobody; a database that is away loses nothing.
import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { microsFromUnixMs, unixMsFromMicros } from '../../src/core/time.ts'
import { createUsageWriter } from '../../src/store/usage-writer.ts'
import { storedColumns } from '../../src/usage/batch.ts'
import { RecordEncoder } from '../../src/usage/record-encoder.ts'
import type { StoreOutcome, UsageBatch } from '../../src/usage/usage-store.ts'
import { createStand } from '../check/check-stand.ts'
import { goldenCases } from '../core/cases.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'
import { createRecorded, goldenRequest } from '../usage/recorded.ts'
import { nextSidecar, start, temporaryFolder } from '../usage/recording-stand.ts'

const database = useTestDatabase()
const folder = temporaryFolder()
let client: pg.Client

beforeAll(async () => {
  client = database().client()
  await client.connect()
})
beforeEach(async () => {
  await client.query('DELETE FROM usage_log')
})
afterAll(async () => {
  await client.end()
  folder.remove()
})

async function count(): Promise<number> {
  const found = await client.query<{ n: bigint }>('SELECT count(*) AS n FROM usage_log')
  return Number(found.rows[0]?.n)
}

const selectRows = `
  SELECT time, decision_id, sidecar, profile, organization_id, api_key_id, environment, method, host, path, route,
         required_scope, decision, reason, status, coalesce(host(client_ip), '') AS client_ip, client_ip_mode,
         coalesce(host(direct_ip), '') AS direct_ip, user_agent, request_id, support_id, final_status, tableoid::regclass::text AS partition
  FROM usage_log ORDER BY decision_id`

describe('rows', () => {
  it('of the golden cases are in the table as the checks recorded them, in the partition of their day', async () => {
    const store = createUsageWriter(database().database, nextSidecar())
    const recording = start(folder.path, store)
    const copy = createRecorded()
    const encoder = new RecordEncoder({ sink: recording.spool, clientIpMode: 'xff-hops' })
    const now = new Date().toISOString()
    const stand = createStand({
      now,
      sink: {
        record(decided) {
          encoder.record(decided)
          copy.encoder.record(decided)
        },
        endOfBatch() {
          encoder.endOfBatch()
          copy.encoder.endOfBatch()
        },
      },
    })
    for (const golden of goldenCases) stand.check(goldenRequest(golden))
    stand.service.endOfBatch?.()
    expect(stand.errors).toEqual([])
    await until('all are stored', async () => (await count()) === copy.rows.length)
    const { rows } = await client.query<Record<string, unknown>>(selectRows)
    const expected = copy.rows.toSorted((a, b) => (a.decisionId < b.decisionId ? -1 : 1))
    expect(rows.map(({ final_status, partition, ...row }) => row)).toEqual(
      expected.map(row => ({
        time: row.time,
        decision_id: row.decisionId,
        sidecar: recording.sidecar,
        profile: row.profile,
        organization_id: row.organizationId,
        api_key_id: row.apiKeyId,
        environment: row.environment,
        method: row.method,
        host: row.host,
        path: row.path,
        route: row.route,
        required_scope: row.requiredScope,
        decision: row.decision,
        reason: row.reason,
        status: row.status,
        client_ip: row.clientIp,
        client_ip_mode: row.clientIpMode,
        direct_ip: row.directIp,
        user_agent: row.userAgent,
        request_id: row.requestId,
        support_id: row.supportId,
      })),
    )
    // The stand has also made requests of another day, too far from this one.
    const today = now.slice(0, 10)
    const partitions = expected.map(row => {
      const day = new Date(unixMsFromMicros(row.time)).toISOString().slice(0, 10)
      return `usage_log_${day === today ? today.replaceAll('-', '') : 'other'}`
    })
    expect(rows.map(row => row['partition'])).toEqual(partitions)
    expect(new Set(partitions).size).toBe(2)
    expect(new Set(rows.map(row => row['final_status']))).toEqual(new Set([null]))
    await recording.end(2000)
    expect(recording.told).toEqual([])
    expect((await client.query('SELECT FROM usage_position')).rowCount).toBe(0)
  })

  it('far from today lie in the rest, and those of a day move to its partition when it is made', async () => {
    const store = createUsageWriter(database().database, nextSidecar())
    await store.store(batchOf(1, null, ['1970-01-01']))
    expect(await count()).toBe(1)
    const day = new Date(Date.now() - 20 * 86_400_000).toISOString().slice(0, 10)
    await client.query(
      `INSERT INTO usage_log (time, decision_id, sidecar, decision) VALUES ($1, gen_random_uuid(), gen_random_uuid(), 'deny')`,
      [`${day}T12:00:00Z`],
    )
    const where = 'SELECT tableoid::regclass::text AS partition FROM usage_log ORDER BY time DESC LIMIT 1'
    expect((await client.query<{ partition: string }>(where)).rows[0]?.partition).toBe('usage_log_other')
    const made = await client.query<{ made: boolean }>('SELECT gw_usage_partition($1) AS made', [day])
    expect(made.rows[0]?.made).toBe(true)
    expect((await client.query<{ partition: string }>(where)).rows[0]?.partition).toBe(
      `usage_log_${day.replaceAll('-', '')}`,
    )
    await store.close()
  })
})

/** One row of an instant in 2025 for each number given; `texts` replace its path. */
function batchOf(
  records: number,
  from: UsageBatch['from'],
  days: readonly string[] = [],
  bad: (index: number) => Buffer | null = () => null,
  sidecar = nextSidecar(),
): UsageBatch {
  const rows: Buffer[] = []
  for (let i = 0; i < records; i++) {
    const values = storedColumns.map(column => {
      switch (column) {
        case 'time': {
          const time = Buffer.alloc(8)
          time.writeBigInt64BE(800_000_000_000_000n + BigInt(i))
          return time
        }
        case 'decision_id':
        case 'sidecar':
          return Buffer.alloc(16, 7)
        case 'decision':
          return Buffer.from('deny')
        case 'path':
          return bad(i) ?? Buffer.from(`/row/${i}`)
        case 'status':
          return Buffer.from([0, 0])
        case 'client_ip':
        case 'direct_ip':
        case 'final_status':
        case 'duration_us':
        case 'request_bytes':
        case 'response_bytes':
        case 'grpc_status':
          return null
        default:
          return Buffer.alloc(0)
      }
    })
    const parts = values.flatMap(value => {
      const length = Buffer.alloc(4)
      length.writeInt32BE(value === null ? -1 : value.length)
      return value === null ? [length] : [length, value]
    })
    const head = Buffer.alloc(2)
    head.writeInt16BE(storedColumns.length)
    rows.push(Buffer.concat([head, ...parts]))
  }
  const starts: number[] = []
  let at = 0
  for (const row of rows) {
    starts.push(at)
    at += row.length
  }
  const to = { segment: 1, at: (from?.at ?? 32) + at }
  return { sidecar, lane: 1, from, to, columns: storedColumns, tuples: Buffer.concat(rows), starts, days }
}

describe('a batch', () => {
  const sidecar = nextSidecar()
  const store = () => createUsageWriter(database().database, sidecar)

  it('moves the position, and is stored once however often it is sent', async () => {
    const writer = store()
    const batch = batchOf(3, null)
    expect(await writer.store(batch)).toEqual({ kind: 'stored', refused: 0 })
    expect(await writer.store(batch)).toEqual({ kind: 'moved' })
    expect(await writer.store({ ...batchOf(2, batch.to, [], undefined, batch.sidecar) })).toEqual({
      kind: 'stored',
      refused: 0,
    })
    expect(await count()).toBe(5)
    expect(await writer.position(batch.sidecar, 1)).toEqual({ segment: 1, at: expect.any(Number) })
    expect(await writer.position(batch.sidecar, 2)).toBeNull()
    await writer.forget(batch.sidecar)
    expect(await writer.position(batch.sidecar, 1)).toBeNull()
    await writer.close()
  })

  it('of two writers at once is stored by one of them', async () => {
    const batch = batchOf(50, null)
    const writers = [store(), store(), store()]
    const outcomes = await Promise.all(writers.map(writer => writer.store(batch)))
    expect(outcomes.map(outcome => outcome.kind).sort()).toEqual(['moved', 'moved', 'stored'])
    expect(await count()).toBe(50)
    for (const writer of writers) await writer.close()
  })

  it('with rows that the database does not take is stored without them', async () => {
    const writer = store()
    const badRows = new Set([0, 17, 18, 63])
    const batch = batchOf(64, null, [], i =>
      badRows.has(i) ? Buffer.from(i === 17 ? [0x61, 0x00] : [0xff, 0xfe]) : null,
    )
    const outcome: StoreOutcome = await writer.store(batch)
    expect(outcome).toEqual({ kind: 'stored', refused: badRows.size })
    expect(await count()).toBe(64 - badRows.size)
    expect(await writer.store(batch)).toEqual({ kind: 'moved' })
    await writer.close()
  })

  it('that is lost is told: once however often, to whatever schema there is', async () => {
    const writer = store()
    const span = { from: Date.UTC(2026, 10, 1), to: Date.UTC(2300) }
    for (let attempt = 0; attempt < 2; attempt++) await writer.lose(sidecar, { number: 1, span, allowed: 7, denied: 0 })
    await writer.lose(sidecar, { number: 2, span: { from: 0, to: 0 }, allowed: 0, denied: 2 ** 40 })
    const kept = 'SELECT number, allowed, denied, from_time, to_time FROM usage_loss WHERE sidecar = $1 ORDER BY 1'
    expect((await client.query(kept, [sidecar])).rows).toEqual([
      {
        number: 1n,
        allowed: 7n,
        denied: 0n,
        from_time: microsFromUnixMs(span.from),
        to_time: microsFromUnixMs(span.to),
      },
      { number: 2n, allowed: 0n, denied: 2n ** 40n, from_time: microsFromUnixMs(0), to_time: microsFromUnixMs(0) },
    ])
    await client.query('ALTER TABLE usage_loss RENAME TO not_there_yet')
    await writer.lose(sidecar, { number: 3, span, allowed: 1, denied: 0 })
    await client.query('ALTER TABLE not_there_yet RENAME TO usage_loss')
    await writer.close()
  })

  it('waits while the schema is not there yet, and while the server is away', async () => {
    const recording = start(folder.path, createUsageWriter({ servers: [{ host: '127.0.0.1', port: 1 }] }, sidecar))
    recording.batch(1, 'a', 'b')
    await until('the trouble is told', () => recording.told.some(text => text.startsWith('store failed')))
    await recording.end(50)
    expect(recording.told.filter(text => text.startsWith('store failed'))).toHaveLength(1)
    const next = start(folder.path, createUsageWriter(database().database, nextSidecar()))
    await until('what was left is stored', async () => (await count()) === 2)
    expect(next.counts.replayed).toBe(2)
    await next.end(2000)
  })

  it('whose connection dies at any point is there once', async () => {
    const recording = start(folder.path, createUsageWriter(database().database, nextSidecar()))
    const ended = { yet: false }
    const killing = (async () => {
      while (!ended.yet) {
        await client.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'gatewarden usage%'`,
        )
        await new Promise(resolve => setTimeout(resolve, 15))
      }
    })()
    for (let i = 0; i < 60; i++) {
      recording.batch(1, ...Array.from({ length: 20 }, (_, n) => `k${i}.${n}`))
      await new Promise(resolve => setTimeout(resolve, 10))
    }
    ended.yet = true
    await killing
    await until('all are stored', async () => (await count()) === 1200)
    await recording.end(2000)
    const twice = await client.query('SELECT FROM usage_log GROUP BY request_id HAVING count(*) > 1')
    expect(twice.rowCount).toBe(0)
    expect(recording.counts.written).toBe(1200)
  })
})

// Upkeep removes what is older than a day and nothing that a sidecar inside the retention could need.
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createFeedSource } from '../../src/store/feed-source.ts'
import { adminSession, createPool } from '../../src/store/pool.ts'
import { upkeep } from '../../src/store/upkeep.ts'
import { record, transact } from '../support/rows.ts'
import { useTestDatabase } from '../support/test-database.ts'

const database = useTestDatabase()
let superuser: pg.Client
let pool: pg.Pool

beforeAll(async () => {
  superuser = database().client()
  await superuser.connect()
  pool = createPool(database().database, { session: adminSession, connectionsMax: 2, onIdleError: () => undefined })
})
afterAll(async () => {
  await pool.end()
  await superuser.end()
})

async function recordRevisions(count: number, age: string): Promise<bigint> {
  let last = 0n
  for (let n = 0; n < count; n++) last = await transact(superuser, () => record(superuser, { apiKeys: ['a', 'b'] }))
  await superuser.query('UPDATE feed_revision SET committed_at = now() - $1::interval WHERE revision > $2', [
    age,
    last - BigInt(count),
  ])
  return last
}

async function feedState() {
  const found = await superuser.query<{ floor: bigint; lowest: bigint; head: bigint; changes: bigint }>(
    `SELECT floor, (SELECT min(revision) FROM feed_revision) AS lowest, revision AS head,
            (SELECT count(*) FROM changes) AS changes FROM feed_head`,
  )
  return found.rows[0]
}

describe('upkeep', () => {
  it('keeps everything while nothing is old', async () => {
    await recordRevisions(3, '1 hour')
    expect(await upkeep(pool)).toEqual({ revisions: 0, requests: 0, sidecars: 0 })
    expect(await feedState()).toMatchObject({ floor: 0n, lowest: 0n })
  })

  it('raises the floor to the newest revision older than a day, and keeps that row', async () => {
    await superuser.query("UPDATE feed_revision SET committed_at = now() - interval '25 hours'")
    const old = await recordRevisions(500, '25 hours')
    const head = await recordRevisions(3, '23 hours')
    expect((await upkeep(pool)).revisions).toBe(Number(old))
    expect(await feedState()).toEqual({ floor: old, lowest: old, head, changes: 8n })
    expect((await upkeep(pool)).revisions).toBe(0)
  })

  it('never raises the floor above the head, and gives a reader the row at the floor as its witness', async () => {
    await superuser.query("UPDATE feed_revision SET committed_at = now() - interval '25 hours'")
    await upkeep(pool)
    const state = await feedState()
    expect(state?.floor).toBe(state?.head)
    const source = createFeedSource(database().database, {
      id: '00000000-0000-4000-8000-000000000001',
      version: 'v',
      pepperIds: [],
      profiles: () => ({}),
      onlyProfiles: null,
    })
    const connection = await source.connect(() => undefined)
    const head = state?.head ?? 0n
    const page = await connection.read(head, head, 50)
    connection.destroy()
    expect(page).toMatchObject({ head, floor: head, witnessNonce: page.headNonce })
  })

  it('forgets requests and heartbeats older than a day, and no younger ones', async () => {
    for (const [number, age] of [
      [1, '25 hours'],
      [2, '23 hours'],
    ] as const) {
      await superuser.query(
        "INSERT INTO idempotency (principal, request_id, method, request_hash, state, create_time) VALUES ('p', $1::text, 'm', '', 's', now() - $2::interval)",
        [String(number), age],
      )
      await superuser.query(
        "INSERT INTO sidecars VALUES ($1::uuid, 0, 0, 7000, 0, 0, '{}', '{}', 'v', now(), now() - $2::interval)",
        [`00000000-0000-4000-8000-00000000000${number}`, age],
      )
    }
    expect(await upkeep(pool)).toMatchObject({ requests: 1, sidecars: 1 })
    expect(await upkeep(pool)).toMatchObject({ requests: 0, sidecars: 0 })
  })

  it('removes nothing more once its process ends', async () => {
    await superuser.query(
      "INSERT INTO idempotency (principal, request_id, method, request_hash, state, create_time) VALUES ('p', 'late', 'm', '', 's', now() - interval '25 hours')",
    )
    expect(await upkeep(pool, () => true)).toEqual({ revisions: 0, requests: 0, sidecars: 0 })
    expect(await upkeep(pool)).toMatchObject({ requests: 1 })
  })
})

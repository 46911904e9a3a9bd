// The statements that run every second find their rows by primary key, however much the tables hold, analysed or not.
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sessionConfig } from '../../src/store/connection.ts'
import { feedSession } from '../../src/store/feed-source.ts'
import { readStatement } from '../../src/store/feed-statements.ts'
import { useTestDatabase } from '../support/test-database.ts'

const revisions = 1_000_000
const apiKeys = 20_000

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly 'Actual Rows'?: number
  readonly Plans?: readonly PlanNode[]
}

const database = useTestDatabase()
let superuser: pg.Client
let feed: pg.Client

beforeAll(async () => {
  superuser = database().client()
  await superuser.connect()
  // Written past the guard and the foreign keys, which a bulk of this size would only slow down.
  await superuser.query("SET session_replication_role = 'replica'; SET work_mem = '256MB'")
  await superuser.query('ALTER TABLE changes SET UNLOGGED; ALTER TABLE feed_revision SET UNLOGGED')
  await superuser.query(
    `INSERT INTO feed_revision SELECT n, n, 1, now(), pg_current_xact_id() FROM generate_series(1, ${revisions}) n`,
  )
  await superuser.query(
    `INSERT INTO changes SELECT n, 1, 1, sha256((n % ${apiKeys})::text::bytea), NULL FROM generate_series(1, ${revisions}) n`,
  )
  await superuser.query(`UPDATE feed_head SET revision = ${revisions}`)
  await superuser.query(
    "INSERT INTO organizations (id, display_name, profile) SELECT 'org_' || n, 'o', 'x' FROM generate_series(1, 100) n",
  )
  await superuser.query(
    `INSERT INTO api_keys (id, organization_id, digest, pepper_id, form, key_hint, display_name, environment, scope_mode, lineage_id, creator)
     SELECT 'key_' || n, 'org_1', sha256(n::text::bytea), 'p1', 1, 'h', 'd', 'live', 1, 'key_' || n, 'c' FROM generate_series(0, ${apiKeys - 1}) n`,
  )
  const me = {
    id: '00000000-0000-4000-8000-000000000001',
    version: 'v',
    pepperIds: ['p1', 'p2'],
    profiles: () => ({}),
    onlyProfiles: null,
  }
  feed = new pg.Client(sessionConfig(database().database.servers[0], feedSession(me)))
  await feed.connect()
})
afterAll(async () => {
  await feed.end()
  await superuser.end()
})

async function explain(
  applied: number,
  page: number,
  onlyProfiles: readonly string[] | null = null,
): Promise<readonly PlanNode[]> {
  const result = await feed.query<{ 'QUERY PLAN': readonly [{ readonly Plan: PlanNode }] }>(
    `EXPLAIN (ANALYZE, FORMAT JSON) ${readStatement}`,
    [applied, applied, page, onlyProfiles, ['p1', 'p2']],
  )
  const nodes: PlanNode[] = []
  const visit = (node: PlanNode) => {
    nodes.push(node)
    for (const child of node.Plans ?? []) visit(child)
  }
  const top = result.rows[0]?.['QUERY PLAN'][0].Plan
  if (top !== undefined) visit(top)
  return nodes
}

describe.each(['not analysed', 'analysed'])('the read statement over a million revisions, %s', state => {
  beforeAll(async () => {
    if (state === 'analysed') await superuser.query('ANALYZE')
  })

  it.each([
    ['at the head', revisions, 50],
    ['one behind', revisions - 1, 50],
    ['a page behind', revisions - 50, 50],
    ['far behind', 1000, 50],
    ['far behind, a page of one', 1000, 1],
  ])('reads by key alone: %s', async (_where, applied, page) => {
    const nodes = await explain(applied, page)
    const scanned = nodes.filter(node => node['Node Type'] === 'Seq Scan').map(node => node['Relation Name'])
    expect(scanned.filter(table => table !== 'feed_head')).toEqual([])
    const indexes = new Set(nodes.map(node => node['Index Name']).filter(name => name !== undefined))
    for (const index of ['feed_revision_pkey', 'api_keys_digest_key', 'organizations_pkey'])
      expect(indexes).toContain(index)
    expect(indexes.has('changes_pkey') || indexes.has('changes_digest')).toBe(true) // both begin with the revision
    for (const node of nodes) expect(node['Actual Rows'] ?? 0).toBeLessThanOrEqual(page)
  })

  it('reads by key alone when it serves some profiles only', async () => {
    const nodes = await explain(revisions - 50, 50, ['x'])
    const scanned = nodes.filter(node => node['Node Type'] === 'Seq Scan').map(node => node['Relation Name'])
    expect(scanned.filter(table => table !== 'feed_head')).toEqual([])
    for (const node of nodes) expect(node['Actual Rows'] ?? 0).toBeLessThanOrEqual(50)
  })

  it('takes less than a few milliseconds at the head', async () => {
    const times: number[] = []
    for (let round = 0; round < 20; round++) {
      const started = performance.now()
      await feed.query(readStatement, [revisions, revisions, 50, null, ['p1', 'p2']])
      times.push(performance.now() - started)
    }
    expect(times.sort((a, b) => a - b)[10]).toBeLessThan(20)
  })
})

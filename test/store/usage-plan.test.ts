// A page of the usage log is read by an index for every filter that is documented, at a million rows in several partitions.
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { selectUsage } from '../../src/admin/usage-filter.ts'
import type { UsageQuery } from '../../src/admin/usage-rows.ts'
import { Violations } from '../../src/admin/violations.ts'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { Parameters } from '../../src/store/admin-list.ts'
import { sessionConfig } from '../../src/store/connection.ts'
import { cellsStatement, listStatement, usageSession } from '../../src/store/usage-queries.ts'
import { useTestDatabase } from '../support/test-database.ts'

const rows = 1_000_000
/** Partitions that hold them: enough that a plan over one would not pass. */
const days = 4

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly 'Actual Rows'?: number
  readonly 'Shared Hit Blocks'?: number
  readonly 'Shared Read Blocks'?: number
  readonly 'Rows Removed by Filter'?: number
  readonly Plans?: readonly PlanNode[]
}

const database = useTestDatabase()
let superuser: pg.Client
let reader: pg.Client

beforeAll(async () => {
  superuser = database().client()
  await superuser.connect()
  // Indexes are made after the rows, and no counters are kept: neither is what is looked at.
  await superuser.query("SET session_replication_role = 'replica'; SET maintenance_work_mem = '256MB'")
  const indexes = await superuser.query<{ name: string; definition: string }>(
    "SELECT indexname AS name, indexdef AS definition FROM pg_indexes WHERE schemaname = 'gatewarden' AND tablename = 'usage_log'",
  )
  for (const { name } of indexes.rows) await superuser.query(`DROP INDEX ${name}`)
  await superuser.query(
    `SELECT gw_usage_partition((clock_timestamp() AT TIME ZONE 'UTC')::date - n) FROM generate_series(0, ${days}) n`,
  )
  await superuser.query(
    `INSERT INTO usage_log (time, decision_id, sidecar, profile, organization_id, api_key_id, method, path, decision, reason,
                            status, client_ip, support_id)
     SELECT t, (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || '70008' || substr(md5(n::text), 1, 15))::uuid,
            '00000000-0000-4000-8000-000000000001', 'x', 'org_' || n % 7, 'key_' || n % 997,
            CASE WHEN n % 10007 = 0 THEN 'DELETE' WHEN n % 3 = 0 THEN 'POST' ELSE 'GET' END, '/things/' || n % 5003,
            CASE WHEN n % 1009 = 0 THEN 'deny' ELSE 'allow' END, CASE WHEN n % 1009 = 0 THEN
              CASE WHEN n % 3 = 0 THEN 'ip_not_allowed' ELSE 'rate_limited' END ELSE '' END,
            CASE WHEN n % 1009 = 0 THEN CASE WHEN n % 3 = 0 THEN 403 ELSE 429 END ELSE 0 END,
            ('10.' || n % 200 || '.' || n % 211 || '.' || n % 223)::inet, CASE WHEN n % 1009 = 0 THEN 'support_' || n ELSE '' END
     FROM generate_series(1, ${rows}) n,
          LATERAL (SELECT now() - n * interval '${(days * 86_400_000_000) / rows} microseconds' AS t) at`,
  )
  for (const { definition } of indexes.rows) await superuser.query(definition.replace(' ON ONLY ', ' ON '))
  await superuser.query('ANALYZE usage_log')
  reader = new pg.Client(sessionConfig(database().database.servers[0], usageSession))
  await reader.connect()
}, 120_000)
afterAll(async () => {
  await reader.end()
  await superuser.end()
})

function queryOf(filter: string, organizations: readonly string[] | null, more: Partial<UsageQuery> = {}): UsageQuery {
  const violations = new Violations()
  const selection = selectUsage(filter, microsFromUnixMs(Date.now()), violations)
  violations.throwIfAny()
  if (selection === null) throw new Error('the filter is not understood')
  return { ...selection, organizations, descending: true, after: null, limit: 51, ...more }
}

const explain = (query: UsageQuery): Promise<readonly PlanNode[]> => {
  const parameters = new Parameters()
  return explainStatement(reader, listStatement(query, parameters), parameters)
}

async function explainStatement(
  reader: pg.Client,
  statement: string,
  parameters: Parameters,
): Promise<readonly PlanNode[]> {
  const result = await reader.query<{ 'QUERY PLAN': readonly [{ readonly Plan: PlanNode }] }>(
    `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${statement}`,
    parameters.values,
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

/** Reads of the rows themselves, by whatever way. */
const scansOf = (nodes: readonly PlanNode[]) =>
  nodes.filter(node => node['Relation Name']?.startsWith('usage_log') === true)

/** Rows that a page may look at: pages of 51 over a few partitions, and what a filter of many rows passes over. */
const touchedMax = 60_000

const yesterday = new Date(Date.now() - 86_400_000).toISOString()
const before = new Date(Date.now() - 2 * 86_400_000).toISOString()

describe.each([
  ['', 'time'],
  ['api_key = key_5', 'api_key_id_time'],
  ['method = DELETE', 'method_time'],
  ['method = GET', ''],
  ['status = 403', 'coalesce_time'],
  ['status >= 400', 'coalesce_time'],
  [`time >= ${before} AND time < ${yesterday}`, 'time'],
  ['client_ip = 10.7.8.9', 'client_ip_time'],
  ['client_ip:10.7.8.0/24', 'client_ip_time'],
  ['path = "/things/17"', 'path_time'],
  ['path:"/things/17*"', ''],
  ['path:"/things/4999*"', 'path_time'],
  ['reason = ip_not_allowed', 'decision_id_reason'],
  ['decision = deny', 'decision_id_reason'],
  ['support_id = support_2018', 'support'],
  ['decision_id = 01a21456-3d00-78fd-956c-dc0ef5b67a05', 'decision'],
  ['api_key = key_5 AND status = 403 AND path:"/things/*"', ''],
])('%s', (filter, index) => {
  it('is read by an index, the first page and a later one', async () => {
    const first = await explain(queryOf(filter, ['org_3']))
    const after = {
      time: microsFromUnixMs(Date.now() - 86_400_000),
      decisionId: '01a21456-3d00-78fd-956c-dc0ef5b67a05',
    }
    const later = await explain(queryOf(filter, ['org_3'], { after }))
    for (const nodes of [first, later]) {
      const scans = scansOf(nodes).filter(node => node['Relation Name'] !== 'usage_log_other')
      expect(scans.length).toBeGreaterThan(0)
      expect(scans.map(node => node['Node Type']).filter(type => !/^(Index|Bitmap Heap)/.test(type))).toEqual([])
      const touched = scans.reduce(
        (sum, node) => sum + (node['Actual Rows'] ?? 0) + (node['Rows Removed by Filter'] ?? 0),
        0,
      )
      expect(touched).toBeLessThan(touchedMax)
    }
    // The planner may know a better one; then the index of this filter would be one too many.
    if (index !== '') expect(first.flatMap(node => node['Index Name'] ?? []).join(' ')).toContain(index)
  })
})

describe('over all organizations', () => {
  it.each(['', `time >= ${before} AND time < ${yesterday}`])('%j is read by an index', async filter => {
    const scans = scansOf(await explain(queryOf(filter, null)))
    expect(
      scans.filter(node => node['Node Type'] === 'Seq Scan' && node['Relation Name'] !== 'usage_log_other'),
    ).toEqual([])
  })
})

describe('a page far from the first', () => {
  it.each([true, false])('is read from where it begins, descending %s', async descending => {
    const days = (n: number) => ({
      time: microsFromUnixMs(Date.now() - n * 86_400_000),
      decisionId: '01a21456-3d00-78fd-956c-dc0ef5b67a05',
    })
    const [top] = await explain(queryOf('', null, { descending, after: days(descending ? 3 : 1) }))
    expect((top?.['Shared Hit Blocks'] ?? 0) + (top?.['Shared Read Blocks'] ?? 0)).toBeLessThan(400)
  })
})

describe('a batch of an export', () => {
  const fresh = useTestDatabase()

  it('looks hints of keys up by their primary key, though nobody has counted the tables yet', async () => {
    const client = fresh().client()
    await client.connect()
    const unplanned = new pg.Client(sessionConfig(fresh().database.servers[0], usageSession))
    await unplanned.connect()
    try {
      await client.query("SET session_replication_role = 'replica'")
      await client.query("SELECT gw_usage_partition((clock_timestamp() AT TIME ZONE 'UTC')::date)")
      await client.query(`
        INSERT INTO usage_log (time, decision_id, sidecar, profile, organization_id, api_key_id, decision, reason, status)
        SELECT now(), gen_random_uuid(), '00000000-0000-4000-8000-000000000001', 'x', 'org_1', 'key_' || n % 997, 'allow', '', 0
        FROM generate_series(1, 20000) n`)
      await client.query(`
        INSERT INTO api_keys (id, organization_id, digest, pepper_id, form, key_hint, display_name, environment, scope_mode, scopes,
                              allowlist_binary, lineage_id, creator)
        SELECT 'key_' || n, 'org_1', sha256(n::text::bytea), 'p1', 1, 'hint', 'k', 'live', 1, '{a}', '', 'key_' || n, 'x'
        FROM generate_series(1, 997) n`)
      for (const organizations of [['org_1'], null]) {
        const parameters = new Parameters()
        const statement = cellsStatement(queryOf('', organizations, { limit: 5000 }), ['time', 'key_hint'], parameters)
        const nodes = await explainStatement(unplanned, statement, parameters)
        const ofKeys = nodes.filter(node => node['Relation Name'] === 'api_keys')
        expect(ofKeys.map(node => [node['Node Type'], node['Index Name']])).toEqual([['Index Scan', 'api_keys_pkey']])
      }
    } finally {
      await Promise.all([client.end(), unplanned.end()])
    }
  })
})

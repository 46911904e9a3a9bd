// A page of the usage log is read by an index for every filter that is documented, at a million rows in several partitions.
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { selectUsage } from '../../src/admin/usage-filter.ts'
import type { UsageQuery } from '../../src/admin/usage-rows.ts'
import { Violations } from '../../src/admin/violations.ts'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { Parameters } from '../../src/store/admin-list.ts'
import { sessionConfig } from '../../src/store/connection.ts'
import { listStatement, usageSession } from '../../src/store/usage-queries.ts'
import { useTestDatabase } from '../support/test-database.ts'

const rows = 1_000_000
/** Partitions that hold them: enough that a plan over one would not pass. */
const days = 4

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly 'Actual Rows'?: number
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

async function explain(query: UsageQuery): Promise<readonly PlanNode[]> {
  const parameters = new Parameters()
  const statement = listStatement(query, parameters)
  const result = await reader.query<{ 'QUERY PLAN': readonly [{ readonly Plan: PlanNode }] }>(
    `EXPLAIN (ANALYZE, FORMAT JSON) ${statement}`,
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

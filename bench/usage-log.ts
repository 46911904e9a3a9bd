// The usage log at size: pages of each filter, and an export through gRPC with the growth of memory while it runs.
// Starts an embedded PostgreSQL of its own, with durability as in production: `npm run bench:usage-log` measures ten million
// rows, `npm run bench:usage-log -- 1` one. Goals: a page within 50 ms, an export of 50 000 rows a second in flat memory.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { exportUsageLogs } from '../src/admin/export-usage-logs.ts'
import { listUsageLogs } from '../src/admin/list-usage-logs.ts'
import { PageTokens } from '../src/admin/page-token.ts'
import { usageQuestion } from '../src/admin/usage-call.ts'
import { getUsageMetrics } from '../src/admin/usage-metrics.ts'
import { UsageAdminService } from '../src/gen/gatewarden/admin/v1/usage_admin.ts'
import { openChannel } from '../src/rpc/client.ts'
import { listen } from '../src/rpc/listen.ts'
import { addService, createServer } from '../src/rpc/server.ts'
import { createAdminStore } from '../src/store/admin-store.ts'
import { startEmbeddedPostgres } from '../src/store/embedded-postgres.ts'
import { migrate } from '../src/store/migrate.ts'
import { adminSession, createPool } from '../src/store/pool.ts'
import { createUsageReads, usageConnectionsMax, usageSession } from '../src/store/usage-queries.ts'
import { foldUsage } from '../src/store/usage-upkeep.ts'
import { makeRoot, openWorld } from '../test/admin/admin-world.ts'
import { machineLine } from './machine-line.ts'

const millions = Number(process.argv[2] ?? '10')
if (!(millions > 0 && millions <= 100)) throw new Error('give a number of million rows from 1 to 100')
const rows = millions * 1_000_000
/** Rows of one INSERT. */
const portion = 100_000
/** Days that the rows are spread over; partitions are made for so many. */
const days = 30
const organization = 'org_01a2145e-5360-7cd8-bad8-c7d4efb06cd5'

const print = (line: string) => process.stdout.write(`${line}\n`)
const elapsed = (since: number) => performance.now() - since

async function fill(): Promise<void> {
  const client = new pg.Client({
    ...server,
    options: '-c search_path=gatewarden -c timezone=UTC -c synchronous_commit=off',
  })
  await client.connect()
  await client.query(
    `SELECT gw_usage_partition((clock_timestamp() AT TIME ZONE 'UTC')::date - n) FROM generate_series(0, ${days}) n`,
  )
  const start = performance.now()
  for (let from = 0; from < rows; from += portion) {
    await client.query(
      `INSERT INTO usage_log (time, decision_id, sidecar, profile, organization_id, api_key_id, environment, method, host, path,
         route, required_scope, decision, reason, status, client_ip, client_ip_mode, direct_ip, user_agent, request_id, final_status)
       SELECT t, (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || '70008' || substr(md5(n::text), 1, 15))::uuid,
         '00000000-0000-4000-8000-000000000001', 'bitbybit', '${organization}', 'key_01a2145e-5370-7eec-8e3c-' || lpad((n % 997)::text, 12, '0'),
         'live', (ARRAY['GET', 'GET', 'POST', 'PUT'])[1 + n % 4], 'api.example.com', '/customer/open/v1/customers/' || n % 50021,
         '/customers/*', 'customers:READ', CASE WHEN n % 50 = 0 THEN 'deny' ELSE 'allow' END,
         CASE WHEN n % 50 = 0 THEN 'insufficient_scope' ELSE '' END, CASE WHEN n % 50 = 0 THEN 403 ELSE 0 END,
         ('10.' || n % 200 || '.' || n % 211 || '.' || n % 223)::inet, 'xff', '127.0.0.1', 'example-client/2.3 (Linux; x86_64)',
         md5(n::text)::uuid::text, CASE WHEN n % 50 = 0 THEN NULL ELSE 200 END
       FROM generate_series($1::int + 1, $1::int + ${portion}) n,
            LATERAL (SELECT now() - (${rows} - n) * interval '${(days * 86_400_000_000) / rows} microseconds' AS t) at`,
      [from],
    )
  }
  print(
    `stored ${rows} rows in ${days + 1} partitions: ${Math.round(rows / (elapsed(start) / 1000))} rows/s, indexes and counters included`,
  )
  await client.query('VACUUM ANALYZE usage_log')
  await client.end()
}

async function measure(): Promise<void> {
  const world = await openWorld(embedded.database)
  const admin = createPool(embedded.database, {
    session: adminSession,
    connectionsMax: 4,
    onIdleError: () => undefined,
  })
  const readers = createPool(embedded.database, {
    session: usageSession,
    connectionsMax: usageConnectionsMax,
    onIdleError: () => undefined,
  })
  const context = {
    ...world.context,
    store: createAdminStore(admin),
    usage: createUsageReads(readers),
    pageTokens: new PageTokens(randomBytes(32)),
  }
  const adminKey = await makeRoot(context)
  await insertOrganization(admin)
  const fold = performance.now()
  print(`added up ${await foldUsage(readers)} differences in ${Math.round(elapsed(fold))} ms`)
  const grpc = createServer()
  addService(
    grpc,
    UsageAdminService,
    {
      getUsageMetrics: usageQuestion(context, getUsageMetrics(context)),
      listUsageLogs: usageQuestion(context, listUsageLogs(context)),
      exportUsageLogs: exportUsageLogs(context),
    },
    { error: (message, fields) => print(`${message}: ${String(fields.cause)}`) },
  )
  const address = await listen(grpc, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  const channel = openChannel({ address, adminKey })
  const client = channel.client(UsageAdminService)
  await pages(client)
  await exported(client)
  channel.close()
  grpc.forceShutdown()
  for (const pool of [admin, readers, world.pool, world.usagePool]) await pool.end()
}

async function insertOrganization(pool: pg.Pool): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await client.query("INSERT INTO organizations (id, display_name, profile) VALUES ($1, 'bench', 'bitbybit')", [
      organization,
    ])
    await client.query('SELECT gw_record($1, $2, $3)', [[2], [null], [organization]])
    await client.query('COMMIT')
  } finally {
    client.release()
  }
}

type Client = ReturnType<ReturnType<typeof openChannel>['client']>

const filters = [
  '',
  'api_key = "key_01a2145e-5370-7eec-8e3c-000000000005"',
  'method = PUT',
  'status = 403',
  'reason = insufficient_scope',
  'client_ip = 10.7.8.9',
  'client_ip = 10.7.8.0/24',
  'path:"/customer/open/v1/customers/4999*"',
  `time < ${new Date(Date.now() - 10 * 86_400_000).toISOString()}`,
  'status = 503',
] as const

/** Medians and worst of several, the first of them cold. */
async function pages(client: Client): Promise<void> {
  const parent = `organizations/${organization}`
  print('\npage of 50 through gRPC, ms (first, median, worst of 15)')
  const list = client as unknown as {
    listUsageLogs(request: object): Promise<{ usageLogs: readonly unknown[] }>
    getUsageMetrics(request: object): Promise<unknown>
  }
  for (const filter of filters) {
    const times: number[] = []
    let found = 0
    for (let round = 0; round < 15; round++) {
      const start = performance.now()
      const page = await list.listUsageLogs({ parent, filter, orderBy: '', pageSize: 50, pageToken: '' })
      times.push(elapsed(start))
      found = page.usageLogs.length
    }
    print(`  ${figures(times)}  ${String(found).padStart(2)} rows  ${filter === '' ? '(no filter)' : filter}`)
  }
  const times: number[] = []
  for (let round = 0; round < 5; round++) {
    const start = performance.now()
    const subject = { $case: 'parent', value: parent }
    await list.getUsageMetrics({ subject, interval: undefined, groupBy: ['day'], lineage: false })
    times.push(elapsed(start))
  }
  print(`  ${figures(times)}  GetUsageMetrics of the organization by day`)
}

function figures(times: readonly number[]): string {
  const sorted = [...times].sort((a, b) => a - b)
  const [first = 0, median = 0, worst = 0] = [times[0], sorted[sorted.length >> 1], sorted.at(-1)]
  return [first, median, worst].map(ms => ms.toFixed(1).padStart(8)).join('')
}

async function exported(client: Client): Promise<void> {
  const stream = client as unknown as {
    exportUsageLogs(request: object): AsyncIterable<{ data: Buffer; rows: number; truncated: boolean; last: boolean }>
  }
  const request = { parent: `organizations/${organization}`, filter: '', orderBy: '', columns: [], resumeToken: '' }
  const start = performance.now()
  let [count, octets, peak, truncated] = [0, 0, 0, false]
  const before = process.memoryUsage().rss
  const cpu = process.cpuUsage()
  for await (const chunk of stream.exportUsageLogs(request)) {
    count += chunk.rows
    octets += chunk.data.length
    truncated ||= chunk.truncated
    peak = Math.max(peak, process.memoryUsage().rss)
  }
  const seconds = elapsed(start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  print(
    `\nexport through gRPC: ${count} rows, ${(octets / 2 ** 20).toFixed(0)} MiB in ${seconds.toFixed(1)} s: ` +
      `${Math.round(count / seconds)} rows/s${truncated ? ', truncated' : ''}; resident memory of server and client ` +
      `${(before / 2 ** 20).toFixed(0)} MiB before, ${(peak / 2 ** 20).toFixed(0)} MiB at most, ` +
      `${((user + system) / 1e6).toFixed(1)} s of CPU`,
  )
}

const folder = mkdtempSync(join(tmpdir(), 'gw-bench-'))
const embedded = await startEmbeddedPostgres({ dataDir: folder, exclusive: true })
const [server] = embedded.database.servers
try {
  print(machineLine())
  await migrate(server)
  await fill()
  await measure()
} finally {
  await embedded.stop()
  rmSync(folder, { recursive: true, force: true })
}

// From a check to a row that people find: `gatewarden check` records, `gatewarden admin` answers, two processes on one real database.
// Blocked requests are there with their reason and address, in the list, in the counts and in the file; the secret is nowhere.
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ApiKeyAdminService } from '../../src/gen/gatewarden/admin/v1/api_key_admin.ts'
import { OrganizationAdminService } from '../../src/gen/gatewarden/admin/v1/organization_admin.ts'
import { ApiKey } from '../../src/gen/gatewarden/admin/v1/resources.ts'
import { UsageAdminService } from '../../src/gen/gatewarden/admin/v1/usage_admin.ts'
import { readCsv } from '../oracle/csv.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'
import {
  type AdminProcess,
  type CheckProcess,
  killProcesses,
  startAdminProcess,
  startCheckProcess,
  untilReady,
} from './processes.ts'

/** What admin-api.md section 2 promises of last_used_time. */
const lastUsedWithinMs = 60_000
const storedWithinMs = 20_000
const host = 'api.bitbybit.example'

const database = useTestDatabase()
const directory = mkdtempSync(join(tmpdir(), 'gw-usage-'))
let check: CheckProcess
let admin: AdminProcess

beforeAll(async () => {
  const site = { directory, database: database().database }
  check = await startCheckProcess(site, 'check')
  admin = await startAdminProcess(site)
  await untilReady(check)
}, 90_000)
afterAll(async () => {
  check?.close()
  admin?.channel.close()
  await killProcesses()
  rmSync(directory, { recursive: true, force: true })
})

async function newKey() {
  const organizations = admin.channel.client(OrganizationAdminService)
  const { organization } = await organizations.createOrganization({
    organization: {
      name: '',
      displayName: 'Example',
      profile: 'profiles/bitbybit',
      suspendTime: undefined,
      labels: new Map(),
      createTime: undefined,
      revision: 0n,
      etag: '',
    },
    organizationId: '',
    requestId: randomUUID(),
    validateOnly: false,
  })
  const parent = organization?.name ?? ''
  const apiKey = {
    ...ApiKey.create({}),
    displayName: 'usage',
    scopes: ['customers:READ'],
    allowlist: [{ cidr: '203.0.113.0/24', label: '' }],
  }
  const request = { parent, apiKey, apiKeyId: '', requestId: randomUUID(), validateOnly: false, callerAddress: '' }
  const made = await admin.channel.client(ApiKeyAdminService).createApiKey(request)
  return { parent, name: made.apiKey?.name ?? '', secret: made.secret }
}

/** Everything that was written below a directory, in one text of octets. */
function writtenBelow(folder: string): string {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map(name => join(folder, name))
    .filter(file => statSync(file).isFile())
    .map(file => readFileSync(file).toString('latin1'))
    .join('\n')
}

async function databaseText(): Promise<string> {
  const client = database().client()
  await client.connect()
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      "SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'gatewarden'",
    )
    let text = ''
    for (const { name } of tables) {
      const { rows } = await client.query<{ row: string }>(`SELECT to_jsonb(t)::text AS row FROM ${name} t`)
      text += rows.map(({ row }) => row).join('\n')
    }
    return text
  } finally {
    await client.end()
  }
}

it('a request is found as soon as it is stored, blocked or not, and counted as the use of its key', async () => {
  const { parent, name, secret } = await newKey()
  const ask = (path: string, source: string, method = 'GET') =>
    check.outcome({ method, path, host, headers: [['x-api-key', secret]], source, extensions: { profile: 'bitbybit' } })
  const base = '/customer/open/v1'
  await until('the key is known', async () => (await ask(`${base}/customers`, '203.0.113.7')) === 'allow', 20_000)
  expect(await ask(`${base}/customers?token=${secret}`, '198.51.100.9')).toBe('ip_not_allowed')
  expect(await ask(`${base}/orders`, '203.0.113.7', 'POST')).toBe('insufficient_scope')
  const usage = admin.channel.client(UsageAdminService)
  const page = (filter: string) => usage.listUsageLogs({ parent, filter, orderBy: '', pageSize: 0, pageToken: '' })

  const found = await until(
    'the blocked requests are stored',
    async () => {
      const { usageLogs } = await page('decision = deny')
      if (usageLogs.length < 2) throw new Error(`${usageLogs.length} rows`)
      return usageLogs
    },
    storedWithinMs,
  )
  expect(
    found.map(({ method, path, reason, status, clientIp, apiKey }) => [method, path, reason, status, clientIp, apiKey]),
  ).toEqual([
    ['POST', `${base}/orders`, 'insufficient_scope', 403, '203.0.113.7', name],
    ['GET', `${base}/customers`, 'ip_not_allowed', 403, '198.51.100.9', name],
  ])
  expect((await page(`api_key = ${name} AND client_ip = 198.51.100.0/24 AND status = 403`)).usageLogs).toHaveLength(1)

  let csv = Buffer.alloc(0)
  for await (const { data } of usage.exportUsageLogs({
    parent,
    filter: 'decision = deny',
    orderBy: '',
    columns: [],
    resumeToken: '',
  })) {
    csv = Buffer.concat([csv, data])
  }
  const [head = [], ...rows] = readCsv(csv)
  expect(rows.map(row => row[head.indexOf('reason')])).toEqual(['insufficient_scope', 'ip_not_allowed'])

  const metrics = () =>
    usage.getUsageMetrics({ subject: { $case: 'name', value: name }, interval: undefined, groupBy: [], lineage: false })
  expect(await metrics()).toMatchObject({ denied: 2n, byReason: expect.any(Map) })
  const keys = admin.channel.client(ApiKeyAdminService)
  const started = Date.now()
  const used = await until(
    'the key tells of its use',
    async () => {
      const { lastUsedTime } = await keys.getApiKey({ name, minRevision: '' })
      if (lastUsedTime === undefined) throw new Error('never used')
      return lastUsedTime
    },
    lastUsedWithinMs,
  )
  expect(Math.abs(Number(used.seconds) * 1000 - started)).toBeLessThan(lastUsedWithinMs)
  expect((await metrics()).lastUsedTime).toEqual(used)

  const core = secret.slice('bbb_live_'.length)
  expect(writtenBelow(directory)).not.toContain(core)
  expect(await databaseText()).not.toContain(core)
  expect(csv.toString()).not.toContain(core)
  expect(check.running.output() + admin.running.output()).not.toContain(core)
}, 150_000)

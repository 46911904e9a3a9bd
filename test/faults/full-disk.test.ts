// Row F17 of the faults, on a real process: the kernel refuses what it writes to files, at once or in the middle of a write. No answer
// changes, the trouble shows in the metrics, and every answered check is in the usage log once, by way of memory.
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { dropCauses } from '../../src/usage/spool-counts.ts'
import { goldenHosts, goldenKey } from '../core/cases.ts'
import { insertGoldenRows } from '../e2e/golden-rows.ts'
import { type CheckProcess, killProcesses, startCheckProcess, untilReady } from '../e2e/processes.ts'
import { fastFolder } from '../support/postgres.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'

const storedWithinMs = 30_000

const database = useTestDatabase()
const directory = mkdtempSync(join(fastFolder(), 'gw-full-'))
let client: pg.Client
beforeAll(async () => {
  client = database().client()
  await client.connect()
  await insertGoldenRows(client)
})
afterAll(async () => {
  await killProcesses()
  await client.end()
  rmSync(directory, { recursive: true, force: true })
})

/** Asks in batches, as a proxy does. @returns ids of the decisions, by outcome */
async function ask(check: CheckProcess, count: number): Promise<readonly (readonly [id: string, outcome: string])[]> {
  const path = '/customer/open/v1/customers'
  const answers: (readonly [string, string])[] = []
  for (let done = 0; done < count; done += 20) {
    const batch = Array.from({ length: 20 }, (_, i) => {
      const headers = i % 4 === 0 ? [] : [['x-api-key', goldenKey('B1').secret] as const]
      return check.ask({ path, host: goldenHosts.bitbybit, headers: [...headers, ['user-agent', 'x'.repeat(200)]] })
    })
    for (const answer of await Promise.all(batch)) answers.push([answer.metadata['decision_id'] ?? '', answer.outcome])
  }
  return answers
}

async function stored(ids: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await client.query<{ id: string; n: bigint }>(
    'SELECT decision_id AS id, count(*) AS n FROM usage_log WHERE decision_id = ANY ($1::uuid[]) GROUP BY 1',
    [ids],
  )
  return new Map(rows.map(({ id, n }) => [id, Number(n)]))
}

it.each([
  ['takes nothing at all', 0, 'grpc-js'],
  ['ends within a write', 64, 'h2'],
  ['ends within a write', 64, 'grpc-js'],
] as const)('a disk that %s (%i blocks, %s) loses no answered check', async (_, fileBlocks, transport) => {
  const site = { directory, database: database().database }
  const settings = { GATEWARDEN_LOG_LEVEL: 'warn', GATEWARDEN_CHECK_TRANSPORT: transport }
  const check = await startCheckProcess(site, `full-${fileBlocks}-${transport}`, settings, { fileBlocks })
  try {
    await untilReady(check)
    const answers = await ask(check, 600)
    expect(answers.filter(([, outcome]) => outcome === 'allow')).toHaveLength(450)
    expect(answers.filter(([, outcome]) => outcome === 'deny')).toHaveLength(150)
    expect(await check.metric('gatewarden_spool_write_errors_total')).toBeGreaterThan(0)
    expect(await check.metric('gatewarden_usage_memory_bytes')).toBeGreaterThan(0)
    expect(check.running.output()).toContain('the usage spool cannot be written; records are kept in memory')
    const ids = answers.map(([id]) => id)
    const found = await until(
      'all are stored',
      async () => {
        const rows = await stored(ids)
        return rows.size === ids.length && rows
      },
      storedWithinMs,
    )
    expect(new Set(found.values())).toEqual(new Set([1]))
    for (const decision of ['allow', 'deny'])
      for (const cause of dropCauses)
        expect(await check.metric(`gatewarden_usage_dropped_total{decision="${decision}",cause="${cause}"}`)).toBeNaN()
  } finally {
    await check.running.stop('SIGKILL')
    check.close()
  }
})

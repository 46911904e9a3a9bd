// Runs the golden cases through a real Envoy and says of each what was wrong, if anything. Used by the suite and by the demo's self-check.
import type pg from 'pg'
import { fixtureId, organizationOf } from '../check/check-stand.ts'
import {
  type GoldenCase,
  goldenCases,
  goldenKey,
  goldenKeys,
  goldenPattern,
  goldenRenderings,
  goldenSettings,
} from '../core/cases.ts'
import type { Answer } from '../support/http-request.ts'
import type { TestDatabase } from '../support/postgres.ts'
import { until } from '../support/until.ts'
import type { EchoedRequest } from '../support/upstream.ts'
import { type CheckTransport, type GoldenEdge, type HeaderForm, startGoldenEdge } from './golden-edge.ts'
import { insertGoldenRows } from './golden-rows.ts'

export interface CaseResult {
  readonly id: string
  readonly title: string
  readonly transport: CheckTransport
  readonly form: HeaderForm
  /** Empty: as expected. */
  readonly faults: readonly string[]
}

const identityHeaders = [
  'x-gatewarden-organization-id',
  'x-gatewarden-api-key-id',
  'x-gatewarden-environment',
  'x-gatewarden-scope',
]

/** A lease of 7 s, a beat that is held up for up to 1.5 s, and a busy machine. */
const leaseEndsWithinMs = 20_000

/** What the upstream got, or what kept it from getting it. */
function allowFaults(golden: GoldenCase, answer: Answer): string[] {
  if (answer.status !== 200) return [`status ${answer.status}, not an allow: ${answer.body}`]
  const { method, path, rawHeaders } = JSON.parse(answer.body) as EchoedRequest
  const received = rawHeaders.flatMap((name, index) =>
    index % 2 === 0 ? [[name.toLowerCase(), rawHeaders[index + 1] ?? ''] as const] : [],
  )
  const valuesOf = (name: string) => received.filter(([each]) => each === name).map(([, value]) => value)
  const faults: string[] = []
  if (method !== golden.method || path !== golden.path) faults.push(`upstream got ${method} ${path}`)
  const credential = golden.credential?.header.toLowerCase()
  if (credential !== undefined && valuesOf(credential).length > 0) faults.push(`the upstream sees ${credential}`)
  const name = /\$([BLG]\d+)/.exec(golden.credential?.value ?? '')?.[1]
  const fixture = name === undefined ? undefined : goldenKey(name)
  if (fixture === undefined) return [...faults, 'an allow without a fixture']
  const [organization, key, environment, scope] = identityHeaders.map(valuesOf)
  if (organization?.join() !== organizationOf(fixture)) faults.push(`organization ${organization?.join()}`)
  if (key?.join() !== fixtureId(fixture)) faults.push(`key ${key?.join()}`)
  if (environment?.join() !== fixture.environment) faults.push(`environment ${environment?.join()}`)
  if (scope?.length !== 1) faults.push(`scope ${scope?.join()}`)
  return faults
}

function denialFaults(golden: GoldenCase, answer: Answer): string[] {
  const { expect } = golden
  if (expect.outcome !== 'deny') return []
  const rendering = goldenRenderings[golden.profile][expect.rendering]
  if (rendering === undefined) return [`no rendering ${expect.rendering}`]
  const values = expect.value === undefined ? {} : { required_scope: expect.value, retry_after: expect.value }
  const faults: string[] = []
  if (answer.status !== expect.status) faults.push(`status ${answer.status}, not ${expect.status}`)
  if (!goldenPattern(rendering.body, fill(values)).test(answer.body)) faults.push(`body ${answer.body}`)
  for (const [name, text] of Object.entries(rendering.headers)) {
    const value = answer.headers[name]
    if (value === undefined || !goldenPattern(text, fill(values)).test(value)) faults.push(`${name}: ${value}`)
  }
  return faults
}

/** Values of the limit headers of the one limited fixture: 1000 in a window that opened at the golden now. */
function fill(values: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const reset = String(Date.parse(goldenSettings.now) / 1000 + 3600)
  return {
    ...values,
    limit: '1000',
    remaining: '0',
    reset_unix: reset,
    'x-ratelimit-limit': '1000',
    'x-ratelimit-remaining': '0',
    'x-ratelimit-reset': reset,
  }
}

/** The user agent of a case's request. */
export const agentOf = (golden: GoldenCase, form: HeaderForm): string => `golden/${golden.id}/${form}`

async function runCase(
  edge: GoldenEdge,
  golden: GoldenCase,
  transport: CheckTransport,
  form: HeaderForm,
): Promise<CaseResult> {
  const title = `${golden.method} ${golden.path}: ${golden.note === '' ? golden.expect.outcome : golden.note}`
  edge.setNow(golden.now ?? goldenSettings.now)
  const before = edge.upstream.count()
  const answer = await edge.send(golden, form, agentOf(golden, form))
  const arrived = edge.upstream.count() - before
  const expected = golden.expect.outcome === 'allow'
  const faults = expected ? allowFaults(golden, answer) : denialFaults(golden, answer)
  if (!expected && arrived > 0) faults.push('the upstream got a denied request')
  return { id: golden.id, title, transport, form, faults }
}

/** Sends the requests that fixtures have made before. */
async function spendBudgets(edge: GoldenEdge): Promise<void> {
  for (const { name, spent } of goldenKeys) {
    const golden = goldenCases.find(each => each.credential?.value.includes(`$${name}`))
    if (spent === undefined || golden === undefined) continue
    edge.setNow(spent.windowStart)
    const batch = 50
    for (let sent = 0; sent < spent.requests; sent += batch) {
      const answers = await Promise.all(Array.from({ length: batch }, () => edge.send(golden, 'raw')))
      const refused = answers.find(answer => answer.status !== 200)
      if (refused !== undefined) throw new Error(`a request within the budget of ${name} got ${refused.status}`)
    }
  }
}

/** The deployment settings that a case needs; cases of one group share an edge. */
function groupOf(golden: GoldenCase): string {
  return JSON.stringify([golden.hops ?? goldenSettings.hops, golden.accept ?? null])
}

/** Runs `work` while the heartbeat of every sidecar is held up, once the lease has ended. */
async function whileUnconfirmed<T>(
  database: TestDatabase,
  probe: () => Promise<boolean>,
  work: () => Promise<T>,
): Promise<T> {
  const client = database.client()
  await client.connect()
  try {
    await client.query('BEGIN')
    await client.query('LOCK TABLE sidecars IN ACCESS EXCLUSIVE MODE')
    await until('the lease has ended', probe, leaseEndsWithinMs)
    return await work()
  } finally {
    await client.end()
  }
}

export interface GoldenRunOptions {
  readonly transport: CheckTransport
  readonly forms: readonly HeaderForm[]
  readonly onResult?: (result: CaseResult) => void
  /** When cases that share their settings are through, before their edge ends. */
  readonly onGroup?: (cases: readonly GoldenCase[]) => Promise<void>
}

/** Runs all cases over one transport, each in every header form; an edge for each group of settings. */
export async function runGoldenCases(
  database: TestDatabase,
  options: GoldenRunOptions,
): Promise<readonly CaseResult[]> {
  const { transport, forms, onResult, onGroup } = options
  const client: pg.Client = database.client()
  await client.connect()
  await insertGoldenRows(client).finally(() => client.end())
  const results: CaseResult[] = []
  const groups = new Set(goldenCases.map(groupOf))
  for (const group of groups) {
    const [hops, accept] = JSON.parse(group) as [number, readonly string[] | null]
    const cases = goldenCases.filter(golden => groupOf(golden) === group)
    const edge = await startGoldenEdge(database, { transport, hops, accept })
    const run = async (golden: GoldenCase) => {
      for (const form of forms) {
        const result = await runCase(edge, golden, transport, form)
        results.push(result)
        onResult?.(result)
      }
    }
    try {
      if (cases.some(golden => spentFixture(golden))) await spendBudgets(edge)
      for (const golden of cases) if (golden.fresh !== false) await run(golden)
      const stale = cases.filter(golden => golden.fresh === false)
      const [unconfirmed] = stale
      if (unconfirmed !== undefined) {
        const probe = async () => (await edge.send(unconfirmed, 'raw')).status === 503
        await whileUnconfirmed(database, probe, async () => {
          for (const golden of stale) await run(golden)
        })
      }
      await onGroup?.(cases)
    } finally {
      await edge.stop()
    }
  }
  return results
}

function spentFixture(golden: GoldenCase): boolean {
  const name = /\$([BLG]\d+)/.exec(golden.credential?.value ?? '')?.[1]
  return name !== undefined && goldenKey(name).spent !== undefined
}

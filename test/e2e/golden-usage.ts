// The rows that the golden cases must leave in the usage log, worked out from the cases alone: nothing of src/usage is asked.
import type pg from 'pg'
import { fixtureId, organizationOf } from '../check/check-stand.ts'
import { type GoldenCase, goldenHosts, goldenKeys, goldenSettings, secretsFilled } from '../core/cases.ts'
import { clientByModel, plainTextOf } from '../oracle/forwarding.ts'
import { until } from '../support/until.ts'
import type { HeaderForm } from './golden-edge.ts'
import { agentOf } from './golden-run.ts'

/** A record rests 3 s before it is stored; the rest is a busy machine. */
const storedWithinMs = 60_000

/** What a row says of a request. */
export interface GoldenRow {
  readonly agent: string
  readonly time: string
  readonly profile: string
  readonly organization: string
  readonly api_key: string
  readonly environment: string
  readonly method: string
  readonly host: string
  readonly path: string
  readonly decision: string
  readonly reason: string
  readonly status: number
  readonly client_ip: string
}

const columns = `user_agent AS agent, to_char(time, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS time, profile, organization_id AS organization,
  api_key_id AS api_key, environment, method, host, path, decision, reason, status, coalesce(host(client_ip), '') AS client_ip`

/** Waits for the rows of these cases. @returns all that there are, in order */
export async function storedRows(
  client: pg.ClientBase,
  cases: readonly GoldenCase[],
  forms: readonly HeaderForm[],
): Promise<readonly GoldenRow[]> {
  const agents = cases.flatMap(golden => forms.map(form => agentOf(golden, form)))
  const read = async () => {
    const text = `SELECT ${columns} FROM usage_log WHERE user_agent = ANY ($1) ORDER BY user_agent COLLATE "C"`
    return (await client.query<GoldenRow>(text, [agents])).rows
  }
  return until(
    'the rows are stored',
    async () => {
      const rows = await read()
      return rows.length >= agents.length && rows
    },
    storedWithinMs,
  )
}

/** The rows that there must be, in the same order. */
export function expectedRows(cases: readonly GoldenCase[], forms: readonly HeaderForm[]): readonly GoldenRow[] {
  const rows = cases.flatMap(golden => forms.map(form => expectedRow(golden, agentOf(golden, form))))
  return rows.sort((a, b) => (a.agent < b.agent ? -1 : 1))
}

/** Reasons that are found before a key is, or without one. */
const keyless = new Set([
  'request_malformed',
  'credential_missing',
  'multiple_credentials',
  'credential_malformed',
  'credential_check_failed',
  'credential_unknown',
  'authz_unavailable',
])

function expectedRow(golden: GoldenCase, agent: string): GoldenRow {
  const { profile, method, path, expect, hops = goldenSettings.hops, now = goldenSettings.now } = golden
  const reason = expect.outcome === 'deny' ? expect.reason : ''
  const name = /\$([BLG]\d+)/.exec(golden.credential?.value ?? '')?.[1]
  const key = keyless.has(reason) ? undefined : goldenKeys.find(each => each.name === name)
  const headers = golden.xff === null ? [] : [['x-forwarded-for', golden.xff] as const]
  const arrival = { headers, source: null, metadata: undefined }
  return {
    agent,
    time: new Date(now).toISOString().replace('.000Z', 'Z'),
    profile,
    organization: key === undefined ? '' : organizationOf(key),
    api_key: key === undefined ? '' : fixtureId(key),
    environment: key?.environment ?? '',
    method,
    host: goldenHosts[profile],
    path: secretsFilled(path).split('?')[0] ?? '',
    decision: expect.outcome,
    reason,
    status: expect.outcome === 'deny' ? expect.status : 0,
    client_ip: plainTextOf(clientByModel({ mode: 'xff-hops', hops, appended: true }, arrival)),
  }
}

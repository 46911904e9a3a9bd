// Rows of the usage log for tests, written past the spool: any value that a column takes, hostile ones included.
import { randomBytes } from 'node:crypto'
import type pg from 'pg'

/** A row; what is left out has a plain default. */
export interface UsageRowValues {
  /** RFC 3339, to the microsecond. */
  readonly time?: string
  readonly decisionId?: string
  readonly profile?: string
  readonly organization?: string
  readonly apiKey?: string
  readonly environment?: string
  readonly method?: string
  readonly host?: string
  readonly path?: string
  readonly route?: string
  readonly requiredScope?: string
  /** '': allowed. */
  readonly reason?: string
  readonly status?: number
  readonly clientIp?: string | null
  readonly userAgent?: string
  readonly requestId?: string
  readonly supportId?: string
  readonly finalStatus?: number | null
  readonly durationUs?: number | null
  readonly requestBytes?: number | null
  readonly responseBytes?: number | null
}

/** A UUIDv7 of an instant. */
export function decisionIdAt(time: string): string {
  const hex = Math.floor(Date.parse(time)).toString(16).padStart(12, '0') + randomBytes(10).toString('hex')
  const variant = '89ab'[randomBytes(1).readUInt8() & 3]
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

const columns = `time, decision_id, sidecar, profile, organization_id, api_key_id, environment, method, host, path, route,
  required_scope, decision, reason, status, client_ip, client_ip_mode, direct_ip, user_agent, request_id, support_id,
  final_status, duration_us, request_bytes, response_bytes`

const sidecar = '00000000-0000-4000-8000-00000000aaaa'

/** Stores rows in one statement; makes the partitions of their days. @returns their decision ids */
export async function storeUsage(client: pg.ClientBase, rows: readonly UsageRowValues[]): Promise<string[]> {
  const whole = rows.map(row => {
    const time = row.time ?? new Date().toISOString()
    return { ...row, time, decisionId: row.decisionId ?? decisionIdAt(time) }
  })
  for (const day of new Set(whole.map(({ time }) => time.slice(0, 10)))) {
    await client.query('SELECT gw_usage_partition($1::date)', [day])
  }
  await client.query(
    `INSERT INTO usage_log (${columns})
     SELECT time, decision_id, '${sidecar}', profile, organization_id, api_key_id, environment, method, host, path, route,
            required_scope, CASE reason WHEN '' THEN 'allow' ELSE 'deny' END, reason, status, client_ip, 'xff', '127.0.0.1',
            user_agent, request_id, support_id, final_status, duration_us, request_bytes, response_bytes
     FROM jsonb_to_recordset($1::jsonb) AS r(time timestamptz, decision_id uuid, profile text, organization_id text,
       api_key_id text, environment text, method text, host text, path text, route text, required_scope text, reason text,
       status smallint, client_ip inet, user_agent text, request_id text, support_id text, final_status smallint,
       duration_us bigint, request_bytes bigint, response_bytes bigint)`,
    [JSON.stringify(whole.map(stored))],
  )
  return whole.map(({ decisionId }) => decisionId)
}

function stored(row: UsageRowValues & { readonly time: string; readonly decisionId: string }) {
  return {
    time: row.time,
    decision_id: row.decisionId,
    profile: row.profile ?? 'bitbybit',
    organization_id: row.organization ?? '',
    api_key_id: row.apiKey ?? '',
    environment: row.environment ?? 'live',
    method: row.method ?? 'GET',
    host: row.host ?? 'api.example.com',
    path: row.path ?? '/customers',
    route: row.route ?? '/customers',
    required_scope: row.requiredScope ?? 'customers:READ',
    reason: row.reason ?? '',
    status: row.status ?? (row.reason === undefined || row.reason === '' ? 0 : 403),
    client_ip: row.clientIp === undefined ? '203.0.113.7' : row.clientIp,
    user_agent: row.userAgent ?? 'curl/8.0',
    request_id: row.requestId ?? '',
    support_id: row.supportId ?? '',
    final_status: row.finalStatus ?? null,
    duration_us: row.durationUs ?? null,
    request_bytes: row.requestBytes ?? null,
    response_bytes: row.responseBytes ?? null,
  }
}

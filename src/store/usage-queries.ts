// The usage log as admin reads it: single statements under the role gw_usage, each of which sees the rows of the
// organizations that its question names and of no other. Nothing here writes; no statement outlives the session's timeout.
import type pg from 'pg'
import type {
  UsageAddress,
  UsageCells,
  UsageEntry,
  UsageQuery,
  UsageReads,
  UsageSubject,
  UsageTrafficQuery,
} from '../admin/usage-rows.ts'
import { parseAddress } from '../core/address.ts'
import { addressText, type Cidr, cidrText } from '../core/cidr.ts'
import type { Micros } from '../core/time.ts'
import type { UsageField } from '../profile/compiled-profile.ts'
import type { UsageRow } from '../usage/usage-row.ts'
import { readFaultOf } from './admin-fault.ts'
import { Parameters } from './admin-list.ts'
import { timestamptzParameter } from './column-values.ts'
import type { Session } from './connection.ts'
import { sqlState, undefinedTable } from './store-error.ts'
import { inTransaction } from './transaction.ts'
import { shownStatus, usageCondition } from './usage-conditions.ts'
import { countUsage, hourMicros } from './usage-counts.ts'

/** Session of readers of the usage log. A statement ends before the call that asks, which has 10 s. */
export const usageSession: Session = {
  role: 'gw_usage',
  applicationName: 'gatewarden usage',
  settings: {
    statement_timeout: '8000',
    lock_timeout: '1000',
    idle_in_transaction_session_timeout: '5000',
    jit: 'off',
    // Pages are read by index from tables that are partly in memory; the server's default is that of a spinning disk.
    random_page_cost: '1.1',
  },
}

/** Questions at a time; more wait. They are few, and each may keep a core of the database busy. */
export const usageConnectionsMax = 4

/** Most characters of a cell: what sidecars store is far below, rows of another hand may not be. */
const cellLengthMax = 4096

/** The usage log on a pool with `usageSession`. */
export function createUsageReads(pool: pg.Pool): UsageReads {
  return {
    list: query => list(pool, query),
    cells: (query, columns) => cells(pool, query, columns),
    count: query => countUsage(pool, query),
    lastUsed: subject => lastUsed(pool, subject),
    hasAllowed: (subject, from, to, rowsSince) => hasAllowed(pool, subject, from, to, rowsSince),
    replay: (query, blocks, emptyDenies, topMax) => replay(pool, query, blocks, emptyDenies, topMax),
    hasLosses: (from, to) => hasLosses(pool, from, to),
    addresses: (query, limit) => addresses(pool, query, limit),
    outside: (query, blocks, rowsMax, limitMs) => outside(pool, query, blocks, rowsMax, limitMs),
  }
}

/** Runs a statement with the parameters collected. @throws AdminStoreFault */
export async function readRows<Row extends pg.QueryResultRow>(
  pool: pg.Pool,
  text: string,
  parameters: Parameters,
): Promise<Row[]> {
  try {
    return (await pool.query<Row>(text, parameters.values)).rows
  } catch (error) {
    throw readFaultOf(error)
  }
}

/** `l.organization_id` is one of the organizations. */
export function ofOrganizations(organizations: readonly string[] | null, parameters: Parameters): string {
  if (organizations === null) return 'true'
  const [only] = organizations
  if (organizations.length === 1) return `l.organization_id = ${parameters.add(only)}::text`
  return `l.organization_id = ANY (${parameters.add([...organizations])}::text[])`
}

/** `column` lies in the interval. */
export function inInterval(column: string, from: Micros, to: Micros, parameters: Parameters): string {
  const [start, end] = [from, to].map(at => `${parameters.add(timestamptzParameter(at))}::timestamptz`)
  return `${column} >= ${start} AND ${column} < ${end}`
}

function ofTraffic(query: UsageTrafficQuery, parameters: Parameters): string {
  const subject = ofSubject('l', 'api_key_id', query, parameters)
  return `${subject} AND ${inInterval('l.time', query.from, query.to, parameters)}`
}

/** WHERE, ORDER BY and LIMIT of a query. The interval ends at the position: a scan of an index begins there, not at the first row. */
function pageTail(query: UsageQuery, parameters: Parameters): string {
  const { after, descending } = query
  const from = after === null || descending ? query.from : Math.max(query.from, after.time)
  const to = after === null || !descending ? query.to : Math.min(query.to, after.time + 1)
  const conditions = [
    ofOrganizations(query.organizations, parameters),
    inInterval('l.time', from, to, parameters),
    ...(query.filter === null ? [] : [usageCondition(query.filter, parameters)]),
    ...(after === null ? [] : [behind(query, after, parameters)]),
  ]
  const direction = descending ? 'DESC' : 'ASC'
  const limit = parameters.add(query.limit)
  return `WHERE ${conditions.join(' AND ')} ORDER BY l.time ${direction}, l.decision_id ${direction} LIMIT ${limit}`
}

function behind(query: UsageQuery, after: NonNullable<UsageQuery['after']>, parameters: Parameters): string {
  const time = `${parameters.add(timestamptzParameter(after.time))}::timestamptz`
  const id = `${parameters.add(after.decisionId)}::uuid`
  return `(l.time, l.decision_id) ${query.descending ? '<' : '>'} (${time}, ${id})`
}

interface EntryColumns {
  readonly time: Micros
  readonly decision_id: string
  readonly profile: string
  readonly organization_id: string
  readonly api_key_id: string
  readonly environment: string
  readonly method: string
  readonly host: string
  readonly path: string
  readonly route: string
  readonly required_scope: string
  readonly decision: UsageRow['decision']
  readonly reason: UsageRow['reason']
  readonly shown_status: number
  readonly client: string | null
  readonly direct: string | null
  readonly user_agent: string
  readonly request_id: string
  readonly support_id: string
  readonly duration_us: bigint | null
  readonly request_bytes: bigint | null
  readonly response_bytes: bigint | null
}

const entryColumns = `l.time, l.decision_id, l.profile, l.organization_id, l.api_key_id, l.environment, l.method, l.host,
  l.path, l.route, l.required_scope, l.decision, l.reason, ${shownStatus} AS shown_status, host(l.client_ip) AS client,
  host(l.direct_ip) AS direct, l.user_agent, l.request_id, l.support_id, l.duration_us, l.request_bytes,
  l.response_bytes`

/** Text of a page of rows, for EXPLAIN as well. */
export function listStatement(query: UsageQuery, parameters: Parameters): string {
  return `SELECT ${entryColumns} FROM usage_log l ${pageTail(query, parameters)}`
}

async function list(pool: pg.Pool, query: UsageQuery): Promise<readonly UsageEntry[]> {
  const parameters = new Parameters()
  return (await readRows<EntryColumns>(pool, listStatement(query, parameters), parameters)).map(toEntry)
}

function toEntry(row: EntryColumns): UsageEntry {
  return {
    time: row.time,
    decisionId: row.decision_id,
    profile: cut(row.profile),
    organizationId: cut(row.organization_id),
    apiKeyId: cut(row.api_key_id),
    environment: cut(row.environment),
    method: cut(row.method),
    host: cut(row.host),
    path: cut(row.path),
    route: cut(row.route),
    requiredScope: cut(row.required_scope),
    decision: row.decision,
    reason: row.reason,
    status: row.shown_status,
    clientIp: canonicalAddress(row.client ?? ''),
    directIp: canonicalAddress(row.direct ?? ''),
    userAgent: cut(row.user_agent),
    requestId: cut(row.request_id),
    supportId: cut(row.support_id),
    durationUs: numberOf(row.duration_us),
    requestBytes: numberOf(row.request_bytes),
    responseBytes: numberOf(row.response_bytes),
  }
}

function cut(text: string): string {
  return text.length <= cellLengthMax ? text : text.slice(0, cellLengthMax).replace(/[\ud800-\udbff]$/, '')
}

function numberOf(value: bigint | null): number | null {
  return value === null ? null : Number(value)
}

/** PostgreSQL writes some IPv6 addresses with a dotted end, where RFC 5952 has two groups. */
function canonicalAddress(text: string): string {
  const dotted = text.includes(':') ? /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text) : null
  if (dotted === null) return text
  const [a = 0, b = 0, c = 0, d = 0] = dotted.slice(2).map(Number)
  const address = parseAddress(`${dotted[1]}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`)
  return address === null ? text : addressText(address)
}

/** Member of a record → its text. */
const cellExpressions: Readonly<Record<UsageField, string>> = {
  time: `to_char(l.time, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
  decision_id: 'l.decision_id::text',
  request_id: 'l.request_id',
  organization_id: 'l.organization_id',
  api_key_id: 'l.api_key_id',
  // A look-up a row by the primary key: as a join it is planned by the numbers of tables that may have just been filled. A key of
  // another organization has no hint here, whatever a row says.
  key_hint: `coalesce((SELECT CASE WHEN k.organization_id = l.organization_id THEN k.key_hint END FROM api_keys k
    WHERE k.id = l.api_key_id), '')`,
  environment: 'l.environment',
  method: 'l.method',
  host: 'l.host',
  path: 'l.path',
  route: 'l.route',
  required_scope: 'l.required_scope',
  decision: 'l.decision',
  reason: 'l.reason',
  status: `CASE ${shownStatus} WHEN 0 THEN '' ELSE ${shownStatus}::text END`,
  client_ip: "coalesce(host(l.client_ip), '')",
  direct_ip: "coalesce(host(l.direct_ip), '')",
  user_agent: 'l.user_agent',
  duration_ms: "coalesce(round(l.duration_us / 1000.0, 3)::text, '')",
  bytes_in: "coalesce(l.request_bytes::text, '')",
  bytes_out: "coalesce(l.response_bytes::text, '')",
  support_id: 'l.support_id',
}

const addressFields: ReadonlySet<UsageField> = new Set(['client_ip', 'direct_ip'])

/** Text of a batch of cells, for EXPLAIN as well. */
export function cellsStatement(query: UsageQuery, columns: readonly UsageField[], parameters: Parameters): string {
  const wanted = columns.map(column => cellExpressions[column]).join(', ')
  return `SELECT l.time, l.decision_id, ${wanted} FROM usage_log l ${pageTail(query, parameters)}`
}

async function cells(pool: pg.Pool, query: UsageQuery, columns: readonly UsageField[]): Promise<readonly UsageCells[]> {
  const parameters = new Parameters()
  const found = await readArrays(pool, cellsStatement(query, columns, parameters), parameters)
  const addressAt = columns.flatMap((column, at) => (addressFields.has(column) ? [at + positionCells] : []))
  for (const row of found) settle(row, addressAt)
  return found as unknown as UsageCells[]
}

/** Cells before the first column: time and decision id. */
const positionCells = 2

/** Bounds a row in place: an export makes no second array of it. */
function settle(row: unknown[], addressAt: readonly number[]): void {
  for (let at = positionCells; at < row.length; at++) {
    const text = row[at]
    if (typeof text === 'string' && text.length > cellLengthMax) row[at] = cut(text)
  }
  for (const at of addressAt) row[at] = canonicalAddress(String(row[at]))
}

async function readArrays(pool: pg.Pool, text: string, parameters: Parameters): Promise<unknown[][]> {
  try {
    return (await pool.query<unknown[]>({ text, values: parameters.values, rowMode: 'array' })).rows
  } catch (error) {
    throw readFaultOf(error)
  }
}

function ofSubject(alias: string, key: string, subject: UsageSubject, parameters: Parameters): string {
  const organization = `${alias}.organization_id = ${parameters.add(subject.organization)}::text`
  if (subject.apiKeys === null) return organization
  return `${organization} AND ${alias}.${key} = ANY (${parameters.add([...subject.apiKeys])}::text[])`
}

/** A time that is still to come is that of a clock that was wrong: see gw_usage_fold. */
async function lastUsed(pool: pg.Pool, subject: UsageSubject): Promise<Micros | null> {
  const parameters = new Parameters()
  const text = `SELECT greatest(
      (SELECT max(k.last_used_time) FROM api_keys k WHERE ${ofSubject('k', 'id', subject, parameters)}),
      (SELECT max(d.last_time) FROM usage_rollup_delta d
       WHERE ${ofSubject('d', 'api_key_id', subject, parameters)} AND d.api_key_id <> '' AND d.reason = ''
         AND d.requests >= 0 AND d.last_time < clock_timestamp() + interval '1 minute')) AS at`
  const [row] = await readRows<{ at: Micros | null }>(pool, text, parameters)
  return row?.at ?? null
}

async function hasAllowed(
  pool: pg.Pool,
  subject: UsageSubject,
  from: Micros,
  to: Micros,
  rowsSince: Micros,
): Promise<boolean> {
  const parameters = new Parameters()
  const rows = `SELECT FROM usage_log l WHERE ${ofSubject('l', 'api_key_id', subject, parameters)}
    AND ${inInterval('l.time', from, to, parameters)} AND l.decision = 'allow'`
  // Where rows may be gone, every hour that touches the interval counts: better a rotation not finished than a client cut off.
  const gone = `SELECT FROM usage_rollup r WHERE ${ofSubject('r', 'api_key_id', subject, parameters)}
    AND ${inInterval('r.hour', from - hourMicros, Math.min(to, rowsSince), parameters)}
    AND r.last_time >= ${parameters.add(timestamptzParameter(from))}::timestamptz AND r.reason = '' AND r.requests > 0`
  const text = `SELECT (EXISTS (${rows}) OR EXISTS (${gone})) AS allowed`
  const [row] = await readRows<{ allowed: boolean }>(pool, text, parameters)
  return row?.allowed === true
}

/** Denials for any other reason would be denials whatever the list says. */
const decidedByAddress = `(l.decision = 'allow' OR l.reason IN ('ip_not_allowed', 'ip_undeterminable', 'rate_limited'))`

async function replay(
  pool: pg.Pool,
  query: UsageTrafficQuery,
  blocks: readonly Cidr[],
  emptyDenies: boolean,
  topMax: number,
): ReturnType<UsageReads['replay']> {
  const parameters = new Parameters()
  const traffic = ofTraffic(query, parameters)
  const outsideAll = blocks.length === 0 ? String(emptyDenies) : `NOT ${insideOf(blocks, parameters)}`
  const text = `WITH seen AS MATERIALIZED (
      SELECT l.client_ip, count(*) AS requests, max(l.time) AS last_time, ${outsideAll} AS denied
      FROM usage_log l WHERE ${traffic} AND ${decidedByAddress} GROUP BY l.client_ip
    ), total AS (
      SELECT coalesce(sum(requests), 0)::bigint AS requests,
             coalesce(sum(requests) FILTER (WHERE denied), 0)::bigint AS denied,
             coalesce(sum(requests) FILTER (WHERE client_ip IS NULL), 0)::bigint AS unknown,
             count(*) FILTER (WHERE denied AND client_ip IS NOT NULL) AS addresses
      FROM seen
    )
    SELECT total.*, top.address, top.of_address, top.last_time FROM total LEFT JOIN LATERAL (
      SELECT host(client_ip) AS address, requests AS of_address, last_time FROM seen
      WHERE denied AND client_ip IS NOT NULL ORDER BY requests DESC, client_ip LIMIT ${parameters.add(topMax)}) top ON true`
  const found = await readRows<{
    requests: bigint
    denied: bigint
    unknown: bigint
    addresses: bigint
    address: string | null
    of_address: bigint
    last_time: Micros
  }>(pool, text, parameters)
  const [first] = found
  return {
    requests: first?.requests ?? 0n,
    denied: first?.denied ?? 0n,
    unknownAddress: first?.unknown ?? 0n,
    deniedAddresses: first?.addresses ?? 0n,
    top: found.flatMap(row =>
      row.address === null
        ? []
        : [{ address: canonicalAddress(row.address), requests: row.of_address, lastTime: row.last_time }],
    ),
  }
}

/** Sidecars tell by their wall clocks, of which 10 minutes is the worst that is put up with (faults.md F13). */
const wallSlackMicros = 600_000_000

async function hasLosses(pool: pg.Pool, from: Micros, to: Micros): Promise<boolean> {
  const parameters = new Parameters()
  const [start, end] = [from - wallSlackMicros, to + wallSlackMicros].map(
    at => `${parameters.add(timestamptzParameter(at))}::timestamptz`,
  )
  const text = `SELECT EXISTS (SELECT FROM usage_loss WHERE to_time >= ${start} AND from_time < ${end}) AS lost`
  try {
    return (await pool.query<{ lost: boolean }>(text, parameters.values)).rows[0]?.lost !== false
  } catch (error) {
    // A schema one version older keeps no losses: then nobody knows of none.
    if (sqlState(error) === undefinedTable) return true
    throw readFaultOf(error)
  }
}

/** The client's address lies in one of the blocks; not if it is unknown. */
function insideOf(blocks: readonly Cidr[], parameters: Parameters): string {
  return `coalesce(l.client_ip <<= ANY (${parameters.add(blocks.map(cidrText))}::cidr[]), false)`
}

async function addresses(
  pool: pg.Pool,
  query: UsageTrafficQuery,
  limit: number,
): Promise<{ addresses: readonly UsageAddress[]; requests: bigint }> {
  const parameters = new Parameters()
  const text = `WITH seen AS MATERIALIZED (
      SELECT l.client_ip, count(*) AS of_address, min(l.time) AS first_time, max(l.time) AS last_time
      FROM usage_log l WHERE ${ofTraffic(query, parameters)} AND l.decision = 'allow' GROUP BY l.client_ip)
    SELECT total.requests, top.* FROM (SELECT coalesce(sum(of_address), 0)::bigint AS requests FROM seen) total
    LEFT JOIN LATERAL (SELECT host(client_ip) AS address, client_ip, of_address, first_time, last_time FROM seen
      WHERE client_ip IS NOT NULL ORDER BY of_address DESC, client_ip LIMIT ${parameters.add(limit)}) top ON true
    ORDER BY top.client_ip`
  const found = await readRows<{
    requests: bigint
    address: string | null
    of_address: bigint
    first_time: Micros
    last_time: Micros
  }>(pool, text, parameters)
  return {
    requests: found[0]?.requests ?? 0n,
    addresses: found.flatMap(row =>
      row.address === null
        ? []
        : [
            {
              address: canonicalAddress(row.address),
              requests: row.of_address,
              firstTime: row.first_time,
              lastTime: row.last_time,
            },
          ],
    ),
  }
}

async function outside(
  pool: pg.Pool,
  query: UsageTrafficQuery,
  blocks: readonly Cidr[],
  rowsMax: number,
  limitMs: number,
): ReturnType<UsageReads['outside']> {
  const parameters = new Parameters()
  const organization = ofOrganizations([query.organization], parameters)
  const interval = inInterval('l.time', query.from, query.to, parameters)
  const newest = `ORDER BY time DESC LIMIT ${parameters.add(rowsMax)}`
  // The newest of each key come in the order of an index; those of several keys at once would all have to be sorted.
  const text = `SELECT count(*) AS requests, count(*) FILTER (WHERE NOT ${insideOf(blocks, parameters)}) AS outside,
      count(DISTINCT l.client_ip) FILTER (WHERE NOT ${insideOf(blocks, parameters)}) AS addresses
    FROM (SELECT of_key.client_ip FROM unnest(${parameters.add([...query.apiKeys])}::text[]) AS api_key (id), LATERAL (
        SELECT l.client_ip, l.time FROM usage_log l
        WHERE ${organization} AND l.api_key_id = api_key.id AND ${interval} AND l.decision = 'allow' ${newest}) of_key
      ${newest}) l`
  try {
    const rows = await inTransaction(
      pool,
      async client => {
        await client.query(`SET LOCAL statement_timeout = ${limitMs}`)
        return (await client.query<{ requests: bigint; outside: bigint; addresses: bigint }>(text, parameters.values))
          .rows
      },
      limitMs,
    )
    return rows[0] ?? { requests: 0n, outside: 0n, addresses: 0n }
  } catch (error) {
    throw readFaultOf(error)
  }
}

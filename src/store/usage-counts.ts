// Counts of requests from the hourly counters, the differences not yet added to them, and rows at ragged ends.
// One statement: what moves between them meanwhile is counted once.
import type pg from 'pg'
import type { UsageCount, UsageCountQuery } from '../admin/usage-rows.ts'
import type { Micros } from '../core/time.ts'
import { readFaultOf } from './admin-fault.ts'
import { Parameters } from './admin-list.ts'
import { timestamptzParameter } from './column-values.ts'
import { shownStatus } from './usage-conditions.ts'

/** Width of a counter. */
export const hourMicros = 3_600_000_000

/** An interval cut into whole hours, which counters answer, and ends that rows must. */
export interface CountedParts {
  /** Null: no whole hour lies in it. */
  readonly hours: readonly [Micros, Micros] | null
  readonly ends: readonly (readonly [Micros, Micros])[]
}

/** Cuts an interval. An end in an hour whose rows may be gone takes the whole hour. */
export function countedParts(from: Micros, to: Micros, rowsSince: Micros): CountedParts {
  if (to <= from) return { hours: null, ends: [] }
  const down = (at: Micros) => Math.floor(at / hourMicros) * hourMicros
  const up = (at: Micros) => Math.ceil(at / hourMicros) * hourMicros
  const start = from < rowsSince ? down(from) : up(from)
  const end = Math.max(from, down(to)) < rowsSince ? up(to) : down(to)
  if (start > end) return { hours: null, ends: [[from, to]] }
  const ends: (readonly [Micros, Micros])[] = []
  if (from < start) ends.push([from, start])
  if (end < to) ends.push([end, to])
  return { hours: start < end ? [start, end] : null, ends }
}

/** See `UsageReads.count`. */
export async function countUsage(pool: pg.Pool, query: UsageCountQuery): Promise<readonly UsageCount[]> {
  const parameters = new Parameters()
  const sources = sourcesOf(query, parameters)
  if (sources.length === 0) return []
  const day = query.byDay ? `(at AT TIME ZONE 'UTC')::date` : 'NULL::date'
  const apiKey = query.byApiKey ? 'api_key_id' : `''`
  const text = `SELECT coalesce(to_char(day, 'YYYY-MM-DD'), '') AS day, api_key, reason, status, requests FROM (
      SELECT ${day} AS day, ${apiKey} AS api_key, reason, status, sum(requests)::bigint AS requests
      FROM (${sources.join(' UNION ALL ')}) counted
      GROUP BY 1, 2, reason, status HAVING sum(requests) <> 0 ORDER BY 1, 2, reason, status
      LIMIT ${parameters.add(query.limit)}) grouped`
  try {
    const { rows } = await pool.query<{
      day: string
      api_key: string
      reason: string
      status: number
      requests: bigint
    }>(text, parameters.values)
    return rows.map(({ api_key, ...row }) => ({ ...row, apiKeyId: api_key }))
  } catch (error) {
    throw readFaultOf(error)
  }
}

function sourcesOf(query: UsageCountQuery, parameters: Parameters): string[] {
  const parts = countedParts(query.from, query.to, query.rowsSince)
  const add = (at: Micros) => `${parameters.add(timestamptzParameter(at))}::timestamptz`
  const organization = parameters.add(query.organization)
  const keys = query.apiKeys === null ? '' : ` AND api_key_id = ANY (${parameters.add([...query.apiKeys])}::text[])`
  const subject = `organization_id = ${organization}::text${keys}`
  const sources: string[] = []
  if (parts.hours !== null) {
    const [start, end] = parts.hours.map(add)
    for (const table of ['usage_rollup', 'usage_rollup_delta']) {
      sources.push(`SELECT hour AS at, api_key_id, reason, status, requests FROM ${table}
        WHERE ${subject} AND hour >= ${start} AND hour < ${end}`)
    }
  }
  for (const part of parts.ends) {
    const [start, end] = part.map(add)
    sources.push(`SELECT l.time AS at, l.api_key_id, l.reason, ${shownStatus} AS status, 1 AS requests FROM usage_log l
      WHERE ${subject} AND l.time >= ${start} AND l.time < ${end}`)
  }
  return sources
}

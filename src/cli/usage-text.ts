// How requests and their counts look to people.
import type { GetUsageMetricsResponse, UsageLog } from '../gen/gatewarden/admin/v1/usage_admin.ts'
import { harmless, pairs, table } from './render.ts'
import { formatInstant } from './to-json.ts'

const keyId = (name: string) => name.split('/').at(-1) ?? ''
const shownStatus = ({ status }: UsageLog) => (status === 0 ? '-' : String(status))
const outcome = ({ decision, reason }: UsageLog) => (reason === '' ? decision : reason)

function time(log: UsageLog): string {
  return log.time === undefined ? '' : formatInstant(log.time)
}

export function usageTable(logs: readonly UsageLog[]): string {
  return table(
    ['TIME', 'METHOD', 'PATH', 'STATUS', 'OUTCOME', 'CLIENT IP', 'API KEY'],
    logs.map(log => [
      time(log),
      log.method,
      log.path,
      shownStatus(log),
      outcome(log),
      log.clientIp || '-',
      keyId(log.apiKey) || '-',
    ]),
  )
}

/** Widths of the columns that a following line can keep without knowing what comes. */
const widths = { time: 27, method: 7, status: 3, outcome: 22, clientIp: 15 } as const

/** One request on one line, for a listing that has no end. */
export function usageLine(log: UsageLog): string {
  const columns = [
    time(log).padEnd(widths.time),
    log.method.padEnd(widths.method),
    shownStatus(log).padStart(widths.status),
    outcome(log).padEnd(widths.outcome),
    (log.clientIp || '-').padEnd(widths.clientIp),
    keyId(log.apiKey) || '-',
    log.path,
  ]
  return `${columns.map(harmless).join('  ')}\n`
}

export function metricsText(metrics: GetUsageMetricsResponse, lineage: boolean): string {
  const shares = (counts: ReadonlyMap<string, bigint>) =>
    [...counts]
      .sort(([a, many], [b, few]) => Number(few - many) || (a < b ? -1 : 1))
      .map(([name, count]) => `${name} ${count}`)
      .join(', ')
  return pairs([
    ['requests', String(metrics.totalRequests)],
    ['allowed', String(metrics.allowed)],
    ['denied', String(metrics.denied)],
    ['by reason', shares(metrics.byReason)],
    ['by status', shares(metrics.byStatusClass)],
    ['last used', metrics.lastUsedTime === undefined ? 'never' : formatInstant(metrics.lastUsedTime)],
    ['safe to finish', lineage ? (metrics.safeToFinish ? 'yes' : 'no') : ''],
  ])
}

export function seriesTable(groupBy: readonly string[], series: GetUsageMetricsResponse['series']): string {
  return table(
    [...groupBy.map(each => each.toUpperCase().replaceAll('_', ' ')), 'REQUESTS', 'ALLOWED', 'DENIED'],
    series.map(({ group, totalRequests, allowed, denied }) => [
      ...group.map(value => value || '-'),
      ...[totalRequests, allowed, denied].map(String),
    ]),
  )
}

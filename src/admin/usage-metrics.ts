// GetUsageMetrics: counts of a key, of its lineage or of an organization, from counters by the hour and rows at ragged ends.
// Every request that presented the key counts, denied ones included.
import { predecessorsOf } from '../core/api-key-rotation.ts'
import type { Micros } from '../core/time.ts'
import type { GetUsageMetricsRequest, GetUsageMetricsResponse } from '../gen/gatewarden/admin/v1/usage_admin.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import { RpcError } from '../rpc/errors.ts'
import type { AdminReads } from './admin-store.ts'
import { type ApiKeyContext, findOrganization, requireKey } from './api-key-context.ts'
import { apiKeyName, parseApiKeyName, parseOrganizationName } from './resource-name.ts'
import { quoted } from './text-fields.ts'
import { checked, readInterval, type UsageInterval, type UsageQuestion } from './usage-call.ts'
import { allowedReason } from './usage-filter.ts'
import type { UsageCount, UsageReads, UsageSubject } from './usage-rows.ts'
import type { Violations } from './violations.ts'
import { optionalTimestamp } from './wire-time.ts'

const hourMicros = 3_600_000_000
const dayMicros = 24 * hourMicros

/** What is counted when the request names no interval. */
const defaultMicros = 30 * dayMicros

/** How long counters by the hour are kept: 13 months, so that a month can be held against that of the year before. */
export const countersKeptMicros = 400 * dayMicros

/** Points of a series: such a reply stays below the message limit. */
const pointsMax = 10_000

/** Rows of counts that points are made of. */
const countsMax = 100_000

const groupings = ['day', 'status', 'reason', 'api_key'] as const
type Grouping = (typeof groupings)[number]

interface Plan {
  readonly subject: UsageSubject
  /** Keys that are being replaced; null: not asked. */
  readonly predecessors: readonly string[] | null
  readonly interval: UsageInterval
  readonly groupBy: readonly Grouping[]
  /** Older rows may be gone. */
  readonly rowsSince: Micros
  readonly now: Micros
}

export function getUsageMetrics(
  context: ApiKeyContext,
): UsageQuestion<GetUsageMetricsRequest, Plan, GetUsageMetricsResponse> {
  return {
    rpc: 'UsageAdmin/GetUsageMetrics',
    organizationOf: ({ subject }) => {
      if (subject?.$case === 'parent') return parseOrganizationName(subject.value) ?? ''
      return parseApiKeyName(subject?.value ?? '')?.organization ?? ''
    },
    async plan(tx, request) {
      const parsed = checked(violations => parse(request, tx.now, violations))
      const { profile } = await findOrganization(context, tx, parsed.organization)
      const rowsSince = tx.now - keptMicros(profile)
      const { interval, groupBy } = parsed
      return { ...(await subjectOf(tx, parsed, request.lineage)), interval, groupBy, rowsSince, now: tx.now }
    },
    answer,
  }
}

/** Rows of a profile are whole for this long; the job that deletes older ones comes by every few minutes. */
function keptMicros(profile: CompiledProfile): number {
  return profile.usageLog.retentionMs * 1000 - hourMicros
}

interface Parsed {
  readonly organization: string
  /** Null: all keys. */
  readonly apiKey: string | null
  readonly interval: UsageInterval
  readonly groupBy: readonly Grouping[]
}

function parse(request: GetUsageMetricsRequest, now: Micros, violations: Violations): Parsed | null {
  const names = namesOf(request, violations)
  if (request.lineage && names?.apiKey === null) {
    violations.add('lineage', 'FIELD_INVALID', 'An organization has no lineage: give the name of a key.')
  }
  const bounds = { now, defaultMicros, maxMicros: countersKeptMicros }
  const interval = readInterval(request.interval, 'interval', bounds, violations)
  const groupBy = groupings.length < request.groupBy.length ? null : request.groupBy.map(groupingOf)
  if (groupBy === null || groupBy.includes(null) || new Set(groupBy).size < groupBy.length) {
    violations.add('group_by', 'FIELD_INVALID', `Give each of ${groupings.join(', ')} at most once.`)
  }
  if (names === null || interval === null) return null
  return { ...names, interval, groupBy: (groupBy ?? []).filter(each => each !== null) }
}

function groupingOf(text: string): Grouping | null {
  return groupings.find(each => each === text) ?? null
}

function namesOf({ subject }: GetUsageMetricsRequest, violations: Violations) {
  if (subject === undefined) {
    violations.add('name', 'FIELD_REQUIRED', 'Give a key as name, or an organization as parent.')
    return null
  }
  const organization = subject.$case === 'parent' ? parseOrganizationName(subject.value) : undefined
  if (organization !== undefined) return { organization, apiKey: null }
  const key = subject.$case === 'name' ? parseApiKeyName(subject.value) : undefined
  if (key !== undefined) return key
  violations.add(subject.$case, 'FIELD_INVALID', `${quoted(subject.value)} is not the name of one.`)
  return null
}

async function subjectOf(
  tx: AdminReads,
  { organization, apiKey }: Parsed,
  lineage: boolean,
): Promise<Pick<Plan, 'subject' | 'predecessors'>> {
  if (apiKey === null) return { subject: { organization, apiKeys: null }, predecessors: null }
  const key = requireKey(await tx.apiKeys.find(organization, apiKey, false), { organization, apiKey }, tx.now)
  if (!lineage) return { subject: { organization, apiKeys: [apiKey] }, predecessors: null }
  const members = await tx.apiKeys.listLineage(organization, key.lineage)
  return {
    subject: { organization, apiKeys: members.map(({ id }) => id) },
    // The key itself where it has a successor, else all that it replaced.
    predecessors: key.rotatedTo === null ? predecessorsOf(key, members).map(({ id }) => id) : [key.id],
  }
}

async function answer(usage: UsageReads, plan: Plan): Promise<GetUsageMetricsResponse> {
  const { subject, interval, groupBy, rowsSince } = plan
  // Nothing is later than now: an interval up to now takes the running hour whole.
  const to = interval.to < plan.now ? interval.to : (Math.floor(plan.now / hourMicros) + 1) * hourMicros
  const counts = await usage.count({
    ...subject,
    from: interval.from,
    to,
    rowsSince,
    byDay: groupBy.includes('day'),
    byApiKey: groupBy.includes('api_key'),
    limit: countsMax,
  })
  if (counts.length === countsMax) throw tooMany()
  const sum = (fits: (count: UsageCount) => boolean) => total(counts.filter(fits))
  return {
    totalRequests: total(counts),
    allowed: sum(({ reason }) => reason === ''),
    denied: sum(({ reason }) => reason !== ''),
    byReason: grouped(counts, shownReason),
    byStatusClass: grouped(counts, statusClass),
    lastUsedTime: optionalTimestamp(await usage.lastUsed(subject)),
    series: groupBy.length === 0 ? [] : series(counts, groupBy, subject.organization),
    safeToFinish: await isSafeToFinish(usage, plan),
  }
}

/** Without a predecessor there is nothing to finish. */
async function isSafeToFinish(usage: UsageReads, plan: Plan): Promise<boolean> {
  const { predecessors, interval, rowsSince, subject } = plan
  if (predecessors === null || predecessors.length === 0) return false
  const of = { organization: subject.organization, apiKeys: predecessors }
  return !(await usage.hasAllowed(of, interval.from, interval.to, rowsSince))
}

function total(counts: readonly UsageCount[]): bigint {
  return counts.reduce((sum, { requests }) => sum + requests, 0n)
}

function shownReason({ reason }: UsageCount): string {
  return reason === '' ? allowedReason : reason
}

function statusClass({ status }: UsageCount): string {
  return status >= 100 && status <= 599 ? `${Math.floor(status / 100)}xx` : 'unknown'
}

function grouped(counts: readonly UsageCount[], by: (count: UsageCount) => string): Map<string, bigint> {
  const sums = new Map<string, bigint>()
  for (const count of counts) sums.set(by(count), (sums.get(by(count)) ?? 0n) + count.requests)
  return sums
}

function series(counts: readonly UsageCount[], groupBy: readonly Grouping[], organization: string) {
  const points = new Map<string, { group: readonly string[]; allowed: bigint; denied: bigint }>()
  for (const count of counts) {
    const group = groupBy.map(each => groupValue(count, each, organization))
    const key = JSON.stringify(group)
    const point = points.get(key) ?? { group, allowed: 0n, denied: 0n }
    if (count.reason === '') point.allowed += count.requests
    else point.denied += count.requests
    points.set(key, point)
  }
  if (points.size > pointsMax) throw tooMany()
  const order = (a: { group: readonly string[] }, b: { group: readonly string[] }) =>
    a.group.join('\0') < b.group.join('\0') ? -1 : 1
  return [...points.values()]
    .sort(order)
    .map(({ group, allowed, denied }) => ({ group, totalRequests: allowed + denied, allowed, denied }))
}

function groupValue(count: UsageCount, by: Grouping, organization: string): string {
  switch (by) {
    case 'day':
      return count.day
    case 'status':
      return count.status === 0 ? '' : String(count.status)
    case 'reason':
      return shownReason(count)
    case 'api_key':
      return count.apiKeyId === '' ? '' : apiKeyName(organization, count.apiKeyId)
  }
}

function tooMany(): RpcError {
  return new RpcError(
    'EXPORT_LIMIT',
    `The series has more than ${pointsMax} points: narrow the interval or group by less.`,
  )
}

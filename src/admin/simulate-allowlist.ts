// SimulateIpAllowlist: which logged requests of a key, and of those it replaced, another allowlist would have refused. The
// entries are judged as in an update; the addresses are those that the sidecars saw.
import type { AllowlistEntry } from '../core/allowlist.ts'
import type { Micros } from '../core/time.ts'
import type {
  SimulateIpAllowlistRequest,
  SimulateIpAllowlistResponse,
} from '../gen/gatewarden/admin/v1/allowlist_admin.ts'
import type { Interval } from '../gen/gatewarden/admin/v1/resources.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import type { AdminReads } from './admin-store.ts'
import { type ApiKeyContext, findOrganization, requireKey } from './api-key-context.ts'
import { readAllowlist } from './api-key-fields.ts'
import { type TrafficSubject, trafficSubject } from './recent-traffic.ts'
import { type ApiKeyName, parseApiKeyName } from './resource-name.ts'
import { checked, readInterval, type UsageInterval, type UsageQuestion } from './usage-call.ts'
import type { UsageTrafficQuery } from './usage-rows.ts'
import type { Violations } from './violations.ts'
import { timestampOf } from './wire-time.ts'

const dayMicros = 86_400_000_000

/** Addresses of a reply. */
const topMax = 100

/** A key and an interval of its traffic: what simulation and suggestion ask for. */
export interface TrafficRequest {
  readonly name: string
  readonly interval: Interval | undefined
}

/** Reads name and interval; null only with violations. By default the last 7 days, at most 30 (admin-api.md section 5.3). */
export function readTraffic(
  request: TrafficRequest,
  now: Micros,
  violations: Violations,
): { readonly name: ApiKeyName; readonly interval: UsageInterval } | null {
  const name = parseApiKeyName(request.name)
  if (name === undefined) {
    violations.add('name', 'FIELD_INVALID', 'It is not organizations/{organization}/apiKeys/{api_key}.')
  }
  const bounds = { now, defaultMicros: 7 * dayMicros, maxMicros: 30 * dayMicros }
  const interval = readInterval(request.interval, 'interval', bounds, violations)
  return name === undefined || interval === null ? null : { name, interval }
}

/**
 * The profile of a key that is there, and whose requests its allowlist would have judged: its own and those of the keys
 * that it replaced. @throws RpcError ORGANIZATION_UNKNOWN, API_KEY_UNKNOWN
 */
export async function subjectOf(
  context: ApiKeyContext,
  tx: AdminReads,
  name: ApiKeyName,
): Promise<{ readonly profile: CompiledProfile; readonly subject: TrafficSubject }> {
  const { profile } = await findOrganization(context, tx, name.organization)
  const key = requireKey(await tx.apiKeys.find(name.organization, name.apiKey, false), name, tx.now)
  return { profile, subject: await trafficSubject(tx, key) }
}

interface Plan {
  readonly traffic: UsageTrafficQuery
  readonly entries: readonly AllowlistEntry[]
  readonly emptyDenies: boolean
  /** Whether the profile has every request of the interval recorded, and still kept. */
  readonly kept: boolean
}

export function simulateIpAllowlist(
  context: ApiKeyContext,
): UsageQuestion<SimulateIpAllowlistRequest, Plan, SimulateIpAllowlistResponse> {
  return {
    rpc: 'AllowlistAdmin/SimulateIpAllowlist',
    organizationOf: request => parseApiKeyName(request.name)?.organization ?? '',
    async plan(tx, request) {
      const { name, interval } = checked(violations => readTraffic(request, tx.now, violations))
      const { profile, subject } = await subjectOf(context, tx, name)
      const { entries } = checked(violations => readAllowlist(request.entries, 'entries', profile, '', violations))
      const { record, retentionMs } = profile.usageLog
      return {
        traffic: { ...subject, ...interval },
        entries,
        emptyDenies: profile.policy.emptyAllowlist === 'none',
        kept: record === 'all' && interval.from >= tx.now - retentionMs * 1000,
      }
    },
    async answer(usage, { traffic, entries, emptyDenies, kept }) {
      const blocks = entries.map(({ block }) => block)
      const { requests, denied, unknownAddress, top } = await usage.replay(traffic, blocks, emptyDenies, topMax)
      return {
        requests,
        denied,
        unknownAddress,
        topDenied: top.map(({ lastTime, ...address }) => ({ ...address, lastTime: timestampOf(lastTime) })),
        complete: kept && !(await usage.hasLosses(traffic.from, traffic.to)),
      }
    },
  }
}

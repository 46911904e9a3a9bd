// The warning that a new allowlist would lock out who uses the key now. It never changes the outcome: what the usage log
// cannot say in half a second is not said.
import type { AllowlistEntry } from '../core/allowlist.ts'
import { predecessorsOf } from '../core/api-key-rotation.ts'
import type { Cidr } from '../core/cidr.ts'
import type { Micros } from '../core/time.ts'
import type { Warning } from '../gen/gatewarden/admin/v1/resources.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import type { AdminReads } from './admin-store.ts'
import type { ApiKeyRow } from './api-key-rows.ts'
import type { UsageReads, UsageTrafficQuery } from './usage-rows.ts'

/** How far back is looked. */
const recentMicros = 7 * 86_400_000_000

/** The newest requests that are looked at. */
const recentRowsMax = 10_000

/** The change waits for the warning, holding its key; other changes of the key wait with it. */
const recentLimitMs = 500

/** The keys whose requests tell where the bearer of a key is. */
export type TrafficSubject = Pick<UsageTrafficQuery, 'organization' | 'apiKeys'>

/** A key and those that it replaced: right after a rotation nobody has used the new one yet. */
export async function trafficSubject(tx: AdminReads, key: ApiKeyRow): Promise<TrafficSubject> {
  const { organization, id, lineage, rotatedFrom } = key
  const predecessors =
    rotatedFrom === null ? [] : predecessorsOf(key, await tx.apiKeys.listLineage(organization, lineage))
  return { organization, apiKeys: [id, ...predecessors.map(member => member.id)] }
}

/** Warns if recent allowed requests came from outside of the entries. Never rejects. */
export async function recentTrafficWarnings(
  usage: Pick<UsageReads, 'outside'>,
  subject: TrafficSubject,
  entries: readonly AllowlistEntry[],
  field: string,
  profile: CompiledProfile,
  now: Micros,
): Promise<readonly Warning[]> {
  if (entries.length === 0 && profile.policy.emptyAllowlist === 'any') return []
  const traffic = { ...subject, from: now - recentMicros, to: now + recentMicros }
  const blocks: readonly Cidr[] = entries.map(({ block }) => block)
  try {
    const { requests, outside, addresses } = await usage.outside(traffic, blocks, recentRowsMax, recentLimitMs)
    if (outside === 0n) return []
    const of = requests === BigInt(recentRowsMax) ? `the newest ${requests} allowed` : `${requests} allowed`
    const from = addresses === 1n ? '1 address' : `${addresses} addresses`
    const message = `${outside} of ${of} requests of the last 7 days came from ${from} outside of the list.`
    return [{ code: 'EXCLUDES_RECENT_TRAFFIC', field, message }]
  } catch {
    return [] // the log could not be read in time: a warning that may be missing is no reason to refuse a change
  }
}

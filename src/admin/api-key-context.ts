// What the RPCs about API keys share: finding organization, profile and key in the order that tells strangers nothing,
// and the conditions under which a new digest may be written.

import type { AllowlistEntry } from '../core/allowlist.ts'
import { isPurged } from '../core/api-key.ts'
import { cidrText } from '../core/cidr.ts'
import type { Micros } from '../core/time.ts'
import type { Pepper } from '../keys/digest.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import { RpcError } from '../rpc/errors.ts'
import type { AdminReads, AdminTx } from './admin-store.ts'
import type { ApiKeyRow, ApiKeyWrite, NewApiKey, StoredAllowlistEntry } from './api-key-rows.ts'
import type { Admin } from './command.ts'
import type { OrganizationRow } from './organization-rows.ts'
import type { PageTokens } from './page-token.ts'
import { requireOwnPeppers } from './pepper-proofs.ts'
import { type ApiKeyName, apiKeyName, organizationName, profileName } from './resource-name.ts'
import type { UsageReads } from './usage-rows.ts'

/** What the handlers of API keys work with. */
export interface ApiKeyContext extends Admin {
  /** The profile that is served now under a name. */
  findProfile(name: string): CompiledProfile | undefined
  /** Of API keys; the first is the primary, with which new digests are made. */
  readonly peppers: readonly [Pepper, ...Pepper[]]
  readonly pageTokens: PageTokens
  /** Octets of a cryptographic generator. */
  random(octets: number): Uint8Array
  /** API keys that an organization may have; null: any number. */
  readonly keyQuota: number | null
  /** A text without anything shaped like a key, for replies that repeat what a caller wrote. Absent: as it is. */
  redact?(text: string): string
  /** The usage log, read beside the transactions of the store. */
  readonly usage: UsageReads
}

/** How long a sidecar counts as live after its last report, as the rate limits count it (freshness.md section 4). */
const sidecarLiveMicros = 10_000_000

/** Sidecars read at a time. */
const sidecarPage = 1000

export interface OrganizationAndProfile {
  readonly organization: OrganizationRow
  readonly profile: CompiledProfile
}

/** @throws RpcError ORGANIZATION_UNKNOWN or PROFILE_UNKNOWN */
export async function findOrganization(
  context: ApiKeyContext,
  tx: AdminReads,
  id: string,
): Promise<OrganizationAndProfile> {
  const organization = await tx.organizations.find(id)
  if (organization === undefined) {
    const resource = { type: 'gatewarden.admin.v1/Organization', name: organizationName(id) }
    throw new RpcError('ORGANIZATION_UNKNOWN', `There is no organization ${id}.`, { resource })
  }
  return { organization, profile: findProfile(context, organization.profile) }
}

/** @throws RpcError PROFILE_UNKNOWN */
export function findProfile(context: ApiKeyContext, name: string): CompiledProfile {
  const profile = context.findProfile(name)
  if (profile !== undefined) return profile
  const resource = { type: 'gatewarden.admin.v1/Profile', name: profileName(name) }
  throw new RpcError('PROFILE_UNKNOWN', `The profile ${name} is not loaded.`, { resource })
}

/** @throws RpcError API_KEY_UNKNOWN for a key that is not there, is another organization's, or was purged */
export function requireKey(row: ApiKeyRow | undefined, name: ApiKeyName, now: Micros): ApiKeyRow {
  if (row !== undefined && !isPurged(row, now)) return row
  const text = apiKeyName(name.organization, name.apiKey)
  const resource = { type: 'gatewarden.admin.v1/ApiKey', name: text }
  throw new RpcError('API_KEY_UNKNOWN', `There is no API key ${name.apiKey} in organization ${name.organization}.`, {
    resource,
  })
}

/** A locked key and the instant at which it is judged. */
export interface LockedKey {
  readonly key: ApiKeyRow
  /**
   * The transaction's time, but never before the last change of the rows it locked: a transaction that began first and
   * got the lock second must see what the other one did as done.
   */
  readonly now: Micros
}

function judgedAt(tx: AdminTx, rows: readonly ApiKeyRow[]): Micros {
  return rows.reduce((now, row) => Math.max(now, row.updateAt), tx.now)
}

/** The key of a name, locked until the end of the transaction. @throws RpcError API_KEY_UNKNOWN */
export async function lockKey(tx: AdminTx, name: ApiKeyName): Promise<LockedKey> {
  const key = requireKey(await tx.apiKeys.find(name.organization, name.apiKey, true), name, tx.now)
  return { key, now: judgedAt(tx, [key]) }
}

/** How often a lineage is read again while it grows under our hands. */
const lineageAttemptsMax = 5

/** The key of a name and its whole lineage, locked in id order until the end of the transaction. */
export async function lockLineage(
  tx: AdminTx,
  name: ApiKeyName,
): Promise<LockedKey & { readonly lineage: readonly ApiKeyRow[] }> {
  const found = requireKey(await tx.apiKeys.find(name.organization, name.apiKey, false), name, tx.now)
  let missingBefore = ''
  for (let attempt = 0; attempt < lineageAttemptsMax; attempt++) {
    const lineage = await tx.apiKeys.lockLineage(name.organization, found.lineage)
    // A rotation that committed while we waited for its lock added a row that our statement could not see. Its predecessor
    // is locked now: what another look does not bring either was purged.
    const missing = missingSuccessors(lineage)
    if (missing === '' || missing === missingBefore) {
      const key = lineage.find(row => row.id === name.apiKey)
      return { key: requireKey(key, name, tx.now), lineage, now: judgedAt(tx, lineage) }
    }
    missingBefore = missing
  }
  throw new RpcError('CONCURRENT_CHANGE', 'The key is being rotated: repeat the call.')
}

function missingSuccessors(lineage: readonly ApiKeyRow[]): string {
  const ids = new Set<string | null>([null, ...lineage.map(row => row.id)])
  return lineage.flatMap(row => (ids.has(row.rotatedTo) ? [] : [row.rotatedTo])).join(' ')
}

/** @throws RpcError ORGANIZATION_SUSPENDED */
export function requireActive(organization: OrganizationRow): void {
  if (organization.suspendAt === null) return
  const subject = organizationName(organization.id)
  throw new RpcError('ORGANIZATION_SUSPENDED', 'The organization is suspended: resume it first.', { subject })
}

/**
 * Refuses to make a digest under a pepper that is not the one the database was told of, or that some live sidecar could
 * not recognise: its key would be refused there.
 * @throws RpcError PEPPER_MISMATCH, PEPPER_NOT_PROPAGATED
 */
export async function requirePropagatedPepper(context: ApiKeyContext, tx: AdminTx): Promise<void> {
  await requireOwnPeppers(tx, 'api_keys', context.peppers)
  const { id } = context.peppers[0]
  const lacking: string[] = []
  for (let after = ''; ; ) {
    const sidecars = await tx.propagation.listSidecars(after, sidecarPage)
    for (const sidecar of sidecars) {
      const servesUntil = sidecar.seenAt + Math.max(sidecarLiveMicros, sidecar.staleCapMs * 1000)
      if (servesUntil > tx.now && !sidecar.pepperIds.includes(id)) lacking.push(`sidecars/${sidecar.id}`)
    }
    const last = sidecars.at(-1)
    if (last === undefined || sidecars.length < sidecarPage) break
    after = last.id
  }
  if (lacking.length === 0) return
  const text = `${lacking.length} live sidecars do not have pepper ${id}: a new key would be refused there.`
  const metadata = { pepper_id: id, sidecars: lacking.slice(0, 10).join(',') }
  throw new RpcError('PEPPER_NOT_PROPAGATED', text, { subject: `peppers/${id}`, metadata })
}

/** @throws RpcError KEY_QUOTA when `more` further keys are too many */
export async function requireQuota(
  context: ApiKeyContext,
  tx: AdminReads,
  organization: string,
  more: number,
): Promise<void> {
  if (context.keyQuota === null) return
  if ((await tx.apiKeys.count(organization)) + more <= context.keyQuota) return
  throw new RpcError('KEY_QUOTA', `An organization may have ${context.keyQuota} API keys here.`)
}

/** The stored text of canonical entries. */
export function storedAllowlist(entries: readonly AllowlistEntry[]): readonly StoredAllowlistEntry[] {
  return entries.map(({ block, label }) => ({ cidr: cidrText(block), label }))
}

/** A row as it stands right after its insertion. */
export function insertedRow(row: NewApiKey): ApiKeyRow {
  return { ...row, allowlist: storedAllowlist(row.allowlist), lastUsedAt: null, version: 1n, revision: 0n }
}

/** Writes a row changed at `now`. @returns it as it stands now @throws RpcError CONCURRENT_CHANGE */
export async function writeKey(tx: AdminTx, row: ApiKeyWrite, before: ApiKeyRow, now: Micros): Promise<ApiKeyRow> {
  const write = { ...row, updateAt: now }
  if (!(await tx.apiKeys.update(write))) {
    throw new RpcError('CONCURRENT_CHANGE', 'Another change came first: read the key again, then repeat the call.')
  }
  const allowlist = row.allowlist === null ? before.allowlist : storedAllowlist(row.allowlist)
  return { ...write, allowlist, version: before.version + 1n }
}

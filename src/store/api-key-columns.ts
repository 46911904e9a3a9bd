// A row of api_keys as the driver gives it, read without trust: one row from another hand never keeps the others from being
// listed. What cannot be read is shown as the stricter of what it could mean; nothing here throws.
import type { ApiKeyRow } from '../admin/api-key-rows.ts'
import { type RevokeReason, revokeReasons } from '../core/api-key.ts'
import type { Micros } from '../core/time.ts'

/** A row as the driver gives it: what stands in it was perhaps written by another program. */
export type ApiKeyColumns = Readonly<Record<string, unknown>>

/** What every statement selects. */
export const apiKeyColumns = `id, organization_id, digest, pepper_id, form, key_hint, display_name, description, environment, scope_mode,
  scopes, allowlist, expire_time, rate_limit, rate_window_us, labels, lineage_id, rotated_from, rotated_to, rotate_time,
  grace_end_time, suspend_time, suspend_reason, revoke_time, revoke_reason, revoke_comment, delete_time, purge_time, creator,
  create_time, update_time, last_used_time, version, revision`

/** The row as admin knows it. */
export function toApiKey(row: ApiKeyColumns): ApiKeyRow {
  return {
    id: textOf(row['id']),
    organization: textOf(row['organization_id']),
    digest: Buffer.isBuffer(row['digest']) ? row['digest'] : Buffer.alloc(0),
    pepperId: textOf(row['pepper_id']),
    form: row['form'] === 2 ? 'IMPORTED' : 'ISSUED',
    keyHint: textOf(row['key_hint']),
    displayName: textOf(row['display_name']),
    description: textOf(row['description']),
    environment: textOf(row['environment']),
    scopeMode: row['scope_mode'] === 2 ? 'ALL' : 'LISTED',
    scopes: textsOf(row['scopes']),
    allowlist: allowlistOf(row['allowlist']),
    expireAt: endOf(row['expire_time']),
    rateLimit: limitOf(row['rate_limit'], row['rate_window_us']),
    labels: labelsOf(row['labels']),
    lineage: textOf(row['lineage_id']),
    rotatedFrom: nullableTextOf(row['rotated_from']),
    rotatedTo: nullableTextOf(row['rotated_to']),
    rotateAt: instantOf(row['rotate_time']),
    graceEndAt: endOf(row['grace_end_time']),
    suspendAt: instantOf(row['suspend_time']),
    suspendReason: textOf(row['suspend_reason']),
    revokeAt: instantOf(row['revoke_time']),
    revokeReason: revokeReasonOf(row['revoke_reason']),
    revokeComment: textOf(row['revoke_comment']),
    deleteAt: instantOf(row['delete_time']),
    purgeAt: endOf(row['purge_time']),
    creator: textOf(row['creator']),
    createAt: instantOf(row['create_time']) ?? 0,
    updateAt: instantOf(row['update_time']) ?? 0,
    lastUsedAt: instantOf(row['last_used_time']),
    version: bigintOf(row['version']),
    revision: bigintOf(row['revision']),
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function nullableTextOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter(member => typeof member === 'string') : []
}

/** When something happened. What cannot be read (infinity, far years) has happened long ago. */
function instantOf(value: unknown): Micros | null {
  return typeof value === 'number' ? value : typeof value === 'string' ? 0 : null
}

/** When something ends. Beyond the years that microseconds reach it never does, before them it has. */
function endOf(value: unknown): Micros | null {
  const isPast = typeof value === 'string' && (value.startsWith('-') || value.endsWith('BC'))
  return typeof value === 'number' ? value : isPast ? 0 : null
}

function bigintOf(value: unknown): bigint {
  return typeof value === 'bigint' ? value : 0n
}

function limitOf(limit: unknown, windowMicros: unknown): ApiKeyRow['rateLimit'] {
  if (typeof limit !== 'bigint' || typeof windowMicros !== 'bigint') return null
  return { limit: Number(limit), windowMicros: Number(windowMicros) }
}

function revokeReasonOf(value: unknown): RevokeReason | null {
  return typeof value === 'number' ? (revokeReasons[value - 1] ?? null) : null
}

function labelsOf(value: unknown): ReadonlyMap<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return new Map()
  return new Map(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

function allowlistOf(value: unknown): ApiKeyRow['allowlist'] {
  if (!Array.isArray(value)) return []
  return value.flatMap((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null || !('cidr' in entry)) return []
    return [{ cidr: textOf(entry.cidr), label: 'label' in entry ? textOf(entry.label) : '' }]
  })
}

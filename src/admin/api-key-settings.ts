// The mutable settings of an API key: which of them a request means, and what the key has after it.
// Fields that keep their value are not judged again, so that reading a key and writing it back is always allowed.
import type { AllowlistEntry } from '../core/allowlist.ts'
import type { Micros } from '../core/time.ts'
import { type ApiKey, ScopeMode, type Warning } from '../gen/gatewarden/admin/v1/resources.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import { storedAllowlist } from './api-key-context.ts'
import {
  grantedScopes,
  readAllowlist,
  readChangedGrant,
  readExpiry,
  readRateLimit,
  type ScopeGrant,
} from './api-key-fields.ts'
import type { ApiKeyRow, ApiKeyWrite } from './api-key-rows.ts'
import { type MaskFields, readMask } from './field-mask.ts'
import { checkLabels, checkLine, checkLines, descriptionMax, displayNameMax, sameLabels } from './text-fields.ts'
import { Violations } from './violations.ts'
import { microsOf } from './wire-time.ts'

export type MutableField =
  | 'display_name'
  | 'description'
  | 'scope_mode'
  | 'scopes'
  | 'allowlist'
  | 'expire_time'
  | 'rate_limit'
  | 'labels'

export const apiKeyMask: MaskFields<MutableField> = {
  mutable: new Set<MutableField>([
    'display_name',
    'description',
    'scope_mode',
    'scopes',
    'allowlist',
    'expire_time',
    'rate_limit',
    'labels',
  ]),
  fixed: new Set([
    'name',
    'environment',
    'state',
    'key_hint',
    'form',
    'pepper_id',
    'create_time',
    'update_time',
    'last_used_time',
    'rotated_from',
    'rotated_to',
    'rotate_time',
    'grace_end_time',
    'suspend_time',
    'suspend_reason',
    'revoke_time',
    'revoke_reason',
    'revoke_comment',
    'delete_time',
    'purge_time',
    'creator',
    'revision',
    'etag',
  ]),
}

/** The settings a request gives, and which of them it means. */
export interface GivenSettings {
  readonly message: ApiKey
  readonly fields: ReadonlySet<MutableField>
  readonly explicit: boolean
}

/** Reads a mask and the parts that need no profile. `path`: of the message, e.g. `api_key.`. */
export function readSettings(
  message: ApiKey,
  mask: readonly string[] | undefined,
  path: string,
  maskField: string,
  violations: Violations,
): GivenSettings {
  const { fields, explicit } = readMask(mask, maskField, apiKeyMask, field => isSet(message, field), violations)
  if (fields.has('display_name'))
    checkLine(message.displayName, `${path}display_name`, displayNameMax, true, violations)
  if (fields.has('description')) checkLines(message.description, `${path}description`, descriptionMax, violations)
  if (fields.has('labels')) checkLabels(message.labels, `${path}labels`, violations)
  if (fields.has('rate_limit')) readRateLimit(message.rateLimit, `${path}rate_limit`, violations)
  return { message, fields, explicit }
}

function isSet(message: ApiKey, field: MutableField): boolean {
  switch (field) {
    case 'display_name':
      return message.displayName !== ''
    case 'description':
      return message.description !== ''
    case 'scope_mode':
      return message.scopeMode !== ScopeMode.SCOPE_MODE_UNSPECIFIED
    case 'scopes':
      return message.scopes.length > 0
    case 'allowlist':
      return message.allowlist.length > 0
    case 'expire_time':
      return message.expireTime !== undefined
    case 'rate_limit':
      return message.rateLimit !== undefined
    case 'labels':
      return message.labels.size > 0
  }
}

/** What a key has after the settings were applied. */
export interface AppliedSettings {
  /** `allowlist` null: unchanged. */
  readonly row: ApiKeyWrite
  readonly warnings: readonly Warning[]
  /** The fields whose value changes. */
  readonly changed: ReadonlySet<MutableField>
  /** Scopes that the key did not have before. */
  readonly addedScopes: readonly string[]
}

/** Where and when settings are applied. */
export interface SettingsPlace {
  readonly profile: CompiledProfile
  readonly now: Micros
  /** Where the longest lifetime counts from. */
  readonly createAt: Micros
  /** Of the message, e.g. `api_key.`. */
  readonly path: string
  readonly maskField: string
  readonly callerAddress: string
}

/** Applies settings to a row; what the profile refuses is added to the violations. */
export function applySettings(
  current: ApiKeyRow,
  given: GivenSettings,
  place: SettingsPlace,
  violations: Violations,
): AppliedSettings {
  const { message, fields } = given
  const grant = applyGrant(current, given, place, violations)
  const allowlist = applyAllowlist(current, given, place, violations)
  const row: ApiKeyWrite = {
    ...current,
    ...grant,
    displayName: fields.has('display_name') ? message.displayName : current.displayName,
    description: fields.has('description') ? message.description : current.description,
    labels: fields.has('labels') ? message.labels : current.labels,
    allowlist: allowlist.entries,
    expireAt: fields.has('expire_time') ? applyExpiry(current, message, place, violations) : current.expireAt,
    // What is wrong with it was found when the settings were read.
    rateLimit: fields.has('rate_limit') ? readRateLimit(message.rateLimit, '', new Violations()) : current.rateLimit,
  }
  const held = new Set(grantedScopes(current, place.profile.management))
  const addedScopes = grantedScopes(grant, place.profile.management).filter(scope => !held.has(scope))
  return { row, warnings: allowlist.warnings, changed: changedFields(current, row), addedScopes }
}

function applyGrant(
  current: ApiKeyRow,
  given: GivenSettings,
  place: SettingsPlace,
  violations: Violations,
): ScopeGrant {
  const { message, fields, explicit } = given
  if (!fields.has('scope_mode') && !fields.has('scopes')) {
    return { scopeMode: current.scopeMode, scopes: current.scopes }
  }
  const change = {
    mode: fields.has('scope_mode') ? message.scopeMode : null,
    scopes: fields.has('scopes') ? message.scopes : null,
    explicit,
  }
  return readChangedGrant(current, change, place.path, place.maskField, place.profile.management, violations)
}

function applyAllowlist(
  current: ApiKeyRow,
  given: GivenSettings,
  place: SettingsPlace,
  violations: Violations,
): { readonly entries: readonly AllowlistEntry[] | null; readonly warnings: readonly Warning[] } {
  const wanted = given.message.allowlist
  if (!given.fields.has('allowlist') || sameList(wanted, current.allowlist)) return { entries: null, warnings: [] }
  const { entries, warnings } = readAllowlist(
    wanted,
    `${place.path}allowlist`,
    place.profile,
    place.callerAddress,
    violations,
  )
  return { entries: sameList(storedAllowlist(entries), current.allowlist) ? null : entries, warnings }
}

function applyExpiry(current: ApiKeyRow, message: ApiKey, place: SettingsPlace, violations: Violations): Micros | null {
  const { expireTime } = message
  if (expireTime !== undefined && microsOf(expireTime) === current.expireAt) return current.expireAt
  if (expireTime === undefined && current.expireAt === null) return null
  const times = { now: place.now, createAt: place.createAt, mayBePast: false }
  return readExpiry(expireTime, `${place.path}expire_time`, place.profile.management.expiry, times, violations)
}

function changedFields(current: ApiKeyRow, row: ApiKeyWrite): ReadonlySet<MutableField> {
  const changed = new Set<MutableField>()
  if (row.displayName !== current.displayName) changed.add('display_name')
  if (row.description !== current.description) changed.add('description')
  if (row.scopeMode !== current.scopeMode) changed.add('scope_mode')
  if (row.scopes.join(' ') !== current.scopes.join(' ')) changed.add('scopes')
  if (row.allowlist !== null) changed.add('allowlist')
  if (row.expireAt !== current.expireAt) changed.add('expire_time')
  const [limit, before] = [row.rateLimit, current.rateLimit]
  if (limit?.limit !== before?.limit || limit?.windowMicros !== before?.windowMicros) changed.add('rate_limit')
  if (!sameLabels(row.labels, current.labels)) changed.add('labels')
  return changed
}

type ListedEntry = { readonly cidr: string; readonly label: string }

function sameList(a: readonly ListedEntry[], b: readonly ListedEntry[]): boolean {
  return a.length === b.length && a.every((entry, i) => entry.cidr === b[i]?.cidr && entry.label === b[i]?.label)
}

// An API key as callers see it, and as the audit remembers it. Neither has a member for a secret or a digest.
import { type ApiKeyState, type RevokeReason as CoreRevokeReason, stateOf } from '../core/api-key.ts'
import { instantText } from '../core/instant.ts'
import type { Micros } from '../core/time.ts'
import { type ApiKey, KeyForm, RevokeReason, ScopeMode, State } from '../gen/gatewarden/admin/v1/resources.ts'
import type { ApiKeyRow } from './api-key-rows.ts'
import { type Json, toJson } from './canonical-json.ts'
import { etagOf } from './etag.ts'
import { apiKeyName } from './resource-name.ts'
import { durationOf, optionalTimestamp, timestampOf } from './wire-time.ts'

const states: Readonly<Record<ApiKeyState, State>> = {
  ACTIVE: State.ACTIVE,
  SUSPENDED: State.SUSPENDED,
  ROTATING_OUT: State.ROTATING_OUT,
  REVOKED: State.REVOKED,
  EXPIRED: State.EXPIRED,
  DELETED: State.DELETED,
}

/** The resource of a row; its state is that at `now`, or at its last change where the clock is behind that. */
export function apiKeyMessage(row: ApiKeyRow, now: Micros): ApiKey {
  const named = (id: string | null) => (id === null ? '' : apiKeyName(row.organization, id))
  return {
    name: named(row.id),
    displayName: row.displayName,
    description: row.description,
    environment: row.environment,
    scopeMode: row.scopeMode === 'ALL' ? ScopeMode.ALL : ScopeMode.LISTED,
    scopes: row.scopes,
    allowlist: row.allowlist,
    expireTime: optionalTimestamp(row.expireAt),
    rateLimit:
      row.rateLimit === null
        ? undefined
        : { limit: BigInt(row.rateLimit.limit), window: durationOf(row.rateLimit.windowMicros) },
    labels: new Map(row.labels),
    state: states[stateOf(row, Math.max(now, row.updateAt))],
    keyHint: row.keyHint,
    form: row.form === 'IMPORTED' ? KeyForm.IMPORTED : KeyForm.ISSUED,
    pepperId: row.pepperId,
    createTime: timestampOf(row.createAt),
    updateTime: timestampOf(row.updateAt),
    lastUsedTime: optionalTimestamp(row.lastUsedAt),
    rotatedFrom: named(row.rotatedFrom),
    rotatedTo: named(row.rotatedTo),
    rotateTime: optionalTimestamp(row.rotateAt),
    graceEndTime: optionalTimestamp(row.graceEndAt),
    suspendTime: optionalTimestamp(row.suspendAt),
    suspendReason: row.suspendReason,
    revokeTime: optionalTimestamp(row.revokeAt),
    revokeReason: RevokeReason[row.revokeReason ?? 'REVOKE_REASON_UNSPECIFIED'],
    revokeComment: row.revokeComment,
    deleteTime: optionalTimestamp(row.deleteAt),
    purgeTime: optionalTimestamp(row.purgeAt),
    creator: row.creator,
    revision: row.revision,
    etag: etagOf(row.version),
  }
}

/** The reason of a number on the wire; undefined for an unspecified or unknown one. */
export function revokeReasonOf(wire: RevokeReason): CoreRevokeReason | undefined {
  const entry = Object.entries(RevokeReason).find(([, number]) => number === wire)?.[0]
  return entry === 'REVOKE_REASON_UNSPECIFIED' ? undefined : (entry as CoreRevokeReason | undefined)
}

/** What the audit keeps of a row: everything but what follows from the change itself. */
function auditView(row: ApiKeyRow): { readonly [member: string]: Json } {
  const time = (at: Micros | null) => (at === null ? null : instantText(at))
  return {
    name: apiKeyName(row.organization, row.id),
    display_name: row.displayName,
    description: row.description,
    environment: row.environment,
    scope_mode: row.scopeMode,
    scopes: row.scopes,
    allowlist: row.allowlist.map(({ cidr, label }) => ({ cidr, label })),
    expire_time: time(row.expireAt),
    rate_limit: row.rateLimit === null ? null : { limit: row.rateLimit.limit, window_us: row.rateLimit.windowMicros },
    labels: toJson(row.labels),
    key_hint: row.keyHint,
    form: row.form,
    pepper_id: row.pepperId,
    rotated_from: row.rotatedFrom,
    rotated_to: row.rotatedTo,
    grace_end_time: time(row.graceEndAt),
    suspend_time: time(row.suspendAt),
    suspend_reason: row.suspendReason,
    revoke_time: time(row.revokeAt),
    revoke_reason: row.revokeReason,
    revoke_comment: row.revokeComment,
    delete_time: time(row.deleteAt),
  }
}

/** The fields of a new row. */
export function auditOf(row: ApiKeyRow): Json {
  return auditView(row)
}

/** The fields in which two versions of a row differ. */
export function auditDifference(before: ApiKeyRow, after: ApiKeyRow): { readonly before: Json; readonly after: Json } {
  const [old, now] = [auditView(before), auditView(after)]
  const changed = Object.keys(now).filter(member => JSON.stringify(old[member]) !== JSON.stringify(now[member]))
  const pick = (view: { readonly [member: string]: Json }): Json =>
    Object.fromEntries(changed.map(member => [member, view[member] ?? null]))
  return { before: pick(old), after: pick(now) }
}

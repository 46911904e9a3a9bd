// An organization as callers see it, and as the audit remembers it.
import { instantText } from '../core/instant.ts'
import type { Organization } from '../gen/gatewarden/admin/v1/resources.ts'
import { type Json, toJson } from './canonical-json.ts'
import { etagOf } from './etag.ts'
import type { OrganizationRow } from './organization-rows.ts'
import { organizationName, profileName } from './resource-name.ts'
import { optionalTimestamp, timestampOf } from './wire-time.ts'

/** The resource of a row. */
export function organizationMessage(row: OrganizationRow): Organization {
  return {
    name: organizationName(row.id),
    displayName: row.displayName,
    profile: profileName(row.profile),
    suspendTime: optionalTimestamp(row.suspendAt),
    labels: new Map(row.labels),
    createTime: timestampOf(row.createAt),
    revision: row.revision,
    etag: etagOf(row.version),
  }
}

/** What the audit keeps of a row. */
export function organizationAudit(row: OrganizationRow): { readonly [member: string]: Json } {
  return {
    name: organizationName(row.id),
    display_name: row.displayName,
    profile: row.profile,
    labels: toJson(row.labels),
    suspend_time: row.suspendAt === null ? null : instantText(row.suspendAt),
    suspend_reason: row.suspendReason,
  }
}

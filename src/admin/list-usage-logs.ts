// ListUsageLogs: single requests, newest first. A page ends early rather than outgrow a message.
import {
  type ListUsageLogsRequest,
  type ListUsageLogsResponse,
  UsageLog,
} from '../gen/gatewarden/admin/v1/usage_admin.ts'
import type { ApiKeyContext } from './api-key-context.ts'
import { pageSizeDefault, pageSizeMax } from './listing.ts'
import { organizationOfParent, organizationsOfParent } from './listing-parent.ts'
import { apiKeyName, organizationName } from './resource-name.ts'
import { checked, type UsageQuestion } from './usage-call.ts'
import { readUsageListing, type UsageListing, usageToken } from './usage-listing.ts'
import type { UsageEntry } from './usage-rows.ts'
import { timestampOf } from './wire-time.ts'

/** Octets of the rows of a page: below the 4 MiB of a message, whatever rows of another hand hold. */
const pageOctetsMax = 3 * 1024 * 1024

interface Plan {
  readonly listing: UsageListing
  readonly organizations: readonly string[] | null
  readonly pageSize: number
  readonly now: number
}

export function listUsageLogs(
  context: ApiKeyContext,
): UsageQuestion<ListUsageLogsRequest, Plan, ListUsageLogsResponse> {
  return {
    rpc: 'UsageAdmin/ListUsageLogs',
    organizationOf: request => organizationOfParent(request.parent),
    async plan(tx, request, caller) {
      const listing = checked(violations => {
        if (request.pageSize < 0) violations.add('page_size', 'FIELD_INVALID', 'It must not be negative.')
        const token = { field: 'page_token', value: request.pageToken, bound: 'pages' } as const
        return readUsageListing(request, token, context.pageTokens, tx.now, violations)
      })
      const organizations = await organizationsOfParent(context, tx, request.parent, caller)
      const pageSize = Math.min(request.pageSize === 0 ? pageSizeDefault : request.pageSize, pageSizeMax)
      return { listing, organizations, pageSize, now: tx.now }
    },
    async answer(usage, { listing, organizations, pageSize, now }) {
      const found = await usage.list({ ...listing.query, organizations, limit: pageSize + 1 })
      const usageLogs = fitting(found.slice(0, pageSize).map(usageLogMessage))
      const last = found[usageLogs.length - 1]
      if (last === undefined || usageLogs.length === found.length) return { usageLogs, nextPageToken: '' }
      return { usageLogs, nextPageToken: usageToken(listing, last, 0, context.pageTokens, now) }
    },
  }
}

/** The first rows that fit into one message; never none of them. */
function fitting(rows: readonly UsageLog[]): readonly UsageLog[] {
  let octets = 0
  const end = rows.findIndex((row, index) => {
    octets += UsageLog.encode(row).finish().length
    return octets > pageOctetsMax && index > 0
  })
  return end < 0 ? rows : rows.slice(0, end)
}

/** A row as callers see it. */
export function usageLogMessage(entry: UsageEntry): UsageLog {
  const { organizationId, apiKeyId } = entry
  return {
    time: timestampOf(entry.time),
    organization: organizationId === '' ? '' : organizationName(organizationId),
    apiKey: apiKeyId === '' ? '' : apiKeyName(organizationId, apiKeyId),
    environment: entry.environment,
    method: entry.method,
    host: entry.host,
    path: entry.path,
    route: entry.route,
    status: entry.status,
    decision: entry.decision,
    reason: entry.reason,
    clientIp: entry.clientIp,
    userAgent: entry.userAgent,
    requestId: entry.requestId,
    decisionId: entry.decisionId,
    supportId: entry.supportId,
    requiredScope: entry.requiredScope,
    requestBytes: BigInt(entry.requestBytes ?? 0),
    responseBytes: BigInt(entry.responseBytes ?? 0),
    durationUs: BigInt(entry.durationUs ?? 0),
  }
}

// GetApiKey and ListApiKeys. A key of another organization is told neither by its content nor by its absence.
import { instantText } from '../core/instant.ts'
import type { Micros } from '../core/time.ts'
import type {
  GetApiKeyRequest,
  ListApiKeysRequest,
  ListApiKeysResponse,
} from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { type ApiKey, KeyForm, ScopeMode, State } from '../gen/gatewarden/admin/v1/resources.ts'
import type { AdminReads } from './admin-store.ts'
import { type ApiKeyContext, findOrganization, requireKey } from './api-key-context.ts'
import { apiKeyMessage } from './api-key-message.ts'
import type { ApiKeyRow } from './api-key-rows.ts'
import type { Caller } from './caller.ts'
import type { Query } from './command.ts'
import type { FilterFieldType } from './filter.ts'
import { closePage, type ListingShape, planListing } from './listing.ts'
import { isListingParent, organizationOfParent, organizationsOfParent } from './listing-parent.ts'
import type { OrderKey } from './order.ts'
import type { PagePosition } from './page-token.ts'
import { type ApiKeyName, parseApiKeyName } from './resource-name.ts'

export function getApiKey(context: ApiKeyContext): Query<GetApiKeyRequest, ApiKeyName, ApiKey> {
  return {
    rpc: 'ApiKeyAdmin/GetApiKey',
    organizationOf: request => parseApiKeyName(request.name)?.organization ?? '',
    minRevision: request => request.minRevision,
    parse: (request, violations) => {
      const name = parseApiKeyName(request.name)
      if (name !== undefined) return name
      violations.add('name', 'FIELD_INVALID', 'It is not organizations/{organization}/apiKeys/{api_key}.')
      return null
    },
    run: async (tx, name) => {
      await findOrganization(context, tx, name.organization)
      const row = requireKey(await tx.apiKeys.find(name.organization, name.apiKey, false), name, tx.now)
      return apiKeyMessage(row, tx.now)
    },
  }
}

function enumField(values: Readonly<Record<string, number>>): FilterFieldType {
  return { kind: 'enum', values: new Map(Object.entries(values).filter(([, number]) => number !== 0)) }
}

/** What ListApiKeys offers (admin-api.md section 5.2). */
export const apiKeyListing: ListingShape = {
  listing: 'apiKeys',
  filterFields: new Map<string, FilterFieldType>([
    ['state', enumField(State)],
    ['environment', { kind: 'text' }],
    ['scopes', { kind: 'texts' }],
    ['scope_mode', enumField(ScopeMode)],
    ['display_name', { kind: 'text' }],
    ['key_hint', { kind: 'text' }],
    ['form', enumField(KeyForm)],
    ['pepper_id', { kind: 'text' }],
    ['create_time', { kind: 'time' }],
    ['expire_time', { kind: 'time' }],
    ['last_used_time', { kind: 'time' }],
    ['rotated_from', { kind: 'text' }],
    ['rotated_to', { kind: 'text' }],
    ['labels', { kind: 'labels' }],
  ]),
  orderFields: new Set(['create_time', 'display_name', 'expire_time', 'last_used_time']),
  defaultOrder: [{ field: 'create_time', descending: false }],
}

export function listApiKeys(
  context: ApiKeyContext,
): Query<ListApiKeysRequest, ListApiKeysRequest, ListApiKeysResponse> {
  return {
    rpc: 'ApiKeyAdmin/ListApiKeys',
    organizationOf: request => organizationOfParent(request.parent),
    minRevision: request => request.minRevision,
    parse: (request, violations) => (isListingParent(request.parent, violations) ? request : null),
    run: (tx, request, caller) => list(context, tx, request, caller),
  }
}

async function list(
  context: ApiKeyContext,
  tx: AdminReads,
  request: ListApiKeysRequest,
  caller: Caller,
): Promise<ListApiKeysResponse> {
  const plan = planListing(apiKeyListing, request, context.pageTokens, tx.now)
  const found = await tx.apiKeys.list({
    ...plan.page,
    organizations: await organizationsOfParent(context, tx, request.parent, caller),
    showDeleted: request.showDeleted,
    now: tx.now,
  })
  const { rows, nextPageToken } = closePage(plan, found, positionOf, context.pageTokens, tx.now)
  return { apiKeys: rows.map(row => apiKeyMessage(row, tx.now)), nextPageToken }
}

function positionOf(row: ApiKeyRow, keys: readonly OrderKey[]): PagePosition {
  const instant = (at: Micros | null) => (at === null ? null : instantText(at))
  const values = keys.map(({ field }) => {
    switch (field) {
      case 'create_time':
        return instant(row.createAt)
      case 'display_name':
        return row.displayName
      case 'expire_time':
        return instant(row.expireAt)
      case 'last_used_time':
        return instant(row.lastUsedAt)
      default:
        throw new Error(`no order by ${field}`)
    }
  })
  return [...values, row.id]
}

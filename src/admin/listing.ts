// What every list call has in common: page size, filter, order and token in, one page of rows and the next token out.
// Keyset paging: a row that is there throughout appears exactly once, whatever is inserted or deleted meanwhile.
import type { Micros } from '../core/time.ts'
import { type FieldViolation, invalidArgument } from '../rpc/errors.ts'
import { type FilterFields, parseFilter } from './filter.ts'
import { type OrderKey, orderText, parseOrder } from './order.ts'
import type { PageBinding, PagePosition, PageTokens } from './page-token.ts'
import type { RowPage } from './row-page.ts'

/** What can be asked of one kind of resource. */
export interface ListingShape {
  /** Name of the listing; tokens are bound to it. */
  readonly listing: string
  readonly filterFields: FilterFields
  readonly orderFields: ReadonlySet<string>
  readonly defaultOrder: readonly OrderKey[]
}

/** The members of a list request. */
export interface ListingRequest {
  readonly parent: string
  readonly filter: string
  readonly orderBy: string
  readonly showDeleted: boolean
  readonly pageSize: number
  readonly pageToken: string
}

/** A list request understood. Its row limit is one above the page size: the row too many tells that there is a next page. */
export interface Listing {
  readonly page: RowPage
  readonly pageSize: number
  readonly binding: PageBinding
}

/** Rows of a page when the request asks for none. */
export const pageSizeDefault = 50

/** Rows of a page at most: such a page of API keys stays below the message limit of 4 MiB. */
export const pageSizeMax = 1000

/** Understands a list request. @throws RpcError with every field that is wrong. */
export function planListing(shape: ListingShape, request: ListingRequest, tokens: PageTokens, now: Micros): Listing {
  const violations: FieldViolation[] = []
  const refuse = (field: string, reason: FieldViolation['reason'], message: string) =>
    violations.push({ field, reason, message })
  if (request.pageSize < 0) refuse('page_size', 'FIELD_INVALID', 'It must not be negative.')
  const filter = parseFilter(request.filter, shape.filterFields)
  if (!filter.ok) {
    refuse('filter', 'FILTER_INVALID', `At character ${filter.fault.position}: ${filter.fault.message}`)
  }
  const order = parseOrder(request.orderBy, shape.orderFields, shape.defaultOrder)
  if (!order.ok) refuse('order_by', 'ORDER_INVALID', order.message)
  if (!filter.ok || !order.ok || violations.length > 0) throw invalidArgument(violations)
  const { listing } = shape
  const { parent, showDeleted } = request
  const binding = { listing, parent, filter: request.filter, order: orderText(order.order), showDeleted }
  const after = request.pageToken === '' ? null : tokens.open(request.pageToken, binding, now)
  if (request.pageToken !== '' && after?.length !== order.order.length + 1) {
    const message = 'It is not one that this listing gave out within 24 hours for the same parent, filter and order.'
    throw invalidArgument([{ field: 'page_token', reason: 'PAGE_TOKEN_INVALID', message }])
  }
  const pageSize = Math.min(request.pageSize === 0 ? pageSizeDefault : request.pageSize, pageSizeMax)
  const page = { filter: filter.filter, order: order.order, after, limit: pageSize + 1 }
  return { page, pageSize, binding }
}

/** The rows of the page out of those the store found, and the token of the next page, empty when this is the last. */
export function closePage<Row>(
  plan: Listing,
  found: readonly Row[],
  positionOf: (row: Row, keys: readonly OrderKey[]) => PagePosition,
  tokens: PageTokens,
  now: Micros,
): { readonly rows: readonly Row[]; readonly nextPageToken: string } {
  const rows = found.slice(0, plan.pageSize)
  const last = rows.at(-1)
  if (found.length <= plan.pageSize || last === undefined) return { rows, nextPageToken: '' }
  return { rows, nextPageToken: tokens.issue(plan.binding, positionOf(last, plan.page.order), now) }
}

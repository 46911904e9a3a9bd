// What ListUsageLogs and ExportUsageLogs have in common: whose rows, which, in which order and from where on.
// A token holds the interval of its first page, so that the last 31 days do not move while somebody reads them.
import { instantText, parseInstant } from '../core/instant.ts'
import type { Micros } from '../core/time.ts'
import { isListingParent } from './listing-parent.ts'
import { orderText, parseOrder } from './order.ts'
import type { PageBinding, PagePosition, PageTokens } from './page-token.ts'
import { selectUsage, usageDefaultOrder, usageOrderFields } from './usage-filter.ts'
import type { UsagePosition, UsageQuery } from './usage-rows.ts'
import type { Violations } from './violations.ts'

/** The members that both requests have. */
export interface UsageListingRequest {
  readonly parent: string
  readonly filter: string
  readonly orderBy: string
}

/** A part of the log, understood but for whose it is. */
export interface UsageListing {
  readonly query: Omit<UsageQuery, 'organizations' | 'limit'>
  readonly binding: PageBinding
  /** Rows that earlier parts held, where the token counts them. */
  readonly rowsBefore: number
}

/** Understands a request; null only with violations. `bound` is what a token depends on beside its filter and order. */
export function readUsageListing(
  request: UsageListingRequest,
  token: { readonly field: 'page_token' | 'resume_token'; readonly value: string; readonly bound: string },
  tokens: PageTokens,
  now: Micros,
  violations: Violations,
): UsageListing | null {
  const { parent } = request
  isListingParent(parent, violations)
  const selection = selectUsage(request.filter, now, violations)
  const order = parseOrder(request.orderBy, usageOrderFields, usageDefaultOrder)
  if (!order.ok) violations.add('order_by', 'ORDER_INVALID', order.message)
  if (selection === null || !order.ok || !violations.none) return null
  const binding = {
    listing: `usageLogs ${token.bound}`,
    parent,
    filter: request.filter,
    order: orderText(order.order),
    showDeleted: false,
  }
  const descending = order.order[0]?.descending === true
  if (token.value === '') return { query: { ...selection, descending, after: null }, binding, rowsBefore: 0 }
  const place = placeOf(tokens.open(token.value, binding, now))
  if (place === null) {
    const message = 'It is not one that this listing gave out within 24 hours for the same request.'
    violations.add(token.field, 'PAGE_TOKEN_INVALID', message)
    return null
  }
  const { from, to, after, rowsBefore } = place
  return { query: { filter: selection.filter, from, to, descending, after }, binding, rowsBefore }
}

/** The token of what follows a row. */
export function usageToken(
  listing: UsageListing,
  last: UsagePosition,
  rows: number,
  tokens: PageTokens,
  now: Micros,
): string {
  const { from, to } = listing.query
  const position = [instantText(last.time), last.decisionId, instantText(from), instantText(to), String(rows)]
  return tokens.issue(listing.binding, position, now)
}

function placeOf(position: PagePosition | null) {
  if (position?.length !== 5) return null
  const [time, from, to] = [position[0], position[2], position[3]].map(text => parseInstant(text ?? ''))
  const decisionId = position[1]
  if (time == null || from == null || to == null || decisionId == null) return null
  return { from, to, after: { time, decisionId }, rowsBefore: Number(position[4]) }
}

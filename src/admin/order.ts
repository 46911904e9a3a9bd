// The order of list calls: comma-separated fields, each with an optional `desc`. The id always comes last and breaks ties,
// and unset values come after all others in either direction, so that every row has exactly one place.

/** One sort key. */
export interface OrderKey {
  readonly field: string
  readonly descending: boolean
}

export type OrderResult =
  | { readonly ok: true; readonly order: readonly OrderKey[] }
  | { readonly ok: false; readonly message: string }

/** Characters of `order_by`: all fields of a resource fit many times over. */
const orderLengthMax = 256

/** Parses `order_by`; the empty text gives `fallback`. */
export function parseOrder(text: string, fields: ReadonlySet<string>, fallback: readonly OrderKey[]): OrderResult {
  if (text.length > orderLengthMax) return { ok: false, message: `It is longer than ${orderLengthMax} characters.` }
  if (text.trim() === '') return { ok: true, order: fallback }
  const order: OrderKey[] = []
  for (const part of text.split(',')) {
    const match = /^\s*([a-z_]+)(?:\s+(desc|asc))?\s*$/.exec(part)
    const field = match?.[1]
    if (field === undefined) return { ok: false, message: `${JSON.stringify(part)} is not a field with optional desc.` }
    if (!fields.has(field))
      return { ok: false, message: `One cannot order by ${field}, but by ${[...fields].join(', ')}.` }
    if (order.some(key => key.field === field)) return { ok: false, message: `${field} occurs twice.` }
    order.push({ field, descending: match?.[2] === 'desc' })
  }
  return { ok: true, order }
}

/** One text for an order, the same however it was spelled: what a page token is bound to. */
export function orderText(order: readonly OrderKey[]): string {
  return order.map(key => (key.descending ? `${key.field} desc` : key.field)).join(',')
}

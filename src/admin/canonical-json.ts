// One text for one value: JSON with sorted members, so that equal requests and equal audit rows hash alike.
// Maps become objects, octets base64, bigints decimal strings; nothing else is accepted that JSON does not know.

/** A plain JSON value. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [member: string]: Json }

/** The plain JSON of a message or row: what `JSON.stringify` cannot say is turned into text, absent members are left out. */
export function toJson(value: unknown): Json {
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number')
    return value
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (Array.isArray(value)) return value.map(toJson)
  if (value instanceof Map) return fromMembers([...value.entries()].map(([name, member]) => [String(name), member]))
  if (typeof value === 'object') return fromMembers(Object.entries(value))
  throw new TypeError(`${typeof value} has no JSON`)
}

/** The one text of a value. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(toJson(value))
}

function fromMembers(members: readonly (readonly [string, unknown])[]): Json {
  const present = members.filter(([, member]) => member !== undefined)
  const sorted = [...present].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  // defineProperty, not assignment: a member named __proto__ is data like any other.
  const object: { [member: string]: Json } = {}
  for (const [name, member] of sorted) {
    Object.defineProperty(object, name, { value: toJson(member), enumerable: true, configurable: true, writable: true })
  }
  return object
}

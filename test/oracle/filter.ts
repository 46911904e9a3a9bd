// What a filter means, over plain objects: a second, obvious reading that shares no code with the SQL that the store makes.
import ipaddr from 'ipaddr.js'
import type { Filter } from '../../src/admin/filter.ts'
import type { Cidr } from '../../src/core/cidr.ts'

/** Values as a listing sees them: numbers for times and enumerations, null for unset. */
export interface PlainRow {
  readonly [field: string]: string | number | null | readonly string[] | ReadonlyMap<string, string>
}

/** Whether the row is among the answers. */
export function plainMatches(filter: Filter, row: PlainRow): boolean {
  switch (filter.kind) {
    case 'and':
      return filter.parts.every(part => plainMatches(part, row))
    case 'or':
      return filter.parts.some(part => plainMatches(part, row))
    case 'not':
      return !plainMatches(filter.part, row)
    case 'text':
    case 'time':
    case 'enum':
    case 'integer':
      return compares(row[filter.field] ?? null, filter.operator, filter.value)
    case 'label':
      return compares(label(row, filter.field, filter.key), filter.operator, filter.value)
    case 'address':
      return isInside(row[filter.field], filter.block) === (filter.operator === '=')
    case 'text-prefix':
      return String(row[filter.field] ?? '').startsWith(filter.prefix) && row[filter.field] !== null
    case 'label-prefix':
      return label(row, filter.field, filter.key)?.startsWith(filter.prefix) ?? false
    case 'label-set':
      return label(row, filter.field, filter.key) !== null
    case 'has': {
      const members = row[filter.field]
      if (!Array.isArray(members)) return false
      return members.some(member => (filter.prefix ? member.startsWith(filter.value) : member === filter.value))
    }
    case 'set': {
      const value = row[filter.field] ?? null
      return value !== null && (typeof value === 'number' || (value as { length: number }).length > 0)
    }
  }
}

/** By a library that knows nothing of ours; an address that is not there lies nowhere. */
function isInside(text: unknown, block: Cidr): boolean {
  if (typeof text !== 'string') return false
  const network = ipaddr.fromByteArray([...block.octets.subarray(0, block.family === 4 ? 4 : 16)])
  const address = ipaddr.parse(text)
  if (address instanceof ipaddr.IPv4 && network instanceof ipaddr.IPv4) return address.match(network, block.prefix)
  if (address instanceof ipaddr.IPv6 && network instanceof ipaddr.IPv6) return address.match(network, block.prefix)
  return false
}

function label(row: PlainRow, field: string, key: string): string | null {
  const labels = row[field]
  return labels instanceof Map ? (labels.get(key) ?? null) : null
}

/** Text in the order of its UTF-8 octets. */
function compares(value: unknown, operator: string, wanted: string | number): boolean {
  if (value === null) return operator === '!='
  const order =
    typeof value === 'number'
      ? value - Number(wanted)
      : Buffer.compare(Buffer.from(String(value)), Buffer.from(String(wanted)))
  const verdicts: Record<string, boolean> = {
    '=': order === 0,
    '!=': order !== 0,
    '<': order < 0,
    '<=': order <= 0,
    '>': order > 0,
    '>=': order >= 0,
  }
  return verdicts[operator] ?? false
}

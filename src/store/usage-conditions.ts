// A filter over the usage log as SQL that its indexes can serve. Columns come from the table below only, every value is a
// parameter. One column may be NULL, the client's address: its comparison is false then, also where it is negated.
import type { CompareOperator, Filter, FilterTerm } from '../admin/filter.ts'
import { cidrText } from '../core/cidr.ts'
import type { Parameters } from './admin-list.ts'
import { timestamptzParameter } from './column-values.ts'

/** The final status where the access log is joined, else that of the denial: as an index spells it. */
export const shownStatus = '(coalesce(l.final_status, l.status))'

/** Filter field → text column; none of them is ever NULL. */
const textColumns: ReadonlyMap<string, string> = new Map([
  ['api_key', 'l.api_key_id'],
  ['method', 'l.method'],
  ['decision', 'l.decision'],
  ['reason', 'l.reason'],
  ['path', 'l.path'],
  ['host', 'l.host'],
  ['environment', 'l.environment'],
  ['route', 'l.route'],
  ['request_id', 'l.request_id'],
  ['support_id', 'l.support_id'],
])

/** A filter as a condition over `usage_log l`. */
export function usageCondition(filter: Filter, parameters: Parameters): string {
  return condition(filter, parameters, false)
}

/** `negated`: somewhere below a NOT, where NULL must be false. */
function condition(filter: Filter, parameters: Parameters, negated: boolean): string {
  switch (filter.kind) {
    case 'and':
    case 'or': {
      const parts = filter.parts.map(part => condition(part, parameters, negated))
      return `(${parts.join(filter.kind === 'and' ? ' AND ' : ' OR ')})`
    }
    case 'not':
      return `(NOT ${condition(filter.part, parameters, true)})`
    default:
      return term(filter, parameters, negated)
  }
}

function term(filter: FilterTerm, parameters: Parameters, negated: boolean): string {
  const add = (value: unknown) => parameters.add(value)
  switch (filter.kind) {
    case 'text':
      return textTerm(filter.field, filter.operator, filter.value, add)
    case 'text-prefix':
      return prefixTerm(textColumn(filter.field), filter.prefix, add)
    case 'time':
      return `l.time ${sqlOperator(filter.operator)} ${add(timestamptzParameter(filter.value))}::timestamptz`
    case 'integer':
      return `${shownStatus} ${sqlOperator(filter.operator)} ${add(filter.value)}::int`
    case 'address': {
      const inside = `l.client_ip <<= ${add(cidrText(filter.block))}::cidr`
      if (filter.operator === '!=') return `(NOT coalesce(${inside}, false))`
      return negated ? `coalesce(${inside}, false)` : inside
    }
    case 'set':
      return setTerm(filter.field)
    default:
      throw new Error(`the usage log has no field of kind ${filter.kind}`)
  }
}

function textTerm(field: string, operator: CompareOperator, value: string, add: (value: unknown) => string): string {
  if (field === 'decision_id') return `l.decision_id ${sqlOperator(operator)} ${add(value)}::uuid`
  const compared = `${textColumn(field)} ${sqlOperator(operator)} ${add(value)}::text`
  // Denials have an index of their own, which says that they are.
  return field === 'reason' && operator === '=' && value !== '' ? `(l.decision = 'deny' AND ${compared})` : compared
}

/** Text between the prefix and the first text behind all that begin with it: in collation C exactly those. */
function prefixTerm(column: string, prefix: string, add: (value: unknown) => string): string {
  const next = textBehind(prefix)
  const from = `${column} >= ${add(prefix)}::text`
  return next === null ? from : `(${from} AND ${column} < ${add(next)}::text)`
}

const lastCodePoint = 0x10ffff

/** The smallest text larger than every text with this prefix, by code points; null: there is none. */
export function textBehind(prefix: string): string | null {
  const points = [...prefix].map(character => character.codePointAt(0) ?? 0)
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last === lastCodePoint) continue
    // UTF-8 has no surrogates.
    const next = last === 0xd7ff ? 0xe000 : last + 1
    return String.fromCodePoint(...points, next)
  }
  return null
}

function setTerm(field: string): string {
  if (field === 'time' || field === 'decision_id') return 'true'
  if (field === 'status') return `${shownStatus} <> 0`
  if (field === 'client_ip') return 'l.client_ip IS NOT NULL'
  return `${textColumn(field)} <> ''`
}

function textColumn(field: string): string {
  const column = textColumns.get(field)
  if (column === undefined) throw new Error(`the usage log has no field ${field}`)
  return column
}

function sqlOperator(operator: CompareOperator): string {
  return operator === '!=' ? '<>' : operator
}

// Lists of admin as SQL: a parsed filter, an order and a keyset position become conditions with parameters.
// Names of columns come from tables in the source only; every value of a caller is a parameter. Three-valued logic stays
// out: each term is true or false, so that NOT means not.
import type { Filter, FilterTerm } from '../admin/filter.ts'
import type { OrderKey } from '../admin/order.ts'
import type { RowPage } from '../admin/row-page.ts'
import { cidrText } from '../core/cidr.ts'
import { timestamptzParameter } from './column-values.ts'

/** Values of one statement. `add` gives the placeholder. */
export class Parameters {
  readonly values: unknown[]

  constructor(values: readonly unknown[] = []) {
    this.values = [...values]
  }

  add(value: unknown): string {
    this.values.push(value)
    return `$${this.values.length}`
  }
}

/** The part of a SELECT from its WHERE conditions on: `AND (filter) AND (after) ORDER BY … LIMIT …`. */
export function listTail(page: RowPage, fields: ListFields, idColumn: string, parameters: Parameters): string {
  const filter = page.filter === null ? '' : ` AND ${condition(page.filter, fields, parameters)}`
  const keys = page.order.map(key => ({ ...sortColumn(fields, key), descending: key.descending }))
  const after = page.after === null ? '' : ` AND ${afterPosition(keys, idColumn, page.after, parameters)}`
  // Where nothing is unset the order is spelled as an index has it, forwards or backwards.
  const order = keys.map(key => `${key.sql} ${key.descending ? 'DESC' : 'ASC'}${key.always ? '' : ' NULLS LAST'}`)
  return `${filter}${after} ORDER BY ${[...order, `${idColumn} ASC`].join(', ')} LIMIT ${parameters.add(page.limit)}`
}

/** Field name → SQL. `type` says what the SQL gives; `always`: it is never NULL. */
export type ListFields = ReadonlyMap<
  string,
  {
    readonly sql: string
    readonly type: 'text' | 'texts' | 'time' | 'number' | 'labels'
    readonly always?: boolean
  }
>

/** A filter as a condition that is never NULL. */
export function condition(filter: Filter, fields: ListFields, parameters: Parameters): string {
  switch (filter.kind) {
    case 'and':
    case 'or': {
      const parts = filter.parts.map(part => condition(part, fields, parameters))
      return `(${parts.join(filter.kind === 'and' ? ' AND ' : ' OR ')})`
    }
    case 'not':
      return `(NOT ${condition(filter.part, fields, parameters)})`
    default:
      return term(filter, column(fields, filter.field), parameters)
  }
}

function term(filter: FilterTerm, sql: string, parameters: Parameters): string {
  const add = (value: unknown) => parameters.add(value)
  switch (filter.kind) {
    case 'text':
      return compare(`(${sql}) COLLATE "C"`, filter.operator, `${add(filter.value)}::text`)
    case 'time':
      return compare(sql, filter.operator, `${add(timestamptzParameter(filter.value))}::timestamptz`)
    case 'enum':
      return compare(sql, filter.operator, `${add(filter.value)}::int`)
    case 'integer':
      return compare(sql, filter.operator, `${add(filter.value)}::int`)
    case 'address': {
      const inside = `coalesce(${sql} <<= ${add(cidrText(filter.block))}::cidr, false)`
      return filter.operator === '=' ? inside : `(NOT ${inside})`
    }
    case 'text-prefix':
      return `coalesce(starts_with(${sql}, ${add(filter.prefix)}::text), false)`
    case 'has': {
      const value = `${add(filter.value)}::text`
      return filter.prefix
        ? `EXISTS (SELECT FROM unnest(${sql}) AS member WHERE starts_with(member, ${value}))`
        : `(${value} = ANY (${sql}))`
    }
    case 'set':
      return `(coalesce((${sql})::text, '') NOT IN ('', '{}'))`
    case 'label':
      return compare(`(${sql} ->> ${add(filter.key)}::text) COLLATE "C"`, filter.operator, `${add(filter.value)}::text`)
    case 'label-prefix':
      return `coalesce(starts_with(${sql} ->> ${add(filter.key)}::text, ${add(filter.prefix)}::text), false)`
    case 'label-set':
      return `(${sql} ? ${add(filter.key)}::text)`
  }
}

/** An unset value is unequal to everything, and neither smaller nor larger. */
function compare(sql: string, operator: string, value: string): string {
  return operator === '!=' ? `(${sql} IS DISTINCT FROM ${value})` : `coalesce(${sql} ${operator} ${value}, false)`
}

interface SortColumn {
  readonly sql: string
  readonly always: boolean
  readonly cast: 'text' | 'timestamptz'
}

/** Rows behind a position: equal in the first keys, and behind in the next. Unset values are behind all others. */
function afterPosition(
  keys: readonly (SortColumn & { readonly descending: boolean })[],
  idColumn: string,
  position: readonly (string | null)[],
  parameters: Parameters,
): string {
  const all = [...keys, { sql: idColumn, cast: 'text' as const, always: true, descending: false }]
  if (position.length !== all.length) throw new RangeError('a position has a value for each key and the id')
  const placeholders = all.map((key, index) => {
    const value = position[index] ?? null
    return value === null ? null : `${parameters.add(value)}::${key.cast}`
  })
  const alternatives = all.flatMap((key, index) => {
    const value = placeholders[index]
    if (value === null || value === undefined) return []
    const equal = all.slice(0, index).map((earlier, at) => {
      const same = placeholders[at]
      return same === null || same === undefined ? `${earlier.sql} IS NULL` : `${earlier.sql} = ${same}`
    })
    const behind = `${key.sql} ${key.descending ? '<' : '>'} ${value}`
    return [`(${[...equal, key.always ? behind : `(${behind} OR ${key.sql} IS NULL)`].join(' AND ')})`]
  })
  // Implied by the alternatives, and the one part of them that an index can start from.
  const [first] = all
  const [start] = placeholders
  const bound =
    first?.always === true && start != null ? `${first.sql} ${first.descending ? '<=' : '>='} ${start} AND ` : ''
  return `(${bound}(${alternatives.join(' OR ')}))`
}

function sortColumn(fields: ListFields, key: OrderKey): SortColumn {
  const field = fields.get(key.field)
  const always = field?.always === true
  if (field?.type === 'time') return { sql: field.sql, cast: 'timestamptz', always }
  if (field?.type === 'text') return { sql: `(${field.sql}) COLLATE "C"`, cast: 'text', always }
  throw new Error(`no order by ${key.field}`)
}

function column(fields: ListFields, name: string): string {
  const field = fields.get(name)
  if (field === undefined) throw new Error(`no column for ${name}`)
  return field.sql
}

// One comparison of a filter, held against the type of its field: operators and values that the field does not take are
// faults with their place.
import { parseEntry } from '../core/address.ts'
import { parseInstant } from '../core/instant.ts'
import type { CompareOperator, FilterFields, FilterTerm } from './filter.ts'

/** Whole numbers that a filter compares with: the columns behind them are of 4 octets. */
const integerForm = /^(?:0|[1-9][0-9]{0,8})$/

const labelKey = /^[a-z][a-z0-9_-]{0,62}$/

/** Thrown inside the parser; `at` is an index of UTF-16 units. */
export class Fault extends Error {
  readonly at: number
  constructor(at: number, message: string) {
    super(message)
    this.at = at
  }
}

/** A value as written; quoted ones keep their escapes. */
export interface Value {
  readonly text: string
  readonly quoted: boolean
  readonly at: number
}

/** A text with an optional trailing star: what `:` compares with. */
function patternOf(value: Value): { readonly text: string; readonly star: boolean } {
  const escaped = value.quoted && /(?:^|[^\\])(?:\\\\)*\\\*$/.test(value.text)
  const star = value.text.endsWith('*') && !escaped
  return { text: plain(star ? { ...value, text: value.text.slice(0, -1) } : value), star }
}

/** The text meant, escapes of a quotation resolved. */
function plain(value: Value): string {
  return value.quoted ? value.text.replace(/\\([\\*])/g, '$1') : value.text
}

/** The comparison meant. @throws Fault */
export function typed(
  fields: FilterFields,
  name: string,
  nameAt: number,
  operator: string,
  operatorAt: number,
  value: Value,
): FilterTerm {
  const dot = name.indexOf('.')
  const field = dot < 0 ? name : name.slice(0, dot)
  const type = fields.get(field)
  if (type === undefined || (dot >= 0 && type.kind !== 'labels')) throw new Fault(nameAt, `There is no field ${name}.`)
  const wrongOperator = () => new Fault(operatorAt, `${name} does not take ${operator}`)
  const compare = operator === ':' ? null : (operator as CompareOperator)
  switch (type.kind) {
    case 'text': {
      if (type.refuse !== undefined) {
        const text = plain(value)
        if (compare === null && text === '*') return { kind: 'set', field }
        if (operator !== '=' && operator !== '!=' && operator !== ':') throw wrongOperator()
        const wrong = type.refuse(text)
        if (wrong !== null) throw new Fault(value.at, `${name} ${wrong}`)
        return { kind: 'text', field, operator: operator === '!=' ? '!=' : '=', value: text }
      }
      if (compare !== null) return { kind: 'text', field, operator: compare, value: plain(value) }
      const { text, star } = patternOf(value)
      if (star) return text === '' ? { kind: 'set', field } : { kind: 'text-prefix', field, prefix: text }
      return { kind: 'text', field, operator: '=', value: text }
    }
    case 'texts': {
      if (compare !== null) throw wrongOperator()
      const { text, star } = patternOf(value)
      return star && text === '' ? { kind: 'set', field } : { kind: 'has', field, value: text, prefix: star }
    }
    case 'time': {
      if (compare === null) {
        if (value.text !== '*') throw wrongOperator()
        return { kind: 'set', field }
      }
      const instant = parseInstant(value.text)
      if (instant === null) throw new Fault(value.at, `${name} is compared with a time such as 2026-03-01T13:00:00Z.`)
      return { kind: 'time', field, operator: compare, value: instant }
    }
    case 'integer': {
      const text = plain(value)
      if (compare === null && text === '*') return { kind: 'set', field }
      if (!integerForm.test(text)) throw new Fault(value.at, `${name} is compared with a whole number.`)
      return { kind: 'integer', field, operator: compare ?? '=', value: Number(text) }
    }
    case 'address': {
      const text = plain(value)
      if (compare === null && text === '*') return { kind: 'set', field }
      if (operator !== '=' && operator !== '!=' && operator !== ':') throw wrongOperator()
      const entry = parseEntry(text)
      if (entry === null || entry.hostBits) {
        throw new Fault(value.at, `${name} is compared with an address or a block such as 203.0.113.0/24.`)
      }
      return { kind: 'address', field, operator: operator === '!=' ? '!=' : '=', block: entry.block }
    }
    case 'enum': {
      if (operator !== '=' && operator !== '!=' && operator !== ':') throw wrongOperator()
      const number = type.values.get(plain(value))
      if (number === undefined) {
        throw new Fault(value.at, `${name} is compared with one of ${[...type.values.keys()].join(', ')}.`)
      }
      return { kind: 'enum', field, operator: operator === '!=' ? '!=' : '=', value: number }
    }
    case 'labels':
      return label(field, dot < 0 ? null : name.slice(dot + 1), nameAt, compare, value, wrongOperator)
  }
}

function label(
  field: string,
  key: string | null,
  nameAt: number,
  compare: CompareOperator | null,
  value: Value,
  wrongOperator: () => Fault,
): FilterTerm {
  if (key === null) {
    // `labels:team` asks for the key.
    if (compare !== null) throw wrongOperator()
    const asked = plain(value)
    if (!labelKey.test(asked)) throw new Fault(value.at, 'A label key is of the form [a-z][a-z0-9_-]{0,62}.')
    return { kind: 'label-set', field, key: asked }
  }
  if (!labelKey.test(key)) throw new Fault(nameAt, 'A label key is of the form [a-z][a-z0-9_-]{0,62}.')
  if (compare !== null) return { kind: 'label', field, key, operator: compare, value: plain(value) }
  const { text, star } = patternOf(value)
  if (star) return text === '' ? { kind: 'label-set', field, key } : { kind: 'label-prefix', field, key, prefix: text }
  return { kind: 'label', field, key, operator: '=', value: text }
}

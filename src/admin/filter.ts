// Filters of list calls: a subset of AIP-160, parsed and type-checked into a tree that a store turns into its query.
// Every fault names its position. OR binds closer than AND, as AIP-160 has it. Nothing of a filter becomes code or SQL here.
import { parseInstant } from '../core/instant.ts'
import type { Micros } from '../core/time.ts'

/** What a field holds, and so which operators and values it takes. */
export type FilterFieldType =
  | { readonly kind: 'text' }
  | { readonly kind: 'texts' }
  | { readonly kind: 'time' }
  | { readonly kind: 'enum'; readonly values: ReadonlyMap<string, number> }
  | { readonly kind: 'labels' }

/** The fields of one resource. A Map: a name that every object inherits is not a field. */
export type FilterFields = ReadonlyMap<string, FilterFieldType>

export type CompareOperator = '=' | '!=' | '<' | '<=' | '>' | '>='

/** One comparison, with a value of the field's type. An unset field is never equal, smaller or larger than a value. */
export type FilterTerm =
  | { readonly kind: 'text'; readonly field: string; readonly operator: CompareOperator; readonly value: string }
  | { readonly kind: 'time'; readonly field: string; readonly operator: CompareOperator; readonly value: Micros }
  | { readonly kind: 'enum'; readonly field: string; readonly operator: '=' | '!='; readonly value: number }
  | {
      readonly kind: 'label'
      readonly field: string
      readonly key: string
      readonly operator: CompareOperator
      readonly value: string
    }
  /** The text begins with `prefix`. */
  | { readonly kind: 'text-prefix'; readonly field: string; readonly prefix: string }
  /** The label is there and its value begins with `prefix`. */
  | { readonly kind: 'label-prefix'; readonly field: string; readonly key: string; readonly prefix: string }
  /** Some member of the list is, or begins with, the value. */
  | { readonly kind: 'has'; readonly field: string; readonly value: string; readonly prefix: boolean }
  /** A time is set, a text or list is not empty. */
  | { readonly kind: 'set'; readonly field: string }
  | { readonly kind: 'label-set'; readonly field: string; readonly key: string }

export type Filter =
  | FilterTerm
  | { readonly kind: 'and' | 'or'; readonly parts: readonly Filter[] }
  | { readonly kind: 'not'; readonly part: Filter }

/** Where and why a filter is wrong. `position` counts characters (code points) from 0. */
export interface FilterFault {
  readonly position: number
  readonly message: string
}

export type FilterResult =
  | { readonly ok: true; readonly filter: Filter | null }
  | { readonly ok: false; readonly fault: FilterFault }

/** Characters of a filter: a person writes less, and each term costs the database work. */
export const filterLengthMax = 2048

/** Comparisons in one filter. */
export const filterTermsMax = 32

/** Parentheses and NOTs inside one another: the parser recurses. */
const depthMax = 32

const labelKey = /^[a-z][a-z0-9_-]{0,62}$/

class Fault extends Error {
  readonly at: number
  constructor(at: number, message: string) {
    super(message)
    this.at = at
  }
}

/** Parses a filter; the empty text is no filter. */
export function parseFilter(text: string, fields: FilterFields): FilterResult {
  if ([...text].length > filterLengthMax) {
    return fault(text, filterLengthMax, `The filter is longer than ${filterLengthMax} characters.`)
  }
  const nul = text.indexOf('\0')
  if (nul >= 0) return fault(text, nul, 'A filter holds no NUL character.')
  if (text.trim() === '') return { ok: true, filter: null }
  try {
    return { ok: true, filter: new Parser(text, fields).whole() }
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return fault(text, error.at, error.message)
  }
}

function fault(text: string, at: number, message: string): FilterResult {
  return { ok: false, fault: { position: [...text.slice(0, at)].length, message } }
}

interface Value {
  readonly text: string
  readonly quoted: boolean
  readonly at: number
}

/** Recursive descent over the text; `at` is an index of UTF-16 units. */
class Parser {
  private readonly text: string
  private readonly fields: FilterFields
  private at = 0
  private terms = 0
  private depth = 0

  constructor(text: string, fields: FilterFields) {
    this.text = text
    this.fields = fields
  }

  whole(): Filter {
    const filter = this.conjunction()
    if (this.at < this.text.length) throw new Fault(this.at, 'Expected AND, OR or the end of the filter.')
    return filter
  }

  private conjunction(): Filter {
    return this.joined('AND', 'and', () => this.joined('OR', 'or', () => this.factor()))
  }

  private joined(word: string, kind: 'and' | 'or', part: () => Filter): Filter {
    const first = part()
    const parts = [first]
    while (this.takeWord(word)) parts.push(part())
    return parts.length === 1 ? first : { kind, parts }
  }

  private factor(): Filter {
    const start = this.skipBlanks()
    if (++this.depth > depthMax) throw new Fault(start, `More than ${depthMax} levels.`)
    try {
      if (this.takeWord('NOT')) return { kind: 'not', part: this.factor() }
      if (this.text[this.at] === '(') return this.parenthesised()
      return this.term()
    } finally {
      this.depth--
    }
  }

  private parenthesised(): Filter {
    const open = this.at++
    const inner = this.conjunction()
    this.skipBlanks()
    if (this.text[this.at] !== ')') {
      throw this.at < this.text.length
        ? new Fault(this.at, 'Expected AND, OR or a closing parenthesis.')
        : new Fault(open, 'This parenthesis is not closed.')
    }
    this.at++
    this.skipBlanks()
    return inner
  }

  private term(): Filter {
    const start = this.at
    const name = this.match(/[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*/y)
    if (name === null) throw new Fault(start, 'Expected a field name, NOT or a parenthesis.')
    if (++this.terms > filterTermsMax) throw new Fault(start, `The filter has more than ${filterTermsMax} terms.`)
    this.skipBlanks()
    const operatorAt = this.at
    const operator = this.match(/!=|<=|>=|[=<>:]/y)
    if (operator === null) throw new Fault(operatorAt, 'Expected one of = != < <= > >= and :')
    this.skipBlanks()
    const value = this.value()
    this.skipBlanks()
    return typed(this.fields, name, start, operator, operatorAt, value)
  }

  private value(): Value {
    const at = this.at
    const quote = this.text[at]
    if (quote === '"' || quote === "'") return { text: this.quoted(quote), quoted: true, at }
    const text = this.match(/[^\s()"'=<>!]+/y)
    if (text === null) throw new Fault(at, 'Expected a value.')
    return { text, quoted: false, at }
  }

  private quoted(quote: string): string {
    const open = this.at++
    let text = ''
    for (;;) {
      const character = this.text[this.at++]
      if (character === undefined) throw new Fault(open, 'This quotation is not closed.')
      if (character === quote) return text
      if (character !== '\\') text += character
      else {
        const escaped = this.text[this.at++]
        if (escaped !== '\\' && escaped !== '"' && escaped !== "'" && escaped !== '*') {
          throw new Fault(this.at - 2, 'After \\ only \\, a quotation mark or * may follow.')
        }
        // A literal star is kept escaped until the value's type is known.
        text += escaped === '*' ? '\\*' : escaped === '\\' ? '\\\\' : escaped
      }
    }
  }

  /** Takes a keyword that stands alone. */
  private takeWord(word: string): boolean {
    this.skipBlanks()
    if (!this.text.startsWith(word, this.at)) return false
    const next = this.text[this.at + word.length]
    if (next !== undefined && !/[\s(]/.test(next)) return false
    this.at += word.length
    return true
  }

  private skipBlanks(): number {
    this.match(/\s+/y)
    return this.at
  }

  private match(pattern: RegExp): string | null {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)?.[0] ?? null
    if (found !== null) this.at += found.length
    return found
  }
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

function typed(
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

// Filters of list calls: a subset of AIP-160, parsed and type-checked into a tree that a store turns into its query.
// Every fault names its position. OR binds closer than AND, as AIP-160 has it. Nothing of a filter becomes code or SQL here.
import type { Cidr } from '../core/cidr.ts'
import type { Micros } from '../core/time.ts'
import { Fault, typed, type Value } from './filter-term.ts'

/** What a field holds, and so which operators and values it takes. */
export type FilterFieldType =
  | {
      readonly kind: 'text'
      /** Compared by = and != alone, with values that this finds no fault with: what is wrong with one, or null. */
      readonly refuse?: (value: string) => string | null
    }
  | { readonly kind: 'texts' }
  | { readonly kind: 'time' }
  /** A whole number from 0. */
  | { readonly kind: 'integer' }
  /** An address, compared with addresses and blocks. */
  | { readonly kind: 'address' }
  | { readonly kind: 'enum'; readonly values: ReadonlyMap<string, number> }
  | { readonly kind: 'labels' }

/** The fields of one resource. A Map: a name that every object inherits is not a field. */
export type FilterFields = ReadonlyMap<string, FilterFieldType>

export type CompareOperator = '=' | '!=' | '<' | '<=' | '>' | '>='

/** One comparison, with a value of the field's type. An unset field is never equal, smaller or larger than a value. */
export type FilterTerm =
  | { readonly kind: 'text'; readonly field: string; readonly operator: CompareOperator; readonly value: string }
  | { readonly kind: 'time'; readonly field: string; readonly operator: CompareOperator; readonly value: Micros }
  | { readonly kind: 'integer'; readonly field: string; readonly operator: CompareOperator; readonly value: number }
  /** The address lies in the block; a single address is a block of one. */
  | { readonly kind: 'address'; readonly field: string; readonly operator: '=' | '!='; readonly block: Cidr }
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

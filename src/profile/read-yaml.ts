// Reads the safe subset of YAML that profiles are written in: plain data, no tags, anchors, aliases or merge keys.
// Guarantees: every fault is a finding with its position, nothing is thrown, and work is bounded by size, tokens and depth,
// each looked at before the library goes on. The position of every member is kept, so that later checks can point at what they mean.
import {
  Composer,
  type CST,
  type Document,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  type ParsedNode,
  Parser,
  type YAMLError,
} from 'yaml'
import { type FieldPath, type FindingCode, formatPath } from './finding.ts'
import { withoutStackTraces } from './without-stack-traces.ts'

/** A profile is a hand-written text of some 10 KiB; more is a mistake or an attack. Octets of UTF-8. */
export const PROFILE_OCTETS_MAX = 256 * 1024
/** The deepest member of the schema lies 8 levels down; body templates get as much again. */
export const PROFILE_DEPTH_MAX = 16
/** Tokens of the YAML, blanks and line ends included: 2000 rules of three methods with their sources have some 110,000. */
export const PROFILE_TOKENS_MAX = 150_000
/** Characters of a member name: twice the longest one that means something, which are those of headers and scopes. */
export const NAME_LENGTH_MAX = 256
/** Faults that are kept of one text: whoever shows them stops at fewer. */
const FAULTS_MAX = 2000

/** Plain data as read: objects have only own members, none is called `__proto__`. */
export type Data = string | number | boolean | null | readonly Data[] | { readonly [name: string]: Data }

/** A fault found while reading. `offset` counts UTF-16 units from the start of the text. */
export interface ReadFault {
  readonly code: FindingCode
  readonly field: string
  readonly offset: number
  readonly message: string
}

/** Where members begin. */
export interface Positions {
  /** Offset of a member: of its name, or of the value in a list; of the nearest parent that exists otherwise. */
  offsetOf(path: FieldPath): number
  /** Line and column, both from 1. */
  placeOf(offset: number): { readonly line: number; readonly column: number }
}

export interface ReadResult {
  /** Undefined when the text is not a mapping in the subset: then `faults` says why. */
  readonly data: { readonly [name: string]: Data } | undefined
  readonly positions: Positions
  readonly faults: readonly ReadFault[]
}

/** Reads one profile text. Never throws. */
export function readYaml(text: string): ReadResult {
  const lines = new LineCounter()
  const reader = new Reader(lines)
  const data = reader.read(text)
  return { data, positions: reader, faults: reader.faults }
}

/** Where a member begins, and where those in it do. */
interface Place {
  readonly offset: number
  members?: Map<string | number, Place>
}

class Reader implements Positions {
  readonly faults: ReadFault[] = []
  private readonly root: Place = { offset: 0 }
  private readonly lines: LineCounter

  constructor(lines: LineCounter) {
    this.lines = lines
  }

  offsetOf(path: FieldPath): number {
    let place = this.root
    for (const part of path) {
      const next = place.members?.get(part)
      if (next === undefined) break
      place = next
    }
    return place.offset
  }

  placeOf(offset: number): { line: number; column: number } {
    const { line, col } = this.lines.linePos(offset)
    return line === 0 ? { line: 1, column: 1 } : { line, column: col }
  }

  read(text: string): { readonly [name: string]: Data } | undefined {
    const octets = Buffer.byteLength(text)
    if (octets > PROFILE_OCTETS_MAX) {
      this.fault('limit', [], 0, `the file has ${octets} octets; shorten it to at most ${PROFILE_OCTETS_MAX}`)
      return undefined
    }
    const tokens = this.parse(text)
    return tokens === undefined ? undefined : this.compose(tokens, text.length)
  }

  /** Undefined when the text goes beyond a bound, which is reported: what lies behind that is not even looked at. */
  private parse(text: string): readonly CST.Token[] | undefined {
    const tokens: CST.Token[] = []
    const parser = new Parser(this.lines.addNewLine)
    this.lines.addNewLine(0)
    let count = 0
    for (const lexeme of new Lexer().lex(text)) {
      if (++count > PROFILE_TOKENS_MAX) {
        const message = `there are more than ${PROFILE_TOKENS_MAX} pieces of YAML before this place; split or shorten the file`
        this.fault('limit', [], parser.offset, message)
        return undefined
      }
      for (const token of parser.next(lexeme)) tokens.push(token)
      // Below the top there is the document, then nothing but collections.
      const top = parser.stack.at(-1)
      if (parser.stack.length - 1 > PROFILE_DEPTH_MAX && top !== undefined && 'items' in top) {
        const message = `members are nested more than ${PROFILE_DEPTH_MAX} levels deep; flatten this part`
        this.fault('limit', [], top.offset, message)
        return undefined
      }
    }
    for (const token of parser.end()) tokens.push(token)
    return tokens
  }

  private compose(tokens: readonly CST.Token[], end: number): { readonly [name: string]: Data } | undefined {
    const [document, second] = composeAll(tokens, end)
    if (document === undefined) return undefined
    this.reportParseErrors([...document.errors, ...document.warnings])
    const { yaml, tags } = document.directives
    const hasDirective = yaml.explicit === true || Object.keys(tags).length > 1
    if (hasDirective) this.fault('syntax', [], 0, 'directives (%YAML, %TAG) are not used in profiles; remove the line')
    // A text that is no YAML, or another YAML, has no members to judge: what would follow from it misleads.
    if (hasDirective || document.errors.some(error => error.code !== 'TAG_RESOLVE_FAILED')) return undefined
    if (second !== undefined) {
      this.fault('syntax', [], second.range[0], 'a profile is one YAML document; remove this second one')
    }
    const data = this.convert(document.contents, [], this.root)
    if (data === null || typeof data !== 'object' || Array.isArray(data)) {
      if (this.faults.length === 0) {
        this.fault('syntax', [], 0, 'a profile is a mapping of members; begin with `apiVersion: gatewarden/v1`')
      }
      return undefined
    }
    return data as { readonly [name: string]: Data }
  }

  /** One a line: the others on it follow from the first. An unknown tag is reported with its member instead. */
  private reportParseErrors(errors: readonly YAMLError[]): void {
    const lines = new Set<number>()
    for (const error of errors) {
      const { line } = this.placeOf(error.pos[0])
      if (error.code === 'TAG_RESOLVE_FAILED' || lines.has(line)) continue
      lines.add(line)
      this.fault('syntax', [], error.pos[0], `the YAML cannot be read: ${sentence(error.message)}; correct it here`)
    }
  }

  private convert(node: ParsedNode | Node | null, path: FieldPath, place: Place): Data {
    if (node === null) return null
    const offset = node.range?.[0] ?? 0
    if ('anchor' in node && node.anchor !== undefined) {
      this.fault(
        'syntax',
        path,
        offset,
        `anchors are not used in profiles; write the value out instead of \`&${node.anchor}\``,
      )
    }
    if (node.tag !== undefined) {
      this.fault('syntax', path, offset, 'YAML tags are not used in profiles; remove the `!` and write the plain value')
    }
    if (isMap(node)) return this.convertMap(node.items as readonly MapItem[], path, place)
    if (isSeq(node)) {
      return (node.items as readonly Node[]).map((item, index) => {
        return this.convert(item, [...path, index], memberOf(place, index, item.range?.[0] ?? offset))
      })
    }
    if (isScalar(node)) return this.convertScalar(node.value, path, offset)
    this.fault('syntax', path, offset, 'aliases are not used in profiles; write the value out')
    return null
  }

  private convertScalar(value: unknown, path: FieldPath, offset: number): Data {
    if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
    if (typeof value === 'number' && Number.isFinite(value)) return value
    this.fault('type', path, offset, 'this is not a finite number; write a plain decimal number or quote it as text')
    return null
  }

  private convertMap(items: readonly MapItem[], path: FieldPath, place: Place): Data {
    const members: Record<string, Data> = {}
    for (const { key, value } of items) {
      // A name that is not plain text was reported by the composer.
      if (!isScalar(key) || typeof key.value !== 'string') continue
      const name = key.value
      const offset = key.range?.[0] ?? 0
      if (name.length > NAME_LENGTH_MAX) {
        const message = `a member name has ${name.length} characters; shorten it to at most ${NAME_LENGTH_MAX}`
        this.fault('limit', path, offset, message)
        continue
      }
      const memberPath = [...path, name]
      if (key.tag !== undefined || key.anchor !== undefined) {
        this.fault('syntax', memberPath, offset, 'a member name carries no tag and no anchor; write the plain name')
      }
      if (name === '<<') {
        this.fault('syntax', memberPath, offset, 'merge keys are not used in profiles; write the members out')
      } else if (name === '__proto__') {
        this.fault('unknown_field', memberPath, offset, '`__proto__` cannot be a member name; use another name')
      } else if (Object.hasOwn(members, name)) {
        this.fault(
          'duplicate_field',
          memberPath,
          offset,
          `\`${name}\` is written twice in one mapping; remove one of them`,
        )
      } else {
        members[name] = this.convert(value, memberPath, memberOf(place, name, offset))
      }
    }
    return members
  }

  private fault(code: FindingCode, path: FieldPath, offset: number, message: string): void {
    if (this.faults.length < FAULTS_MAX) this.faults.push({ code, field: formatPath(path), offset, message })
  }
}

interface MapItem {
  readonly key: unknown
  readonly value: Node | null
}

function memberOf(place: Place, name: string | number, offset: number): Place {
  const member: Place = { offset }
  place.members ??= new Map()
  place.members.set(name, member)
  return member
}

/** Never throws: faults are in the documents. */
function composeAll(tokens: readonly CST.Token[], end: number): readonly Document.Parsed[] {
  // Repeated names are found by the reader: the library compares every pair of names, which a hostile file makes quadratic.
  const composer = new Composer({
    schema: 'core',
    merge: false,
    stringKeys: true,
    uniqueKeys: false,
    prettyErrors: false,
  })
  return withoutStackTraces(() => [...composer.compose(tokens, true, end)])
}

/** The library's message without its final stop, so that a mend can follow. */
function sentence(message: string): string {
  return message.split('\n')[0]?.replace(/[.:]$/, '') ?? 'unknown fault'
}

// Compiles text and JSON templates to encoded pieces with holes between them.
// Guarantees: filling the holes of a JSON template with values of the stated form always gives valid JSON, members in the order written.
import type { InsertionName, Template } from './compiled-profile.ts'
import type { FieldPath } from './finding.ts'
import { type Part, type PlaceholderScope, resolvePlaceholder, type TemplateFault } from './placeholders.ts'
import type { Data } from './read-yaml.ts'
import { parseTextTemplate } from './text-template.ts'

/** Takes the faults of a template, with the path inside it. */
export type TemplateFaults = (path: FieldPath, fault: TemplateFault) => void

type HoleForm = Template['holes'][number]['form']
type Chunk = string | { readonly name: InsertionName; readonly form: HoleForm }

interface Compilation {
  readonly scope: PlaceholderScope
  readonly faults: TemplateFaults
  readonly chunks: Chunk[]
}

/** JavaScript sorts such names before all others, so their place in the file would be lost. */
const DIGITS = /^(?:0|[1-9][0-9]*)$/

/** The parts of a text; a faulty placeholder is reported and left out. */
export function textParts(text: string, scope: PlaceholderScope, faults: TemplateFaults): readonly Part[] {
  const parsed = parseTextTemplate(text)
  if ('problem' in parsed) {
    faults([], { ...parsed, perReason: false })
    return []
  }
  return parsed.flatMap((part): readonly Part[] => {
    if (typeof part === 'string') return [part]
    const resolved = resolvePlaceholder(part.name, scope)
    if ('problem' in resolved) faults([], resolved)
    else if (resolved.parts !== null) return resolved.parts
    else faults([], nullInText(part.name))
    return []
  })
}

/** A text template for a header value or a message. */
export function compileText(parts: readonly Part[]): Template {
  return encode(parts.map(part => (typeof part === 'string' ? part : { name: part.hole, form: 'text' })))
}

/** A JSON template: compact, UTF-8. */
export function compileJson(template: Data, scope: PlaceholderScope, faults: TemplateFaults): Template {
  const compilation: Compilation = { scope, faults, chunks: [] }
  appendJson(template, [], compilation)
  return encode(compilation.chunks)
}

function appendJson(value: Data, path: FieldPath, to: Compilation): void {
  if (typeof value === 'string') {
    appendString(
      textParts(value, to.scope, (_, fault) => to.faults(path, fault)),
      to,
    )
  } else if (Array.isArray(value)) {
    to.chunks.push('[')
    for (const [index, item] of value.entries()) {
      if (index > 0) to.chunks.push(',')
      appendJson(item, [...path, index], to)
    }
    to.chunks.push(']')
  } else if (value !== null && typeof value === 'object') {
    const members = value as { readonly [name: string]: Data }
    if (Object.hasOwn(members, '$')) appendTyped(members, path, to)
    else appendObject(members, path, to)
  } else {
    to.chunks.push(JSON.stringify(value))
  }
}

function appendObject(members: { readonly [name: string]: Data }, path: FieldPath, to: Compilation): void {
  to.chunks.push('{')
  for (const [index, [name, member]] of Object.entries(members).entries()) {
    if (DIGITS.test(name)) to.faults([...path, name], digitsName(name))
    to.chunks.push(`${index > 0 ? ',' : ''}${JSON.stringify(name)}:`)
    appendJson(member, [...path, name], to)
  }
  to.chunks.push('}')
}

/** `{$: name}`: a number, a whole string, or null. */
function appendTyped(members: { readonly [name: string]: Data }, path: FieldPath, to: Compilation): void {
  const name = members['$']
  if (typeof name !== 'string' || Object.keys(members).length > 1) {
    to.faults(path, typedAlone)
    return
  }
  const resolved = resolvePlaceholder(name, to.scope)
  if ('problem' in resolved) to.faults(path, resolved)
  else if (resolved.parts === null) to.chunks.push('null')
  else if (!resolved.numeric) appendString(resolved.parts, to)
  else {
    for (const part of resolved.parts) {
      to.chunks.push(typeof part === 'string' ? part : { name: part.hole, form: 'json-value' })
    }
  }
}

function appendString(parts: readonly Part[], to: Compilation): void {
  to.chunks.push('"')
  for (const part of parts) {
    to.chunks.push(
      typeof part === 'string' ? JSON.stringify(part).slice(1, -1) : { name: part.hole, form: 'json-string-part' },
    )
  }
  to.chunks.push('"')
}

/** Joins neighbouring texts, so that there is exactly one more piece than holes. */
function encode(chunks: readonly Chunk[]): Template {
  const texts = ['']
  const holes: Template['holes'][number][] = []
  for (const chunk of chunks) {
    if (typeof chunk === 'string') {
      texts[texts.length - 1] += chunk
    } else {
      holes.push(chunk)
      texts.push('')
    }
  }
  return { pieces: texts.map(text => Buffer.from(text, 'utf8')), holes }
}

const typedAlone: TemplateFault = {
  problem: '`$` stands alone and names one placeholder',
  mend: 'write e.g. {$: message} and move other members out',
  perReason: false,
}

function nullInText(name: string): TemplateFault {
  const problem = `the placeholder \`${name}\` is null in this rendering and cannot stand inside a text`
  return { problem, mend: `give it a value or use {$: ${name}}`, perReason: false }
}

function digitsName(name: string): TemplateFault {
  const problem = `the member name \`${name}\` is a number and would lose its place among the others`
  return { problem, mend: 'begin it with a letter', perReason: false }
}

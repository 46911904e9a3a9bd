// Compiles text and JSON templates to encoded pieces with holes between them.
// Guarantees: filling the holes of a JSON template with values of the stated form always gives valid JSON, members in the order written.
import type { InsertionName, Template } from './compiled-profile.ts'
import type { FieldPath } from './finding.ts'
import { type Part, type PlaceholderScope, type Resolved, resolvePlaceholder } from './placeholders.ts'
import type { Data } from './read-yaml.ts'
import { parseTextTemplate } from './text-template.ts'

/** Takes the faults of a template, with the path inside it. */
export type TemplateFaults = (path: FieldPath, message: string) => void

type HoleForm = Template['holes'][number]['form']
type Chunk = string | { readonly name: InsertionName; readonly form: HoleForm }

/** JavaScript sorts such names before all others, so their place in the file would be lost. */
const DIGITS = /^(?:0|[1-9][0-9]*)$/

/** The parts of a text; a faulty placeholder is reported and left out. */
export function textParts(text: string, scope: PlaceholderScope, faults: TemplateFaults): readonly Part[] {
  const parsed = parseTextTemplate(text)
  if ('fault' in parsed) {
    faults([], parsed.fault)
    return []
  }
  return parsed.flatMap((part): readonly Part[] => {
    if (typeof part === 'string') return [part]
    const resolved = resolvePlaceholder(part.name, scope)
    if ('fault' in resolved) faults([], resolved.fault)
    else if (resolved.parts !== null) return resolved.parts
    else
      faults([], `the placeholder \`${part.name}\` is null here and cannot stand inside a text; use {$: ${part.name}}`)
    return []
  })
}

/** A text template for a header value or a message. */
export function compileText(parts: readonly Part[]): Template {
  return encode(parts.map(part => (typeof part === 'string' ? part : { name: part.hole, form: 'text' as const })))
}

/** A JSON template: compact, UTF-8. */
export function compileJson(template: Data, scope: PlaceholderScope, faults: TemplateFaults): Template {
  const chunks: Chunk[] = []
  appendJson(template, [], chunks, scope, faults)
  return encode(chunks)
}

function appendJson(
  value: Data,
  path: FieldPath,
  chunks: Chunk[],
  scope: PlaceholderScope,
  faults: TemplateFaults,
): void {
  if (typeof value === 'string') {
    const inside: TemplateFaults = (_, message) => faults(path, message)
    appendString(textParts(value, scope, inside), chunks)
  } else if (Array.isArray(value)) {
    chunks.push('[')
    for (const [index, item] of value.entries()) {
      if (index > 0) chunks.push(',')
      appendJson(item, [...path, index], chunks, scope, faults)
    }
    chunks.push(']')
  } else if (value !== null && typeof value === 'object') {
    appendObject(value as { readonly [name: string]: Data }, path, chunks, scope, faults)
  } else {
    chunks.push(JSON.stringify(value))
  }
}

function appendObject(
  value: { readonly [name: string]: Data },
  path: FieldPath,
  chunks: Chunk[],
  scope: PlaceholderScope,
  faults: TemplateFaults,
): void {
  if (Object.hasOwn(value, '$')) {
    appendTyped(value, path, chunks, scope, faults)
    return
  }
  chunks.push('{')
  for (const [index, [name, member]] of Object.entries(value).entries()) {
    if (DIGITS.test(name))
      faults(
        [...path, name],
        `the member name \`${name}\` is a number and would lose its place; begin it with a letter`,
      )
    chunks.push(`${index > 0 ? ',' : ''}${JSON.stringify(name)}:`)
    appendJson(member, [...path, name], chunks, scope, faults)
  }
  chunks.push('}')
}

/** `{$: name}`: a number, a whole string, or null. */
function appendTyped(
  value: { readonly [name: string]: Data },
  path: FieldPath,
  chunks: Chunk[],
  scope: PlaceholderScope,
  faults: TemplateFaults,
): void {
  const name = value['$']
  if (typeof name !== 'string' || Object.keys(value).length > 1) {
    faults(path, '`$` stands alone and names one placeholder, e.g. {$: message}; move the other members out')
    return
  }
  const resolved = resolvePlaceholder(name, scope)
  if ('fault' in resolved) faults(path, resolved.fault)
  else appendResolved(resolved, chunks)
}

function appendResolved(resolved: Resolved, chunks: Chunk[]): void {
  if (resolved.parts === null) chunks.push('null')
  else if (!resolved.numeric) appendString(resolved.parts, chunks)
  else
    chunks.push(
      ...resolved.parts.map(part =>
        typeof part === 'string' ? part : { name: part.hole, form: 'json-value' as const },
      ),
    )
}

function appendString(parts: readonly Part[], chunks: Chunk[]): void {
  chunks.push('"')
  for (const part of parts) {
    chunks.push(
      typeof part === 'string' ? JSON.stringify(part).slice(1, -1) : { name: part.hole, form: 'json-string-part' },
    )
  }
  chunks.push('"')
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

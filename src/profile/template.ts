// Compiles text and JSON templates to encoded pieces with holes between them.
// Guarantees: filling the holes of a JSON template with values of the stated form always gives valid JSON, members in the order written.
import type { Template } from './compiled-profile.ts'
import type { FieldPath } from './finding.ts'
import type { Part, Resolved, TemplateFault } from './placeholders.ts'
import type { Data } from './read-yaml.ts'
import { parseTextTemplate } from './text-template.ts'

/** Takes the faults of a template, with the path inside it. */
export type TemplateFaults = (path: FieldPath, fault: TemplateFault) => void

/** What a placeholder stands for where the template is used, or why it cannot stand there. */
export type Resolve<Name extends string> = (name: string) => Resolved<Name> | TemplateFault

type HoleForm = Template['holes'][number]['form']
type Chunk<Name extends string> = string | { readonly name: Name; readonly form: HoleForm }

interface Compilation<Name extends string> {
  readonly resolve: Resolve<Name>
  readonly faults: TemplateFaults
  readonly chunks: Chunk<Name>[]
}

/** JavaScript sorts such names before all others, so their place in the file would be lost. */
const DIGITS = /^(?:0|[1-9][0-9]*)$/

/** The parts of a text; a faulty placeholder is reported and left out. */
export function textParts<Name extends string>(
  text: string,
  resolve: Resolve<Name>,
  faults: TemplateFaults,
): readonly Part<Name>[] {
  const parsed = parseTextTemplate(text)
  if ('problem' in parsed) {
    faults([], { ...parsed, perReason: false })
    return []
  }
  return parsed.flatMap((part): readonly Part<Name>[] => {
    if (typeof part === 'string') return [part]
    const resolved = resolve(part.name)
    if ('problem' in resolved) faults([], resolved)
    else if (resolved.kind === 'value') faults([], valueInText(part.name))
    else if (resolved.parts !== null) return resolved.parts
    else faults([], nullInText(part.name))
    return []
  })
}

/** A text template for a header value or a message. */
export function compileText<Name extends string>(parts: readonly Part<Name>[]): Template<Name> {
  return encode(parts.map(part => (typeof part === 'string' ? part : { name: part.hole, form: 'text' })))
}

/** A JSON template: compact, UTF-8. */
export function compileJson<Name extends string>(
  template: Data,
  resolve: Resolve<Name>,
  faults: TemplateFaults,
): Template<Name> {
  const compilation: Compilation<Name> = { resolve, faults, chunks: [] }
  appendJson(template, [], compilation)
  return encode(compilation.chunks)
}

function appendJson<Name extends string>(value: Data, path: FieldPath, to: Compilation<Name>): void {
  if (typeof value === 'string') {
    appendString(
      textParts(value, to.resolve, (_, fault) => to.faults(path, fault)),
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

function appendObject<Name extends string>(
  members: { readonly [name: string]: Data },
  path: FieldPath,
  to: Compilation<Name>,
): void {
  to.chunks.push('{')
  for (const [index, [name, member]] of Object.entries(members).entries()) {
    if (DIGITS.test(name)) to.faults([...path, name], digitsName(name))
    to.chunks.push(`${index > 0 ? ',' : ''}${JSON.stringify(name)}:`)
    appendJson(member, [...path, name], to)
  }
  to.chunks.push('}')
}

/** `{$: name}`: a number, a whole string, any value, or null. */
function appendTyped<Name extends string>(
  members: { readonly [name: string]: Data },
  path: FieldPath,
  to: Compilation<Name>,
): void {
  const name = members['$']
  if (typeof name !== 'string' || Object.keys(members).length > 1) {
    to.faults(path, typedAlone)
    return
  }
  const resolved = to.resolve(name)
  if ('problem' in resolved) to.faults(path, resolved)
  else if (resolved.parts === null) to.chunks.push('null')
  else if (resolved.kind === 'text') appendString(resolved.parts, to)
  else {
    for (const part of resolved.parts) {
      to.chunks.push(typeof part === 'string' ? part : { name: part.hole, form: 'json-value' })
    }
  }
}

function appendString<Name extends string>(parts: readonly Part<Name>[], to: Compilation<Name>): void {
  to.chunks.push('"')
  for (const part of parts) {
    to.chunks.push(
      typeof part === 'string' ? JSON.stringify(part).slice(1, -1) : { name: part.hole, form: 'json-string-part' },
    )
  }
  to.chunks.push('"')
}

/** Joins neighbouring texts, so that there is exactly one more piece than holes. */
function encode<Name extends string>(chunks: readonly Chunk<Name>[]): Template<Name> {
  const texts = ['']
  const holes: Template<Name>['holes'][number][] = []
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

function valueInText(name: string): TemplateFault {
  const problem = `the placeholder \`${name}\` is no text and cannot stand inside one`
  return { problem, mend: `use {$: ${name}}`, perReason: false }
}

function digitsName(name: string): TemplateFault {
  const problem = `the member name \`${name}\` is a number and would lose its place among the others`
  return { problem, mend: 'begin it with a letter', perReason: false }
}

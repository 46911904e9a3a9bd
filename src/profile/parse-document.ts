// Data read from YAML to typed blocks of a profile: each top-level block is judged alone, so one bad block
// does not hide what is wrong in the others. Every fault becomes a report in one sentence; nothing is thrown.
import type { z } from 'zod'
import type { FieldPath, FindingCode } from './finding.ts'
import { nearestMember } from './known-members.ts'
import type { Data } from './read-yaml.ts'
import { type ProfileDocument, profileSchema } from './schema.ts'

export type BlockName = keyof ProfileDocument
/** The blocks of a profile that are sound; a block with a fault is left out. */
export type Blocks = Partial<ProfileDocument>
export type Report = (code: FindingCode, path: FieldPath, message: string) => void

type Issue = z.core.$ZodIssue

const blockNames = Object.keys(profileSchema.shape) as readonly BlockName[]

/** Judges every block. Unknown members are reported and then ignored, so that the rest of their block is still judged. */
export function parseBlocks(data: { readonly [name: string]: Data }, report: Report): Blocks {
  const blocks: Record<string, unknown> = {}
  for (const name of Object.keys(data)) {
    if (!Object.hasOwn(profileSchema.shape, name)) reportUnknown([], name, report)
  }
  for (const name of blockNames) {
    const block = parseBlock(name, Object.hasOwn(data, name) ? data[name] : undefined, report)
    if (block !== undefined) blocks[name] = block.value
  }
  return blocks as Blocks
}

/** Whether all blocks that a judgement needs are sound. */
export function hasBlocks<K extends BlockName>(
  blocks: Blocks,
  needs: readonly K[],
): blocks is Blocks & Pick<ProfileDocument, K> {
  return needs.every(name => Object.hasOwn(blocks, name))
}

/** Whether the whole profile is sound in its shape. */
export function isComplete(blocks: Blocks): blocks is ProfileDocument {
  return hasBlocks(blocks, blockNames)
}

function parseBlock(name: BlockName, value: Data | undefined, report: Report): { value: unknown } | undefined {
  const schema = profileSchema.shape[name]
  const first = schema.safeParse(value)
  if (first.success) return { value: first.data }
  const issues = first.error.issues.flatMap(issue => resolveUnion(issue))
  const unknown = issues.filter(issue => issue.code === 'unrecognized_keys')
  for (const issue of unknown) {
    for (const key of issue.keys) reportUnknown([name, ...fieldPath(issue.path)], key, report)
  }
  if (unknown.length === 0) {
    for (const issue of issues) reportIssue(name, value, issue, report)
    return undefined
  }
  const known = withoutMembers(value, unknown)
  const second = schema.safeParse(known)
  if (second.success) return { value: second.data }
  for (const issue of second.error.issues.flatMap(resolveUnion)) reportIssue(name, known, issue, report)
  return undefined
}

/** The issues of the alternative that was meant: one that has the right kind of value, and fewest faults of those. */
function resolveUnion(issue: Issue): readonly Issue[] {
  if (issue.code !== 'invalid_union') return [issue]
  const candidates = issue.errors
    .filter(errors => !errors.some(error => error.path.length === 0 && isKindFault(error)))
    .sort((a, b) => a.length - b.length)
  const meant = candidates[0]
  if (meant === undefined) return [issue]
  return meant.map(error => ({ ...error, path: [...issue.path, ...error.path] })).flatMap(resolveUnion)
}

function isKindFault(issue: Issue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_value'
}

function reportUnknown(path: FieldPath, key: string, report: Report): void {
  const meant = nearestMember(path, key)
  const mend = meant === undefined ? 'remove it' : `did you mean \`${meant}\`?`
  report(
    'unknown_field',
    [...path, key],
    `\`${key}\` is not a member ${path.length === 0 ? 'of a profile' : 'here'}; ${mend}`,
  )
}

function reportIssue(block: BlockName, value: Data | undefined, issue: Issue, report: Report): void {
  const inner = fieldPath(issue.path)
  const path = [block, ...inner]
  const found = dataAt(value, inner)
  const name = nameOf(path)
  if (found === undefined && issue.code !== 'invalid_key') {
    report('type', path, `${name} is missing; add it as ${expectation(issue)}`)
    return
  }
  if (issue.code === 'too_big' && issue.origin !== 'number' && issue.origin !== 'int') {
    report('limit', path, `${name} is too long; shorten it to at most ${issue.maximum} ${unitOf(issue.origin)}`)
    return
  }
  if (issue.code === 'custom' && issue.params?.['limit'] !== undefined) {
    report('limit', path, `${name} ${issue.message}`)
    return
  }
  if (issue.code === 'invalid_key') {
    const wanted = issue.issues.map(inside => inside.message).join(', ')
    report('type', path, `the name ${name} does not fit; write ${wanted}`)
    return
  }
  report('type', path, `${name} is ${describe(found)}; write ${expectation(issue)}`)
}

/** What would be right, as the object of "write …". */
function expectation(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return kindNames[issue.expected] ?? `a value of type ${issue.expected}`
    case 'invalid_value':
      return issue.values.length === 1 ? String(issue.values[0]) : `one of ${issue.values.map(String).join(', ')}`
    case 'too_small':
      return issue.origin === 'number' || issue.origin === 'int'
        ? `a number of at least ${issue.minimum}`
        : `at least ${issue.minimum} ${unitOf(issue.origin)}`
    case 'too_big':
      return `a number of at most ${issue.maximum}`
    default:
      return issue.message
  }
}

const kindNames: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
}

function unitOf(origin: string): string {
  return origin === 'string' ? 'characters' : 'entries'
}

/** Caller's text in a message is cut: a finding is for people, not a copy of the file. */
const QUOTE_LENGTH_MAX = 60

function describe(value: Data | undefined): string {
  if (Array.isArray(value)) return 'a list'
  if (value === null) return 'null'
  if (typeof value === 'object') return 'a mapping'
  const quoted = JSON.stringify(value) ?? 'absent'
  return quoted.length > QUOTE_LENGTH_MAX ? `${quoted.slice(0, QUOTE_LENGTH_MAX)}…` : quoted
}

function nameOf(path: FieldPath): string {
  const last = path[path.length - 1]
  return typeof last === 'number' ? `entry ${last} of \`${path[path.length - 2]}\`` : `\`${last}\``
}

function fieldPath(path: readonly PropertyKey[]): FieldPath {
  return path.map(part => (typeof part === 'number' ? part : String(part)))
}

function dataAt(value: Data | undefined, path: FieldPath): Data | undefined {
  let at: unknown = value
  for (const part of path) {
    if (at === null || typeof at !== 'object' || !Object.hasOwn(at, part)) return undefined
    at = (at as Record<string | number, unknown>)[part]
  }
  return at as Data | undefined
}

/** A copy of the data without the members that the issues name. */
function withoutMembers(value: Data | undefined, issues: readonly Issue[]): Data | undefined {
  const copy: unknown = structuredClone(value)
  for (const issue of issues) {
    if (issue.code !== 'unrecognized_keys') continue
    const parent = dataAt(copy as Data, fieldPath(issue.path))
    if (parent === null || typeof parent !== 'object') continue
    for (const key of issue.keys) delete (parent as Record<string, unknown>)[key]
  }
  return copy as Data | undefined
}

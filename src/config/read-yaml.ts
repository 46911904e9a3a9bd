// Reads the settings file: YAML text in, values by path out, every fault with file:line:column.
// The safe subset only: unique keys, no aliases, no tags, core schema. A member that is no setting is a fault.
import { type Document, isAlias, isMap, isScalar, LineCounter, type Node, type Pair, parseDocument, visit } from 'yaml'
import { type ConfigFault, closest, quoteFound } from './fault.ts'
import { type SettingPath, settingPaths } from './settings.ts'

/** A value as it was set, with the name to blame if it is wrong. */
export interface SetValue {
  readonly value: unknown
  readonly origin: string
}

export interface ReadSettings {
  readonly values: ReadonlyMap<SettingPath, SetValue>
  readonly faults: readonly ConfigFault[]
}

/** A settings file is small; anything longer is another file given by mistake. */
const fileLengthMax = 65_536

/** Reads `text`; `fileName` names it in faults. */
export function readYaml(text: string, fileName: string): ReadSettings {
  if (text.length > fileLengthMax) {
    const accepted = `at most ${fileLengthMax} characters of YAML`
    return { values: new Map(), faults: [{ name: fileName, found: `${text.length} characters`, accepted }] }
  }
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    schema: 'core',
    resolveKnownTags: false,
  })
  const faults: ConfigFault[] = [...document.errors, ...document.warnings].map(error => ({
    name: at(fileName, lines, error.pos[0]),
    ...(syntaxFaults[error.code] ?? unreadable(error.message)),
  }))
  faults.push(...aliasFaults(document, fileName, lines))
  if (faults.length > 0) return { values: new Map(), faults }
  const values = new Map<SettingPath, SetValue>()
  if (document.contents !== null) walk(document.contents, '', { fileName, lines, values, faults })
  return { values, faults }
}

type Said = Pick<ConfigFault, 'found' | 'accepted'>

/** What the parser finds, by its codes, in our words. */
const syntaxFaults: Readonly<Record<string, Said>> = {
  DUPLICATE_KEY: { found: 'a name that stands there already', accepted: 'each name once; put its members together' },
  MULTIPLE_DOCS: { found: 'a second document', accepted: 'one document: no line of ---' },
  TAB_AS_INDENT: { found: 'a tab', accepted: 'blanks as indentation' },
  TAG_RESOLVE_FAILED: { found: 'a tag, or a value that does not fit it', accepted: 'values without tags (no `!`)' },
  BAD_ALIAS: { found: 'an alias', accepted: 'the value itself' },
}

function unreadable(message: string): Said {
  const reason = message.split('\n')[0]?.replace(/ at line .*$/, '') ?? ''
  return { found: `what is no YAML (${reason})`, accepted: 'YAML of nested settings, see docs/configuration.md' }
}

/** An alias can stand for far more than it shows; settings have no use for one. */
function aliasFaults(document: Document, fileName: string, lines: LineCounter): ConfigFault[] {
  const faults: ConfigFault[] = []
  visit(document, (_key, node) => {
    if (!isAlias(node)) return
    const name = at(fileName, lines, node.range?.[0] ?? 0)
    faults.push({ name, found: `the alias *${node.source}`, accepted: 'the value itself' })
  })
  return faults
}

interface Walk {
  readonly fileName: string
  readonly lines: LineCounter
  readonly values: Map<SettingPath, SetValue>
  readonly faults: ConfigFault[]
}

function walk(node: Node, path: string, into: Walk): void {
  if (!isMap(node)) {
    const accepted = path === '' ? 'an object of settings' : `an object: ${membersOf(path).join(', ')}`
    into.faults.push({ name: nameOf(into, node, path), found: quoteFound(toValue(node)), accepted })
    return
  }
  for (const pair of node.items) walkPair(pair, path, into)
}

function walkPair(pair: Pair, parent: string, into: Walk): void {
  const keyNode = pair.key as Node
  const key = isScalar(keyNode) && typeof keyNode.value === 'string' ? keyNode.value : undefined
  const path = key === undefined ? parent : parent === '' ? key : `${parent}.${key}`
  const known = settingPaths.find(each => each === path)
  if (key !== undefined && known !== undefined) {
    const value = toValue(pair.value as Node | null)
    into.values.set(known, { value, origin: nameOf(into, keyNode, path) })
  } else if (key !== undefined && settingPaths.some(each => each.startsWith(`${path}.`))) {
    if (pair.value !== null) walk(pair.value as Node, path, into)
  } else {
    into.faults.push(unknownMember(keyNode, path, into))
  }
}

function unknownMember(node: Node, path: string, into: Walk): ConfigFault {
  const near = closest(path, [...settingPaths, ...groups])
  const accepted = near === undefined ? 'a setting of docs/configuration.md' : `a known setting; did you mean ${near}?`
  return { name: nameOf(into, node, path), found: 'a name that is no setting', accepted }
}

/** Names that settings are nested under. */
const groups = [...new Set(settingPaths.flatMap(groupsOf))]

/** `check` and `check.tls` of `check.tls.cert`. */
function groupsOf(path: SettingPath): string[] {
  const parts = path.split('.')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('.'))
}

function toValue(node: Node | null): unknown {
  return node === null ? null : node.toJSON()
}

function membersOf(path: string): string[] {
  return settingPaths.filter(each => each.startsWith(`${path}.`))
}

function nameOf(into: Walk, node: Node, path: string): string {
  return `${at(into.fileName, into.lines, node.range?.[0] ?? 0)} ${path}`.trimEnd()
}

function at(fileName: string, lines: LineCounter, offset: number): string {
  const { line, col } = lines.linePos(offset)
  return `${fileName}:${line}:${col}`
}

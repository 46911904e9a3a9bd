// Judges the entries of an allowlist under a profile's rules: every violation of every entry, in input order, and warnings.
// The same function serves create, update, import and validation, so that all of them accept exactly the same entries.
// What is accepted is canonical; nothing here decides a request.
import { coversMapped, parseEntry } from './address.ts'
import { bareText, type Cidr, cidrText, contains, overlaps, sameBlock } from './cidr.ts'

/** One entry of an API key's allowlist. */
export interface AllowlistEntry {
  readonly block: Cidr
  /** Empty: none. */
  readonly label: string
}

/** The entries as a caller gives them. */
export interface AllowlistInput {
  readonly cidr: string
  readonly label: string
}

/** What a profile says of allowlists (profiles.md d.1 `ip_rules`). */
export interface AllowlistRules {
  readonly minPrefix: { readonly v4: number | null; readonly v6: number | null }
  /** Null: `entriesMax`. */
  readonly maxEntries: number | null
  /** Length in Unicode code points. */
  readonly labels: { readonly allowed: boolean; readonly maxLength: number }
  readonly private: 'reject' | 'warn' | 'allow'
  /** Canonical blocks; the profile linter has seen to that. */
  readonly privateRanges: readonly string[]
  readonly hostBits: 'reject' | 'mask'
}

export type AllowlistViolationReason =
  | 'INVALID_ENTRY'
  | 'HOST_BITS_SET'
  | 'PREFIX_TOO_SHORT'
  | 'PRIVATE_RANGE'
  | 'SPANS_MAPPED_RANGE'
  | 'DUPLICATE_ENTRY'
  | 'TOO_MANY_ENTRIES'
  | 'LABEL_TOO_LONG'
  | 'LABELS_NOT_SUPPORTED'
  /** A label with control characters. */
  | 'FIELD_INVALID'

export type AllowlistWarningReason =
  | 'HOST_BITS_MASKED'
  | 'OVERLAPS_PRIVATE'
  | 'CONTAINED_ENTRY'
  | 'MATCHES_EVERYTHING'
  | 'EXCLUDES_CALLER'

/** Why an entry is refused. */
export interface AllowlistViolation {
  /** Position in the input. */
  readonly index: number
  readonly field: 'cidr' | 'label'
  readonly reason: AllowlistViolationReason
  /** A sentence for people. */
  readonly message: string
  /** An entry that would be accepted in its place as far as this violation goes; empty: none. */
  readonly suggestion: string
}

/** Something the caller may not have meant; never changes the outcome. */
export interface AllowlistWarning {
  readonly index: number
  readonly reason: AllowlistWarningReason
  readonly message: string
}

/** `entries` holds the canonical form of every input that has no violation. */
export interface AllowlistVerdict {
  readonly entries: readonly AllowlistEntry[]
  readonly violations: readonly AllowlistViolation[]
  readonly warnings: readonly AllowlistWarning[]
}

/** Entries an API key may have whatever the profile says: each one is compared on every check of the key. */
export const entriesMax = 256

/** Entries looked at in one call; beyond it a list is only counted, so that a message of 4 MiB stays cheap. */
const entriesJudgedMax = 1024

/** Characters of an entry that are repeated in a message. */
const echoLengthMax = 64

interface Judged {
  readonly index: number
  readonly block: Cidr
}

class Findings {
  readonly violations: AllowlistViolation[] = []
  readonly warnings: AllowlistWarning[] = []

  violate(
    index: number,
    reason: AllowlistViolationReason,
    message: string,
    suggestion = '',
    field: 'cidr' | 'label' = 'cidr',
  ): void {
    this.violations.push({ index, field, reason, message, suggestion })
  }

  warn(index: number, reason: AllowlistWarningReason, message: string): void {
    this.warnings.push({ index, reason, message })
  }
}

/** What `judgeAllowlist` says of one canonical block alone, for callers with many blocks: the rules are read once. */
export function blockJudge(rules: AllowlistRules): (block: Cidr) => boolean {
  const ranges = rules.privateRanges.map(rangeOf)
  return block => {
    const findings = new Findings()
    judgeCanonical(0, block, block.family === 6 && coversMapped(block), rules, ranges, findings)
    return findings.violations.length === 0
  }
}

/** Judges a whole list. */
export function judgeAllowlist(input: readonly AllowlistInput[], rules: AllowlistRules): AllowlistVerdict {
  const findings = new Findings()
  const ranges = rules.privateRanges.map(rangeOf)
  const judged: Judged[] = []
  const entries: AllowlistEntry[] = []
  const max = Math.min(rules.maxEntries ?? entriesMax, entriesMax)
  input.slice(0, entriesJudgedMax).forEach((entry, index) => {
    const before = findings.violations.length
    const block = judgeBlock(entry.cidr, index, rules, ranges, judged, findings)
    judgeLabel(entry.label, index, rules, findings)
    if (index === max) tooMany(input.length, max, findings)
    if (block === null) return
    judged.push({ index, block })
    if (findings.violations.length === before) entries.push({ block, label: entry.label })
  })
  warnContained(judged, findings)
  findings.warnings.sort((a, b) => a.index - b.index)
  return { entries, violations: findings.violations, warnings: findings.warnings }
}

function rangeOf(text: string): Cidr {
  const parsed = parseEntry(text)
  if (parsed === null) throw new Error(`a compiled profile has a private range that is no address block: ${text}`)
  return parsed.block
}

function tooMany(count: number, max: number, findings: Findings): void {
  findings.violate(max, 'TOO_MANY_ENTRIES', `There are ${count} entries, at most ${max} are allowed.`)
}

function judgeBlock(
  text: string,
  index: number,
  rules: AllowlistRules,
  ranges: readonly Cidr[],
  earlier: readonly Judged[],
  findings: Findings,
): Cidr | null {
  const parsed = parseEntry(text)
  if (parsed === null) {
    const message = `${echo(text)} is neither an IPv4 or IPv6 address nor one with a prefix length.`
    findings.violate(index, 'INVALID_ENTRY', message)
    return null
  }
  const { block } = parsed
  if (parsed.hostBits) judgeHostBits(text, index, block, rules, findings)
  judgeCanonical(index, block, parsed.spansMapped, rules, ranges, findings)
  const twin = earlier.find(other => sameBlock(other.block, block))
  if (twin !== undefined) {
    findings.violate(index, 'DUPLICATE_ENTRY', `${cidrText(block)} is already entry ${twin.index}.`)
  }
  if (block.prefix === 0) findings.warn(index, 'MATCHES_EVERYTHING', `${cidrText(block)} matches every address.`)
  return block
}

function judgeCanonical(
  index: number,
  block: Cidr,
  spansMapped: boolean,
  rules: AllowlistRules,
  ranges: readonly Cidr[],
  findings: Findings,
): void {
  judgePrefix(index, block, rules, findings)
  judgePrivate(index, block, rules, ranges, findings)
  if (!spansMapped) return
  const message = `${cidrText(block)} covers ::ffff:0:0/96, where IPv4 addresses are written as IPv6.`
  findings.violate(index, 'SPANS_MAPPED_RANGE', message)
}

function judgeHostBits(text: string, index: number, block: Cidr, rules: AllowlistRules, findings: Findings): void {
  const network = cidrText(block)
  if (rules.hostBits === 'mask') {
    findings.warn(index, 'HOST_BITS_MASKED', `${echo(text)} was stored as the network ${network}.`)
    return
  }
  const message = `${echo(text)} has bits set beyond its prefix length; the network is ${network}.`
  findings.violate(index, 'HOST_BITS_SET', message, network)
}

function judgePrefix(index: number, block: Cidr, rules: AllowlistRules, findings: Findings): void {
  const min = block.family === 4 ? rules.minPrefix.v4 : rules.minPrefix.v6
  if (min === null || block.prefix >= min) return
  const message = `${cidrText(block)} is too broad; an IPv${block.family} prefix length must be at least ${min}.`
  findings.violate(index, 'PREFIX_TOO_SHORT', message)
}

function judgePrivate(
  index: number,
  block: Cidr,
  rules: AllowlistRules,
  ranges: readonly Cidr[],
  findings: Findings,
): void {
  if (rules.private === 'allow') return
  const around = ranges.find(range => contains(range, block))
  if (around !== undefined && rules.private === 'reject') {
    const message = `${bareText(block)} lies in ${cidrText(around)}, which is not reachable from the internet.`
    findings.violate(index, 'PRIVATE_RANGE', message)
    return
  }
  const touched = around ?? ranges.find(range => overlaps(range, block))
  if (touched === undefined) return
  findings.warn(index, 'OVERLAPS_PRIVATE', `${bareText(block)} overlaps the private range ${cidrText(touched)}.`)
}

function judgeLabel(label: string, index: number, rules: AllowlistRules, findings: Findings): void {
  if (label === '') return
  if (!rules.labels.allowed) {
    findings.violate(index, 'LABELS_NOT_SUPPORTED', 'Entries have no labels under this profile.', '', 'label')
    return
  }
  if ([...label].length > rules.labels.maxLength) {
    const message = `The label is longer than ${rules.labels.maxLength} characters.`
    findings.violate(index, 'LABEL_TOO_LONG', message, '', 'label')
  }
  if (/\p{Cc}/u.test(label)) {
    findings.violate(index, 'FIELD_INVALID', 'The label contains control characters.', '', 'label')
  }
}

function warnContained(judged: readonly Judged[], findings: Findings): void {
  for (const inner of judged) {
    const outer = judged.find(other => !sameBlock(other.block, inner.block) && contains(other.block, inner.block))
    if (outer === undefined) continue
    const message = `${cidrText(inner.block)} lies in entry ${outer.index}, ${cidrText(outer.block)}.`
    findings.warn(inner.index, 'CONTAINED_ENTRY', message)
  }
}

/** Whether a list would keep out `address`, a block of one address. */
export function excludes(entries: readonly AllowlistEntry[], address: Cidr, emptyAllowlist: 'any' | 'none'): boolean {
  if (entries.length === 0) return emptyAllowlist === 'none'
  return !entries.some(entry => contains(entry.block, address))
}

/** A caller's text, quoted with control characters escaped, and cut. */
function echo(text: string): string {
  return JSON.stringify(text.length > echoLengthMax ? `${text.slice(0, echoLengthMax)}…` : text)
}

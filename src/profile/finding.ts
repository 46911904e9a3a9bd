// What reading or linting a profile can find: codes, their levels, one finding and its printed form.
// A level belongs to its code, so no rule can soften an error; a code is never reused for another fault.

/** Every code and its level (docs: `gatewarden profile lint`). */
export const findingLevels = {
  syntax: 'error',
  unknown_field: 'error',
  duplicate_field: 'error',
  type: 'error',
  limit: 'error',
  evidence: 'error',
  prefix_conflict: 'error',
  key_weak: 'error',
  key_ambiguous: 'error',
  unknown_scope: 'error',
  unused_scope: 'warning',
  duplicate_rule: 'error',
  shadowed: 'error',
  unreachable: 'error',
  unmapped: 'warning',
  undocumented: 'info',
  reason_missing: 'error',
  reason_duplicate: 'error',
  reason_unknown: 'error',
  unrenderable: 'error',
  same_body: 'info',
  order: 'error',
  ip_rule: 'error',
  ip_open: 'warning',
  grace: 'error',
  empty_all: 'warning',
  not_grantable: 'warning',
  example: 'error',
} as const

export type FindingCode = keyof typeof findingLevels
export type FindingLevel = 'error' | 'warning' | 'info'

/** One finding. `line` and `column` count from 1; the column counts UTF-16 units. */
export interface Finding {
  readonly code: FindingCode
  readonly level: FindingLevel
  readonly file: string
  /** Path of the member, e.g. `routes.rules[2].methods.GET`; empty for the whole file. */
  readonly field: string
  readonly line: number
  readonly column: number
  /** One sentence: what is wrong and how to mend it. */
  readonly message: string
}

/** Where a member is, from the root: names and list positions. */
export type FieldPath = readonly (string | number)[]

const PLAIN_NAME = /^[A-Za-z_][A-Za-z0-9_-]*$/

/** `['routes', 'rules', 2, 'a.b']` as `routes.rules[2]["a.b"]`. */
export function formatPath(path: FieldPath): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else if (!PLAIN_NAME.test(part)) text += `[${JSON.stringify(part)}]`
    else text += text === '' ? part : `.${part}`
  }
  return text
}

/** `file:line:column: level code field: sentence`, one line. */
export function formatFinding(finding: Finding): string {
  const field = finding.field === '' ? '' : ` ${finding.field}`
  const place = `${finding.file}:${finding.line}:${finding.column}`
  return `${place}: ${finding.level} ${finding.code}${field}: ${finding.message}`
}

/** Errors refuse a profile; warnings and infos do not. */
export function hasErrors(findings: readonly Finding[]): boolean {
  return findings.some(finding => finding.level === 'error')
}

/** In the order of the file; findings at one place by code. */
export function compareFindings(a: Finding, b: Finding): number {
  return a.line - b.line || a.column - b.column || a.code.localeCompare(b.code) || a.field.localeCompare(b.field)
}

// Rules of text fields that several resources share: lengths in code points, no control characters, labels.
// Every breach is added to the violations; nothing is repaired.
import type { Violations } from './violations.ts'

/** Bounds of admin-api.md section 2, in code points. */
export const displayNameMax = 255
export const descriptionMax = 2000
export const reasonMax = 255
const labelsMax = 64
const labelValueMax = 255

const labelKeyForm = /^[a-z][a-z0-9_-]{0,62}$/

/** What a text on one line, and one on several, must not contain. */
export const notInLine = /\p{Cc}/u
export const notInLines = /[^\P{Cc}\t\n\r]/u

/** Characters of a caller's text that a message repeats. */
const echoMax = 64

/** A caller's text for a message: quoted, control characters escaped, cut. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > echoMax ? `${text.slice(0, echoMax)}…` : text)
}

/** A text on one line. `required`: must not be empty. */
export function checkLine(text: string, field: string, max: number, required: boolean, violations: Violations): void {
  if (text === '' && required) violations.add(field, 'FIELD_REQUIRED', `Give 1 to ${max} characters.`)
  if (notInLine.test(text)) violations.add(field, 'FIELD_INVALID', 'It contains control characters.')
  checkLength(text, field, max, violations)
}

/** A text that may have several lines. */
export function checkLines(text: string, field: string, max: number, violations: Violations): void {
  if (notInLines.test(text)) violations.add(field, 'FIELD_INVALID', 'It contains control characters.')
  checkLength(text, field, max, violations)
}

function checkLength(text: string, field: string, max: number, violations: Violations): void {
  if (text.length > max && [...text].length > max) {
    violations.add(field, 'FIELD_TOO_LONG', `It has more than ${max} characters.`)
  }
}

/** Labels: at most 64, keys of the form [a-z][a-z0-9_-]{0,62}, values of at most 255 characters. */
export function checkLabels(labels: ReadonlyMap<string, string>, field: string, violations: Violations): void {
  if (labels.size > labelsMax) {
    violations.add(field, 'FIELD_INVALID', `There are ${labels.size} labels, at most ${labelsMax} are allowed.`)
    return
  }
  for (const [key, value] of labels) {
    if (!labelKeyForm.test(key)) {
      violations.add(field, 'FIELD_INVALID', `The key ${quoted(key)} is not of the form [a-z][a-z0-9_-]{0,62}.`)
    } else checkLine(value, `${field}.${key}`, labelValueMax, false, violations)
  }
}

/** Whether two sets of labels are the same. */
export function sameLabels(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value)
}

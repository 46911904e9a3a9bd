// Collects the findings of one profile text, bounded in number and in length, so that the list can be printed, sent and kept
// whatever the text was. What goes beyond a bound is said once and never hides that there are errors.
import { compareFindings, type Finding, type FindingCode, findingLevels } from './finding.ts'
import type { Positions } from './read-yaml.ts'

/** A broken file needs no thousandth error. */
export const ERRORS_MAX = 1000
/** Warnings and infos: a profile with a choice in each of its 2000 rules stays below. */
export const NOTES_MAX = 5000

/** Characters of a finding's field and of its message: what a text puts into them may be of any length. */
export const FIELD_LENGTH_MAX = 512
export const MESSAGE_LENGTH_MAX = 1024

export class FindingList {
  private readonly file: string
  private readonly positions: Positions
  private readonly findings: Finding[] = []
  private errors = 0
  private notes = 0

  constructor(file: string, positions: Positions) {
    this.file = file
    this.positions = positions
  }

  get hasErrors(): boolean {
    return this.errors > 0
  }

  /** @param field the path as text. */
  add(code: FindingCode, field: string, offset: number, message: string): void {
    const isError = findingLevels[code] === 'error'
    const count = isError ? ++this.errors : ++this.notes
    const max = isError ? ERRORS_MAX : NOTES_MAX
    if (count <= max) this.push(code, field, offset, message)
    else if (count === max + 1 && isError) {
      this.push('limit', field, offset, `there are more than ${max} errors; mend these first`)
    } else if (count === max + 1) {
      this.push(code, field, offset, `there are more than ${max} warnings and infos; split the file to see the others`)
    }
  }

  /** In the order of the file. */
  sorted(): readonly Finding[] {
    return [...this.findings].sort(compareFindings)
  }

  private push(code: FindingCode, field: string, offset: number, message: string): void {
    const { line, column } = this.positions.placeOf(offset)
    this.findings.push({
      code,
      level: findingLevels[code],
      file: this.file,
      field: clipped(field, FIELD_LENGTH_MAX),
      line,
      column,
      message: clipped(message, MESSAGE_LENGTH_MAX),
    })
  }
}

function clipped(text: string, lengthMax: number): string {
  return text.length > lengthMax ? `${text.slice(0, lengthMax - 1)}…` : text
}

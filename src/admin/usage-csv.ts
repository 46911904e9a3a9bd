// CSV as an export writes it: UTF-8 without mark, CRLF, quoted per RFC 4180. No cell can act in a spreadsheet: one that begins
// like a formula gets a leading ' and quotes. NUL, which some readers end a text at, is never written.

/** Beginnings of formulas, in the two widths that spreadsheets take, and what some of them skip before one. */
const liveStarts: ReadonlySet<number> = new Set([...'=+-@＝＋－＠\t\r\n\0'].map(character => character.charCodeAt(0)))

/** The last one is no character of a text, but of an attempt to cut one short. */
const quoteNeeded = /[",\r\n\0]/

/** One cell. */
export function csvCell(text: string): string {
  if (text === '') return ''
  const live = liveStarts.has(text.charCodeAt(0))
  if (!live && !quoteNeeded.test(text)) return text
  const inner = text.replaceAll('\0', '').replaceAll('"', '""')
  return live ? `"'${inner}"` : `"${inner}"`
}

/** One line with its end. `from`: index of the first cell. */
export function csvLine(cells: readonly unknown[], from = 0): string {
  let line = csvCell(String(cells[from] ?? ''))
  for (let at = from + 1; at < cells.length; at++) line += `,${csvCell(String(cells[at] ?? ''))}`
  return `${line}\r\n`
}

// CSV as an export writes it: UTF-8 without mark, CRLF, quoted per RFC 4180. No cell can act in a spreadsheet: one that begins
// like a formula gets a leading ' and quotes, and so does what begins like one behind a character at which spreadsheets of some
// locales begin a cell, whatever the quotes. NUL, which some readers end a text at, is never written.

/** Beginnings of formulas, in the two widths that spreadsheets take. */
const formulaStarts = '=+\\-@＝＋－＠'
/** The same, and what some spreadsheets skip before one. */
const liveStart = new RegExp(`^[${formulaStarts}\\t\\r\\n\\0]`)
const liveBehindSeparator = new RegExp(`[;|\\t\\r\\n][ "]*(?=[${formulaStarts}])`, 'g')

/** Separators of any locale. The last one is no character of a text, but of an attempt to cut one short. */
const quoteNeeded = /[",;|\t\r\n\0]/

/** One cell. */
export function csvCell(text: string): string {
  if (text === '') return ''
  const isLive = liveStart.test(text)
  if (!isLive && !quoteNeeded.test(text)) return text
  const inner = text.replaceAll('\0', '').replace(liveBehindSeparator, "$&'").replaceAll('"', '""')
  return isLive ? `"'${inner}"` : `"${inner}"`
}

/** One line with its end. `from`: index of the first cell. */
export function csvLine(cells: readonly unknown[], from = 0): string {
  let line = csvCell(String(cells[from] ?? ''))
  for (let at = from + 1; at < cells.length; at++) line += `,${csvCell(String(cells[at] ?? ''))}`
  return `${line}\r\n`
}

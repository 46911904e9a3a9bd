// A reader of CSV as RFC 4180 has it, octet for octet: strict, slow, sharing no code with the writer.

/** The records of a text. @throws Error where it is not RFC 4180 with CRLF */
export function readCsv(octets: Uint8Array): string[][] {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(octets)
  const records: string[][] = []
  let at = 0
  while (at < text.length) {
    const record: string[] = []
    for (;;) {
      let cell = ''
      if (text[at] === '"') {
        at += 1
        for (;;) {
          if (at >= text.length) throw new Error('a quotation does not end')
          if (text[at] !== '"') cell += text[at++]
          else if (text[at + 1] === '"') {
            cell += '"'
            at += 2
          } else break
        }
        at += 1
      } else {
        while (at < text.length && text[at] !== ',' && text[at] !== '\r' && text[at] !== '\n') {
          if (text[at] === '"') throw new Error(`a quotation mark inside of a bare cell at ${at}`)
          cell += text[at++]
        }
      }
      record.push(cell)
      if (text[at] !== ',') break
      at += 1
    }
    if (text.slice(at, at + 2) !== '\r\n') throw new Error(`no CRLF at ${at}`)
    at += 2
    records.push(record)
  }
  return records
}

/** Whether a spreadsheet would take the cell for a formula, or skip something and then do. */
export function isLive(cell: string): boolean {
  return /^[=+\-@＝＋－＠\t\r\n\0]/.test(cell)
}

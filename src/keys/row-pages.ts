// Rows of 32-bit words in pages: growing adds a page and copies nothing, and the room not yet used is at most one page.
// It knows nothing of what the words mean, and never moves a row.

/** Rows of a page: 150 KiB at 19 words, a fraction of a millisecond to clear. */
const pageRows = 2048
const pageShift = 11

const NO_PAGE = new Int32Array(0)

/** See the head of the file. Rows are read as `page(row)[at(row) + word]`. */
export class RowPages {
  private readonly rowWords: number
  private readonly pages: Int32Array[] = []

  constructor(rowWords: number) {
    this.rowWords = rowWords
  }

  get bytes(): number {
    return this.pages.length * pageRows * this.rowWords * 4
  }

  /** The array a row lies in. */
  page(row: number): Int32Array {
    return this.pages[row >>> pageShift] ?? NO_PAGE
  }

  /** Where in its page a row begins. */
  at(row: number): number {
    return (row & (pageRows - 1)) * this.rowWords
  }

  /** Makes rows `[0, count)` exist, and drops pages beyond the next one. New rows are zero. */
  fit(count: number): void {
    const needed = Math.ceil(count / pageRows)
    while (this.pages.length < needed) this.pages.push(new Int32Array(pageRows * this.rowWords))
    if (this.pages.length > needed + 1) this.pages.length = needed + 1
  }

  /** Copies the words of one row over another. */
  copy(from: number, to: number): void {
    const source = this.page(from)
    const start = this.at(from)
    const target = this.page(to)
    const at = this.at(to)
    for (let i = 0; i < this.rowWords; i++) target[at + i] = source[start + i] ?? 0
  }

  clear(): void {
    this.pages.length = 0
  }
}

const number = new Float64Array(1)
const halves = new Int32Array(number.buffer)

/** Stores a float64 in two words. */
export function putNumber(page: Int32Array, at: number, value: number): void {
  number[0] = value
  page[at] = halves[0] ?? 0
  page[at + 1] = halves[1] ?? 0
}

/** Reads a float64 from two words. */
export function getNumber(page: Int32Array, at: number): number {
  halves[0] = page[at] ?? 0
  halves[1] = page[at + 1] ?? 0
  return number[0] ?? 0
}

// Rows of numbers in pages: growing adds a page and copies nothing, and the room not yet used is at most one page and a spare one.
// It knows nothing of what the numbers mean, and moves a row only when told to.

/** Rows of a page: 150 KiB at 19 words, a fraction of a millisecond to clear. */
const pageRows = 2048
const pageShift = 11

/** See the head of the file. Rows are read as `page(row)[at(row) + i]`; a row that is not there is in a page without numbers. */
export class RowPages<Page extends Int32Array | Float64Array> {
  private readonly rowLength: number
  private readonly make: (length: number) => Page
  private readonly none: Page
  private readonly pages: Page[] = []

  constructor(rowLength: number, make: (length: number) => Page) {
    this.rowLength = rowLength
    this.make = make
    this.none = make(0)
  }

  get bytes(): number {
    return this.pages.length * pageRows * this.rowLength * this.none.BYTES_PER_ELEMENT
  }

  /** The array a row lies in. */
  page(row: number): Page {
    return this.pages[row >>> pageShift] ?? this.none
  }

  /** Where in its page a row begins. */
  at(row: number): number {
    return (row & (pageRows - 1)) * this.rowLength
  }

  /** Makes rows `[0, count)` exist, and drops pages beyond the next one. New rows are zero. */
  fit(count: number): void {
    const needed = Math.ceil(count / pageRows)
    while (this.pages.length < needed) this.pages.push(this.make(pageRows * this.rowLength))
    if (this.pages.length > needed + 1) this.pages.length = needed + 1
  }

  /** Copies one row over another. */
  copy(from: number, to: number): void {
    const source = this.page(from)
    const start = this.at(from)
    const target = this.page(to)
    const at = this.at(to)
    for (let i = 0; i < this.rowLength; i++) target[at + i] = source[start + i] ?? 0
  }

  clear(): void {
    this.pages.length = 0
  }
}

/** Rows of 32-bit words. */
export function wordRows(rowLength: number): RowPages<Int32Array> {
  return new RowPages(rowLength, length => new Int32Array(length))
}

/** Rows of 64-bit numbers. */
export function numberRows(rowLength: number): RowPages<Float64Array> {
  return new RowPages(rowLength, length => new Float64Array(length))
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

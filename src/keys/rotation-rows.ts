// What only rotated API keys have: the end of their grace period, and the lineage their rate-limit budgets belong to.
// Guarantee: a released row is reused. Rows never move, so their numbers are good while they are held.
import { uuidWords } from './id-shapes.ts'
import { GRACE, LINEAGE, rotationMax, rotationWords } from './key-row.ts'
import { getNumber, putNumber, wordRows } from './row-pages.ts'

/** See the head of the file. Number 0 is no row. */
export class RotationRows {
  private readonly rows = wordRows(rotationWords)
  private count = 1
  private free = 0

  get bytes(): number {
    return this.rows.bytes
  }

  /** Whether one more row has a number that fits a key's row. */
  get hasRoom(): boolean {
    return this.free !== 0 || this.count <= rotationMax
  }

  /** Stores a grace end (Infinity: none) and a lineage, and gives the row's number (>= 1). */
  hold(graceEndAt: number, lineage: Int32Array): number {
    const number = this.take()
    const page = this.rows.page(number)
    const at = this.rows.at(number)
    putNumber(page, at + GRACE, graceEndAt)
    for (let i = 0; i < uuidWords; i++) page[at + LINEAGE + i] = lineage[i] ?? 0
    return number
  }

  release(number: number): void {
    if (number === 0) return
    this.rows.page(number)[this.rows.at(number)] = this.free
    this.free = number
  }

  graceEndAt(number: number): number {
    return getNumber(this.rows.page(number), this.rows.at(number) + GRACE)
  }

  /** Word `i` of the lineage's UUID. */
  lineageWord(number: number, i: number): number {
    return this.rows.page(number)[this.rows.at(number) + LINEAGE + i] ?? 0
  }

  clear(): void {
    this.rows.clear()
    this.count = 1
    this.free = 0
  }

  private take(): number {
    if (this.free === 0) {
      this.rows.fit(this.count + 1)
      return this.count++
    }
    const number = this.free
    this.free = this.rows.page(number)[this.rows.at(number)] ?? 0
    return number
  }
}

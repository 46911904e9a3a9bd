// When records were given up that are in no row, gathered until the database has heard of it: one loss at a time on its way,
// one that grows behind it. Bounded, however much is lost; what grows is a time within which all of it lies, never less.
import { allowedLane, type Lane } from './record-format.ts'

/** Unix milliseconds within which records were made. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** Records given up, for the store. */
export interface UsageLoss {
  /** Of the losses of this process, from 1 on; it stays the same however often it is told. */
  readonly number: number
  readonly span: Span
  /** Records, as far as they could be counted. */
  readonly allowed: number
  readonly denied: number
}

/** Clocks that are wrong beyond this are taken as this: an instant that the database has no room for is never told. */
const unixMsMax = Date.UTC(2300)

export class Losses {
  private growing: Omit<UsageLoss, 'number'> | null = null
  private telling: UsageLoss | null = null
  private told = 0

  /** @param records 0: nobody can tell how many */
  add(lane: Lane, records: number, { from, to }: Span): void {
    const before = this.growing
    const [allowed, denied] = lane === allowedLane ? [records, 0] : [0, records]
    // A clock that was set back in between must not make an interval that ends before it starts.
    const [first, last] = [bounded(Math.floor(Math.min(from, to))), bounded(Math.ceil(Math.max(from, to)))]
    this.growing = {
      span: { from: Math.min(first, before?.span.from ?? first), to: Math.max(last, before?.span.to ?? last) },
      allowed: (before?.allowed ?? 0) + allowed,
      denied: (before?.denied ?? 0) + denied,
    }
  }

  /** Whether the database has not heard of something. */
  get isUntold(): boolean {
    return this.telling !== null || this.growing !== null
  }

  /** What to tell: the same until `settle`. */
  next(): UsageLoss | null {
    if (this.telling === null && this.growing !== null) {
      this.told += 1
      this.telling = { ...this.growing, number: this.told }
      this.growing = null
    }
    return this.telling
  }

  /** What `next` gave out is kept. */
  settle(): void {
    this.telling = null
  }
}

function bounded(unixMs: number): number {
  return Math.max(0, Math.min(unixMs, unixMsMax))
}

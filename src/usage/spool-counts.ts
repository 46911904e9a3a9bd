// What recording counts, and whom it tells when something begins or ceases to go wrong. Numbers only; never part of a record.
import { Losses, type Span } from './losses.ts'
import { allowedLane, type Lane } from './record-format.ts'

/** Why records were given up. */
export const dropCauses = ['full', 'age', 'memory', 'corrupt', 'refused', 'set_aside'] as const
export type DropCause = (typeof dropCauses)[number]

export class SpoolCounts {
  /** Records written to the spool. */
  recorded = 0
  /** Records stored in the database by this process. */
  written = 0
  /** Of those, records that another process had left. */
  replayed = 0
  writeErrors = 0
  /** Segments that were set aside: unreadable, or starts died over them. */
  setAside = 0
  /** When what was given up was made, for those who judge by the log. */
  readonly losses = new Losses()
  private readonly dropped = new Map<string, number>()

  /** @param made when the records were made */
  drop(lane: Lane, cause: DropCause, records: number, made: Span): void {
    if (records > 0) this.lose(lane, cause, records, made)
  }

  /** As `drop`, where records are gone that nobody can count: `records` is 0 then. */
  lose(lane: Lane, cause: DropCause, records: number, made: Span): void {
    this.losses.add(lane, records, made)
    if (records === 0) return
    const key = `${lane === allowedLane ? 'allow' : 'deny'} ${cause}`
    this.dropped.set(key, (this.dropped.get(key) ?? 0) + records)
  }

  /** Every pair that has been counted. */
  drops(): { readonly decision: string; readonly cause: string; readonly records: number }[] {
    return [...this.dropped].map(([key, records]) => {
      const [decision = '', cause = ''] = key.split(' ')
      return { decision, cause, records }
    })
  }

  get droppedTotal(): number {
    let total = 0
    for (const records of this.dropped.values()) total += records
    return total
  }
}

/** Told once when a trouble begins and once when it has ended. */
export interface SpoolObserver {
  /** The spool's files cannot be written; records are kept in memory as far as there is room. */
  spoolFailed(error: unknown): void
  spoolRecovered(): void
  /** Records were given up; at most one call a turn of the writer. */
  dropped(counts: SpoolCounts): void
  /** The database does not take records; they wait. */
  storeFailed(error: unknown): void
  storeRecovered(): void
  /** Something else that a person should see. */
  noticed(text: string, detail: Readonly<Record<string, unknown>>): void
}

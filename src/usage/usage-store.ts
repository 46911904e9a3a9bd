// What the writer of usage needs of a store: take a batch exactly once, say how far a lane is stored, keep what was lost.
import type { UsageLoss } from './losses.ts'
import type { Lane } from './record-format.ts'
import type { Position } from './spool-segment.ts'

/** Records of one lane in a row. */
export interface UsageBatch {
  readonly sidecar: string
  readonly lane: Lane
  /** Where the lane is stored to before the batch; null: nothing of it is. */
  readonly from: Position | null
  /** Where it is stored to with the batch. */
  readonly to: Position
  /** Columns of `tuples`, in order. */
  readonly columns: readonly string[]
  /** Rows in PostgreSQL's binary COPY form: without its header and trailer. */
  readonly tuples: Buffer
  /** Where each row begins in `tuples`. */
  readonly starts: readonly number[]
  /** UTC days of the rows, `YYYY-MM-DD`. */
  readonly days: readonly string[]
}

export type StoreOutcome =
  /** All rows are stored but `refused` that the database takes in no way. */
  | { readonly kind: 'stored'; readonly refused: number }
  /** The lane is not stored to `from`: somebody else stored some of it. Nothing of the batch is stored. */
  | { readonly kind: 'moved' }
  /** No answer to the commit: the batch is stored, or nothing of it is. */
  | { readonly kind: 'unknown'; readonly error: unknown }

/** Every method throws when the database cannot be asked; then nothing was changed. */
export interface UsageStore {
  /** Where a lane is stored to; null: nothing of it is. */
  position(sidecar: string, lane: Lane): Promise<Position | null>
  /** Stores a batch and the new position, or neither. */
  store(batch: UsageBatch): Promise<StoreOutcome>
  /** Forgets the positions of a process of which nothing is left to store. */
  forget(sidecar: string): Promise<void>
  /** Keeps that records were given up; the same number again changes nothing. */
  lose(sidecar: string, loss: UsageLoss): Promise<void>
  /** Ends the connection. Nothing may be under way. */
  close(): Promise<void>
}

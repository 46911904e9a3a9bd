// The seam to whoever keeps the records of decisions (usage). A record is a view of reused objects: a sink copies what it
// wants within the call, never waits and never keeps octets of the request.
import type { Decision } from '../core/decide.ts'
import type { RequestView } from '../core/request-view.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import type { ReplyValues } from './reply-values.ts'

/** One decision as it was answered. */
export interface DecisionRecord {
  readonly request: RequestView
  readonly decision: Decision
  /** Ids, address and numbers of the reply. */
  readonly values: ReplyValues
  /** Null: no profile matched. */
  readonly profile: CompiledProfile | null
  /** HTTP status of a denial; 0: allowed. */
  readonly status: number
}

/** Takes the records of decisions. A throw is reported and changes no answer. */
export interface DecisionSink {
  record(record: DecisionRecord): void
  /** The requests of one read have been handled and their replies are about to leave. */
  endOfBatch(): void
}

/** Keeps nothing. */
export const noSink: DecisionSink = { record: () => undefined, endOfBatch: () => undefined }

// What the feed tells logs and metrics, as one union of events. The feed works the same whatever is done with them:
// an observer that throws is not heard, and changes nothing (architecture.md invariant 4).

/** Why everything was forgotten and loaded anew. `boot` is the first load. */
export type ReloadCause = 'boot' | 'history' | 'truncated' | 'gap' | 'unreadable' | 'apply' | 'clock'

/** What failed: a step of talking to the database; `timeout` any step that took too long, `role` a server in recovery. */
export type FaultCause = FeedStep | 'timeout' | 'role'

/** The steps in which the feed waits for the database. */
export type FeedStep = 'connect' | 'beat' | 'read' | 'load' | 'leave'

/** Where the feed stands. `loading`: nothing is held; `unconfirmed`: held, but not to be used. */
export type FeedState = 'loading' | 'fresh' | 'unconfirmed'

/** One thing that happened. What pages and what only counts is said at each. */
export type FeedEvent =
  /** One log line; once per change. `reason` is a short text for people. */
  | { readonly type: 'state'; readonly state: FeedState; readonly reason: string }
  /** `feed_reload_total{cause}`; `history` pages: an acknowledged change may be lost. */
  | { readonly type: 'reload'; readonly cause: ReloadCause }
  | { readonly type: 'loaded'; readonly apiKeys: number; readonly organizations: number; readonly durationMs: number }
  /** `feed_errors_total{cause}`, and `feed_load_failed_total` where the step is `load`. */
  | { readonly type: 'fault'; readonly cause: FaultCause; readonly step: FeedStep; readonly error: unknown }
  /** A connection was destroyed: `db_conn_killed_total`. */
  | { readonly type: 'connection_killed' }
  /** A cycle confirmed; `roundTripMs` from its start to its end, `changes` what it applied. */
  | { readonly type: 'confirmed'; readonly roundTripMs: number; readonly changes: number }
  /** `suspend_detected_total`. */
  | { readonly type: 'suspend' }
  /** One log line, `record_invalid_total{cause}`, pages. `subject` is an id or ''; never a value of the row. */
  | {
      readonly type: 'row_invalid'
      readonly table: 'api_key' | 'organization'
      readonly subject: string
      readonly cause: string
    }
  /** The peppers that the database contradicts are others than before; with any, pages. Empty: all is well again. */
  | { readonly type: 'wrong_peppers'; readonly pepperIds: readonly string[] }
  /** A newer writer recorded something unknown; nothing is served until this process is replaced. Pages. */
  | { readonly type: 'unknown_kind'; readonly kind: number; readonly revision: bigint }
  /** A read found changes that no hint had announced: `hint_missed_total`. */
  | { readonly type: 'hint_missed' }
  | { readonly type: 'timeline'; readonly from: string; readonly to: string }
  /** Database time made a step: believed, not yet believed, or (page) never. */
  | { readonly type: 'clock_step'; readonly verdict: 'stepped' | 'doubted' | 'ahead' | 'refused' }
  /** A bug: an exception while applying, for the log with its stack. */
  | { readonly type: 'threw'; readonly error: unknown }

export interface FeedObserver {
  record(event: FeedEvent): void
}

/** An observer whose failures end in it. */
export function deafTo(observer: FeedObserver): FeedObserver {
  return {
    record: event => {
      try {
        observer.record(event)
      } catch {
        // There is nobody to tell: this is the channel by which failures are told.
      }
    },
  }
}

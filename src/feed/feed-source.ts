// The ports through which the feed reaches the database and time. Adapters: store/feed-source.ts, scripted ones in tests.
// Rows come raw: decoding them, and surviving what is in them, is the feed's work (decode-row.ts).

/** A row of `api_keys` as the driver returned it, column name to value; nothing is known of it yet. */
export type RawRow = Readonly<Record<string, unknown>>

/** What this process tells the database of itself with each beat. */
export interface BeatReport {
  readonly appliedRevision: bigint
  readonly appliedNonce: bigint
  readonly leaseMs: number
  readonly staleCapMs: number
  /** Ids of peppers whose content is not that of the database: this process has them in name only. */
  readonly wrongPeppers: readonly string[]
  /** Whole milliseconds since the last confirm; 2^31 - 1 where there is none or it is older. */
  readonly confirmAgeMs: number
}

/** One change of a revision with the current row, or null where the row is gone. */
export interface FeedChange {
  /** 1 API key, 2 organization; anything else comes from a newer writer. */
  readonly kind: number
  readonly digest: Uint8Array | null
  readonly organization: string | null
  readonly row: RawRow | null
}

export interface FeedRevision {
  readonly revision: bigint
  readonly nonce: bigint
  /** Number of changes the writer recorded. */
  readonly changes: number
  readonly rows: readonly FeedChange[]
}

/** One statement, one snapshot (freshness.md section 4). */
export interface FeedPage {
  readonly head: bigint
  readonly floor: bigint
  readonly headNonce: bigint
  /** Nonce of the witness revision in this history; null: the row is missing. */
  readonly witnessNonce: bigint | null
  /** `clock_timestamp()` of the database, Unix milliseconds with fraction. */
  readonly dbTimeMs: number
  /** Null: the server is in recovery. */
  readonly timeline: string | null
  /** Proofs of the peppers of this process as the database has them, by id; one that it does not know is absent. */
  readonly pepperProofs: ReadonlyMap<string, Uint8Array>
  /** Ascending. */
  readonly revisions: readonly FeedRevision[]
}

/** Head of the snapshot a load read. */
export interface LoadHead {
  readonly revision: bigint
  readonly nonce: bigint
}

/** One connection. After any rejection it is destroyed by the adapter and never used again. */
export interface FeedConnection {
  /**
   * Statement 1 of a cycle: commits the own heartbeat; answers per profile how many live sidecars serve it, this one
   * included. Also sent before a load, with what was applied last (0 at boot), to learn whether a fleet is running.
   */
  beat(report: BeatReport): Promise<ReadonlyMap<string, number>>
  /** Statement 2 of a cycle. */
  read(applied: bigint, witness: bigint, pageRevisions: number): Promise<FeedPage>
  /**
   * One REPEATABLE READ READ ONLY transaction over everything served, in slices; organizations come before their keys.
   * Resolves null when no load slot is free (ask again later).
   */
  load(sink: LoadSink): Promise<LoadHead | null>
  /**
   * Deletes the own heartbeat, so that nobody waits for a process that has ended. Where it is absent, or fails, the
   * heartbeat is forgotten when it grows old.
   */
  leave?(): Promise<void>
  /** Drops the connection now. */
  destroy(): void
}

/**
 * Takes the rows of a load. Called with slices small enough that one call does not stall the event loop; every call
 * may throw, which ends the load: `load` then rejects. A slice without rows is a sign of life (5 s without any end it).
 */
export interface LoadSink {
  /** How many API keys will come, an estimate, before the first of them; optional. */
  expect(apiKeys: number): void
  organizations(rows: readonly RawRow[]): void
  apiKeys(rows: readonly RawRow[]): void
}

export interface FeedSource {
  /** A new connection; `onHint` is called for every notification on it. */
  connect(onHint: () => void): Promise<FeedConnection>
}

/** Two clocks, milliseconds with fractions: `mono` never steps; `wall` is Unix time and may. */
export interface FeedClock {
  mono(): number
  wall(): number
}

/** Timers and randomness, so that tests run the protocol under a virtual clock. */
export interface FeedTimers {
  /** Runs `task` after `delayMs`; the returned function cancels. */
  after(delayMs: number, task: () => void): () => void
  /** Resolves in a later turn of the event loop. */
  nextTurn(): Promise<void>
  /** Uniform in [0, 1). */
  random(): number
}

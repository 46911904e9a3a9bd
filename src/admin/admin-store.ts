// What admin needs of the database, as types: one transaction a call, rows in and out, the end of a mutation last.
// The adapter is src/store/admin-store.ts. Instants are database time in Micros; rows carry no secret.
import type { Micros } from '../core/time.ts'
import type { AccessRows } from './access-rows.ts'
import type { ApiKeyRows } from './api-key-rows.ts'
import type { Json } from './canonical-json.ts'
import type { OrganizationRows } from './organization-rows.ts'
import type { ProofReads, ProofRows } from './pepper-proofs.ts'
import type { PropagationRows } from './propagation-rows.ts'

/**
 * Thrown by the store for what no statement of ours can help, told by its member `fault`: `full` (no room to write, so
 * nothing was), `unavailable` (no connection,
 * a timeout, a lost COMMIT: whether it happened is unknown), `conflict` (lock timeout, deadlock, serialization) or `slow`
 * (a question about the usage log that takes longer than a call).
 */
export interface StoreFault extends Error {
  readonly fault: 'unavailable' | 'conflict' | 'full' | 'slow'
}

/** How a transaction ends. A rolled back one leaves nothing and tells nobody. */
export interface Ended<Value> {
  readonly end: 'commit' | 'rollback'
  readonly value: Value
}

/** What a transaction came to. */
export interface Settled<Value> {
  readonly value: Value
  /**
   * The revision that `finish` recorded, with its nonce; revision 0 if it recorded none. The nonce is null when the
   * database fell silent right after the commit: then the caller gets its reply, a secret perhaps, without a token.
   */
  readonly point: { readonly revision: bigint; readonly nonce: bigint | null }
}

export interface AdminStore {
  /**
   * One read-committed transaction. A throw in `work` rolls back and passes. After a commit that recorded a revision
   * the feed's hint is sent.
   * @throws StoreFault
   */
  transact<Value>(work: (tx: AdminTx) => Promise<Ended<Value>>): Promise<Settled<Value>>
  /** One read-only snapshot of the primary. @throws StoreFault */
  read<Value>(work: (tx: AdminReads) => Promise<Value>): Promise<Value>
}

/** Everything that can be read. */
export interface AdminReads {
  /** Database time at the start of the transaction. */
  readonly now: Micros
  readonly access: AccessRows
  readonly organizations: OrganizationRows
  readonly apiKeys: ApiKeyRows
  readonly propagation: PropagationRows
  readonly peppers: ProofReads
}

/** A transaction that may write. */
export interface AdminTx extends AdminReads {
  readonly peppers: ProofRows
  /**
   * Claims a request id until the end of the transaction.
   * `busy`: another transaction holds it. `new`: nobody used it within 24 h.
   */
  claimRequest(principal: string, requestId: string): Promise<'busy' | 'new' | StoredReply>
  /**
   * The last statements of a mutation: the end of the audit chain is locked, then one statement makes the feed record,
   * the audit row and the idempotency row. Nothing may follow but the commit. Resolves to the new revision, 0 if there
   * are no changes.
   */
  finish(end: MutationEnd): Promise<bigint>
}

/** A point of the feed's history. */
export interface RevisionPoint {
  /** 0: the mutation touched nothing that checks read. */
  readonly revision: bigint
  readonly nonce: bigint
}

export interface StoredReply {
  readonly method: string
  readonly requestHash: Buffer
  /** Encoded, revision 0, without secret. */
  readonly reply: Buffer
  readonly revision: bigint
}

/** A changed row that checks rely on. */
export type FeedChange =
  | { readonly kind: 'api_key'; readonly digest: Buffer }
  | { readonly kind: 'organization'; readonly organization: string }

/** What a mutation leaves behind beside its rows. */
export interface MutationEnd {
  /** At most 1000; none for changes that no check reads. */
  readonly changes: readonly FeedChange[]
  readonly audit: AuditRecord
  readonly idempotency: IdempotencyRecord | null
}

export interface AuditRecord {
  /** Whose chain: an organization's id, or empty for what belongs to none. */
  readonly organization: string
  readonly time: Micros
  readonly actor: { readonly principal: string; readonly certificate_serial: string; readonly admin_key_hint: string }
  readonly action: string
  readonly resource: string
  readonly before: Json | null
  readonly after: Json | null
  readonly requestId: string
  readonly sourceIp: string
  readonly outcome: string
  /** Text of the row for the chain: the hash is SHA-256(previous hash ‖ text ‖ LF ‖ revision). */
  readonly text: string
}

export interface IdempotencyRecord {
  readonly principal: string
  readonly requestId: string
  readonly method: string
  readonly requestHash: Buffer
  readonly reply: Buffer
}

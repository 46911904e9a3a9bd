// API keys as the store keeps them, and what admin asks of the store about them. No row carries a secret.

import type { AllowlistEntry } from '../core/allowlist.ts'
import type { RevokeReason } from '../core/api-key.ts'
import type { OwnLimit } from '../core/api-key-entry.ts'
import type { LineageMember } from '../core/api-key-rotation.ts'
import type { Micros } from '../core/time.ts'
import type { RowPage } from './row-page.ts'

/** An allowlist entry as stored text: canonical, but read back without trust. */
export interface StoredAllowlistEntry {
  readonly cidr: string
  readonly label: string
}

export interface ApiKeyRow extends LineageMember {
  readonly organization: string
  /** 32 octets. */
  readonly digest: Buffer
  readonly pepperId: string
  readonly form: 'ISSUED' | 'IMPORTED'
  readonly keyHint: string
  readonly displayName: string
  readonly description: string
  readonly environment: string
  readonly scopeMode: 'LISTED' | 'ALL'
  /** Sorted, without duplicates. */
  readonly scopes: readonly string[]
  readonly allowlist: readonly StoredAllowlistEntry[]
  readonly rateLimit: OwnLimit | null
  readonly labels: ReadonlyMap<string, string>
  /** Id of the first predecessor, or the own id. */
  readonly lineage: string
  readonly creator: string
  readonly createAt: Micros
  readonly updateAt: Micros
  readonly lastUsedAt: Micros | null
  readonly revokeReason: RevokeReason | null
  /** The row's own; its etag. */
  readonly version: bigint
  /** The feed revision that last named it. */
  readonly revision: bigint
}

/** A row to be inserted. Its allowlist is in binary, from which the store makes both stored forms. */
export type NewApiKey = Omit<ApiKeyRow, 'version' | 'revision' | 'allowlist' | 'lastUsedAt'> & {
  readonly allowlist: readonly AllowlistEntry[]
}

/** A row to be written over the one of the same id and version. `allowlist` null: unchanged. */
export type ApiKeyWrite = Omit<ApiKeyRow, 'allowlist'> & { readonly allowlist: readonly AllowlistEntry[] | null }

/** Why rows could not be inserted: the id was used before, or the digest is known, tombstones included. */
export type InsertConflict = 'id' | 'digest'

export interface ApiKeyRows {
  /** The row of an id within its organization; `lock` holds it until the end of the transaction. */
  find(organization: string, id: string, lock: boolean): Promise<ApiKeyRow | undefined>
  /** All rows of a lineage in id order, locked until the end of the transaction (rule W5). At most 1000 of them, the newest. */
  lockLineage(organization: string, lineage: string): Promise<readonly ApiKeyRow[]>
  /** The same rows without a lock, the newest first. */
  listLineage(organization: string, lineage: string): Promise<readonly ApiKeyRow[]>
  /** Inserts a row. A conflict leaves the transaction usable. */
  insert(row: NewApiKey): Promise<InsertConflict | undefined>
  /** Inserts rows with new ids, at most 1000, in one statement. @returns the ids of those whose digest was not known */
  insertAll(rows: readonly NewApiKey[]): Promise<ReadonlySet<string>>
  /** Writes the mutable columns if the row still has `row.version`, which goes up by one. False: it has another. */
  update(row: ApiKeyWrite): Promise<boolean>
  /** Which of the digests are known, as live rows or tombstones, as lower-case hex. */
  knownDigests(digests: readonly Buffer[]): Promise<ReadonlySet<string>>
  /** API keys of an organization that are not deleted. */
  count(organization: string): Promise<number>
  list(query: ApiKeyQuery): Promise<readonly ApiKeyRow[]>
  /**
   * Deletes API keys past their purge time, at most `limit`, all of one organization, and leaves a tombstone of each.
   * One that another transaction holds waits for the next time. Null: none is due.
   */
  purgeDue(limit: number): Promise<PurgedApiKeys | null>
}

/** What a purge took away, in id order; never empty. */
export interface PurgedApiKeys {
  readonly organization: string
  readonly keys: readonly { readonly id: string; readonly digest: Buffer }[]
}

export interface ApiKeyQuery extends RowPage {
  /** Null: all of them. */
  readonly organizations: readonly string[] | null
  readonly showDeleted: boolean
  /** Decides states; purged rows are never listed. */
  readonly now: Micros
}

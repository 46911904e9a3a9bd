// The table as the feed writes it; satisfied by keys/key-table.ts. The feed never reads a key back.
import type { ApiKeyEntry, InvalidEntry, OrganizationEntry } from '../core/api-key-entry.ts'

/** Every method is synchronous; a throw is a bug and costs a reload. */
export interface FeedTable {
  /** Makes room for about this many API keys. */
  reserve(apiKeys: number): void
  /** Forgets all API keys and organizations. */
  clear(): void
  /**
   * Stores the entry in place of any other of the same digest; copies what it keeps. Null: stored as it is; otherwise
   * the column for which the API key was, or became, invalid.
   */
  replace(entry: ApiKeyEntry | InvalidEntry): string | null
  /** Forgets the API key of a digest; nothing happens when there is none. */
  remove(digest: Uint8Array): void
  setOrganization(entry: OrganizationEntry): void
  removeOrganization(id: string): void
  /**
   * Compares own peppers with the proofs of the database, by id: those that it contradicts count as lacking from here on,
   * and their ids are answered. An id without a proof is not judged.
   */
  judgePeppers(proofs: ReadonlyMap<string, Uint8Array>): readonly string[]
  /** Whether rows are held under a pepper that is lacking and under which no key was found: the process is not ready. */
  isBlind(): boolean
}

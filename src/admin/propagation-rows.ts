// The change feed's head and the sidecars' reports, as admin reads them.
import type { Micros } from '../core/time.ts'
import type { RevisionPoint } from './admin-store.ts'

export interface FeedHead extends RevisionPoint {
  readonly committedAt: Micros
}

export interface SidecarRow {
  readonly id: string
  readonly appliedRevision: bigint
  readonly leaseMs: number
  /** 0 or less: never serves beyond its lease. */
  readonly staleCapMs: number
  readonly confirmAgeMs: number
  readonly profiles: ReadonlyMap<string, { readonly version: string; readonly digest: string }>
  readonly pepperIds: readonly string[]
  readonly version: string
  readonly startAt: Micros
  readonly seenAt: Micros
}

export interface PropagationRows {
  head(): Promise<FeedHead>
  /** The nonce at a revision; undefined when it is above the head or no longer kept. */
  nonceAt(revision: bigint): Promise<bigint | undefined>
  /** In the order of their ids, after `afterId`. */
  listSidecars(afterId: string, limit: number): Promise<readonly SidecarRow[]>
}

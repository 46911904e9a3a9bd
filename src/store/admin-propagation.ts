// The feed's head and the sidecars' reports in PostgreSQL, for admin.
import type pg from 'pg'
import type { PropagationRows, SidecarRow } from '../admin/propagation-rows.ts'
import type { Micros } from '../core/time.ts'
import { rowsOf } from './admin-query.ts'

interface SidecarColumns {
  readonly id: string
  readonly applied_revision: bigint
  readonly lease_ms: number
  readonly stale_cap_ms: number
  readonly confirm_age_ms: number
  readonly profiles: Readonly<Record<string, { readonly version?: unknown; readonly digest?: unknown }>>
  readonly pepper_ids: string[]
  readonly version: string
  readonly started_at: Micros
  readonly seen_at: Micros
}

/** The feed as admin reads it; see the port for what each method promises. */
export function adminPropagationRows(client: pg.ClientBase): PropagationRows {
  return {
    async head() {
      const [row] = await rowsOf<{ revision: bigint; nonce: bigint; committed_at: Micros }>(
        client,
        'SELECT r.revision, r.nonce, r.committed_at FROM feed_head h JOIN feed_revision r ON r.revision = h.revision',
      )
      if (row === undefined) throw new Error('the feed has no head')
      return { revision: row.revision, nonce: row.nonce, committedAt: row.committed_at }
    },

    async nonceAt(revision) {
      const text = 'SELECT nonce FROM feed_revision WHERE revision = $1'
      const [row] = await rowsOf<{ nonce: bigint }>(client, text, [revision])
      return row?.nonce
    },

    async listSidecars(afterId, limit) {
      const rows = await rowsOf<SidecarColumns>(
        client,
        `SELECT id::text AS id, applied_revision, lease_ms, stale_cap_ms, confirm_age_ms, profiles, pepper_ids, version,
                started_at, seen_at
         FROM sidecars WHERE $1::text = '' OR id > nullif($1::text, '')::uuid ORDER BY sidecars.id LIMIT $2`,
        [afterId, limit],
      )
      return rows.map(toSidecar)
    },
  }
}

function toSidecar(row: SidecarColumns): SidecarRow {
  const profiles = Object.entries(row.profiles).map(
    ([name, { version, digest }]) => [name, { version: String(version ?? ''), digest: String(digest ?? '') }] as const,
  )
  return {
    id: row.id,
    appliedRevision: row.applied_revision,
    leaseMs: row.lease_ms,
    staleCapMs: row.stale_cap_ms,
    confirmAgeMs: row.confirm_age_ms,
    profiles: new Map(profiles),
    pepperIds: row.pepper_ids,
    version: row.version,
    startAt: row.started_at,
    seenAt: row.seen_at,
  }
}

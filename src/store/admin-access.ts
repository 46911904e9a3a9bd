// Rows of admin keys and bootstrap tokens in PostgreSQL.
import type pg from 'pg'
import type { AccessRows, AdminKeyRow } from '../admin/access-rows.ts'
import type { Micros } from '../core/time.ts'
import { rowsOf } from './admin-query.ts'
import { timestamptzParameter } from './column-values.ts'

interface AdminKeyColumns {
  readonly id: string
  readonly display_name: string
  readonly key_hint: string
  readonly pepper_id: string
  readonly roles: string[]
  readonly scopes: string[]
  readonly all_organizations: boolean
  readonly organizations: string[]
  readonly allowlist: string[]
  readonly expire_time: Micros
  readonly create_time: Micros
  readonly revoke_time: Micros | null
  readonly creator: string
  readonly version: bigint
}

/** Admin keys as admin reads and writes them; see the port for what each method promises. */
export function adminAccessRows(client: pg.ClientBase): AccessRows {
  return {
    async findAdminKeyByDigest(digest) {
      const [row] = await rowsOf<AdminKeyColumns>(
        client,
        `SELECT id, display_name, key_hint, pepper_id, roles, scopes, all_organizations, organizations, allowlist,
                expire_time, create_time, revoke_time, creator, version
         FROM admin_keys WHERE digest = $1`,
        [digest],
      )
      return row === undefined ? undefined : toAdminKey(row)
    },

    async lockBootstrap() {
      await rowsOf(client, `SELECT pg_advisory_xact_lock(hashtextextended('bootstrap', 3))`)
    },

    async hasLiveRoot(now) {
      const [row] = await rowsOf<{ found: boolean }>(
        client,
        `SELECT EXISTS (SELECT FROM admin_keys WHERE 'ROOT' = ANY (roles) AND revoke_time IS NULL
                          AND expire_time > $1::timestamptz)
             OR EXISTS (SELECT FROM admin_principals WHERE 'ROOT' = ANY (roles)) AS found`,
        [timestamptzParameter(now)],
      )
      return row?.found === true
    },

    async insertAdminKey(row) {
      await rowsOf(
        client,
        `INSERT INTO admin_keys (id, display_name, digest, pepper_id, key_hint, roles, scopes, all_organizations,
                                 organizations, allowlist, expire_time, create_time, creator)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11::timestamptz, $12::timestamptz, $13)`,
        [
          row.id,
          row.displayName,
          row.digest,
          row.pepperId,
          row.keyHint,
          [...row.roles],
          [...row.scopes],
          row.allOrganizations,
          [...row.organizations],
          JSON.stringify(row.allowlist),
          timestamptzParameter(row.expireAt),
          timestamptzParameter(row.createAt),
          row.creator,
        ],
      )
    },

    async insertBootstrapToken(token) {
      await rowsOf(
        client,
        `INSERT INTO bootstrap_tokens (digest, break_glass, create_time, expire_time)
         VALUES ($1, $2, $3::timestamptz, $4::timestamptz)`,
        [token.digest, token.breakGlass, timestamptzParameter(token.createAt), timestamptzParameter(token.expireAt)],
      )
    },

    async useBootstrapToken(digest, now) {
      const [row] = await rowsOf<{ break_glass: boolean }>(
        client,
        `UPDATE bootstrap_tokens SET used_time = $2::timestamptz
         WHERE digest = $1 AND used_time IS NULL AND expire_time > $2::timestamptz RETURNING break_glass`,
        [digest, timestamptzParameter(now)],
      )
      return row === undefined ? undefined : { breakGlass: row.break_glass }
    },
  }
}

function toAdminKey(row: AdminKeyColumns): AdminKeyRow {
  return {
    id: row.id,
    displayName: row.display_name,
    keyHint: row.key_hint,
    pepperId: row.pepper_id,
    roles: row.roles,
    scopes: row.scopes,
    allOrganizations: row.all_organizations,
    organizations: row.organizations,
    allowlist: row.allowlist,
    expireAt: row.expire_time,
    createAt: row.create_time,
    revokeAt: row.revoke_time,
    creator: row.creator,
    version: row.version,
  }
}

// Rows of API keys in PostgreSQL, for admin. The feed record that each change needs is made at the end of its transaction.
// A row carries no secret; the allowlist is stored as text for people and as octets for checks, both from one value.
import type pg from 'pg'
import type { ApiKeyRow, ApiKeyRows, ApiKeyWrite, NewApiKey, StoredAllowlistEntry } from '../admin/api-key-rows.ts'
import type { AllowlistEntry } from '../core/allowlist.ts'
import { revokeReasons } from '../core/api-key.ts'
import { cidrText, encodeCidr } from '../core/cidr.ts'
import type { Micros } from '../core/time.ts'
import { type ListFields, listTail, Parameters } from './admin-list.ts'
import { countOf, rowsOf } from './admin-query.ts'
import { timestamptzParameter } from './column-values.ts'

interface ApiKeyColumns {
  readonly id: string
  readonly organization_id: string
  readonly digest: Buffer
  readonly pepper_id: string
  readonly form: number
  readonly key_hint: string
  readonly display_name: string
  readonly description: string
  readonly environment: string
  readonly scope_mode: number
  readonly scopes: string[]
  readonly allowlist: StoredAllowlistEntry[]
  readonly expire_time: Micros | null
  readonly rate_limit: bigint | null
  readonly rate_window_us: bigint | null
  readonly labels: Readonly<Record<string, string>>
  readonly lineage_id: string
  readonly rotated_from: string | null
  readonly rotated_to: string | null
  readonly rotate_time: Micros | null
  readonly grace_end_time: Micros | null
  readonly suspend_time: Micros | null
  readonly suspend_reason: string
  readonly revoke_time: Micros | null
  readonly revoke_reason: number | null
  readonly revoke_comment: string
  readonly delete_time: Micros | null
  readonly purge_time: Micros | null
  readonly creator: string
  readonly create_time: Micros
  readonly update_time: Micros
  readonly last_used_time: Micros | null
  readonly version: bigint
  readonly revision: bigint
}

/** The port's `lineageMax`: keys of one lineage that are looked at, the newest. */
const lineageMax = 1000

const columns = `id, organization_id, digest, pepper_id, form, key_hint, display_name, description, environment, scope_mode,
  scopes, allowlist, expire_time, rate_limit, rate_window_us, labels, lineage_id, rotated_from, rotated_to, rotate_time,
  grace_end_time, suspend_time, suspend_reason, revoke_time, revoke_reason, revoke_comment, delete_time, purge_time,
  creator, create_time, update_time, last_used_time, version, revision`

/** API keys as admin reads and writes them; see the port for what each method promises. */
export function adminApiKeyRows(client: pg.ClientBase): ApiKeyRows {
  const select = async (tail: string, values: readonly unknown[]) =>
    (await rowsOf<ApiKeyColumns>(client, `SELECT ${columns} FROM api_keys ${tail}`, values)).map(toApiKey)

  return {
    async find(organization, id, lock) {
      const tail = `WHERE id = $1 AND organization_id = $2${lock ? ' FOR UPDATE' : ''}`
      return (await select(tail, [id, organization]))[0]
    },

    async lockLineage(organization, lineage) {
      const newest =
        'SELECT id FROM api_keys WHERE lineage_id = $1 AND organization_id = $2 ORDER BY create_time DESC, id LIMIT $3'
      return await select(`WHERE id IN (${newest}) ORDER BY id FOR UPDATE`, [lineage, organization, lineageMax])
    },

    insert: row => insert(client, row),

    async update(row) {
      return (await countOf(client, updateStatement, updateValues(row))) === 1
    },

    async knownDigests(digests) {
      const rows = await rowsOf<{ digest: string }>(
        client,
        `SELECT encode(digest, 'hex') AS digest FROM api_keys WHERE digest = ANY ($1::bytea[])
         UNION SELECT encode(digest, 'hex') FROM digest_tombstones WHERE digest = ANY ($1::bytea[])`,
        [[...digests]],
      )
      return new Set(rows.map(row => row.digest))
    },

    async count(organization) {
      const text = 'SELECT count(*) AS keys FROM api_keys WHERE organization_id = $1 AND delete_time IS NULL'
      const [row] = await rowsOf<{ keys: bigint }>(client, text, [organization])
      return Number(row?.keys ?? 0n)
    },

    async list(query) {
      const parameters = new Parameters()
      const now = `${parameters.add(timestamptzParameter(query.now))}::timestamptz`
      const organizations = parameters.add(query.organizations === null ? null : [...query.organizations])
      const conditions = [
        `(${organizations}::text[] IS NULL OR organization_id = ANY (${organizations}))`,
        `(purge_time IS NULL OR purge_time > ${now})`,
        ...(query.showDeleted ? [] : ['delete_time IS NULL']),
      ]
      const tail = listTail(query, listFields(now), 'id', parameters)
      return await select(`WHERE ${conditions.join(' AND ')}${tail}`, parameters.values)
    },
  }
}

/** Fields of ListApiKeys. States are derived as core/api-key.ts derives them, by the number of admin.v1.State. */
function listFields(now: string): ListFields {
  const state = `(CASE WHEN delete_time IS NOT NULL THEN 6 WHEN revoke_time <= ${now} THEN 4
    WHEN expire_time <= ${now} OR grace_end_time <= ${now} THEN 5 WHEN suspend_time IS NOT NULL THEN 2
    WHEN rotated_to IS NOT NULL THEN 3 ELSE 1 END)`
  const name = (id: string) => `('organizations/' || organization_id || '/apiKeys/' || ${id})`
  return new Map([
    ['state', { sql: state, type: 'number' }],
    ['environment', { sql: 'environment', type: 'text' }],
    ['scopes', { sql: 'scopes', type: 'texts' }],
    ['scope_mode', { sql: 'scope_mode', type: 'number' }],
    ['display_name', { sql: 'display_name', type: 'text' }],
    ['key_hint', { sql: 'key_hint', type: 'text' }],
    ['form', { sql: 'form', type: 'number' }],
    ['pepper_id', { sql: 'pepper_id', type: 'text' }],
    ['create_time', { sql: 'create_time', type: 'time' }],
    ['expire_time', { sql: 'expire_time', type: 'time' }],
    ['last_used_time', { sql: 'last_used_time', type: 'time' }],
    ['rotated_from', { sql: name('rotated_from'), type: 'text' }],
    ['rotated_to', { sql: name('rotated_to'), type: 'text' }],
    ['labels', { sql: 'labels', type: 'labels' }],
  ])
}

async function insert(client: pg.ClientBase, row: NewApiKey): Promise<'id' | 'digest' | undefined> {
  const inserted = await countOf(client, insertStatement, insertValues(row))
  if (inserted === 1) return undefined
  const [taken] = await rowsOf<{ by_id: boolean }>(
    client,
    `SELECT EXISTS (SELECT FROM api_keys WHERE id = $1) OR EXISTS (SELECT FROM digest_tombstones WHERE api_key_id = $1)
            AS by_id`,
    [row.id],
  )
  return taken?.by_id === true ? 'id' : 'digest'
}

const insertStatement = `
INSERT INTO api_keys (id, organization_id, digest, pepper_id, form, key_hint, display_name, description, environment,
  scope_mode, scopes, allowlist, allowlist_binary, expire_time, rate_limit, rate_window_us, labels, lineage_id, rotated_from,
  rotated_to, rotate_time, grace_end_time, suspend_time, suspend_reason, revoke_time, revoke_reason, revoke_comment,
  delete_time, purge_time, creator, create_time, update_time)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::jsonb, $13, $14::timestamptz, $15, $16, $17::jsonb, $18, $19,
  $20, $21::timestamptz, $22::timestamptz, $23::timestamptz, $24, $25::timestamptz, $26, $27, $28::timestamptz,
  $29::timestamptz, $30, $31::timestamptz, $32::timestamptz
WHERE NOT EXISTS (SELECT FROM digest_tombstones WHERE digest = $3 OR api_key_id = $1)
ON CONFLICT DO NOTHING`

function insertValues(row: NewApiKey): unknown[] {
  const allowlist = stored(row.allowlist)
  return [
    row.id,
    row.organization,
    row.digest,
    row.pepperId,
    row.form === 'ISSUED' ? 1 : 2,
    row.keyHint,
    row.displayName,
    row.description,
    row.environment,
    row.scopeMode === 'LISTED' ? 1 : 2,
    [...row.scopes],
    allowlist.text,
    allowlist.octets,
    instant(row.expireAt),
    row.rateLimit?.limit ?? null,
    row.rateLimit?.windowMicros ?? null,
    labelsText(row.labels),
    row.lineage,
    row.rotatedFrom,
    row.rotatedTo,
    instant(row.rotateAt),
    instant(row.graceEndAt),
    instant(row.suspendAt),
    row.suspendReason,
    instant(row.revokeAt),
    revokeNumber(row.revokeReason),
    row.revokeComment,
    instant(row.deleteAt),
    instant(row.purgeAt),
    row.creator,
    instant(row.createAt),
    instant(row.updateAt),
  ]
}

const updateStatement = `
UPDATE api_keys SET display_name = $3, description = $4, scope_mode = $5, scopes = $6,
  allowlist = coalesce($7::jsonb, allowlist), allowlist_binary = coalesce($8::bytea, allowlist_binary),
  expire_time = $9::timestamptz, rate_limit = $10, rate_window_us = $11, labels = $12::jsonb, rotated_to = $13,
  rotate_time = $14::timestamptz, grace_end_time = $15::timestamptz, suspend_time = $16::timestamptz, suspend_reason = $17,
  revoke_time = $18::timestamptz, revoke_reason = $19, revoke_comment = $20, delete_time = $21::timestamptz,
  purge_time = $22::timestamptz, update_time = $23::timestamptz, version = version + 1
WHERE id = $1 AND version = $2`

function updateValues(row: ApiKeyWrite): unknown[] {
  const allowlist = row.allowlist === null ? undefined : stored(row.allowlist)
  return [
    row.id,
    row.version,
    row.displayName,
    row.description,
    row.scopeMode === 'LISTED' ? 1 : 2,
    [...row.scopes],
    allowlist?.text ?? null,
    allowlist?.octets ?? null,
    instant(row.expireAt),
    row.rateLimit?.limit ?? null,
    row.rateLimit?.windowMicros ?? null,
    labelsText(row.labels),
    row.rotatedTo,
    instant(row.rotateAt),
    instant(row.graceEndAt),
    instant(row.suspendAt),
    row.suspendReason,
    instant(row.revokeAt),
    revokeNumber(row.revokeReason),
    row.revokeComment,
    instant(row.deleteAt),
    instant(row.purgeAt),
    instant(row.updateAt),
  ]
}

/** Both stored forms of an allowlist. */
function stored(entries: readonly AllowlistEntry[]): { readonly text: string; readonly octets: Buffer } {
  return {
    text: JSON.stringify(entries.map(({ block, label }) => ({ cidr: cidrText(block), label }))),
    octets: Buffer.concat(entries.map(({ block }) => encodeCidr(block))),
  }
}

/** Reasons are stored by the number of admin.v1.RevokeReason, which is one above their place in the list. */
function revokeNumber(reason: ApiKeyRow['revokeReason']): number | null {
  return reason === null ? null : revokeReasons.indexOf(reason) + 1
}

function instant(micros: Micros | null): string | null {
  return micros === null ? null : timestamptzParameter(micros)
}

function labelsText(labels: ReadonlyMap<string, string>): string {
  return JSON.stringify(Object.fromEntries(labels))
}

function toApiKey(row: ApiKeyColumns): ApiKeyRow {
  const limit = row.rate_limit
  return {
    id: row.id,
    organization: row.organization_id,
    digest: row.digest,
    pepperId: row.pepper_id,
    form: row.form === 1 ? 'ISSUED' : 'IMPORTED',
    keyHint: row.key_hint,
    displayName: row.display_name,
    description: row.description,
    environment: row.environment,
    scopeMode: row.scope_mode === 2 ? 'ALL' : 'LISTED',
    scopes: row.scopes,
    allowlist: row.allowlist.map(({ cidr, label }) => ({ cidr, label })),
    rateLimit: limit === null ? null : { limit: Number(limit), windowMicros: Number(row.rate_window_us ?? 0n) },
    labels: new Map(Object.entries(row.labels)),
    lineage: row.lineage_id,
    rotatedFrom: row.rotated_from,
    rotatedTo: row.rotated_to,
    rotateAt: row.rotate_time,
    graceEndAt: row.grace_end_time,
    expireAt: row.expire_time,
    suspendAt: row.suspend_time,
    suspendReason: row.suspend_reason,
    revokeAt: row.revoke_time,
    revokeReason: row.revoke_reason === null ? null : (revokeReasons[row.revoke_reason - 1] ?? null),
    revokeComment: row.revoke_comment,
    deleteAt: row.delete_time,
    purgeAt: row.purge_time,
    creator: row.creator,
    createAt: row.create_time,
    updateAt: row.update_time,
    lastUsedAt: row.last_used_time,
    version: row.version,
    revision: row.revision,
  }
}

// Rows of API keys in PostgreSQL, for admin. Parameters only; the feed record that each change needs is made at the end of
// its transaction.
import type pg from 'pg'
import type {
  ApiKeyQuery,
  ApiKeyRow,
  ApiKeyRows,
  ApiKeyWrite,
  InsertConflict,
  NewApiKey,
} from '../admin/api-key-rows.ts'
import type { AllowlistEntry } from '../core/allowlist.ts'
import { revokeReasons } from '../core/api-key.ts'
import { cidrText, encodeCidr } from '../core/cidr.ts'
import type { Micros } from '../core/time.ts'
import { type ListFields, listTail, Parameters } from './admin-list.ts'
import { countOf, rowsOf } from './admin-query.ts'
import { type ApiKeyColumns, apiKeyColumns, toApiKey } from './api-key-columns.ts'
import { timestamptzParameter } from './column-values.ts'
import { purgeDue } from './purge-due.ts'

/** Numbers of admin.v1.State, in the order of core/api-key. */
function stateExpression(now: string): string {
  return `CASE WHEN delete_time IS NOT NULL THEN 6 WHEN revoke_time <= ${now} THEN 4
    WHEN expire_time <= ${now} OR grace_end_time <= ${now} THEN 5 WHEN suspend_time IS NOT NULL THEN 2
    WHEN rotated_to IS NOT NULL THEN 3 ELSE 1 END`
}

function listFields(now: string): ListFields {
  const named = (column: string) => `('organizations/' || organization_id || '/apiKeys/' || ${column})`
  return new Map([
    ['state', { sql: `(${stateExpression(now)})`, type: 'number' }],
    ['environment', { sql: 'environment', type: 'text' }],
    ['scopes', { sql: 'scopes', type: 'texts' }],
    ['scope_mode', { sql: 'scope_mode', type: 'number' }],
    ['display_name', { sql: 'display_name', type: 'text', always: true }],
    ['key_hint', { sql: 'key_hint', type: 'text' }],
    ['form', { sql: 'form', type: 'number' }],
    ['pepper_id', { sql: 'pepper_id', type: 'text' }],
    ['create_time', { sql: 'create_time', type: 'time', always: true }],
    ['expire_time', { sql: 'expire_time', type: 'time' }],
    ['last_used_time', { sql: 'last_used_time', type: 'time' }],
    ['rotated_from', { sql: named('rotated_from'), type: 'text' }],
    ['rotated_to', { sql: named('rotated_to'), type: 'text' }],
    ['labels', { sql: 'labels', type: 'labels' }],
  ])
}

/** Keys of one lineage that are looked at: a key rotated every day for three years stays below. */
const lineageMax = 1000

/** API keys as admin reads and writes them; see the port for what each method promises. */
export function adminApiKeyRows(client: pg.ClientBase): ApiKeyRows {
  return {
    async find(organization, id, lock) {
      const text = `SELECT ${apiKeyColumns} FROM api_keys WHERE id = $1 AND organization_id = $2${lock ? ' FOR UPDATE' : ''}`
      const [row] = await rowsOf<ApiKeyColumns>(client, text, [id, organization])
      return row === undefined ? undefined : toApiKey(row)
    },

    async lockLineage(organization, lineage) {
      const text = `SELECT ${apiKeyColumns} FROM api_keys WHERE id IN (
          SELECT id FROM api_keys WHERE lineage_id = $1 AND organization_id = $2 ORDER BY create_time DESC, id DESC LIMIT $3)
        ORDER BY id FOR UPDATE`
      return (await rowsOf<ApiKeyColumns>(client, text, [lineage, organization, lineageMax])).map(toApiKey)
    },

    async listLineage(organization, lineage) {
      const text = `SELECT ${apiKeyColumns} FROM api_keys WHERE lineage_id = $1 AND organization_id = $2
        ORDER BY create_time DESC, id DESC LIMIT $3`
      return (await rowsOf<ApiKeyColumns>(client, text, [lineage, organization, lineageMax])).map(toApiKey)
    },

    insert: row => insert(client, row),
    insertAll: rows => insertAll(client, rows),
    update: row => update(client, row),

    async knownDigests(digests) {
      const text = `SELECT digest FROM api_keys WHERE digest = ANY ($1::bytea[])
        UNION SELECT digest FROM digest_tombstones WHERE digest = ANY ($1::bytea[])`
      const rows = await rowsOf<{ digest: Buffer }>(client, text, [[...digests]])
      return new Set(rows.map(row => row.digest.toString('hex')))
    },

    async count(organization) {
      const text = 'SELECT count(*) AS keys FROM api_keys WHERE organization_id = $1 AND delete_time IS NULL'
      const [row] = await rowsOf<{ keys: bigint }>(client, text, [organization])
      return Number(row?.keys ?? 0n)
    },

    list: query => list(client, query),
    purgeDue: limit => purgeDue(client, limit),
  }
}

async function list(client: pg.ClientBase, query: ApiKeyQuery): Promise<readonly ApiKeyRow[]> {
  const parameters = new Parameters()
  const now = `${parameters.add(timestamptzParameter(query.now))}::timestamptz`
  const conditions = [`(purge_time IS NULL OR purge_time > ${now})`]
  if (query.organizations !== null) {
    conditions.push(`organization_id = ANY (${parameters.add([...query.organizations])}::text[])`)
  }
  if (!query.showDeleted) conditions.push('delete_time IS NULL')
  const tail = listTail(query, listFields(now), 'id', parameters)
  const text = `SELECT ${apiKeyColumns} FROM api_keys WHERE ${conditions.join(' AND ')}${tail}`
  return (await rowsOf<ApiKeyColumns>(client, text, parameters.values)).map(toApiKey)
}

/** Each parameter is an array with one value a row; lists travel as JSON, since arrays of PostgreSQL must be rectangular. */
const insertStatement = `
INSERT INTO api_keys (id, organization_id, digest, pepper_id, form, key_hint, display_name, description, environment,
  scope_mode, scopes, allowlist, allowlist_binary, expire_time, rate_limit, rate_window_us, labels, lineage_id,
  rotated_from, creator, create_time, update_time)
SELECT r.id, r.organization, r.digest, r.pepper, r.form, r.hint, r.name, r.description, r.environment, r.mode,
  ARRAY(SELECT jsonb_array_elements_text(r.scopes)), r.allowlist, r.blocks, r.expire, r.rate_limit, r.rate_window, r.labels,
  r.lineage, r.rotated_from, r.creator, r.created, r.updated
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::smallint[], $6::text[], $7::text[], $8::text[],
  $9::text[], $10::smallint[], $11::jsonb[], $12::jsonb[], $13::bytea[], $14::timestamptz[], $15::bigint[], $16::bigint[],
  $17::jsonb[], $18::text[], $19::text[], $20::text[], $21::timestamptz[], $22::timestamptz[])
  AS r(id, organization, digest, pepper, form, hint, name, description, environment, mode, scopes, allowlist, blocks,
       expire, rate_limit, rate_window, labels, lineage, rotated_from, creator, created, updated)
WHERE NOT EXISTS (SELECT FROM digest_tombstones t WHERE t.digest = r.digest OR t.api_key_id = r.id)
ON CONFLICT DO NOTHING
RETURNING id`

async function insertAll(client: pg.ClientBase, rows: readonly NewApiKey[]): Promise<ReadonlySet<string>> {
  const inserted = await rowsOf<{ id: string }>(client, insertStatement, [
    rows.map(row => row.id),
    rows.map(row => row.organization),
    rows.map(row => row.digest),
    rows.map(row => row.pepperId),
    rows.map(row => (row.form === 'IMPORTED' ? 2 : 1)),
    rows.map(row => row.keyHint),
    rows.map(row => row.displayName),
    rows.map(row => row.description),
    rows.map(row => row.environment),
    rows.map(row => (row.scopeMode === 'ALL' ? 2 : 1)),
    rows.map(row => JSON.stringify(row.scopes)),
    rows.map(row => allowlistText(row.allowlist)),
    rows.map(row => allowlistBinary(row.allowlist)),
    rows.map(row => instant(row.expireAt)),
    rows.map(row => row.rateLimit?.limit ?? null),
    rows.map(row => row.rateLimit?.windowMicros ?? null),
    rows.map(row => labelsText(row.labels)),
    rows.map(row => row.lineage),
    rows.map(row => row.rotatedFrom),
    rows.map(row => row.creator),
    rows.map(row => instant(row.createAt)),
    rows.map(row => instant(row.updateAt)),
  ])
  return new Set(inserted.map(row => row.id))
}

async function insert(client: pg.ClientBase, row: NewApiKey): Promise<InsertConflict | undefined> {
  if ((await insertAll(client, [row])).size === 1) return undefined
  const known = await rowsOf(
    client,
    'SELECT FROM api_keys WHERE digest = $1 UNION ALL SELECT FROM digest_tombstones WHERE digest = $1',
    [row.digest],
  )
  return known.length > 0 ? 'digest' : 'id'
}

const updateStatement = `
UPDATE api_keys SET display_name = $3, description = $4, scope_mode = $5::smallint, scopes = $6::text[],
  allowlist = coalesce($7::jsonb, allowlist), allowlist_binary = coalesce($8::bytea, allowlist_binary),
  expire_time = $9::timestamptz, rate_limit = $10::bigint, rate_window_us = $11::bigint, labels = $12::jsonb,
  rotated_to = $13, rotate_time = $14::timestamptz, grace_end_time = $15::timestamptz, suspend_time = $16::timestamptz,
  suspend_reason = $17, revoke_time = $18::timestamptz, revoke_reason = $19::smallint, revoke_comment = $20,
  delete_time = $21::timestamptz, purge_time = $22::timestamptz, update_time = $23::timestamptz, version = version + 1
WHERE id = $1 AND version = $2`

async function update(client: pg.ClientBase, row: ApiKeyWrite): Promise<boolean> {
  const updated = await countOf(client, updateStatement, [
    row.id,
    row.version,
    row.displayName,
    row.description,
    row.scopeMode === 'ALL' ? 2 : 1,
    [...row.scopes],
    row.allowlist === null ? null : allowlistText(row.allowlist),
    row.allowlist === null ? null : allowlistBinary(row.allowlist),
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
    row.revokeReason === null ? null : revokeReasons.indexOf(row.revokeReason) + 1,
    row.revokeComment,
    instant(row.deleteAt),
    instant(row.purgeAt),
    instant(row.updateAt),
  ])
  return updated === 1
}

function instant(micros: Micros | null): string | null {
  return micros === null ? null : timestamptzParameter(micros)
}

function labelsText(labels: ReadonlyMap<string, string>): string {
  return JSON.stringify(Object.fromEntries(labels))
}

function allowlistText(entries: readonly AllowlistEntry[]): string {
  return JSON.stringify(entries.map(({ block, label }) => ({ cidr: cidrText(block), label })))
}

function allowlistBinary(entries: readonly AllowlistEntry[]): Buffer {
  return Buffer.concat(entries.map(entry => encodeCidr(entry.block)))
}

// The statements of the watermark protocol (freshness.md section 4) and the shape of their rows.
// One statement is one snapshot: nothing here may be split in two, or the proof of the feed falls.

/** Columns of `api_keys` that decisions read. Every expression is total: a value that cannot be right arrives as it is. */
export const apiKeyColumns: readonly (readonly [name: string, expression: string])[] = [
  ['id', 'k.id'],
  ['organization_id', 'k.organization_id'],
  ['digest', 'k.digest'],
  ['pepper_id', 'k.pepper_id'],
  ['environment', 'k.environment'],
  ['scope_mode', 'k.scope_mode'],
  ['scopes', 'k.scopes'],
  ['allowlist_binary', 'k.allowlist_binary'],
  ['expire_time', unixMicros('k.expire_time')],
  ['grace_end_time', unixMicros('k.grace_end_time')],
  ['suspend_time', unixMicros('k.suspend_time')],
  ['revoke_time', unixMicros('k.revoke_time')],
  ['delete_time', unixMicros('k.delete_time')],
  ['rate_limit', 'k.rate_limit::text'],
  ['rate_window_us', 'k.rate_window_us::text'],
  ['lineage_id', 'k.lineage_id'],
]

/** Columns of `organizations` that decisions read. */
export const organizationColumns: readonly (readonly [name: string, expression: string])[] = [
  ['id', 'o.id'],
  ['profile', 'o.profile'],
  ['suspend_time', unixMicros('o.suspend_time')],
]

/** An instant as decimal text of Unix microseconds; `Infinity` and `-Infinity` stay themselves. */
function unixMicros(column: string): string {
  return `trunc(extract(epoch FROM ${column}) * 1000000)::text`
}

function expressions(columns: readonly (readonly [name: string, expression: string])[]): string {
  return columns.map(([, expression]) => expression).join(', ')
}

/**
 * Statement 1 of a cycle. $1 id, $2 applied revision, $3 its nonce, $4 lease, $5 stale cap, $6 confirm age (ms),
 * $7 profiles, $8 pepper ids, $9 version. Answers (profile, live sidecars that serve it, this one included).
 */
export const beatStatement = `
WITH beat AS (
  INSERT INTO sidecars (id, applied_revision, applied_nonce, lease_ms, stale_cap_ms, confirm_age_ms, profiles, pepper_ids,
                        version, started_at, seen_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp(), clock_timestamp())
  ON CONFLICT (id) DO UPDATE SET
    applied_revision = excluded.applied_revision, applied_nonce = excluded.applied_nonce, lease_ms = excluded.lease_ms,
    stale_cap_ms = excluded.stale_cap_ms, confirm_age_ms = excluded.confirm_age_ms, profiles = excluded.profiles,
    pepper_ids = excluded.pepper_ids, version = excluded.version, seen_at = excluded.seen_at)
SELECT served.profile,
       (1 + (SELECT count(*) FROM sidecars s
             WHERE s.id <> $1 AND s.seen_at > clock_timestamp() - interval '10 seconds' AND s.profiles ? served.profile))::int
FROM jsonb_object_keys($7::jsonb) AS served(profile)`

/** Number of columns of the read statement before those of `apiKeyColumns` and `organizationColumns`. */
export const readHeadColumns = 16

/**
 * Statement 2 of a cycle. $1 applied revision, $2 witness revision, $3 page size, $4 the profiles served, or null for all,
 * $5 ids of own peppers. Rows are arrays; see feed-page.ts. What is not served comes with its change, since a revision must
 * be seen whole, but marked: the profile of an organization never changes, nor the organization of an API key. The proofs
 * of peppers, JSON from id to hex digits, stand in the first row of a revision alone.
 */
export const readStatement = readWith(`
       CASE WHEN coalesce(c.ordinal, 1) = 1 THEN (
         SELECT json_object_agg(p.pepper_id, encode(p.proof, 'hex'))::text FROM pepper_proofs p
         WHERE p.purpose = 'api_keys' AND p.pepper_id = ANY ($5::text[])) END`)

/** The same, without $5, on a schema that has no proofs yet; where they stand it tells whether they have come since. */
export const readStatementWithoutProofs = readWith("to_regclass('gatewarden.pepper_proofs') IS NOT NULL")

/** Whether the schema has proofs. */
export const hasProofsStatement = "SELECT to_regclass('gatewarden.pepper_proofs') IS NOT NULL AS there"

/** The place of the proofs in a row. */
export const proofsColumn = 15

function readWith(proofs: string): string {
  return `
SELECT h.revision, h.floor, n.nonce, w.nonce, (extract(epoch FROM clock_timestamp()) * 1000)::float8,
       CASE WHEN pg_is_in_recovery() THEN NULL ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
       r.revision, r.nonce, r.changes, c.ordinal, c.kind, c.digest, c.organization,
       $4::text[] IS NULL OR owner.profile = ANY ($4), $4::text[] IS NULL OR o.profile = ANY ($4),
       ${proofs},
       ${expressions(apiKeyColumns)}, ${expressions(organizationColumns)}
FROM feed_head h
JOIN feed_revision n ON n.revision = h.revision
LEFT JOIN feed_revision w ON w.revision = $2
LEFT JOIN (SELECT * FROM feed_revision WHERE revision > $1 ORDER BY revision LIMIT $3) r ON true
LEFT JOIN changes c ON c.revision = r.revision
LEFT JOIN api_keys k ON k.digest = c.digest
LEFT JOIN organizations owner ON $4::text[] IS NOT NULL AND owner.id = k.organization_id
LEFT JOIN organizations o ON o.id = c.organization
ORDER BY r.revision, c.ordinal`
}

/** How many processes may load at once; the slot is freed with the transaction. */
export const loadSlots = 4
const loadSlotClass = 1_734_829_421

/** Takes a free load slot for the rest of the transaction; no row when all are taken. */
export const loadSlotStatement = `
SELECT slot FROM generate_series(1, ${loadSlots}) AS slot WHERE pg_try_advisory_xact_lock(${loadSlotClass}, slot) LIMIT 1`

export const loadHeadStatement =
  'SELECT h.revision, n.nonce FROM feed_head h JOIN feed_revision n ON n.revision = h.revision'

/** How many API keys the planner believes there are; negative when it never looked. */
export const apiKeyEstimateStatement = "SELECT reltuples::float8 FROM pg_class WHERE oid = 'api_keys'::regclass"

/** $1: the profiles served, or null for all. */
export const declareOrganizations = `
DECLARE served NO SCROLL CURSOR FOR SELECT ${expressions(organizationColumns)} FROM organizations o
WHERE $1::text[] IS NULL OR o.profile = ANY ($1::text[])`

/** $1: as above. */
export const declareApiKeys = `
DECLARE served NO SCROLL CURSOR FOR SELECT ${expressions(apiKeyColumns)} FROM api_keys k
WHERE $1::text[] IS NULL OR k.organization_id IN (SELECT o.id FROM organizations o WHERE o.profile = ANY ($1::text[]))`

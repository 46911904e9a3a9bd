// The statements of the watermark protocol (freshness.md section 4) and the shape of their rows.
// One statement is one snapshot: nothing here may be split in two, or the proof of the feed falls.
import type { ColumnForm } from './copy-out.ts'

/** A column that decisions read. A value that cannot be right arrives as it is, in a page and in a load. */
export interface FeedColumn {
  readonly name: string
  /** How it stands in a load. */
  readonly form: ColumnForm
}

/** Of `api_keys`. */
export const apiKeyColumns: readonly FeedColumn[] = [
  { name: 'id', form: 'text' },
  { name: 'organization_id', form: 'name' },
  { name: 'digest', form: 'octets' },
  { name: 'pepper_id', form: 'name' },
  { name: 'environment', form: 'name' },
  { name: 'scope_mode', form: 'whole' },
  { name: 'scopes', form: 'names' },
  { name: 'allowlist_binary', form: 'octets' },
  { name: 'expire_time', form: 'unixMicros' },
  { name: 'grace_end_time', form: 'unixMicros' },
  { name: 'suspend_time', form: 'unixMicros' },
  { name: 'revoke_time', form: 'unixMicros' },
  { name: 'delete_time', form: 'unixMicros' },
  { name: 'rate_limit', form: 'whole' },
  { name: 'rate_window_us', form: 'whole' },
  { name: 'lineage_id', form: 'text' },
]

/** Of `organizations`. */
export const organizationColumns: readonly FeedColumn[] = [
  { name: 'id', form: 'text' },
  { name: 'profile', form: 'name' },
  { name: 'suspend_time', form: 'unixMicros' },
]

/** The columns of a page, as the driver understands them: an instant is decimal text of Unix microseconds, or `Infinity`. */
function expressions(table: string, columns: readonly FeedColumn[]): string {
  const expression = ({ name, form }: FeedColumn) => {
    if (form === 'unixMicros') return `trunc(extract(epoch FROM ${table}.${name}) * 1000000)::text`
    return `${table}.${name}`
  }
  return columns.map(expression).join(', ')
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

/** Changes of one read after which it takes no further revision: what one read brings takes no long turn of the event loop. */
export const pageChanges = 1_000

/**
 * Statement 2 of a cycle. $1 applied revision, $2 witness revision, $3 revisions at most, $4 the profiles served, or null for all,
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
       ${expressions('k', apiKeyColumns)}, ${expressions('o', organizationColumns)}
FROM feed_head h
JOIN feed_revision n ON n.revision = h.revision
LEFT JOIN feed_revision w ON w.revision = $2
LEFT JOIN (
  SELECT * FROM (
    SELECT p.*, sum(p.changes) OVER (ORDER BY p.revision) - p.changes AS changes_before
    FROM (SELECT * FROM feed_revision WHERE revision > $1 ORDER BY revision LIMIT $3) p
  ) q WHERE changes_before < ${pageChanges}
) r ON true
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

/** What a load copies: organizations before their API keys. `profiles`: those served, as literals of SQL; null: all. */
export function copyOrganizations(profiles: readonly string[] | null): string {
  return copy(
    'o',
    organizationColumns,
    `organizations o${profiles === null ? '' : ` WHERE o.profile = ANY (${array(profiles)})`}`,
  )
}

export function copyApiKeys(profiles: readonly string[] | null): string {
  if (profiles === null) return copy('k', apiKeyColumns, 'api_keys k')
  const served = `SELECT o.id FROM organizations o WHERE o.profile = ANY (${array(profiles)})`
  return copy('k', apiKeyColumns, `api_keys k WHERE k.organization_id IN (${served})`)
}

function array(literals: readonly string[]): string {
  return `ARRAY[${literals.join(', ')}]::text[]`
}

function copy(table: string, columns: readonly FeedColumn[], from: string): string {
  return `COPY (SELECT ${columns.map(({ name }) => `${table}.${name}`).join(', ')} FROM ${from}) TO STDOUT (FORMAT binary)`
}

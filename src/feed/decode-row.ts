// Rows into entries. Total: rows are data from another program, perhaps a newer one, so whatever a column holds, the
// answer is an entry or an InvalidEntry that condemns this API key alone (faults.md section 8). Never throws.
// A column that is missing, NULL where it may not be, or of another type is a fault, never a default.
import {
  type ApiKeyEntry,
  type InvalidEntry,
  type OrganizationEntry,
  type OwnLimit,
  SHORT_NAME,
} from '../core/api-key-entry.ts'
import { decodeAllowlist } from './decode-allowlist.ts'
import { instant, integer, isId, isName, list, UNREADABLE } from './decode-column.ts'
import type { RawRow } from './feed-source.ts'

/** Length of HMAC-SHA-256. */
export const DIGEST_OCTETS = 32
/** More scopes than any vocabulary holds. */
const SCOPES_MAX = 1_024
/** Bounds of an own limit (rate-limits.md section 1). */
const LIMIT_MAX = 1_000_000
const WINDOW_MIN_MICROS = 1_000_000
const WINDOW_MAX_MICROS = 31 * 24 * 3_600 * 1_000_000
const INTERVAL_MIN_MICROS = 100

/** The digest of a row or a change; null where it cannot name any API key. */
export function readDigest(value: unknown): Uint8Array | null {
  return value instanceof Uint8Array && value.length === DIGEST_OCTETS ? value : null
}

/** The entry of the API key `digest`, from its current row. */
export function decodeApiKey(digest: Uint8Array, row: RawRow): ApiKeyEntry | InvalidEntry {
  try {
    return readApiKey(digest, row)
  } catch {
    // Only a row that defends itself against being read comes here, such as an accessor that throws.
    return { kind: 'invalid', digest, cause: 'row' }
  }
}

/** The organization of a row; null when not even its id can be read. */
export function decodeOrganization(row: RawRow): OrganizationEntry | null {
  try {
    const id = row['id']
    if (!isName(id)) return null
    const profile = row['profile']
    const suspended = instant(row['suspend_time'])
    if (!isName(profile) || suspended === UNREADABLE) return { id, profile: '', suspended: false, valid: false }
    return { id, profile, suspended: suspended !== null, valid: true }
  } catch {
    return null
  }
}

function readApiKey(digest: Uint8Array, row: RawRow): ApiKeyEntry | InvalidEntry {
  // Named as soon as it is known: under a pepper this process lacks, every miss might be this API key.
  let pepper: { readonly pepperId?: string } = {}
  const bad = (cause: string): InvalidEntry => ({ kind: 'invalid', digest, cause, ...pepper })
  const own = row['digest']
  if (own !== digest && !(own instanceof Uint8Array && Buffer.compare(own, digest) === 0)) return bad('digest')
  const id = row['id']
  if (!isId(id)) return bad('id')
  const organization = row['organization_id']
  if (!isName(organization)) return bad('organization_id')
  const pepperId = row['pepper_id']
  if (!isName(pepperId)) return bad('pepper_id')
  pepper = { pepperId }
  const environment = row['environment']
  if (!isName(environment) || !SHORT_NAME.test(environment)) return bad('environment')
  const lineage = row['lineage_id']
  if (lineage !== id && !isId(lineage)) return bad('lineage_id')
  const scopeMode = readScopeMode(row['scope_mode'])
  if (scopeMode === UNREADABLE) return bad('scope_mode')
  const scopes = list(row['scopes'], SCOPES_MAX)
  if (scopes === UNREADABLE || (scopeMode === 'ALL' && scopes.length > 0)) return bad('scopes')
  const allowlist = decodeAllowlist(row['allowlist_binary'])
  if (allowlist === UNREADABLE) return bad('allowlist_binary')
  const limit = readLimit(row['rate_limit'], row['rate_window_us'])
  if (limit === UNREADABLE) return bad('rate_limit')
  const expireAt = instant(row['expire_time'])
  if (expireAt === UNREADABLE) return bad('expire_time')
  const graceEndAt = instant(row['grace_end_time'])
  if (graceEndAt === UNREADABLE) return bad('grace_end_time')
  const suspendAt = instant(row['suspend_time'])
  if (suspendAt === UNREADABLE) return bad('suspend_time')
  const revokeAt = instant(row['revoke_time'])
  if (revokeAt === UNREADABLE) return bad('revoke_time')
  const deleteAt = instant(row['delete_time'])
  if (deleteAt === UNREADABLE) return bad('delete_time')
  return {
    kind: 'api_key',
    digest,
    pepperId,
    id,
    organization,
    environment,
    scopeMode,
    scopes,
    allowlist,
    expireAt,
    graceEndAt,
    revoked: revokeAt !== null,
    deleted: deleteAt !== null,
    suspended: suspendAt !== null,
    limit,
    lineage,
  }
}

function readScopeMode(value: unknown): 'LISTED' | 'ALL' | typeof UNREADABLE {
  if (value === 1) return 'LISTED'
  return value === 2 ? 'ALL' : UNREADABLE
}

/** Both columns NULL: none. One of them alone is a fault: guessing the other could lift a limit. */
function readLimit(limitColumn: unknown, windowColumn: unknown): OwnLimit | null | typeof UNREADABLE {
  if (limitColumn === null && windowColumn === null) return null
  const limit = integer(limitColumn, 0, LIMIT_MAX)
  const windowMicros = integer(windowColumn, WINDOW_MIN_MICROS, WINDOW_MAX_MICROS)
  if (limit === UNREADABLE || windowMicros === UNREADABLE) return UNREADABLE
  return windowMicros < limit * INTERVAL_MIN_MICROS ? UNREADABLE : { limit, windowMicros }
}

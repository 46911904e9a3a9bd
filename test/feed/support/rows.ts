// Rows of the two tables as the driver returns them, for tests that need some.
import { createHash } from 'node:crypto'
import type { RawRow } from '../../../src/feed/feed-source.ts'

/** Digest of the n-th test key: 32 octets that look like any. */
export function digestOf(n: number): Buffer {
  return createHash('sha256').update(`test key ${n}`).digest()
}

/** Resource id of the n-th test key. */
export function idOf(n: number): string {
  return `key_01980000-0000-7000-8000-${n.toString(16).padStart(12, '0')}`
}

/** Unix microseconds as the feed's statements select instants. */
export function unixMicros(unixMs: number): bigint {
  return BigInt(Math.round(unixMs * 1000))
}

/** One allowlist entry of 18 octets. */
export function block(family: number, prefix: number, ...octets: number[]): Buffer {
  const entry = Buffer.alloc(18)
  entry[0] = family
  entry[1] = prefix
  entry.set(octets, 2)
  return entry
}

/** A sound row of the n-th test key; `version` stands in its scopes so that a test can tell rows apart. */
export function keyRow(n: number, version = 1, columns: RawRow = {}): RawRow {
  return {
    id: idOf(n),
    organization_id: 'org_1',
    digest: digestOf(n),
    pepper_id: 'p1',
    environment: 'live',
    scope_mode: 1,
    scopes: [`version.${version}`],
    allowlist_binary: Buffer.alloc(0),
    expire_time: null,
    grace_end_time: null,
    suspend_time: null,
    revoke_time: null,
    delete_time: null,
    rate_limit: null,
    rate_window_us: null,
    lineage_id: idOf(n),
    ...columns,
  }
}

export function organizationRow(id: string, columns: RawRow = {}): RawRow {
  return { id, profile: 'alpha', suspend_time: null, ...columns }
}

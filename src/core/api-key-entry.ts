// One API key as the data plane holds it: decoded from a row, ready to be stored in the key table.
// A row that cannot be decoded becomes an InvalidEntry, which denies that API key alone with 503.
import type { Cidr } from './cidr.ts'
import type { Micros } from './time.ts'

/** Name of a profile or an environment: short, so that what is made of it has a bound. */
export const SHORT_NAME = /^[a-z][a-z0-9-]{0,62}$/
export const SHORT_NAME_LENGTH_MAX = 63

/** An API key's own limit; null window: the profile's. */
export interface OwnLimit {
  readonly limit: number
  readonly windowMicros: number
}

/** A decoded API key. Texts are canonical; nothing of the secret but its digest is here. */
export interface ApiKeyEntry {
  readonly kind: 'api_key'
  /** 32 octets: HMAC-SHA-256(pepper, SHA-256(secret)). */
  readonly digest: Uint8Array
  readonly pepperId: string
  /** Resource id with exactly one UUID in it, e.g. `key_0197c0ec-…`. */
  readonly id: string
  readonly organization: string
  /** A {@link SHORT_NAME}. */
  readonly environment: string
  readonly scopeMode: 'LISTED' | 'ALL'
  readonly scopes: readonly string[]
  readonly allowlist: readonly Cidr[]
  readonly expireAt: Micros | null
  readonly graceEndAt: Micros | null
  readonly revoked: boolean
  readonly deleted: boolean
  readonly suspended: boolean
  readonly limit: OwnLimit | null
  /** Id of the first predecessor, or the own id: rate-limit budgets belong to it. */
  readonly lineage: string
}

/** A row that exists but cannot be trusted: its API key answers 503 until the row is mended. */
export interface InvalidEntry {
  readonly kind: 'invalid'
  readonly digest: Uint8Array
  /** Where that column could be read: a pepper this process lacks makes every miss ambiguous, whatever else is wrong. */
  readonly pepperId?: string
  /** Which column was wrong, for log and metric; never the value. */
  readonly cause: string
}

/** An organization as the data plane holds it. `valid` false: its row was unreadable, its keys answer 503. */
export interface OrganizationEntry {
  readonly id: string
  readonly profile: string
  readonly suspended: boolean
  readonly valid: boolean
}

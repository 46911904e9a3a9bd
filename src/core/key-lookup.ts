// The ports through which `decide` reads API keys and spends rate limits. Implemented by the key table and its counters;
// every method is synchronous, total and free of I/O.
import type { LimitSpec } from './limit-spec.ts'
import type { ScopeSet } from './scope-set.ts'
import type { Micros } from './time.ts'

/** No API key of this profile has the digest: final. */
export const MISS = -1
/** Not in the table, but a row names a pepper this process lacks: the miss proves nothing. */
export const UNKNOWABLE = -2

/** Bits of `KeyLookup.flags`. */
export const KEY_INVALID = 1
export const KEY_DELETED = 2
export const KEY_REVOKED = 4
export const KEY_SUSPENDED = 8
export const KEY_ORGANIZATION_SUSPENDED = 16
export const KEY_ALL_SCOPES = 32

/** Read access to the table by slot number. A slot number is good only within the synchronous call that found it. */
export interface KeyLookup {
  /** Digests the secret in `bytes[start, end)` and finds its slot: >= 0, `MISS` or `UNKNOWABLE`. `profile` is a number of `Names.profiles`. */
  find(bytes: Uint8Array, start: number, end: number, profile: number): number
  /** KEY_* bits, the organization's suspension included. An unreadable organization gives KEY_INVALID. */
  flags(slot: number): number
  /** Instant from which the key is expired; Infinity: never. */
  expireAt(slot: number): Micros
  /** Instant from which a rotated key is refused; Infinity: not rotated. */
  graceEndAt(slot: number): Micros
  /** Number in `Names.environments`. */
  environment(slot: number): number
  scopes(slot: number): ScopeSet
  /** Number of allowlist entries. */
  allowlistLength(slot: number): number
  /** Whether an address lies in one of the entries. `family` is 4 or 6; IPv4 in `w0`, IPv6 in `w0..w3`, as unsigned 32-bit words, most significant first. */
  allows(slot: number, family: number, w0: number, w1: number, w2: number, w3: number): boolean
  /** The key's own limit, or -1. */
  ownLimit(slot: number): number
  /** Window of the own limit in microseconds; meaningless without one. */
  ownLimitWindow(slot: number): number
}

/** What charging one request found. One instance is reused for all checks. */
export interface ChargeResult {
  admitted: boolean
  /** Of the API key's own limit on an allow (-1: it has none), of the refusing limit on a denial; so are the other figures. */
  limit: number
  remaining: number
  resetAt: Micros
  /** Time until one request would pass; 0 when admitted. */
  retryAfterMicros: number
}

/** Rate-limit counters. Charges all of the limits or none. */
export interface LimitCharger {
  /** What `charge` would find, without charging: for profiles that look at the limit before another step (D13). */
  peek(slot: number, own: LimitSpec | null, route: readonly LimitSpec[], now: Micros, out: ChargeResult): void
  /** Charges one request of the key in `slot` against its own limit (null: none) and the route's limits. */
  charge(slot: number, own: LimitSpec | null, route: readonly LimitSpec[], now: Micros, out: ChargeResult): void
}

// The rows that say who may call admin: admin keys and bootstrap tokens, as the store keeps them.
import type { Micros } from '../core/time.ts'

export interface AdminKeyRow {
  readonly id: string
  readonly displayName: string
  readonly keyHint: string
  readonly pepperId: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly allOrganizations: boolean
  readonly organizations: readonly string[]
  readonly allowlist: readonly string[]
  readonly expireAt: Micros
  readonly createAt: Micros
  readonly revokeAt: Micros | null
  readonly creator: string
  readonly version: bigint
}

export interface NewAdminKey {
  readonly id: string
  readonly displayName: string
  readonly digest: Buffer
  readonly pepperId: string
  readonly keyHint: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly allOrganizations: boolean
  readonly organizations: readonly string[]
  readonly allowlist: readonly string[]
  readonly expireAt: Micros
  readonly createAt: Micros
  readonly creator: string
}

export interface AccessRows {
  /** The row of a digest, whatever its state. */
  findAdminKeyByDigest(digest: Buffer): Promise<AdminKeyRow | undefined>
  /** Takes the lock that serializes every bootstrap, until the end of the transaction. */
  lockBootstrap(): Promise<void>
  /** Whether an admin key or principal with role ROOT could call now. */
  hasLiveRoot(now: Micros): Promise<boolean>
  insertAdminKey(row: NewAdminKey): Promise<void>
  insertBootstrapToken(token: {
    readonly digest: Buffer
    readonly breakGlass: boolean
    readonly createAt: Micros
    readonly expireAt: Micros
  }): Promise<void>
  /** Marks an unused token that has not expired as used. False: there is none. */
  useBootstrapToken(digest: Buffer, now: Micros): Promise<{ readonly breakGlass: boolean } | undefined>
}

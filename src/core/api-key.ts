// The life of an API key: its state is derived from instants, never stored, and every transition is a pure function
// `(key, now, arguments) → change, nothing, or the reason it is refused` (admin-api.md section 3, every cell of its table).
// An expired or revoked key is never revived. Nothing here reads a clock: `now` is database time, given by the caller.
import type { Micros } from './time.ts'

/** State at an instant; the first that applies in the order deleted, revoked, expired, suspended, rotating out, active. */
export type ApiKeyState = 'ACTIVE' | 'SUSPENDED' | 'ROTATING_OUT' | 'REVOKED' | 'EXPIRED' | 'DELETED'

export const apiKeyStates: readonly ApiKeyState[] = [
  'ACTIVE',
  'SUSPENDED',
  'ROTATING_OUT',
  'REVOKED',
  'EXPIRED',
  'DELETED',
]

/** Why a key was revoked, in the words of the admin API. */
export type RevokeReason = 'LEAKED' | 'SUPERSEDED' | 'CESSATION' | 'POLICY' | 'OWNER_REQUEST'

export const revokeReasons: readonly RevokeReason[] = ['LEAKED', 'SUPERSEDED', 'CESSATION', 'POLICY', 'OWNER_REQUEST']

/** What of a row decides its state. Instants are half-open: from `expireAt` on the key is expired. */
export interface Lifecycle {
  readonly expireAt: Micros | null
  /** Id of the successor. */
  readonly rotatedTo: string | null
  readonly rotateAt: Micros | null
  readonly graceEndAt: Micros | null
  readonly suspendAt: Micros | null
  readonly suspendReason: string
  readonly revokeAt: Micros | null
  readonly revokeReason: RevokeReason | null
  readonly revokeComment: string
  readonly deleteAt: Micros | null
  readonly purgeAt: Micros | null
}

/** The members of a lifecycle that a transition sets; absent members stay. */
export type LifecycleChange = { readonly [Member in keyof Lifecycle]?: Lifecycle[Member] }

/** Reasons of FAILED_PRECONDITION that a key's own state gives. */
export type StateRefusal =
  | 'KEY_SUSPENDED'
  | 'KEY_EXPIRED'
  | 'KEY_REVOKED'
  | 'KEY_DELETED'
  | 'KEY_NOT_DELETED'
  | 'KEY_ALREADY_ROTATED'
  | 'KEY_NOT_ROTATING'

/** What a transition comes to. `unchanged` is success without a write, an audit row or a revision. */
export type Transition<Refusal extends string = StateRefusal> =
  | { readonly kind: 'change'; readonly change: LifecycleChange }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'refused'; readonly reason: Refusal }

/** How long a deleted key can be undeleted, in microseconds: 30 days. */
export const purgeDelayMicros = 30 * 86_400_000_000

const unchanged = { kind: 'unchanged' } as const

function change(members: LifecycleChange): { readonly kind: 'change'; readonly change: LifecycleChange } {
  return { kind: 'change', change: members }
}

function refused<Refusal extends string>(reason: Refusal): { readonly kind: 'refused'; readonly reason: Refusal } {
  return { kind: 'refused', reason }
}

function reached(end: Micros | null, now: Micros): boolean {
  return end !== null && end <= now
}

/** The state of a key at `now`. */
export function stateOf(key: Lifecycle, now: Micros): ApiKeyState {
  if (key.deleteAt !== null) return 'DELETED'
  if (reached(key.revokeAt, now)) return 'REVOKED'
  if (reached(key.expireAt, now) || reached(key.graceEndAt, now)) return 'EXPIRED'
  if (key.suspendAt !== null) return 'SUSPENDED'
  return key.rotatedTo === null ? 'ACTIVE' : 'ROTATING_OUT'
}

/** Whether a key of this state could still authenticate, now or after a resume. */
export function isAlive(state: ApiKeyState): boolean {
  return state === 'ACTIVE' || state === 'ROTATING_OUT' || state === 'SUSPENDED'
}

/** Whether the row is past its purge: to callers it does not exist, although its digest stays as a tombstone. */
export function isPurged(key: Lifecycle, now: Micros): boolean {
  return key.deleteAt !== null && reached(key.purgeAt, now)
}

/** The lifecycle after a change. */
export function withChange<Key extends Lifecycle>(key: Key, members: LifecycleChange): Key {
  return { ...key, ...members }
}

/** The refusal of a state that no mutation but Delete and Undelete survives, or null. */
function finalRefusal(state: ApiKeyState): StateRefusal | null {
  if (state === 'DELETED') return 'KEY_DELETED'
  if (state === 'REVOKED') return 'KEY_REVOKED'
  return state === 'EXPIRED' ? 'KEY_EXPIRED' : null
}

/**
 * Whether an update may be made. `metadataOnly`: it changes nothing but display name, description and labels.
 * @returns the refusal, or null when it may.
 */
export function refuseUpdate(key: Lifecycle, now: Micros, metadataOnly: boolean): StateRefusal | null {
  const refusal = finalRefusal(stateOf(key, now))
  return metadataOnly && refusal !== 'KEY_DELETED' ? null : refusal
}

/** Suspends; the grace clock of a rotated key goes on. */
export function suspend(key: Lifecycle, now: Micros, reason: string): Transition {
  const state = stateOf(key, now)
  const refusal = finalRefusal(state)
  if (refusal !== null) return refused(refusal)
  return state === 'SUSPENDED' ? unchanged : change({ suspendAt: now, suspendReason: reason })
}

/** Ends a suspension. */
export function resume(key: Lifecycle, now: Micros): Transition {
  const state = stateOf(key, now)
  const refusal = finalRefusal(state)
  if (refusal !== null) return refused(refusal)
  return state === 'SUSPENDED' ? change({ suspendAt: null, suspendReason: '' }) : unchanged
}

/** Ends a key for good by its expiry. */
export function expire(key: Lifecycle, now: Micros): Transition {
  const state = stateOf(key, now)
  if (state === 'DELETED') return refused('KEY_DELETED')
  if (state === 'REVOKED') return refused('KEY_REVOKED')
  return state === 'EXPIRED' ? unchanged : change({ expireAt: now })
}

/** Revokes one key for good; which others go with it says `cascade` in api-key-rotation.ts. */
export function revoke(key: Lifecycle, now: Micros, reason: RevokeReason, comment: string): Transition {
  const state = stateOf(key, now)
  if (state === 'DELETED') return refused('KEY_DELETED')
  return state === 'REVOKED' ? unchanged : change({ revokeAt: now, revokeReason: reason, revokeComment: comment })
}

/** Deletes softly; the row can be undeleted until its purge. */
export function softDelete(key: Lifecycle, now: Micros): Transition {
  if (key.deleteAt !== null) return unchanged
  return change({ deleteAt: now, purgeAt: now + purgeDelayMicros })
}

/** Takes a deletion back; what the key is then follows from its other instants. */
export function undelete(key: Lifecycle, _now: Micros): Transition {
  if (key.deleteAt === null) return refused('KEY_NOT_DELETED')
  return change({ deleteAt: null, purgeAt: null })
}

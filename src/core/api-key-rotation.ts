// Rotation: a key gets one successor and works on until its grace end; each predecessor keeps its own end (D9, D10).
// Revocation may take predecessors or the whole lineage along (D11). Pure; never lengthens a grace by a second rotation.
import { isAlive, type Lifecycle, type StateRefusal, stateOf, type Transition } from './api-key.ts'
import type { Micros } from './time.ts'

/** What a profile says of grace periods, in microseconds. */
export interface GraceRules {
  readonly defaultMicros: number
  readonly minMicros: number
  readonly maxMicros: number
  readonly maxLivePredecessors: number
}

export type RotationRefusal = StateRefusal | 'GRACE_OUT_OF_RANGE' | 'TOO_MANY_PREDECESSORS'

/** Which keys a revocation takes along: predecessors in grace, none, or every living key of the lineage. */
export type Cascade = 'PREDECESSORS' | 'KEY_ONLY' | 'LINEAGE'

/** A key as a member of its lineage. */
export interface LineageMember extends Lifecycle {
  readonly id: string
  readonly rotatedFrom: string | null
}

function refused(reason: RotationRefusal): Transition<RotationRefusal> {
  return { kind: 'refused', reason }
}

function earlier(a: Micros, b: Micros | null): Micros {
  return b === null ? a : Math.min(a, b)
}

/** Whether a key with a successor still has a grace end ahead, be it suspended or not. */
export function isInGrace(key: Lifecycle, now: Micros): boolean {
  return key.rotatedTo !== null && isAlive(stateOf(key, now))
}

/**
 * Gives `key` the successor `successorId`. `graceMicros` null: the profile's default. The old key ends at
 * min(expireAt, now + grace); with grace 0 at once. `livePredecessors`: how many of its predecessors are in grace.
 */
export function rotate(
  key: Lifecycle,
  now: Micros,
  successorId: string,
  graceMicros: number | null,
  livePredecessors: number,
  rules: GraceRules,
): Transition<RotationRefusal> {
  const state = stateOf(key, now)
  if (state === 'DELETED') return refused('KEY_DELETED')
  if (state === 'REVOKED') return refused('KEY_REVOKED')
  if (state === 'EXPIRED') return refused('KEY_EXPIRED')
  if (state === 'SUSPENDED') return refused('KEY_SUSPENDED')
  if (state === 'ROTATING_OUT') return refused('KEY_ALREADY_ROTATED')
  const grace = graceMicros ?? rules.defaultMicros
  if (!graceInRange(grace, rules)) return refused('GRACE_OUT_OF_RANGE')
  const inGraceAfter = livePredecessors + (grace > 0 ? 1 : 0)
  if (inGraceAfter > rules.maxLivePredecessors) return refused('TOO_MANY_PREDECESSORS')
  const graceEndAt = earlier(now + grace, key.expireAt)
  return { kind: 'change', change: { rotatedTo: successorId, rotateAt: now, graceEndAt } }
}

/**
 * Whether a grace is one the profile allows. Zero is always allowed: ending the old key at once is how a lost secret
 * is made good, and it never weakens anything.
 */
export function graceInRange(graceMicros: number, rules: GraceRules): boolean {
  return graceMicros === 0 || (graceMicros >= rules.minMicros && graceMicros <= rules.maxMicros)
}

/** Ends the grace of a predecessor now. */
export function finishRotation(key: Lifecycle, now: Micros): Transition<RotationRefusal> {
  const state = stateOf(key, now)
  if (state === 'DELETED') return refused('KEY_DELETED')
  if (state === 'REVOKED') return refused('KEY_REVOKED')
  if (key.rotatedTo === null) return refused('KEY_NOT_ROTATING')
  return state === 'EXPIRED' ? { kind: 'unchanged' } : { kind: 'change', change: { graceEndAt: now } }
}

/**
 * Moves the grace end of a predecessor. The end must lie after `now` and at most the longest grace after the rotation;
 * beyond the key's own expiry it is cut to that (as D9 does).
 */
export function extendRotation(
  key: Lifecycle,
  now: Micros,
  graceEndAt: Micros,
  rules: GraceRules,
): Transition<RotationRefusal> {
  const state = stateOf(key, now)
  if (state === 'DELETED') return refused('KEY_DELETED')
  if (state === 'REVOKED') return refused('KEY_REVOKED')
  if (state === 'EXPIRED') return refused('KEY_EXPIRED')
  if (key.rotatedTo === null || key.rotateAt === null) return refused('KEY_NOT_ROTATING')
  if (graceEndAt <= now || graceEndAt > key.rotateAt + rules.maxMicros) return refused('GRACE_OUT_OF_RANGE')
  const end = earlier(graceEndAt, key.expireAt)
  return end === key.graceEndAt ? { kind: 'unchanged' } : { kind: 'change', change: { graceEndAt: end } }
}

/** The predecessors of `key` in `lineage`, nearest first. A chain that runs in a circle ends where it closes. */
export function predecessorsOf<Key extends LineageMember>(key: Key, lineage: readonly Key[]): Key[] {
  const byId = new Map(lineage.map(member => [member.id, member]))
  const seen = new Set([key.id])
  const found: Key[] = []
  let next = key.rotatedFrom
  while (next !== null && !seen.has(next)) {
    seen.add(next)
    const member = byId.get(next)
    if (member === undefined) break
    found.push(member)
    next = member.rotatedFrom
  }
  return found
}

/** Which other keys a revocation of `key` also revokes, in the order of `lineage`. `key` itself is not among them. */
export function revokedAlong<Key extends LineageMember>(
  key: Key,
  lineage: readonly Key[],
  now: Micros,
  cascade: Cascade,
): Key[] {
  if (cascade === 'KEY_ONLY') return []
  if (cascade === 'LINEAGE') return lineage.filter(member => member.id !== key.id && isAlive(stateOf(member, now)))
  return predecessorsOf(key, lineage).filter(member => isInGrace(member, now))
}

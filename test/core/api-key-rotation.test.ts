// Rotation decisions D9, D10 and D11: ends never move by a second rotation, and revocation reaches as far as asked.
import { expect, test } from 'vitest'
import { stateOf, withChange } from '../../src/core/api-key.ts'
import {
  extendRotation,
  type GraceRules,
  graceInRange,
  isInGrace,
  type LineageMember,
  predecessorsOf,
  revokedAlong,
  rotate,
} from '../../src/core/api-key-rotation.ts'

const now = 1_000_000_000_000
const hour = 3_600_000_000
const rules: GraceRules = { defaultMicros: 24 * hour, minMicros: hour, maxMicros: 48 * hour, maxLivePredecessors: 2 }

function member(id: string, members: Partial<LineageMember> = {}): LineageMember {
  return {
    id,
    rotatedFrom: null,
    expireAt: null,
    rotatedTo: null,
    rotateAt: null,
    graceEndAt: null,
    suspendAt: null,
    suspendReason: '',
    revokeAt: null,
    revokeReason: null,
    revokeComment: '',
    deleteAt: null,
    purgeAt: null,
    ...members,
  }
}

function graceEnd(key: LineageMember, grace: number | null): number | null | undefined | string {
  const result = rotate(key, now, 'next', grace, 0, rules)
  if (result.kind === 'change') return result.change.graceEndAt
  return result.kind === 'refused' ? result.reason : result.kind
}

test('D9: the old key ends at the earlier of its expiry and now + grace', () => {
  expect(graceEnd(member('a'), null)).toBe(now + 24 * hour)
  expect(graceEnd(member('a'), 2 * hour)).toBe(now + 2 * hour)
  expect(graceEnd(member('a', { expireAt: now + 5 * hour }), null)).toBe(now + 5 * hour)
  expect(graceEnd(member('a', { expireAt: now + 50 * hour }), null)).toBe(now + 24 * hour)
})

test('grace 0 ends the old key at once, also where the profile has a minimum', () => {
  expect(graceEnd(member('a'), 0)).toBe(now)
  const result = rotate(member('a'), now, 'next', 0, 2, rules)
  expect(result).toMatchObject({ kind: 'change' })
  if (result.kind === 'change') expect(stateOf(withChange(member('a'), result.change), now)).toBe('EXPIRED')
})

test('a grace outside of the profile is refused, its ends are not', () => {
  expect(graceEnd(member('a'), hour - 1)).toBe('GRACE_OUT_OF_RANGE')
  expect(graceEnd(member('a'), hour)).toBe(now + hour)
  expect(graceEnd(member('a'), 48 * hour)).toBe(now + 48 * hour)
  expect(graceEnd(member('a'), 48 * hour + 1)).toBe('GRACE_OUT_OF_RANGE')
  expect(graceInRange(-1, rules)).toBe(false)
})

test('D10: at most two predecessors are in grace at once', () => {
  expect(rotate(member('c'), now, 'd', null, 1, rules)).toMatchObject({ kind: 'change' })
  expect(rotate(member('c'), now, 'd', null, 2, rules)).toEqual({ kind: 'refused', reason: 'TOO_MANY_PREDECESSORS' })
})

test('an extension stays within the longest grace after the rotation and after now', () => {
  const key = member('a', { rotatedTo: 'b', rotateAt: now - 10 * hour, graceEndAt: now + hour })
  const end = (at: number, of = key) => extendRotation(of, now, at, rules)
  expect(end(now + 38 * hour)).toEqual({ kind: 'change', change: { graceEndAt: now + 38 * hour } })
  expect(end(now + 38 * hour + 1)).toEqual({ kind: 'refused', reason: 'GRACE_OUT_OF_RANGE' })
  expect(end(now)).toEqual({ kind: 'refused', reason: 'GRACE_OUT_OF_RANGE' })
  expect(end(now + 1)).toMatchObject({ kind: 'change' })
  expect(end(now + hour)).toEqual({ kind: 'unchanged' })
  const expiring = { ...key, expireAt: now + 2 * hour }
  expect(end(now + 3 * hour, expiring)).toEqual({ kind: 'change', change: { graceEndAt: now + 2 * hour } })
})

const a = member('a', { rotatedTo: 'b', rotateAt: now - 3, graceEndAt: now })
const b = member('b', { rotatedFrom: 'a', rotatedTo: 'c', rotateAt: now - 2, graceEndAt: now + 1, suspendAt: now - 1 })
const c = member('c', { rotatedFrom: 'b', rotatedTo: 'd', rotateAt: now - 1, graceEndAt: now + 2 })
const d = member('d', { rotatedFrom: 'c' })
const lineage = [a, b, c, d]
const ids = (members: readonly LineageMember[]) => members.map(one => one.id).join('')

test('predecessors are found from the nearest on, and a circle ends', () => {
  expect(ids(predecessorsOf(d, lineage))).toBe('cba')
  expect(ids(predecessorsOf(a, lineage))).toBe('')
  const circle = [member('x', { rotatedFrom: 'y' }), member('y', { rotatedFrom: 'x' })]
  expect(ids(predecessorsOf(circle[0] ?? d, circle))).toBe('y')
})

test('D11: a revocation takes predecessors in grace, suspended ones too, and leaves the successor', () => {
  expect(ids(revokedAlong(d, lineage, now, 'PREDECESSORS'))).toBe('cb')
  expect(ids(revokedAlong(c, lineage, now, 'PREDECESSORS'))).toBe('b')
  expect(ids(revokedAlong(c, lineage, now, 'KEY_ONLY'))).toBe('')
  expect(ids(revokedAlong(c, lineage, now, 'LINEAGE'))).toBe('bd')
  expect(isInGrace(a, now)).toBe(false)
})

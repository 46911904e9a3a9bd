// Rotation decisions D9, D10 and D11: ends never move by a second rotation, and revocation reaches as far as asked.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isAlive, resume, revoke, stateOf, suspend, type Transition, withChange } from '../../src/core/api-key.ts'
import {
  extendRotation,
  finishRotation,
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

test('whatever is done to a lineage: one successor a key, ends that only move on request, few predecessors in grace', () => {
  const step = fc.record({
    act: fc.constantFrom('rotate', 'finish', 'extend', 'suspend', 'resume', 'revoke'),
    whom: fc.nat(5),
    grace: fc.constantFrom(null, 0, hour, 48 * hour),
    wait: fc.constantFrom(0, 1, hour, 30 * hour),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), fc.option(fc.constantFrom(20 * hour, 90 * hour)), (steps, life) => {
      let time = now
      let members = [member('k0', { expireAt: life === null ? null : now + life })]
      for (const { act, whom, grace, wait } of steps) {
        time += wait
        const key = members[members.length - 1 - (whom % members.length)] ?? member('none')
        const before = members
        const live = predecessorsOf(key, members).filter(one => isInGrace(one, time)).length
        const successor = `k${members.length}`
        const results: Record<typeof act, () => Transition<string>> = {
          rotate: () => rotate(key, time, successor, grace, live, rules),
          finish: () => finishRotation(key, time),
          extend: () => extendRotation(key, time, time + (grace ?? 0), rules),
          suspend: () => suspend(key, time, ''),
          resume: () => resume(key, time),
          revoke: () => revoke(key, time, 'POLICY', ''),
        }
        const result = results[act]()
        if (result.kind !== 'change') continue
        members = members.map(one => (one.id === key.id ? withChange(one, result.change) : one))
        if (act === 'rotate') members = [...members, member(successor, { rotatedFrom: key.id, expireAt: key.expireAt })]
        for (const [index, one] of members.entries()) {
          const end = one.graceEndAt
          if (end !== null && one.rotateAt !== null) expect(end).toBeLessThanOrEqual(one.rotateAt + rules.maxMicros)
          if (end !== null && one.expireAt !== null) expect(end).toBeLessThanOrEqual(one.expireAt)
          const old = before[index]
          if (old !== undefined && one.id !== key.id) expect(one).toEqual(old)
          if (old?.rotatedTo != null) expect(one.rotatedTo).toBe(old.rotatedTo)
        }
        const newest = members.at(-1) ?? key
        expect(members.filter(one => one.id !== newest.id && isAlive(stateOf(one, time))).length).toBeLessThanOrEqual(2)
      }
    }),
    { numRuns: 2000 },
  )
})

// The lifecycle table of admin-api.md section 3, cell by cell, and the order in which instants decide a state.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  type ApiKeyState,
  apiKeyStates,
  expire,
  isPurged,
  type Lifecycle,
  purgeDelayMicros,
  refuseUpdate,
  resume,
  revoke,
  softDelete,
  stateOf,
  suspend,
  undelete,
  withChange,
} from '../../src/core/api-key.ts'
import { extendRotation, finishRotation, type GraceRules, rotate } from '../../src/core/api-key-rotation.ts'

const now = 1_000_000_000
const hour = 3_600_000_000
const grace: GraceRules = { defaultMicros: hour, minMicros: 0, maxMicros: 24 * hour, maxLivePredecessors: 2 }

const active: Lifecycle = {
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
}
const rotated = { ...active, rotatedTo: 'key_b', rotateAt: now - 10, graceEndAt: now + hour }

/** A key of each state, once without and once with a successor where both exist. */
const keys: Record<ApiKeyState, { readonly plain: Lifecycle; readonly rotated: Lifecycle }> = {
  ACTIVE: { plain: active, rotated: active },
  SUSPENDED: { plain: { ...active, suspendAt: now - 5 }, rotated: { ...rotated, suspendAt: now - 5 } },
  ROTATING_OUT: { plain: rotated, rotated },
  EXPIRED: { plain: { ...active, expireAt: now }, rotated: { ...rotated, graceEndAt: now } },
  REVOKED: { plain: { ...active, revokeAt: now }, rotated: { ...rotated, revokeAt: now } },
  DELETED: { plain: { ...active, deleteAt: now - 1 }, rotated: { ...rotated, deleteAt: now - 1 } },
}

const operations = {
  Rotate: (key: Lifecycle) => rotate(key, now, 'key_c', null, 0, grace),
  FinishRotation: (key: Lifecycle) => finishRotation(key, now),
  ExtendRotation: (key: Lifecycle) => extendRotation(key, now, now + 2 * hour, grace),
  Suspend: (key: Lifecycle) => suspend(key, now, 'why'),
  Resume: (key: Lifecycle) => resume(key, now),
  Expire: (key: Lifecycle) => expire(key, now),
  Revoke: (key: Lifecycle) => revoke(key, now, 'LEAKED', 'found in a log'),
  Delete: (key: Lifecycle) => softDelete(key, now),
  Undelete: (key: Lifecycle) => undelete(key, now),
}

/** Columns as `apiKeyStates`: ACTIVE, SUSPENDED, ROTATING_OUT, REVOKED, EXPIRED, DELETED; `>` leads to a state, `=` changes nothing. */
const plainTable: Record<keyof typeof operations, readonly string[]> = {
  Rotate: ['>ROTATING_OUT', 'KEY_SUSPENDED', 'KEY_ALREADY_ROTATED', 'KEY_REVOKED', 'KEY_EXPIRED', 'KEY_DELETED'],
  FinishRotation: [
    'KEY_NOT_ROTATING',
    'KEY_NOT_ROTATING',
    '>EXPIRED',
    'KEY_REVOKED',
    'KEY_NOT_ROTATING',
    'KEY_DELETED',
  ],
  ExtendRotation: [
    'KEY_NOT_ROTATING',
    'KEY_NOT_ROTATING',
    '>ROTATING_OUT',
    'KEY_REVOKED',
    'KEY_EXPIRED',
    'KEY_DELETED',
  ],
  Suspend: ['>SUSPENDED', '=', '>SUSPENDED', 'KEY_REVOKED', 'KEY_EXPIRED', 'KEY_DELETED'],
  Resume: ['=', '>ACTIVE', '=', 'KEY_REVOKED', 'KEY_EXPIRED', 'KEY_DELETED'],
  Expire: ['>EXPIRED', '>EXPIRED', '>EXPIRED', 'KEY_REVOKED', '=', 'KEY_DELETED'],
  Revoke: ['>REVOKED', '>REVOKED', '>REVOKED', '=', '>REVOKED', 'KEY_DELETED'],
  Delete: ['>DELETED', '>DELETED', '>DELETED', '>DELETED', '>DELETED', '='],
  Undelete: ['KEY_NOT_DELETED', 'KEY_NOT_DELETED', 'KEY_NOT_DELETED', 'KEY_NOT_DELETED', 'KEY_NOT_DELETED', '>ACTIVE'],
}

/** The cells that differ for a key with a successor. */
const rotatedTable: Partial<Record<keyof typeof operations, Partial<Record<ApiKeyState, string>>>> = {
  FinishRotation: { SUSPENDED: '>EXPIRED', EXPIRED: '=' },
  ExtendRotation: { SUSPENDED: '>SUSPENDED' },
  Resume: { SUSPENDED: '>ROTATING_OUT' },
  Undelete: { DELETED: '>ROTATING_OUT' },
}

const cells = Object.entries(operations).flatMap(([name, run]) =>
  apiKeyStates.flatMap((state, column) => {
    const operation = name as keyof typeof operations
    const plain = plainTable[operation][column] ?? ''
    const withSuccessor = state === 'ACTIVE' ? plain : (rotatedTable[operation]?.[state] ?? plain)
    return [
      { name, state, kind: 'plain', key: keys[state].plain, expected: plain, run },
      { name, state, kind: 'rotated', key: keys[state].rotated, expected: withSuccessor, run },
    ]
  }),
)

test('the table has a cell for every operation and state', () => {
  expect(cells).toHaveLength(9 * 6 * 2)
  for (const state of apiKeyStates) {
    expect(stateOf(keys[state].plain, now)).toBe(state)
    expect(stateOf(keys[state].rotated, now)).toBe(state)
  }
})

test.each(cells)('$name of a $kind $state key: $expected', ({ key, expected, run }) => {
  const result = run(key)
  if (expected === '=') expect(result).toEqual({ kind: 'unchanged' })
  else if (!expected.startsWith('>')) expect(result).toEqual({ kind: 'refused', reason: expected })
  else {
    if (result.kind !== 'change') return expect.fail(`expected a change, found ${JSON.stringify(result)}`)
    expect(stateOf(withChange(key, result.change), now)).toBe(expected.slice(1))
  }
})

test('an ended key takes new names and labels, and nothing else', () => {
  const verdicts = (metadataOnly: boolean) =>
    Object.fromEntries(apiKeyStates.map(state => [state, refuseUpdate(keys[state].plain, now, metadataOnly)]))
  const open = { ACTIVE: null, SUSPENDED: null, ROTATING_OUT: null }
  expect(verdicts(true)).toEqual({ ...open, EXPIRED: null, REVOKED: null, DELETED: 'KEY_DELETED' })
  expect(verdicts(false)).toEqual({ ...open, EXPIRED: 'KEY_EXPIRED', REVOKED: 'KEY_REVOKED', DELETED: 'KEY_DELETED' })
})

test('states are half-open: at its end a key is already expired', () => {
  expect(stateOf({ ...active, expireAt: now + 1 }, now)).toBe('ACTIVE')
  expect(stateOf({ ...active, expireAt: now }, now)).toBe('EXPIRED')
  expect(stateOf({ ...rotated, graceEndAt: now + 1 }, now)).toBe('ROTATING_OUT')
  expect(stateOf({ ...rotated, graceEndAt: now }, now)).toBe('EXPIRED')
  expect(stateOf({ ...active, revokeAt: now + 1 }, now)).toBe('ACTIVE')
})

test('the first that applies wins: deleted, revoked, expired, suspended, rotating out', () => {
  const all = { ...rotated, deleteAt: now, revokeAt: now, expireAt: now, suspendAt: now }
  expect(stateOf(all, now)).toBe('DELETED')
  expect(stateOf({ ...all, deleteAt: null }, now)).toBe('REVOKED')
  expect(stateOf({ ...all, deleteAt: null, revokeAt: null }, now)).toBe('EXPIRED')
  expect(stateOf({ ...all, deleteAt: null, revokeAt: null, expireAt: null }, now)).toBe('SUSPENDED')
})

test('a suspension does not stop the grace clock', () => {
  const suspended = { ...rotated, suspendAt: now }
  expect(stateOf(suspended, now + hour)).toBe('EXPIRED')
  expect(resume(suspended, now + hour)).toEqual({ kind: 'refused', reason: 'KEY_EXPIRED' })
})

test('a deleted key can come back for 30 days, then it is gone', () => {
  const result = softDelete(active, now)
  if (result.kind !== 'change') return expect.fail('expected a change')
  const deleted = withChange(active, result.change)
  expect(isPurged(deleted, now + purgeDelayMicros - 1)).toBe(false)
  expect(isPurged(deleted, now + purgeDelayMicros)).toBe(true)
  const back = undelete(deleted, now)
  expect(back).toEqual({ kind: 'change', change: { deleteAt: null, purgeAt: null } })
})

test('no sequence of operations revives an expired or revoked key', () => {
  const step = fc.record({
    operation: fc.constantFrom(...Object.values(operations)),
    wait: fc.constantFrom(0, 1, hour, 3 * hour),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), steps => {
      // Operations above run at the fixed `now`, so waiting shifts every instant of the key into the past instead.
      let key = active
      let ended = false
      for (const { operation, wait } of steps) {
        key = shifted(key, wait)
        const result = operation(key)
        if (result.kind === 'change') key = withChange(key, result.change)
        const state = stateOf({ ...key, deleteAt: null }, now)
        if (ended) expect(['EXPIRED', 'REVOKED']).toContain(state)
        ended ||= state === 'EXPIRED' || state === 'REVOKED'
      }
    }),
    { numRuns: 3000 },
  )
})

function shifted(key: Lifecycle, by: number): Lifecycle {
  const back = (at: number | null) => (at === null ? null : at - by)
  return {
    ...key,
    expireAt: back(key.expireAt),
    rotateAt: back(key.rotateAt),
    graceEndAt: back(key.graceEndAt),
    suspendAt: back(key.suspendAt),
    revokeAt: back(key.revokeAt),
    deleteAt: back(key.deleteAt),
    purgeAt: back(key.purgeAt),
  }
}

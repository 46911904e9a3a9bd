// The inequalities of freshness.md section 11 are checked when the module loads; here, that the check can fail.
import { expect, it } from 'vitest'
import { assertInequalities, inequalities, LEASE_MS, PROMISE_MS } from '../../src/feed/constants.ts'

it('every inequality of the proof holds', () => {
  expect(inequalities.map(({ name, holds }) => [name, holds])).toEqual(inequalities.map(({ name }) => [name, true]))
  expect(PROMISE_MS).toBe(10_000)
  expect(LEASE_MS).toBe(7_000)
})

it('a build with a broken bound does not load', () => {
  expect(() => assertInequalities([{ name: 'LEASE < PROMISE', holds: false }])).toThrow('LEASE < PROMISE')
})

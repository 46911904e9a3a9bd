// Shared word sequences: each distinct one once, gone when nobody holds it, its room used again.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { poolWordsMax, WordPool } from '../../src/keys/word-pool.ts'

function wordsOf(pool: WordPool, number: number, length: number): number[] {
  return [...pool.page(number).subarray(pool.at(number), pool.at(number) + length)]
}

test('equal sequences share a number, others do not, whatever is held and released', () => {
  const step = fc.record({ word: fc.nat(6), length: fc.integer({ min: 1, max: 9 }), hold: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), steps => {
      const pool = new WordPool()
      const held = new Map<string, { number: number; holders: number }>()
      for (const { word, length, hold } of steps) {
        const key = `${word}*${length}`
        const known = held.get(key)
        if (hold) {
          const number = pool.hold(new Int32Array(length).fill(word), length)
          expect(number).toBeGreaterThan(0)
          if (known !== undefined) expect(number).toBe(known.number)
          held.set(key, { number, holders: (known?.holders ?? 0) + 1 })
        } else if (known !== undefined) {
          pool.release(known.number)
          if (known.holders === 1) held.delete(key)
          else held.set(key, { number: known.number, holders: known.holders - 1 })
        }
        expect(pool.size).toBe(held.size)
        for (const [name, { number }] of held) {
          const [value, count] = name.split('*').map(Number)
          expect(wordsOf(pool, number, count ?? 0)).toEqual(new Array(count).fill(value))
        }
      }
    }),
    { numRuns: 200 },
  )
})

test('the room of released sequences is used again, so that rounds of the same sizes take no more', () => {
  const pool = new WordPool()
  let settled = 0
  for (let round = 0; round < 20; round++) {
    const numbers = Array.from({ length: 5000 }, (_, i) =>
      pool.hold(Int32Array.of(round, ...new Array(i % 7).fill(i)), 1 + (i % 7)),
    )
    for (const number of numbers) pool.release(number)
    expect(pool.size).toBe(0)
    if (round === 1) settled = pool.bytes
  }
  expect(pool.bytes).toBeLessThanOrEqual(settled)
})

test('a sequence as long as a page is held, one that is longer refused', () => {
  const pool = new WordPool()
  const first = pool.hold(new Int32Array(poolWordsMax).fill(5), poolWordsMax)
  const second = pool.hold(new Int32Array(poolWordsMax).fill(6), poolWordsMax)
  expect(wordsOf(pool, first, poolWordsMax).every(word => word === 5)).toBe(true)
  expect(wordsOf(pool, second, poolWordsMax).every(word => word === 6)).toBe(true)
  expect(() => pool.hold(new Int32Array(poolWordsMax + 1), poolWordsMax + 1)).toThrow(RangeError)
})

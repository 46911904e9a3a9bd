// A set number means the scopes it was given for, whatever was held and released before, and however the list is spelled.
import { describe, expect, it } from 'vitest'
import { createNames } from '../../src/core/names.ts'
import { ScopeSets } from '../../src/keys/scope-sets.ts'

describe('scope sets', () => {
  it('give one number to a set, in any order and with repetitions, again and again', () => {
    const sets = new ScopeSets(createNames().scopes)
    const number = sets.hold(['a', 'b'])
    for (const scopes of [
      ['a', 'b'],
      ['b', 'a'],
      ['a', 'b', 'a'],
      ['b', 'a'],
    ])
      expect(sets.hold(scopes)).toBe(number)
    expect(sets.size).toBe(1)
    for (let holder = 0; holder < 5; holder++) sets.release(number)
    expect(sets.size).toBe(0)
  })

  it('tell lists apart that look alike when they are joined', () => {
    const sets = new ScopeSets(createNames().scopes)
    const numbers = [['a,b'], ['a', 'b'], ['a,b'], ['a', 'b'], [], ['']].map(scopes => sets.hold(scopes))
    expect(new Set(numbers).size).toBe(4)
    expect([numbers[2], numbers[3]]).toEqual([numbers[0], numbers[1]])
  })

  it('never take a number from a spelling whose set is gone', () => {
    const names = createNames().scopes
    const sets = new ScopeSets(names)
    const first = sets.hold(['a'])
    sets.release(first)
    const second = sets.hold(['b'])
    expect(second).toBe(first) // the number is used again
    const third = sets.hold(['a'])
    expect(third).not.toBe(second)
    sets.clear()
    expect(sets.hold(['b'])).toBe(0)
    expect(sets.size).toBe(1)
  })

  it('hold any number of spellings within bounds', () => {
    const sets = new ScopeSets(createNames().scopes)
    sets.hold(['s0'])
    const before = sets.bytes
    for (let i = 0; i < 5_000; i++) sets.hold(Array.from({ length: i % 3000 }, () => 's0').concat('s0'))
    expect(sets.size).toBe(1)
    expect(sets.bytes - before).toBeLessThan(300_000)
  })
})

// Filters: what they mean as a tree, and that every fault names its place.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type FilterFields, type FilterFieldType, filterLengthMax, parseFilter } from '../../src/admin/filter.ts'
import { parseInstant } from '../../src/core/instant.ts'

const fields: FilterFields = new Map<string, FilterFieldType>([
  ['display_name', { kind: 'text' }],
  ['scopes', { kind: 'texts' }],
  ['create_time', { kind: 'time' }],
  [
    'state',
    {
      kind: 'enum',
      values: new Map([
        ['ACTIVE', 1],
        ['REVOKED', 4],
      ]),
    },
  ],
  ['labels', { kind: 'labels' }],
])

const tree = (text: string) => {
  const result = parseFilter(text, fields)
  return result.ok ? result.filter : result.fault
}

const name = (value: string, operator = '=') => ({ kind: 'text', field: 'display_name', operator, value })

test('no text is no filter', () => {
  expect(tree('')).toBeNull()
  expect(tree('  \t')).toBeNull()
})

test.each([
  ['display_name = "a b"', name('a b')],
  ["display_name='it\\'s'", name("it's")],
  ['display_name != x', name('x', '!=')],
  ['display_name <= x', name('x', '<=')],
  ['display_name:x', name('x')],
  ['display_name:"x*"', { kind: 'text-prefix', field: 'display_name', prefix: 'x' }],
  ['display_name:"x\\*"', name('x*')],
  ['display_name:"x\\\\*"', { kind: 'text-prefix', field: 'display_name', prefix: 'x\\' }],
  ['display_name = "x*"', name('x*')],
  ['display_name:*', { kind: 'set', field: 'display_name' }],
  ['display_name = "AND OR ) ("', name('AND OR ) (')],
  ['display_name = 😀', name('😀')],
  ['scopes:customers:READ', { kind: 'has', field: 'scopes', value: 'customers:READ', prefix: false }],
  ['scopes:customers:*', { kind: 'has', field: 'scopes', value: 'customers:', prefix: true }],
  ['scopes:*', { kind: 'set', field: 'scopes' }],
  ['state = REVOKED', { kind: 'enum', field: 'state', operator: '=', value: 4 }],
  ['state:ACTIVE', { kind: 'enum', field: 'state', operator: '=', value: 1 }],
  ['labels.team = "a"', { kind: 'label', field: 'labels', key: 'team', operator: '=', value: 'a' }],
  ['labels.constructor = "a"', { kind: 'label', field: 'labels', key: 'constructor', operator: '=', value: 'a' }],
  ['labels.team:*', { kind: 'label-set', field: 'labels', key: 'team' }],
  ['labels:team', { kind: 'label-set', field: 'labels', key: 'team' }],
  ['labels.team:a*', { kind: 'label-prefix', field: 'labels', key: 'team', prefix: 'a' }],
  ['create_time:*', { kind: 'set', field: 'create_time' }],
])('%s', (text, expected) => {
  expect(tree(text)).toEqual(expected)
})

test('a time keeps its microseconds, quoted or not', () => {
  const value = parseInstant('2026-02-01T00:00:00.123456Z')
  const term = { kind: 'time', field: 'create_time', operator: '>', value }
  expect(tree('create_time > 2026-02-01T00:00:00.123456Z')).toEqual(term)
  expect(tree('create_time > "2026-02-01T00:00:00.123456Z"')).toEqual(term)
})

test('OR binds closer than AND, NOT closest, parentheses decide', () => {
  const [a, b, c] = [name('a'), name('b'), name('c')]
  const [x, y, z] = ['display_name = a', 'display_name = b', 'display_name = c']
  expect(tree(`${x} AND ${y} OR ${z}`)).toEqual({ kind: 'and', parts: [a, { kind: 'or', parts: [b, c] }] })
  expect(tree(`(${x} AND ${y}) OR ${z}`)).toEqual({ kind: 'or', parts: [{ kind: 'and', parts: [a, b] }, c] })
  expect(tree(`NOT ${x} AND ${y}`)).toEqual({ kind: 'and', parts: [{ kind: 'not', part: a }, b] })
  expect(tree(`NOT (${x} OR NOT(${y}))`)).toEqual({
    kind: 'not',
    part: { kind: 'or', parts: [a, { kind: 'not', part: b }] },
  })
})

test.each([
  ['__proto__ = 1', 0],
  ['constructor = 1', 0],
  ['display_name', 12],
  ['display_name =', 14],
  ['display_name = ""x', 17],
  ['display_name = a b', 17],
  ['display_name = a AND', 20],
  ['😀 = 1', 0],
  ['display_name = "😀" AND nope = 1', 23],
  ['display_name = "open', 15],
  ['(display_name = a', 0],
  ['display_name = a)', 16],
  ['display_name ~ a', 13],
  ['display_name = "\\x"', 16],
  ['state = ACTIV', 8],
  ['state < ACTIVE', 6],
  ['scopes = x', 7],
  ['create_time = yesterday', 14],
  ['create_time:2026-01-01T00:00:00Z', 11],
  ['labels = a', 7],
  ['labels.Team = a', 0],
  ['labels.__proto__ = a', 0],
  ['display_name.x = a', 0],
  ['or display_name = a', 3],
  ['display_name = "\0"', 16],
])('%s is refused at position %i', (text, position) => {
  expect(tree(text)).toMatchObject({ position, message: expect.any(String) })
})

test('length, terms and depth are bounded', () => {
  const term = 'display_name = a'
  expect(tree(Array(32).fill(term).join(' OR '))).toMatchObject({ kind: 'or' })
  expect(tree(Array(33).fill(term).join(' OR '))).toMatchObject({ message: expect.stringContaining('32 terms') })
  expect(tree(`display_name = "${'x'.repeat(filterLengthMax)}"`)).toMatchObject({ position: filterLengthMax })
  expect(tree(`${'('.repeat(500)}${term}${')'.repeat(500)}`)).toMatchObject({
    message: expect.stringContaining('levels'),
  })
  expect(tree(`${'NOT '.repeat(400)}${term}`)).toMatchObject({ message: expect.stringContaining('levels') })
})

test('no text makes the parser throw, hang or point outside', () => {
  const piece = fc.constantFrom(
    'display_name',
    'scopes',
    'labels.a',
    'state',
    'create_time',
    ' ',
    '=',
    ':',
    '<',
    '(',
    ')',
    'AND',
    'OR',
    'NOT',
    '"',
    "'",
    '\\',
    '*',
    'a',
    '😀',
    '\0',
    '.',
    '2026-01-01T00:00:00Z',
    '__proto__',
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), pieces => {
      const text = pieces.join('')
      const result = parseFilter(text, fields)
      if (!result.ok) {
        expect(result.fault.position).toBeGreaterThanOrEqual(0)
        expect(result.fault.position).toBeLessThanOrEqual([...text].length)
      }
    }),
    { numRuns: 5000 },
  )
})

// The JSON reader for strangers: reads what JSON.parse reads, but for what two readers could understand differently.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jsonDepthMax, readStrictJson, type StrictJson } from '../../src/admin/strict-json.ts'

const read = (text: string) => readStrictJson(Buffer.from(text, 'utf8'))

/** The value as JSON.parse gives it; prototypes play no part. */
function plain(value: StrictJson | undefined): unknown {
  if (value instanceof Map) return new Map([...value].map(([name, member]) => [name, plain(member)]))
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === 'object' && value !== null && 'number' in value) return Number(value.number) + 0
  return value
}

function mapped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(mapped)
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? 0 : value
  return new Map(Object.entries(value).map(([name, member]) => [name, mapped(member)]))
}

describe('readStrictJson', () => {
  it('reads every value that can be written, compact or spread out', () => {
    const values = fc.jsonValue({ maxDepth: 6 }).filter(value => !/\p{Surrogate}/u.test(JSON.stringify(value)))
    fc.assert(
      fc.property(values, fc.constantFrom(undefined, 1, '\t'), (value, space) => {
        expect(plain(read(JSON.stringify(value, null, space)))).toEqual(mapped(JSON.parse(JSON.stringify(value))))
      }),
    )
  })

  it('never throws, and accepts nothing that JSON.parse refuses', () => {
    const piece = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '"a"',
      '\\',
      '\\u00',
      '1',
      '-',
      '.5',
      'e3',
      'true',
      'null',
      ' ',
      '\n',
      '\u0000',
      'é',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), pieces => {
        const text = pieces.join('')
        if (read(text) !== undefined) expect(() => JSON.parse(text)).not.toThrow()
      }),
      { numRuns: 5000 },
    )
  })

  it('reads octets: what is no UTF-8 is refused wherever it stands', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), octets => {
        const text = Buffer.concat([Buffer.from('{"'), octets, Buffer.from('":1}')])
        const value = readStrictJson(text)
        if (value !== undefined) expect(Buffer.from(text.toString('utf8'))).toEqual(text)
      }),
    )
  })

  it('names are data: __proto__ and its like are members', () => {
    const value = read('{"__proto__":{"a":1},"constructor":2}')
    expect(plain(value)).toEqual(
      new Map<string, unknown>([
        ['__proto__', new Map([['a', 1]])],
        ['constructor', 2],
      ]),
    )
  })

  it('keeps the order of members, numbers too', () => {
    expect([...(read('{"b":1,"2":1,"a":1,"1":1}') as ReadonlyMap<string, StrictJson>).keys()]).toEqual([
      'b',
      '2',
      'a',
      '1',
    ])
  })

  it('goes as deep as it says and no deeper', () => {
    const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`
    expect(read(nested(jsonDepthMax))).toBeDefined()
    expect(read(nested(jsonDepthMax + 1))).toBeUndefined()
    expect(read('['.repeat(60_000))).toBeUndefined()
  })

  it('64 KiB of anything are read within a tenth of a second', () => {
    const texts = ['"a",', '{"a":[],', '"\\u0041', 'é', '1,', '  ', '[[]],', '"\\"'].map(unit =>
      unit.repeat(65_536 / unit.length),
    )
    for (const text of [...texts, `[${'1,'.repeat(32_000)}1]`, `"${'é'.repeat(32_000)}"`]) {
      const began = performance.now()
      read(text)
      expect(performance.now() - began).toBeLessThan(100)
    }
  })

  it.each(['""', '"\\u0041\\n\\/"', '"\\ud83d\\ude00"', '-0', '1.5e+3', ' true ', 'null\n', '"\u007f\u0080"'])(
    'reads %s',
    text => {
      expect(plain(read(text))).toEqual(mapped(JSON.parse(text)))
    },
  )

  it.each([
    '',
    ' ',
    '01',
    '+1',
    '.5',
    '1.',
    '1e',
    '-',
    'True',
    'nul',
    "'a'",
    '"\\x"',
    '"\\u12"',
    '[1 2]',
    '{a:1}',
    '{"a"}',
    '{"a":1,"a":1}',
    '"\\udc00"',
    '[,]',
    '1 1',
  ])('refuses %s', text => {
    expect(read(text)).toBeUndefined()
  })
})

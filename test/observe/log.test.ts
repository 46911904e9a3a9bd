// A log line is one line of JSON whatever is put into it, and holds nothing shaped like a secret.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createLog } from '../../src/observe/log.ts'

const prefixes = ['ex_live_', 'ex_test_', 'a+b(']

/** Controls and characters that reorder or hide text. */
const deceptive = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

function lines(write: (log: ReturnType<typeof createLog>) => void): string[] {
  const written: string[] = []
  const log = createLog('debug', { write: line => void written.push(line) })
  log.redactPrefixes(prefixes)
  write(log)
  return written
}

const secrets = [
  'ex_live_0123456789ABCDEFabcdef',
  'ex_test_a1b2c3d4',
  'gwa_0123456789ABCDEFGHIJKLMNOPQRSTUV27hpmI',
  'a+b(zzzz',
]

describe('redaction', () => {
  it.each(secrets)('%s is not written, wherever it stands', secret => {
    const tail = secret.slice(-4)
    const error = Object.assign(new Error(`bad key ${secret}`, { cause: new Error(secret) }), { code: secret })
    const [line = ''] = lines(log =>
      log.error(`refused ${secret}`, { a: secret, b: { c: [`x-api-key: ${secret}`] }, error, [secret]: 1 }),
    )
    expect(line).not.toContain(tail)
    expect(line).toContain('[redacted]')
    expect(() => JSON.parse(line)).not.toThrow()
  })

  it.each(['authorization', 'Authorization', 'cookie', 'x-api-key', 'x_api_key', 'proxy-authorization', 'set-cookie'])(
    'the member %s is never written',
    name => {
      const [line = ''] = lines(log =>
        log.info('call', { headers: { [name]: 'canary"\\"canary', other: 'kept' }, many: { [name]: ['canary'] } }),
      )
      expect(line).not.toContain('canary')
      expect(JSON.parse(line)).toMatchObject({
        headers: { other: 'kept', [name]: '[redacted]' },
        many: { [name]: '[redacted]' },
      })
    },
  )

  it('a bearer value in free text is not written', () => {
    const [line = ''] = lines(log => log.info('header was "Bearer abcDEF123.x-y"'))
    expect(line).not.toContain('abcDEF123')
  })

  it('a hint stays readable', () => {
    const [line = ''] = lines(log => log.info('created', { hint: 'ex_live_…ATsX' }))
    expect(JSON.parse(line)).toMatchObject({ hint: 'ex_live_…ATsX' })
  })
})

describe('hostile text', () => {
  it('any string comes back whole and stays on one line', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 60 }),
        fc.string({ unit: 'grapheme', maxLength: 20 }),
        (text, other) => {
          fc.pre(!/bearer|basic|gw[ab]_|ex_|a\+b/i.test(text + other))
          const [line = ''] = lines(log => log.warn('hostile', { text, nested: { other } }))
          expect(line.indexOf('\n')).toBe(line.length - 1)
          expect(line.slice(0, -1)).not.toMatch(deceptive)
          expect(JSON.parse(line)).toMatchObject({ text, nested: { other } })
        },
      ),
      { numRuns: 500 },
    )
  })

  it('characters that hide, reorder or break a line are escaped, and come back as they were', () => {
    const points = [
      0x00, 0x07, 0x1b, 0x7f, 0x85, 0x9b, 0xad, 0x61c, 0x200b, 0x200e, 0x2028, 0x2029, 0x202e, 0x2066, 0xfeff, 0xe0001,
      0x110bd,
    ]
    for (const point of points) {
      const text = `a${String.fromCodePoint(point)}b`
      const [line = ''] = lines(log => log.warn('hostile', { text, [text]: 1 }))
      expect(line.slice(0, -1)).not.toMatch(deceptive)
      expect(JSON.parse(line)).toMatchObject({ text, [text]: 1 })
    }
  })

  it('large, deep and cyclic fields are cut', () => {
    const cyclic: Record<string, unknown> = { big: 'x'.repeat(100_000) }
    cyclic['self'] = cyclic
    cyclic['wide'] = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`m${n}`, n]))
    const [line = ''] = lines(log =>
      log.info('deep', { cyclic, octets: Buffer.alloc(9), count: 1n, nothing: undefined }),
    )
    expect(line.length).toBeLessThan(40_000)
    expect(JSON.parse(line)).toMatchObject({ octets: '[9 octets]', count: '1' })
  })

  it('lines below the level are not made', () => {
    const written: string[] = []
    createLog('warn', { write: line => void written.push(line) }).info('quiet')
    expect(written).toEqual([])
  })
})

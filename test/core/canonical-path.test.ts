// R4: which spellings of a path are refused, which pass, and where the query is cut.
import { describe, expect, it } from 'vitest'
import { findPathEnd, pathLengthMax } from '../../src/core/canonical-path.ts'
import { pathIsCanonical } from '../oracle/decision.ts'
import { pick, seededRandom } from '../oracle/random-worlds.ts'

function pathOf(target: string): string | null {
  const bytes = Buffer.from(`GET ${target} `, 'latin1')
  const end = findPathEnd(bytes, 4, bytes.length - 1)
  return end < 0 ? null : bytes.toString('latin1', 4, end)
}

const segments = (count: number) => '/s'.repeat(count)

describe('a path', () => {
  it.each([
    '/',
    '/a',
    '/a/',
    '/a.b/..c/...',
    '/a%20b',
    '/a%3Fb',
    '/a%3fb',
    '/%C0%AF',
    '/a%23b',
    "/a:b@c,d=e+f!$&'()*~",
    '/a|b{c}"<>^`',
    '/pkg.Service/Method',
    '/__proto__',
    segments(64),
    `/${'a'.repeat(pathLengthMax - 1)}`,
  ])('passes as %j', path => {
    expect(pathOf(path)).toBe(path)
  })

  it.each([
    '',
    'a',
    '*',
    '?',
    '//',
    '//?q',
    '//a',
    '/a//b',
    '/a//',
    '/.',
    '/..',
    '/./a',
    '/../a',
    '/a/.',
    '/a/..',
    '/a/../b',
    '/a/./b',
    '/%2e',
    '/%2E%2e',
    '/a/%2e%2e/b',
    '/a/.%2e/b',
    '/..;/b',
    '/a/..;/b',
    '/a/%2e%2e;/b',
    '/a/..%3b/b',
    '/a;x=1/b',
    '/a\\b',
    '/a/..\\b',
    '/a%2Fb',
    '/a%2fb',
    '/a%5cb',
    '/a%00b',
    '/a%0Ab',
    '/a%1fb',
    '/a%7Fb',
    '/a%25',
    '/a%252fb',
    '/a%',
    '/a%2',
    '/a%zz',
    '/a%2g',
    '/a%g2',
    '/%61bc',
    '/a%7Eb',
    '/a%2Db',
    '/a%5Fb',
    '/a b',
    '/a\tb',
    '/a\u0000b',
    '/a\u007fb',
    '/a\u0080b',
    '/a\u00ffb',
    '/a#b',
    '/#',
    segments(65),
    `/${'a'.repeat(pathLengthMax)}`,
    `/${'a'.repeat(64 * 1024)}`,
    `/${'a'.repeat(pathLengthMax - 2)}%20`,
  ])('is refused as %j', path => {
    expect(pathOf(path)).toBeNull()
  })

  it.each([
    ['/a?q', '/a'],
    ['/a?', '/a'],
    ['/a??x', '/a'],
    ['/a?/../..//%zz#\\;', '/a'],
    [`/a?${'q'.repeat(60_000)}`, '/a'],
    [`/${'a'.repeat(pathLengthMax - 1)}?q`, `/${'a'.repeat(pathLengthMax - 1)}`],
  ])('ends at the first question mark: %.30s', (target, path) => {
    expect(pathOf(target)).toBe(path)
  })

  it('is judged as the reference model judges it, in 60,000 spellings', () => {
    const seed = Number(process.env['SEED'] ?? 20_260_301)
    const random = seededRandom(seed)
    const parts = [
      '/',
      '/',
      '/',
      'a',
      'b',
      '.',
      '..',
      '%',
      '%2e',
      '%2F',
      '%20',
      '%3f',
      '%61',
      '%zz',
      ';',
      '\\',
      '?',
      '#',
      '%25',
      '\u00e9',
      ' ',
      '~',
    ]
    let passed = 0
    for (let i = 0; i < 60_000; i++) {
      const path = `${random() < 0.9 ? '/' : ''}${Array.from({ length: Math.floor(random() * 7) }, () => pick(random, parts)).join('')}`
      const own = path.split('?')[0] ?? ''
      const expected = pathIsCanonical(own) ? own : null
      expect(pathOf(path), `seed ${seed}: ${path}`).toBe(expected)
      if (expected !== null) passed++
    }
    process.stdout.write(`paths: inputs tried 60000, accepted ${passed}, bypasses 0 (seed ${seed})\n`)
    expect(passed).toBeGreaterThan(1000)
  })
})

// Paths, routes and hosts on raw octets: total, and what a linear scan over strings finds.
import { isIPv4, isIPv6 } from 'node:net'
import { expect, it } from 'vitest'
import { findPathEnd } from '../../src/core/canonical-path.ts'
import { findHostEnd } from '../../src/core/host.ts'
import { compileRouteTable, matchRoute, type RouteOptions, type RouteRule } from '../../src/core/route-table.ts'
import { pathIsCanonical } from '../oracle/decision.ts'
import { pick, type Random } from '../oracle/random-worlds.ts'
import { findRuleByScan, type PlainRule } from '../oracle/routes.ts'
import { below, randomFor, seed, Tally, times } from './tally.ts'

/** Octets with something around them, so that reading outside the range would show. */
function framed(text: string): Buffer {
  return Buffer.from(`/a/${text}/b`, 'latin1')
}

it('a path is canonical exactly when the model says so, whatever its octets', () => {
  const random = randomFor('canonical paths')
  const tally = new Tally('canonical paths')
  const pieces = [
    '/',
    '/',
    'a',
    'b%20',
    '%',
    '%2',
    '%41',
    '%C3',
    '.',
    '..',
    '?',
    '#',
    ';',
    '\\',
    '%2f',
    '%7E',
    '%80',
    '%00',
    '%7f',
    '\xff',
    ' ',
    '~',
    '%3b',
    '%25',
  ]
  for (let i = 0; i < times(100_000); i++) {
    const length = random() < 0.01 ? 8170 + below(random, 40) : below(random, 12)
    let text = random() < 0.95 ? '/' : ''
    while (text.length < length)
      text +=
        random() < 0.03
          ? String.fromCharCode(below(random, 256))
          : pick(random, length > 100 ? ['a', 'b', '-'] : pieces)
    const bytes = framed(text)
    const end = findPathEnd(bytes, 3, 3 + text.length)
    const path = text.split('?')[0] ?? ''
    const wanted = pathIsCanonical(path) ? 3 + path.length : -1
    tally.note(end >= 0, end !== wanted, () => JSON.stringify({ text, end, wanted }))
  }
  tally.finish(times(100_000), times(5000))
})

const segments = ['a', 'b', 'c', 'd', '%20', 'A']

/** HEAD has rules of its own only where it is not GET's: the linter refuses others. */
function randomRules(random: Random, ignoreTrailingSlash: boolean, headAsGet: boolean): PlainRule[] {
  const rules = new Map<string, PlainRule>()
  for (let i = 1 + below(random, 12); i > 0; i--) {
    const parts = Array.from({ length: 1 + below(random, 4) }, () => pick(random, ['a', 'b', 'c', '{x}', '{y}']))
    const end = pick(random, ['', '', '', '/**', '/'])
    const rule = {
      method: pick(random, ['GET', 'PUT', headAsGet ? 'GET' : 'HEAD', 'M-SEARCH']),
      path: `/${parts.join('/')}${end}`,
      host: pick(random, [null, null, 'h.test', 'g.test']),
    }
    // Two rules of one shape would decide the same request, which the linter refuses.
    const shape = rule.path.replace(/\{.\}/g, '{}').replace(ignoreTrailingSlash ? /\/$/ : /$^/, '')
    rules.set(`${rule.method} ${rule.host} ${shape}`, rule)
  }
  return [...rules.values()]
}

it('a route is the one that a linear scan finds, in 100,000 requests over random tables', () => {
  const random = randomFor('routes')
  const tally = new Tally('route look-ups')
  for (let round = 0; round < times(1000); round++) {
    const options: RouteOptions = {
      basePath: pick(random, ['', '', '/v1', '/a', '/a/b']),
      basePathRequired: random() < 0.5,
      ignoreTrailingSlash: random() < 0.3,
      headAsGet: random() < 0.5,
      options: 'mapped',
      unmapped: 'deny',
    }
    const plain = randomRules(random, options.ignoreTrailingSlash, options.headAsGet)
    const rules = plain.map(
      (rule, index): RouteRule => ({
        ...rule,
        index,
        access: 'authenticated',
        mode: 'all',
        scopes: [],
        scopeNames: [],
        requiredScope: '',
        limits: [],
      }),
    )
    const table = compileRouteTable(rules, options)
    for (let i = 0; i < 100; i++) {
      const start = pick(random, [
        options.basePath,
        options.basePath,
        options.basePath,
        '',
        options.basePath + options.basePath,
      ])
      const from =
        random() < 0.5
          ? pick(random, plain).path.replace(/\{.\}|\*\*/g, () => pick(random, segments))
          : `/${Array.from({ length: below(random, 5) }, () => pick(random, segments)).join('/')}`
      const path = (start + from + pick(random, ['', '', '', '/'])).replace(/\/{2,}/g, '/') || '/'
      const method =
        random() < 0.6 ? pick(random, plain).method : pick(random, ['GET', 'PUT', 'HEAD', 'get', 'GE', 'GETS', ''])
      const host = pick(random, ['', 'h.test', 'g.test', 'other.test'])
      const bytes = Buffer.from(`${method}${path}`, 'latin1')
      const found = matchRoute(table, bytes, method.length, bytes.length, 0, method.length, host)
      const wanted = findRuleByScan(
        plain,
        { ...options, basePathRequired: options.basePathRequired && options.basePath !== '' },
        method,
        path,
        host,
      )
      tally.note(found >= 0, found !== wanted, () =>
        JSON.stringify({ plain, options, method, path, host, found, wanted }),
      )
    }
  }
  tally.finish(times(100_000), times(10_000))
})

/** The canonical host of a text by regular expressions and Node; null: it is nobody's. */
function plainHost(text: string): string | null {
  if (text.length > 262) return null
  const literal = /^(\[([^\]]*)\])(?::\d{1,5})?$/.exec(text)
  if (literal !== null) {
    const inner = literal[2] ?? ''
    const embedded = inner.includes('.') && !/^::ffff:[\d.]+$/i.test(inner)
    return isIPv6(inner) && !isIPv4(inner) && !inner.includes('%') && !embedded ? (literal[1] ?? null) : null
  }
  const name = /^([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)\.?(?::\d{1,5})?$/.exec(text)?.[1]
  return name ?? null
}

it('a host has the canonical form that the model gives it, or none', () => {
  const random = randomFor('hosts')
  const tally = new Tally('hosts')
  const pieces = [
    'a',
    'api',
    '.',
    '.',
    '-',
    'B',
    ':',
    ':443',
    ':65536',
    ':0',
    '[::1]',
    '[',
    ']',
    '::',
    '%',
    ',',
    '@',
    '/',
    ' ',
    '\0',
    '_',
    '*',
    'xn--',
    '1.2.3.4',
    '\xe9',
    '[::ffff:1.2.3.4]',
    ':',
    '\t',
  ]
  for (let i = 0; i < times(60_000); i++) {
    const start =
      random() < 0.7
        ? pick(random, [
            'api.example.test',
            'API.Example.TEST',
            'localhost',
            '10.0.0.1',
            '[2001:db8::1]',
            'a'.repeat(250),
          ])
        : ''
    const more = Array.from({ length: below(random, 4) }, () => pick(random, pieces)).join('')
    const at = below(random, start.length + 1)
    const text = random() < 0.5 ? start + more : start.slice(0, at) + more + start.slice(at)
    const bytes = framed(text)
    const end = findHostEnd(bytes, 3, 3 + text.length)
    const wanted = plainHost(text)
    const found = end < 0 ? null : text.slice(0, end - 3)
    tally.note(found !== null, found !== wanted, () => JSON.stringify({ text, found, wanted, seed }))
  }
  tally.finish(times(60_000), times(5000))
  expect(plainHost('[::1]:443')).toBe('[::1]')
})

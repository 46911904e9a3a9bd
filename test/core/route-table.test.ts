// Route look-up: precedence, base path, trailing slashes, hosts and methods, and the same answer as a linear search.
import { describe, expect, it } from 'vitest'
import {
  compileRouteTable,
  matchPath,
  matchRoute,
  type RouteOptions,
  type RouteRule,
  UNMAPPED,
} from '../../src/core/route-table.ts'
import { pick, seededRandom } from '../oracle/random-worlds.ts'

const defaults: RouteOptions = {
  basePath: '',
  basePathRequired: false,
  ignoreTrailingSlash: false,
  headAsGet: true,
  options: 'unmapped',
  unmapped: 'deny',
}

/** Rules from lines of `METHOD path [host]`. */
function rulesOf(...lines: readonly string[]): RouteRule[] {
  return lines.map((line, index) => {
    const [method = '', path = '', host = null] = line.split(' ')
    return {
      index,
      method,
      path,
      host,
      access: 'authenticated',
      mode: 'all',
      scopes: [],
      scopeNames: [],
      requiredScope: '',
      limits: [],
    }
  })
}

function matcher(lines: readonly string[], options: Partial<RouteOptions> = {}) {
  const table = compileRouteTable(rulesOf(...lines), { ...defaults, ...options })
  return (request: string, host = ''): string | undefined => {
    const bytes = Buffer.from(`xx${request}`)
    const space = request.indexOf(' ')
    const rule = matchRoute(table, bytes, 2 + space + 1, bytes.length, 2, 2 + space, host)
    return rule === UNMAPPED ? undefined : lines[rule]
  }
}

describe('a route', () => {
  it('prefers literal to parameter to subtree, segment by segment, whatever the order of the rules', () => {
    const lines = ['GET /a/**', 'GET /a/{x}', 'GET /a/b', 'GET /{y}/b', 'GET /a/{x}/c', 'GET /a/b/d', 'GET /**']
    for (const order of [lines, [...lines].reverse()]) {
      const find = matcher(order)
      expect(find('GET /a/b')).toBe('GET /a/b')
      expect(find('GET /a/z')).toBe('GET /a/{x}')
      expect(find('GET /z/b')).toBe('GET /{y}/b')
      expect(find('GET /a')).toBe('GET /a/**')
      expect(find('GET /a/b/c')).toBe('GET /a/{x}/c')
      expect(find('GET /a/b/d')).toBe('GET /a/b/d')
      expect(find('GET /a/b/e')).toBe('GET /a/**')
      expect(find('GET /q/w/e')).toBe('GET /**')
    }
  })

  it('is looked for under the method asked for, and falls back to a less precise path that has it', () => {
    const find = matcher(['POST /a/b', 'GET /a/{x}'])
    expect(find('GET /a/b')).toBe('GET /a/{x}')
    expect(find('POST /a/b')).toBe('POST /a/b')
    expect(find('POST /a/c')).toBeUndefined()
    expect(find('get /a/b')).toBeUndefined()
    expect(find('DELETE /a/b')).toBeUndefined()
    expect(find('constructor /a/b')).toBeUndefined()
  })

  it('keeps case and trailing slashes apart', () => {
    const find = matcher(['GET /x', 'GET /y/', 'GET /z/{id}', 'GET /t/**'])
    expect(find('GET /x')).toBe('GET /x')
    expect(find('GET /x/')).toBeUndefined()
    expect(find('GET /X')).toBeUndefined()
    expect(find('GET /y')).toBeUndefined()
    expect(find('GET /y/')).toBe('GET /y/')
    expect(find('GET /z/')).toBeUndefined()
    expect(find('GET /t')).toBe('GET /t/**')
    expect(find('GET /t/')).toBeUndefined()
    expect(find('GET /t/a/')).toBeUndefined()
    expect(find('GET /t/a/b')).toBe('GET /t/**')
    expect(find('GET /tt')).toBeUndefined()
  })

  it('ignores one trailing slash where the profile says so', () => {
    const find = matcher(['GET /x', 'GET /y/', 'GET /t/**', 'GET /'], { ignoreTrailingSlash: true })
    expect(find('GET /x/')).toBe('GET /x')
    expect(find('GET /y')).toBe('GET /y/')
    expect(find('GET /t/a/')).toBe('GET /t/**')
    expect(find('GET /')).toBe('GET /')
  })

  it('strips the base path once', () => {
    const optional = matcher(['GET /api/b'], { basePath: '/v1' })
    expect(optional('GET /v1/api/b')).toBe('GET /api/b')
    expect(optional('GET /api/b')).toBe('GET /api/b')
    expect(optional('GET /v1/v1/api/b')).toBeUndefined()
    expect(optional('GET /v11/api/b')).toBeUndefined()
    const required = matcher(['GET /b', 'GET /**'], { basePath: '/v1', basePathRequired: true })
    expect(required('GET /v1/b')).toBe('GET /b')
    expect(required('GET /v1')).toBe('GET /**')
    expect(required('GET /b')).toBeUndefined()
    expect(required('GET /v1b')).toBeUndefined()
    expect(required('GET /V1/b')).toBeUndefined()
  })

  it('bound to a host beats an unbound one and serves no other host', () => {
    const find = matcher(['GET /a', 'GET /{x} files.test', 'GET /only files.test'])
    expect(find('GET /a', 'files.test')).toBe('GET /{x} files.test')
    expect(find('GET /a', 'api.test')).toBe('GET /a')
    expect(find('GET /only', 'api.test')).toBeUndefined()
    expect(find('GET /only', '')).toBeUndefined()
  })

  it('of GET serves HEAD, unless HEAD is mapped', () => {
    expect(matcher(['GET /a'])('HEAD /a')).toBe('GET /a')
    expect(matcher(['POST /a'])('HEAD /a')).toBeUndefined()
    expect(matcher(['GET /a'], { headAsGet: false })('HEAD /a')).toBeUndefined()
    expect(matcher(['GET /a', 'HEAD /a'], { headAsGet: false })('HEAD /a')).toBe('HEAD /a')
  })

  it('cannot be decided by two rules', () => {
    expect(() => compileRouteTable(rulesOf('GET /a/{x}', 'GET /a/{y}'), defaults)).toThrow('two rules decide')
  })

  it('is found by path alone for a preflight', () => {
    const table = compileRouteTable(rulesOf('POST /a/{x}'), defaults)
    const bytes = Buffer.from('/a/b')
    expect(matchPath(table, bytes, 0, 4, '')).toBe(0)
    expect(matchPath(table, bytes, 0, 2, '')).toBe(UNMAPPED)
  })

  it('is the one that a linear search finds, in 40,000 random requests over 200 random tables', () => {
    const seed = Number(process.env['SEED'] ?? 41)
    const random = seededRandom(seed)
    let mapped = 0
    for (let round = 0; round < 200; round++) {
      const lines = randomLines(random)
      const find = matcher(lines)
      for (let i = 0; i < 200; i++) {
        const path = `/${Array.from({ length: 1 + Math.floor(random() * 4) }, () => pick(random, ['a', 'b', 'c', 'd', ''])).join('/')}`
        if (/\/\/./.test(path)) continue
        const request = `${pick(random, ['GET', 'PUT', 'HEAD'])} ${path}`
        const expected = linear(lines, request)
        expect(find(request), `seed ${seed}: ${request} in ${lines.join(', ')}`).toBe(expected)
        if (expected !== undefined) mapped++
      }
    }
    expect(mapped).toBeGreaterThan(5000)
  })
})

function randomLines(random: () => number): string[] {
  const shapes = new Map<string, string>()
  for (let i = 0; i < 12; i++) {
    const segments = Array.from({ length: 1 + Math.floor(random() * 3) }, () =>
      pick(random, ['a', 'b', 'c', '{x}', '{y}']),
    )
    if (random() < 0.3) segments.push('**')
    const line = `${pick(random, ['GET', 'PUT'])} /${segments.join('/')}`
    shapes.set(line.replace(/\{.\}/g, '{}'), line)
  }
  return [...shapes.values()]
}

/** Every template against the request; of those that fit, the most precise in the first segment where they differ. */
function linear(lines: readonly string[], request: string): string | undefined {
  const [sent = '', path = ''] = request.split(' ')
  const method = sent === 'HEAD' ? 'GET' : sent
  const segments = path.slice(1).split('/')
  const rank = (segment: string | undefined) =>
    segment === undefined ? -1 : segment === '**' ? 2 : segment.startsWith('{') ? 1 : 0
  const fits = (line: string): boolean => {
    const [ruleMethod, template = ''] = line.split(' ')
    if (ruleMethod !== method) return false
    const parts = template.slice(1).split('/')
    const subtree = parts.at(-1) === '**'
    const own = `/${segments.join('/')}`
    const pattern = (list: readonly string[]) =>
      list.map(part => (part.startsWith('{') ? '/[^/]+' : `/${part}`)).join('')
    if (!subtree) return new RegExp(`^${pattern(parts)}$`).test(own)
    return new RegExp(`^${pattern(parts.slice(0, -1))}(?:/[^/]+)*$`).test(own)
  }
  return lines.filter(fits).sort((a, b) => {
    const left = (a.split(' ')[1] ?? '').slice(1).split('/')
    const right = (b.split(' ')[1] ?? '').slice(1).split('/')
    for (let i = 0; i < Math.max(left.length, right.length); i++) {
      const difference = rank(left[i]) - rank(right[i])
      if (difference !== 0) return difference
    }
    return 0
  })[0]
}

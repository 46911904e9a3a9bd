// What the linter says of route rules agrees with the matcher of the data plane, on random tables and every short path.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { compileRouteTable, matchRoute, type RouteRule, UNMAPPED } from '../../src/core/route-table.ts'
import { lintProfile } from '../../src/profile/lint.ts'
import { matchesPath, RouteIndex } from '../../src/profile/route-match.ts'
import { parseRoutePath } from '../../src/profile/route-path.ts'
import { exampleText } from './documents.ts'

const segment = fc.constantFrom('a', 'b', '{x}')
const template = fc
  .tuple(fc.array(segment, { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([segments, subtree]) => `/${segments.join('/')}${subtree ? '/**' : ''}`)
const hosts = ['api.example.test', 'files.example.test'] as const
const rule = fc.record({ path: template, host: fc.constantFrom(null, null, ...hosts) })

interface Rule {
  readonly path: string
  readonly host: string | null
}

/** Every path of up to five segments, one of which no template spells out. */
const paths: string[] = []
for (let length = 1; length <= 5; length++) {
  for (let code = 0; code < 3 ** length; code++) {
    paths.push(`/${Array.from({ length }, (_, at) => 'abc'[Math.floor(code / 3 ** at) % 3]).join('/')}`)
  }
}

/** The example without base path, examples and route limits, and with these rules. */
function textWith(rules: readonly Rule[]): string {
  const lines = rules.map(({ path, host }) => {
    const bound = host === null ? '' : `host: ${host}, `
    return `    - {path: "${path}", ${bound}methods: {GET: authenticated}, documented: false}`
  })
  const text = exampleText().replace('strip: /v2, required: true', 'strip: "", required: false')
  const before = text.slice(0, text.indexOf('  rules:\n'))
  const after = text.slice(text.indexOf('checks:'), text.indexOf('examples:'))
  return `${before}  rules:\n${lines.join('\n')}\n${after.replace(/ {2}routes: \[\{.*\}\]/, '  routes: []')}`
}

function tableOf(rules: readonly Rule[]) {
  const table = rules.map(({ path, host }, index): RouteRule => {
    return {
      index,
      method: 'GET',
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
  const options = { basePath: '', basePathRequired: false, ignoreTrailingSlash: false, headAsGet: true } as const
  return compileRouteTable(table, { ...options, options: 'unmapped', unmapped: 'deny' })
}

function winner(table: ReturnType<typeof tableOf>, path: string, host: string): number {
  const bytes = Buffer.from(`GET${path}`)
  return matchRoute(table, bytes, 3, bytes.length, 0, 3, host)
}

it('a rule is called shadowed exactly when it wins no path on any host', () => {
  fc.assert(
    fc.property(fc.array(rule, { minLength: 1, maxLength: 7 }), rules => {
      const { findings } = lintProfile(textWith(rules), { file: 'x' })
      const errors = findings.filter(({ level }) => level === 'error')
      if (errors.some(({ code }) => code === 'duplicate_rule')) {
        expect(() => tableOf(rules)).toThrow()
        return
      }
      const shadowed = errors.map(({ code, field }) => {
        expect(code).toBe('shadowed')
        return Number(/rules\[(\d+)\]/.exec(field)?.[1])
      })
      const table = tableOf(rules)
      const won = new Set(paths.flatMap(path => hosts.map(host => winner(table, path, host))))
      const lost = rules.map((_, index) => index).filter(index => !won.has(index))
      expect(shadowed.sort()).toEqual(lost)
    }),
    { numRuns: 150 },
  )
})

it('a template matches here exactly when a table of it alone does', () => {
  fc.assert(
    fc.property(template, text => {
      const table = tableOf([{ path: text, host: null }])
      for (const path of [...paths, '/', '/a/', '/a/b/', '/b/a/b/']) {
        const found = winner(table, path, '') !== UNMAPPED
        expect(matchesPath(parseRoutePath(text), path.split('/').slice(1)), `${text} ${path}`).toBe(found)
      }
    }),
    { numRuns: 60 },
  )
})

it('an index gives the templates that match one by one, and asks of no other', () => {
  fc.assert(
    fc.property(fc.array(template, { maxLength: 12 }), texts => {
      const index = new RouteIndex<string>()
      for (const text of texts) index.add(parseRoutePath(text), text)
      for (const path of [...paths, '/', '/a/', '/a/b/', '/b/a/b/']) {
        const segments = path.split('/').slice(1)
        const asked: string[] = []
        expect(index.some(segments, text => asked.push(text) < 0)).toBe(false)
        const matching = texts.filter(text => matchesPath(parseRoutePath(text), segments))
        expect(asked.sort(), path).toEqual(matching.sort())
        expect(index.some(segments, () => true)).toBe(matching.length > 0)
      }
    }),
    { numRuns: 60 },
  )
})

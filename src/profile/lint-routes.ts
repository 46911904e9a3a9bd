// `unreachable`: rules, base path and route limits that no request can ever reach.
import { findPathEnd } from '../core/canonical-path.ts'
import type { FieldPath } from './finding.ts'
import { lintRule } from './lint-rule.ts'
import type { Report } from './parse-document.ts'
import { isParameter, pathShape } from './route-path.ts'
import type { ProfileDocument, RouteRuleDocument } from './schema.ts'

type Routes = ProfileDocument['routes']

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

export const lintRoutes = [
  lintRule(['routes'], ({ routes }, report) => {
    const base = routes.base_path.strip
    const fault = base === '' ? undefined : basePathFault(base)
    if (fault !== undefined) report('unreachable', ['routes', 'base_path', 'strip'], fault)
    for (const [index, rule] of routes.rules.entries()) {
      const path = ['routes', 'rules', index]
      lintPath(rule.path, routes, [...path, 'path'], report)
      for (const method of Object.keys(rule.methods)) lintMethod(method, routes, [...path, 'methods', method], report)
    }
  }),
  lintRule(['routes', 'select'], ({ routes, select }, report) => {
    if (select.hosts.length === 0) return
    for (const [index, rule] of routes.rules.entries()) {
      if (rule.host === undefined || select.hosts.includes(rule.host)) continue
      const message = `the host \`${rule.host}\` does not select this profile; add it to \`select.hosts\` or correct it`
      report('unreachable', ['routes', 'rules', index, 'host'], message)
    }
  }),
  lintRule(['routes', 'rate_limit'], ({ routes, rate_limit: limits }, report) => {
    const methods = methodsByShape(routes.rules)
    for (const [index, entry] of limits.routes.entries()) {
      const known = methods.get(pathShape(entry.path))
      const path = ['rate_limit', 'routes', index]
      if (known === undefined) {
        report(
          'unreachable',
          [...path, 'path'],
          `no route rule has the path \`${entry.path}\`; write it as in \`routes.rules\``,
        )
        continue
      }
      for (const [at, method] of entry.methods.entries()) {
        if (known.has(method)) continue
        report(
          'unreachable',
          [...path, 'methods', at],
          `no route rule maps ${method} ${entry.path}; remove the method or add the rule`,
        )
      }
    }
  }),
] as const

/** Why a template can match no canonical path; undefined when it can. */
export function pathFault(path: string, trailingSlash: Routes['trailing_slash']): string | undefined {
  if (!path.startsWith('/')) return '`path` must begin with `/`; add it'
  const segments = path.slice(1).split('/')
  for (const [index, segment] of segments.entries()) {
    const last = index === segments.length - 1
    if (segment === '**' && last && segments.length > 1) continue
    if (segment === '*' || segment.includes('**'))
      return '`**` may only be the last segment; use {name} for a single one'
    if (/[{}]/.test(segment) && !isParameter(segment)) {
      return `\`${segment}\` is neither text nor a parameter; a parameter is a whole segment such as {id}`
    }
    if (segment === '' && last && segments.length > 1 && trailingSlash === 'ignore') {
      return '`path` ends in a slash, which `trailing_slash: ignore` removes from requests; remove it here too'
    }
  }
  const sample = segments.map(segment => (segment === '**' || isParameter(segment) ? 'x' : segment)).join('/')
  return isCanonical(`/${sample}`)
    ? undefined
    : '`path` is not canonical and would be refused before any rule; correct dots, empty segments and encoding'
}

function basePathFault(base: string): string | undefined {
  if (base.endsWith('/')) return 'the base path must not end in `/`; remove it'
  return isCanonical(base) && !/[{}*]/.test(base)
    ? undefined
    : 'the base path is not a canonical path of literals; correct it'
}

function isCanonical(path: string): boolean {
  const bytes = Buffer.from(path, 'utf8')
  return findPathEnd(bytes, 0, bytes.length) === bytes.length
}

function lintPath(path: string, routes: Routes, at: FieldPath, report: Report): void {
  const fault = pathFault(path, routes.trailing_slash)
  if (fault !== undefined) {
    report('unreachable', at, fault)
    return
  }
  const base = routes.base_path.strip
  if (base !== '' && (path === base || path.startsWith(`${base}/`))) {
    report(
      'unreachable',
      at,
      `\`path\` repeats the base path \`${base}\`, which is removed before matching; leave it out here`,
    )
  }
}

function lintMethod(method: string, routes: Routes, at: FieldPath, report: Report): void {
  if (!TOKEN.test(method)) report('unreachable', at, `\`${method}\` is not an HTTP method; correct it`)
  else if (method === 'CONNECT') report('unreachable', at, 'CONNECT is refused before any rule; remove it')
  else if (method === 'HEAD' && routes.head === 'as_get') {
    report('unreachable', at, 'HEAD takes the rule of GET; remove it or set `head: mapped`')
  } else if (method === 'OPTIONS' && routes.options === 'unmapped') {
    report('unreachable', at, 'OPTIONS is never mapped here; remove it or set `options: mapped`')
  }
}

/** The methods that rules of each path shape map. */
export function methodsByShape(rules: readonly RouteRuleDocument[]): ReadonlyMap<string, ReadonlySet<string>> {
  const methods = new Map<string, Set<string>>()
  for (const rule of rules) {
    const shape = pathShape(rule.path)
    const known = methods.get(shape) ?? new Set<string>()
    for (const method of Object.keys(rule.methods)) known.add(method)
    methods.set(shape, known)
  }
  return methods
}

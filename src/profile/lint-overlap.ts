// `duplicate_rule` and `shadowed`: every rule decides some request, and no request is decided by two.
// A rule can lose everywhere in two ways: its subtree is covered by deeper rules, or host-bound rules cover it on every host.
import { PATH_SEGMENTS_MAX } from './lint-limits.ts'
import { lintRule } from './lint-rule.ts'
import { RouteIndex, witnessOf } from './route-match.ts'
import { parseRoutePath, type RoutePath, shapeOf } from './route-path.ts'
import type { RouteRuleDocument } from './schema.ts'

interface Entry {
  readonly index: number
  readonly method: string
  readonly host: string | undefined
  readonly path: RoutePath
  readonly text: string
}

export const lintOverlap = [
  lintRule(['routes', 'select'], ({ routes, select }, report) => {
    const entries = routes.rules.flatMap(entriesOf)
    const first = new Map<string, Entry>()
    for (const entry of entries) {
      const at = ['routes', 'rules', entry.index, 'methods', entry.method]
      const key = keyOf(entry.host, entry.method, shapeOf(entry.path))
      const earlier = first.get(key)
      if (earlier !== undefined) {
        report(
          'duplicate_rule',
          at,
          `rule ${earlier.index} decides ${entry.method} ${earlier.text} too; remove one of them`,
        )
        continue
      }
      first.set(key, entry)
    }
    const bound = boundRules(entries)
    for (const entry of first.values()) {
      const at = ['routes', 'rules', entry.index, 'methods', entry.method]
      if (isSubtreeCovered(entry, first)) {
        report(
          'shadowed',
          at,
          `more specific rules cover all of ${entry.method} ${entry.text}; remove this one or one of them`,
        )
      } else if (isCoveredOnEveryHost(entry, select.hosts, bound)) {
        report(
          'shadowed',
          at,
          `rules bound to a host cover ${entry.method} ${entry.text} on every host; remove this one or one of them`,
        )
      }
    }
  }),
] as const

function entriesOf(rule: RouteRuleDocument, index: number): readonly Entry[] {
  const path = parseRoutePath(rule.path)
  return Object.keys(rule.methods).map(method => ({ index, method, host: rule.host, path, text: rule.path }))
}

function keyOf(host: string | undefined, method: string, shape: string): string {
  return `${host ?? ''} ${method} ${shape}`
}

/**
 * `/a/**` never wins when `/a` is a rule and so is everything below: `/a/{x}/**`, or `/a/{x}` and `/a/{x}/{y}/**`, and so on.
 * Rules with literals below never cover everything, so only chains of parameters count.
 */
function isSubtreeCovered(entry: Entry, known: ReadonlyMap<string, Entry>): boolean {
  if (!entry.path.subtree) return false
  const has = (shape: string) => known.has(keyOf(entry.host, entry.method, shape))
  let shape = shapeOf({ segments: entry.path.segments, subtree: false })
  for (let depth = entry.path.segments.length; depth <= PATH_SEGMENTS_MAX; depth++) {
    if (depth > entry.path.segments.length && has(`${shape}/**`)) return true
    if (!has(shape)) return false
    shape = `${shape}/{}`
  }
  return false
}

/** Paths of the rules that are bound to one host, for one method. */
interface BoundRules {
  readonly index: RouteIndex<true>
  /** Segments of the longest. */
  deepest: number
}

function boundRules(entries: readonly Entry[]): ReadonlyMap<string, BoundRules> {
  const bound = new Map<string, BoundRules>()
  for (const { host, method, path } of entries) {
    if (host === undefined) continue
    const key = keyOf(host, method, '')
    const rules = bound.get(key) ?? { index: new RouteIndex(), deepest: 0 }
    rules.index.add(path, true)
    rules.deepest = Math.max(rules.deepest, path.segments.length)
    bound.set(key, rules)
  }
  return bound
}

/** Host-bound rules win over unbound ones, however specific. */
function isCoveredOnEveryHost(
  { host, method, path }: Entry,
  hosts: readonly string[],
  bound: ReadonlyMap<string, BoundRules>,
): boolean {
  if (host !== undefined || hosts.length === 0) return false
  return hosts.every(each => isCovered(path, bound.get(keyOf(each, method, ''))))
}

/** Whether the rules match everything that `path` matches. */
function isCovered(path: RoutePath, rules: BoundRules | undefined): boolean {
  if (rules === undefined) return false
  const below = path.subtree ? rules.deepest + 1 : 0
  for (let depth = 0; depth <= below; depth++) {
    if (!rules.index.some(witnessOf(path, depth), () => true)) return false
  }
  return true
}

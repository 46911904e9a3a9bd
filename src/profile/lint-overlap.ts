// `duplicate_rule` and `shadowed`: every rule decides some request, and no request is decided by two.
// A rule can lose everywhere in two ways: its subtree is covered by deeper rules, or host-bound rules cover it on every host.
import { PATH_SEGMENTS_MAX } from './lint-limits.ts'
import { lintRule } from './lint-rule.ts'
import { matchesPath, witnessOf } from './route-match.ts'
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
    const bound = boundByMethod(entries)
    for (const entry of first.values()) {
      const at = ['routes', 'rules', entry.index, 'methods', entry.method]
      if (isSubtreeCovered(entry, first)) {
        report(
          'shadowed',
          at,
          `more specific rules cover all of ${entry.method} ${entry.text}; remove this one or one of them`,
        )
      } else if (isCoveredOnEveryHost(entry, select.hosts, bound.get(entry.method) ?? [])) {
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

function boundByMethod(entries: readonly Entry[]): ReadonlyMap<string, readonly Entry[]> {
  const bound = new Map<string, Entry[]>()
  for (const entry of entries) {
    if (entry.host !== undefined) bound.set(entry.method, [...(bound.get(entry.method) ?? []), entry])
  }
  return bound
}

/** Host-bound rules win over unbound ones, however specific. `bound` are those of the entry's method. */
function isCoveredOnEveryHost(entry: Entry, hosts: readonly string[], bound: readonly Entry[]): boolean {
  if (entry.host !== undefined || hosts.length === 0 || bound.length < hosts.length) return false
  return hosts.every(host =>
    isCovered(
      entry.path,
      bound.filter(other => other.host === host),
    ),
  )
}

/** Whether the rules match everything that `path` matches. */
function isCovered(path: RoutePath, rules: readonly Entry[]): boolean {
  const deepest = path.subtree ? Math.max(0, ...rules.map(rule => rule.path.segments.length)) + 1 : 0
  for (let below = 0; below <= deepest; below++) {
    const witness = witnessOf(path, below)
    if (!rules.some(rule => matchesPath(rule.path, witness))) return false
  }
  return true
}

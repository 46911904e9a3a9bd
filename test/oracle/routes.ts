// Route matching as a linear scan over templates with strings: what profiles.md R1, R3, R5, D15 and D17 say, and nothing clever.

export interface PlainRule {
  readonly method: string
  readonly path: string
  readonly host: string | null
}

export interface PlainRoutes {
  readonly basePath: string
  readonly basePathRequired: boolean
  readonly ignoreTrailingSlash: boolean
  readonly headAsGet: boolean
}

/** Position of the rule that decides, or -1. `path` is canonical and without its query. */
export function findRuleByScan(
  rules: readonly PlainRule[],
  routes: PlainRoutes,
  method: string,
  path: string,
  host: string,
): number {
  let rest = path
  const { basePath } = routes
  if (path === basePath || path.startsWith(`${basePath}/`)) rest = path.slice(basePath.length)
  else if (routes.basePathRequired) return -1
  const segments = segmentsOf(rest, routes.ignoreTrailingSlash)
  const wanted = method === 'HEAD' && routes.headAsGet ? 'GET' : method
  let best = -1
  let bestRank = ''
  for (const [index, rule] of rules.entries()) {
    if (rule.method !== wanted || (rule.host !== null && rule.host !== host)) continue
    const rank = rankOf(segmentsOf(rule.path, routes.ignoreTrailingSlash), segments)
    if (rank === null) continue
    const whole = (rule.host === null ? '1' : '0') + rank
    if (best < 0 || whole < bestRank) {
      best = index
      bestRank = whole
    }
  }
  return best
}

function segmentsOf(path: string, ignoreTrailingSlash: boolean): string[] {
  const segments = path.split('/').slice(1)
  if (ignoreTrailingSlash && segments.length > 1 && segments.at(-1) === '') segments.pop()
  return segments
}

/** One letter a segment, literal before parameter before subtree; null: the path does not fit. */
function rankOf(template: readonly string[], segments: readonly string[]): string | null {
  let rank = ''
  for (const [i, wanted] of template.entries()) {
    if (wanted === '**') return segments.length > i && segments.at(-1) === '' ? null : `${rank}c`
    const segment = segments[i]
    if (segment === undefined || (wanted.startsWith('{') ? segment === '' : segment !== wanted)) return null
    rank += wanted.startsWith('{') ? 'b' : 'a'
  }
  return segments.length === template.length ? rank : null
}

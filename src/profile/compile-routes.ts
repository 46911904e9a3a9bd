// Route rules and rate limits of a profile as the decision reads them. Numbers scopes and gives each route limit its bucket.
import type { LimitSpec } from '../core/limit-spec.ts'
import type { Names } from '../core/names.ts'
import type { PolicyLimits } from '../core/policy.ts'
import { codeOf } from '../core/reason.ts'
import type { RouteOptions, RouteRule } from '../core/route-table.ts'
import { pathShape } from './route-path.ts'
import { requirementOf } from './route-requirement.ts'
import type { ProfileDocument } from './schema.ts'

type RateLimit = ProfileDocument['rate_limit']

/** One rule per (rule of the file, method), in file order. */
export function compileRules(
  profile: Pick<ProfileDocument, 'routes' | 'rate_limit' | 'scopes'>,
  names: Names,
): readonly RouteRule[] {
  const rules: RouteRule[] = []
  const limits = routeLimits(profile.rate_limit)
  for (const rule of profile.routes.rules) {
    const shape = limits.size === 0 ? '' : pathShape(rule.path)
    for (const [method, value] of Object.entries(rule.methods)) {
      const { access, mode, scopes } = requirementOf(value)
      rules.push({
        index: rules.length,
        method,
        path: rule.path,
        host: rule.host ?? null,
        access,
        mode,
        scopes: scopes.map(scope => names.scopes.intern(scope)),
        scopeNames: scopes,
        requiredScope: scopes.join(profile.scopes.join),
        limits: limits.get(limitKey(method, shape)) ?? noLimits,
      })
    }
  }
  return rules
}

/** The `routes` block beside its rules. */
export function compileRouteOptions(routes: ProfileDocument['routes']): RouteOptions {
  return {
    basePath: routes.base_path.strip,
    basePathRequired: routes.base_path.required,
    ignoreTrailingSlash: routes.trailing_slash === 'ignore',
    headAsGet: routes.head === 'as_get',
    options: routes.options,
    unmapped: routes.unmapped,
  }
}

/** Limits of the profile for each API key. Bucket 0 is the key's own. */
export function compileLimits(rateLimit: RateLimit): PolicyLimits {
  const { default: limit, window, algorithm, burst } = rateLimit
  return {
    algorithm,
    default:
      limit === null || window === null
        ? null
        : { bucket: 0, algorithm, limit, windowMicros: window * 1000, burst: burst ?? limit },
    burst,
    chargeDenied: new Set(rateLimit.charge_denied.map(codeOf)),
  }
}

const noLimits: readonly LimitSpec[] = []

function limitKey(method: string, shape: string): string {
  return `${method} ${shape}`
}

/** By method and path shape. Entry i of `rate_limit.routes` counts in bucket i + 1, whichever of its methods is called. */
function routeLimits(rateLimit: RateLimit): ReadonlyMap<string, readonly LimitSpec[]> {
  const { algorithm } = rateLimit
  const limits = new Map<string, LimitSpec[]>()
  for (const [index, { path, methods, limit, window }] of rateLimit.routes.entries()) {
    const spec = { bucket: index + 1, algorithm, limit, windowMicros: window * 1000, burst: limit }
    const shape = pathShape(path)
    for (const method of new Set(methods)) {
      const key = limitKey(method, shape)
      const specs = limits.get(key) ?? []
      specs.push(spec)
      limits.set(key, specs)
    }
  }
  return limits
}

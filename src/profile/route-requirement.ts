// What a value of `methods` asks of the caller: public, any valid API key, or scopes.
import type { RouteAccess } from '../core/route-table.ts'
import type { RouteRuleDocument } from './schema.ts'

export type RequirementDocument = RouteRuleDocument['methods'][string]

export interface Requirement {
  readonly access: RouteAccess
  readonly mode: 'all' | 'any'
  /** Empty unless access is `scopes`. */
  readonly scopes: readonly string[]
}

/** `authenticated` and `public` are words of the schema, never scopes. */
export function requirementOf(value: RequirementDocument): Requirement {
  if (value === 'public' || value === 'authenticated') return { access: value, mode: 'all', scopes: [] }
  if (typeof value === 'string') return { access: 'scopes', mode: 'all', scopes: [value] }
  if (Array.isArray(value)) return { access: 'scopes', mode: 'all', scopes: value }
  return { access: 'scopes', mode: 'any', scopes: (value as { readonly any: readonly string[] }).any }
}

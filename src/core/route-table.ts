// Route rules compiled to a trie over path segments, looked up on raw request octets.
// Contract: precedence is literal > parameter > subtree, segment by segment; host-bound rules beat unbound ones; nothing is decoded.
import type { LimitSpec } from './limit-spec.ts'

/** What a matched rule asks of the caller. */
export type RouteAccess = 'public' | 'authenticated' | 'scopes'

/** One (path template, method) with its requirement. */
export interface RouteRule {
  /** Position in `RouteTable.rules`. */
  readonly index: number
  readonly method: string
  /** The template as written in the profile, without the base path, e.g. `/things/{id}`. */
  readonly path: string
  /** Lower-case host this rule is bound to; null: any host of the profile. */
  readonly host: string | null
  readonly access: RouteAccess
  /** Whether every scope is needed, or one of them is enough. */
  readonly mode: 'all' | 'any'
  /** Scope numbers (`Names.scopes`); empty unless access is `scopes`. */
  readonly scopes: readonly number[]
  /** The same scopes as text, in the order written. */
  readonly scopeNames: readonly string[]
  /** What `x-…-scope` carries upstream: the names joined by the profile's `scopes.join`; empty unless access is `scopes`. */
  readonly requiredScope: string
  /** Limits counted in addition to the API key's own. */
  readonly limits: readonly LimitSpec[]
}

/** How the profile's `routes` block treats requests, beside its rules. */
export interface RouteOptions {
  /** Removed once before matching; '' when the profile has none. */
  readonly basePath: string
  /** Whether a path without the base path is unmapped. */
  readonly basePathRequired: boolean
  readonly ignoreTrailingSlash: boolean
  readonly headAsGet: boolean
  readonly options: 'unmapped' | 'mapped' | 'preflight_public'
  /** What an unmapped route asks: deny, or any valid API key. */
  readonly unmapped: 'deny' | 'authenticated'
}

/** Compiled rules. Opaque but for `rules` and `options`: read through `matchRoute`. */
export interface RouteTable {
  readonly rules: readonly RouteRule[]
  readonly options: RouteOptions
}

/** No rule for this host, path and method. */
export const UNMAPPED = -1

/** Compiles rules. Conflicts were refused by the profile linter before; @throws Error when two rules decide the same request. */
export function compileRouteTable(_rules: readonly RouteRule[], _options: RouteOptions): RouteTable {
  throw new Error('not built yet')
}

/**
 * Index of the rule for a canonical path `bytes[pathStart, pathEnd)` (query removed) and method, or `UNMAPPED`.
 * `host` is canonical lower-case text. HEAD takes GET's rule under `headAsGet`.
 */
export function matchRoute(
  _table: RouteTable,
  _bytes: Uint8Array,
  _pathStart: number,
  _pathEnd: number,
  _methodStart: number,
  _methodEnd: number,
  _host: string,
): number {
  throw new Error('not built yet')
}

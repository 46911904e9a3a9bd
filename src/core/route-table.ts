// Route rules compiled to tries over path segments, looked up on raw request octets.
// Contract: precedence is literal > parameter > subtree, segment by segment; host-bound rules beat unbound ones; nothing is decoded.
import type { LimitSpec } from './limit-spec.ts'
import { compileRouteTrie, type RouteTrie, type TrieRule, trieFind } from './route-trie.ts'

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

/** What `compileRouteTable` really makes; the interface above shows the part others may read. */
interface CompiledRouteTable extends RouteTable {
  readonly basePath: Uint8Array
  /** Method names; a rule's method is a position here. */
  readonly methods: readonly string[]
  /** Position of GET, which HEAD takes; -1: HEAD needs rules of its own. */
  readonly headMethod: number
  /** Rules bound to a host, by host, tried before the others. */
  readonly hosts: readonly { readonly host: string; readonly trie: RouteTrie }[]
  readonly unbound: RouteTrie
}

/** No rule for this host, path and method. */
export const UNMAPPED = -1

/** Any method: whether a path is mapped at all. */
const anyMethod = -1

/** Compiles rules. Conflicts were refused by the profile linter before; @throws Error when two rules decide the same request. */
export function compileRouteTable(rules: readonly RouteRule[], options: RouteOptions): RouteTable {
  const methods = new Map<string, number>()
  const byHost = new Map<string | null, TrieRule[]>()
  for (const { method, host, path, index } of rules) {
    const number = methods.get(method) ?? methods.size
    methods.set(method, number)
    const own = byHost.get(host) ?? []
    own.push({ segments: segmentsOf(path, options.ignoreTrailingSlash), method: number, rule: index })
    byHost.set(host, own)
  }
  const hosts = [...byHost.keys()].filter(host => host !== null)
  const trieOf = (host: string | null): RouteTrie => compileRouteTrie(byHost.get(host) ?? [])
  return Object.freeze<CompiledRouteTable>({
    rules,
    options,
    basePath: new TextEncoder().encode(options.basePath),
    methods: [...methods.keys()],
    headMethod: options.headAsGet ? (methods.get('GET') ?? -1) : -1,
    hosts: hosts.map(host => ({ host, trie: trieOf(host) })),
    unbound: trieOf(null),
  })
}

/** Segments of a template; `/x/` has an empty last one unless trailing slashes are ignored. */
function segmentsOf(path: string, ignoreTrailingSlash: boolean): readonly string[] {
  const segments = path.split('/').slice(1)
  if (ignoreTrailingSlash && segments.length > 1 && segments.at(-1) === '') segments.pop()
  return segments
}

/**
 * Index of the rule for a canonical path `bytes[pathStart, pathEnd)` (query removed) and method, or `UNMAPPED`.
 * `host` is canonical lower-case text. HEAD takes GET's rule under `headAsGet`.
 */
export function matchRoute(
  table: RouteTable,
  bytes: Uint8Array,
  pathStart: number,
  pathEnd: number,
  methodStart: number,
  methodEnd: number,
  host: string,
): number {
  if (!isCompiled(table)) return UNMAPPED
  const method = methodOf(table, bytes, methodStart, methodEnd)
  return method < 0 ? UNMAPPED : findRule(table, bytes, pathStart, pathEnd, method, host)
}

/** Index of some rule for the path, whatever its method, or `UNMAPPED`: what a preflight asks about. */
export function matchPath(
  table: RouteTable,
  bytes: Uint8Array,
  pathStart: number,
  pathEnd: number,
  host: string,
): number {
  return isCompiled(table) ? findRule(table, bytes, pathStart, pathEnd, anyMethod, host) : UNMAPPED
}

function isCompiled(table: RouteTable): table is CompiledRouteTable {
  return 'unbound' in table
}

function methodOf(table: CompiledRouteTable, bytes: Uint8Array, start: number, end: number): number {
  if (table.headMethod >= 0 && isText(bytes, start, end, 'HEAD')) return table.headMethod
  for (let index = 0; index < table.methods.length; index++) {
    if (isText(bytes, start, end, table.methods[index] ?? '')) return index
  }
  return -1
}

function isText(bytes: Uint8Array, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false
  return true
}

function findRule(
  table: CompiledRouteTable,
  bytes: Uint8Array,
  pathStart: number,
  pathEnd: number,
  method: number,
  host: string,
): number {
  const start = skipBasePath(table, bytes, pathStart, pathEnd)
  if (start < 0) return UNMAPPED
  // A lone slash is the root, not a trailing one.
  const trailing = table.options.ignoreTrailingSlash && pathEnd - start > 1 && bytes[pathEnd - 1] === 0x2f
  const end = trailing ? pathEnd - 1 : pathEnd
  for (const bound of table.hosts) {
    if (bound.host !== host) continue
    const rule = trieFind(bound.trie, bytes, start, end, method)
    if (rule >= 0) return rule
  }
  return trieFind(table.unbound, bytes, start, end, method)
}

/** Start of the path behind the base path, removed at most once; -1: it is required and missing. */
function skipBasePath(table: CompiledRouteTable, bytes: Uint8Array, start: number, end: number): number {
  const { basePath } = table
  const behind = start + basePath.length
  const absent = table.options.basePathRequired && basePath.length > 0 ? -1 : start
  if (behind > end || (behind < end && bytes[behind] !== 0x2f)) return absent
  for (let i = 0; i < basePath.length; i++) if (bytes[start + i] !== basePath[i]) return absent
  return behind
}

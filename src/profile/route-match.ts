// A plain reading of route precedence for the linter: which templates match a path and which of them wins.
// It is not the matcher of the data plane (core/route-table.ts); tests hold the two against each other.
import type { RoutePath } from './route-path.ts'

/** Whether a template matches the segments of a path. A subtree matches its own root and does not match an empty last segment. */
export function matchesPath(path: RoutePath, segments: readonly string[]): boolean {
  const own = path.segments
  if (path.subtree ? segments.length < own.length : segments.length !== own.length) return false
  if (path.subtree && segments.length > own.length && segments[segments.length - 1] === '') return false
  return own.every((segment, index) => (segment === null ? segments[index] !== '' : segment === segments[index]))
}

/** A path that `path` matches and as few other templates as possible, with `below` more segments under a subtree. */
export function witnessOf(path: RoutePath, below: number): readonly string[] {
  // A character that no canonical path has, so that no literal of another template equals it.
  const fresh = '\u0000'
  return [...path.segments.map(segment => segment ?? fresh), ...new Array<string>(below).fill(fresh)]
}

// A plain reading of route precedence for the linter: which templates match a path and which of them wins.
// It is not the matcher of the data plane (core/route-table.ts); tests hold the two against each other, and the index against the
// plain reading: it gives the same templates without looking at each.
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

/** Values by template, for one path against thousands of templates. */
export class RouteIndex<Value> {
  private readonly root: IndexNode<Value> = newIndexNode()

  add(path: RoutePath, value: Value): void {
    let node = this.root
    for (const segment of path.segments) {
      const next = node.children.get(segment) ?? newIndexNode()
      node.children.set(segment, next)
      node = next
    }
    ;(path.subtree ? node.below : node.here).push(value)
  }

  /** Whether a template matches the segments whose value is acceptable. */
  some(segments: readonly string[], accepts: (value: Value) => boolean): boolean {
    const endsEmpty = segments.at(-1) === ''
    let nodes = [this.root]
    for (const segment of segments) {
      if (!endsEmpty && nodes.some(node => node.below.some(accepts))) return true
      const literals = nodes.map(node => node.children.get(segment))
      const parameters = segment === '' ? [] : nodes.map(node => node.children.get(null))
      nodes = [...literals, ...parameters].filter(node => node !== undefined)
      if (nodes.length === 0) return false
    }
    return nodes.some(node => node.here.some(accepts) || node.below.some(accepts))
  }
}

interface IndexNode<Value> {
  /** By literal; null: by parameter. */
  readonly children: Map<string | null, IndexNode<Value>>
  readonly here: Value[]
  readonly below: Value[]
}

function newIndexNode<Value>(): IndexNode<Value> {
  return { children: new Map(), here: [], below: [] }
}

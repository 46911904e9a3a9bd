// The trie behind a route table: literal edges in one open-addressing table of typed arrays, no regular expression.
// A look-up reads each octet of the path about once, allocates nothing and visits no node twice.

/** One rule as the trie sees it. */
export interface TrieRule {
  /** Segments of the template: text, `{name}` for a parameter, `**` last for a subtree; '' last for a trailing slash. */
  readonly segments: readonly string[]
  readonly method: number
  readonly rule: number
}

/** Rules that end at a node: pairs of method and rule. */
type Ends = readonly number[]

/** Immutable. Nodes are numbers, 0 the root. */
export interface RouteTrie {
  /** Literal edges: slot -> parent node + 1 (0: empty), child node, hash of the segment, its octets in `pool`. */
  readonly edgeParents: Int32Array
  readonly edgeChildren: Int32Array
  readonly edgeHashes: Int32Array
  readonly edgeStarts: Int32Array
  readonly edgeEnds: Int32Array
  readonly pool: Uint8Array
  /** Child by a parameter, or -1. */
  readonly parameters: Int32Array
  readonly exact: readonly Ends[]
  readonly subtrees: readonly Ends[]
}

interface BuildNode {
  readonly literals: Map<string, number>
  parameter: number
  readonly exact: number[]
  readonly subtree: number[]
}

/** Builds the trie. @throws Error when two rules decide the same path shape and method. */
export function compileRouteTrie(rules: readonly TrieRule[]): RouteTrie {
  const nodes = [newNode()]
  for (const rule of rules) insert(nodes, rule)
  const edges = nodes.flatMap((node, parent) => [...node.literals].map(([text, child]) => ({ parent, text, child })))
  const size = 2 ** Math.ceil(Math.log2(Math.max(2, edges.length * 2)))
  const pool = new TextEncoder().encode(edges.map(edge => edge.text).join(''))
  const trie = {
    edgeParents: new Int32Array(size),
    edgeChildren: new Int32Array(size),
    edgeHashes: new Int32Array(size),
    edgeStarts: new Int32Array(size),
    edgeEnds: new Int32Array(size),
    pool,
    parameters: Int32Array.from(nodes, node => node.parameter),
    exact: nodes.map(node => node.exact),
    subtrees: nodes.map(node => node.subtree),
  }
  let start = 0
  for (const { parent, text, child } of edges) {
    const end = start + text.length
    const hash = hashSegment(pool, start, end)
    let at = slotOf(parent, hash) & (size - 1)
    while (trie.edgeParents[at] !== 0) at = (at + 1) & (size - 1)
    trie.edgeParents[at] = parent + 1
    trie.edgeChildren[at] = child
    trie.edgeHashes[at] = hash
    trie.edgeStarts[at] = start
    trie.edgeEnds[at] = end
    start = end
  }
  return trie
}

function newNode(): BuildNode {
  return { literals: new Map(), parameter: -1, exact: [], subtree: [] }
}

function insert(nodes: BuildNode[], { segments, method, rule }: TrieRule): void {
  const subtree = segments.at(-1) === '**'
  let node = nodes[0] ?? newNode()
  const step = (): number => nodes.push(newNode()) - 1
  for (const segment of subtree ? segments.slice(0, -1) : segments) {
    let child: number
    if (segment.startsWith('{')) {
      if (node.parameter < 0) node.parameter = step()
      child = node.parameter
    } else {
      child = node.literals.get(segment) ?? step()
      node.literals.set(segment, child)
    }
    node = nodes[child] ?? newNode()
  }
  const ends = subtree ? node.subtree : node.exact
  if (endFor(ends, method) >= 0) throw new Error(`two rules decide ${segments.join('/')}`)
  ends.push(method, rule)
}

/**
 * The rule for the path `bytes[start, end)` and method (-1: any), or -1. The path is empty or begins with a slash.
 * Of several it is the one whose template is the more precise in the first segment where they differ.
 */
export function trieFind(trie: RouteTrie, bytes: Uint8Array, start: number, end: number, method: number): number {
  return descend(trie, bytes, start, end, method, 0)
}

function descend(trie: RouteTrie, bytes: Uint8Array, start: number, end: number, method: number, node: number): number {
  if (start >= end) {
    const exact = endFor(trie.exact[node], method)
    return exact >= 0 ? exact : endFor(trie.subtrees[node], method)
  }
  // `start` is at a slash.
  const segment = start + 1
  let hash = hashSeed
  let stop = segment
  for (; stop < end && bytes[stop] !== 0x2f; stop++) hash = Math.imul(hash ^ (bytes[stop] ?? 0), hashPrime)
  const literal = literalChild(trie, node, hash | 0, bytes, segment, stop)
  if (literal >= 0) {
    const rule = descend(trie, bytes, stop, end, method, literal)
    if (rule >= 0) return rule
  }
  if (stop === segment) return -1 // an empty segment is no parameter and in no subtree
  const parameter = trie.parameters[node] ?? -1
  if (parameter >= 0) {
    const rule = descend(trie, bytes, stop, end, method, parameter)
    if (rule >= 0) return rule
  }
  // The last octet is a slash only when the last segment is empty.
  return bytes[end - 1] === 0x2f ? -1 : endFor(trie.subtrees[node], method)
}

function endFor(ends: Ends | undefined, method: number): number {
  if (ends === undefined) return -1
  for (let i = 0; i < ends.length; i += 2) if (method < 0 || ends[i] === method) return ends[i + 1] ?? -1
  return -1
}

function literalChild(
  trie: RouteTrie,
  node: number,
  hash: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  const mask = trie.edgeParents.length - 1
  for (let at = slotOf(node, hash) & mask; ; at = (at + 1) & mask) {
    const parent = trie.edgeParents[at]
    if (parent === 0) return -1
    if (parent === node + 1 && trie.edgeHashes[at] === hash && isEdge(trie, at, bytes, start, end)) {
      return trie.edgeChildren[at] ?? -1
    }
  }
}

function isEdge(trie: RouteTrie, at: number, bytes: Uint8Array, start: number, end: number): boolean {
  const from = trie.edgeStarts[at] ?? 0
  if ((trie.edgeEnds[at] ?? 0) - from !== end - start) return false
  for (let i = 0; i < end - start; i++) if (bytes[start + i] !== trie.pool[from + i]) return false
  return true
}

const hashSeed = 0x811c9dc5
const hashPrime = 0x01000193

/** FNV-1a. Only templates are stored, so nobody outside can fill a bucket. */
function hashSegment(bytes: Uint8Array, start: number, end: number): number {
  let hash = hashSeed
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] ?? 0), hashPrime)
  return hash | 0
}

function slotOf(node: number, hash: number): number {
  const mixed = Math.imul(hash ^ Math.imul(node, 0x9e3779b1), 0x85ebca6b)
  return mixed ^ (mixed >>> 15)
}

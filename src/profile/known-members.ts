// Which members a place in a profile may have, read from the editor schema; used only to suggest the name that was meant.
import { z } from 'zod'
import type { FieldPath } from './finding.ts'
import { profileSchema } from './schema.ts'

interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly additionalProperties?: SchemaNode | boolean
  readonly items?: SchemaNode
  readonly anyOf?: readonly SchemaNode[]
}

/** Two slips of the finger are a misspelling; more is another word. */
const DISTANCE_MAX = 2

let root: SchemaNode | undefined

/** The member at `path` whose name is closest to `name`; undefined when none is close. */
export function nearestMember(path: FieldPath, name: string): string | undefined {
  root ??= z.toJSONSchema(profileSchema, { io: 'input' }) as SchemaNode
  const names = nodesAt(root, path)
    .flatMap(node => Object.keys(node.properties ?? {}))
    .filter(candidate => Math.abs(candidate.length - name.length) <= DISTANCE_MAX)
  const ranked = names
    .map(candidate => ({ candidate, distance: editDistance(candidate, name) }))
    .sort((a, b) => a.distance - b.distance)
  const best = ranked[0]
  return best !== undefined && best.distance <= DISTANCE_MAX ? best.candidate : undefined
}

function nodesAt(start: SchemaNode, path: FieldPath): readonly SchemaNode[] {
  let nodes = alternatives(start)
  for (const part of path) {
    nodes = nodes
      .map(node => childOf(node, part))
      .filter(node => node !== undefined)
      .flatMap(alternatives)
  }
  return nodes
}

function alternatives(node: SchemaNode): readonly SchemaNode[] {
  return node.anyOf === undefined ? [node] : node.anyOf.flatMap(alternatives)
}

function childOf(node: SchemaNode, part: string | number): SchemaNode | undefined {
  if (typeof part === 'number') return node.items
  if (node.properties !== undefined && Object.hasOwn(node.properties, part)) return node.properties[part]
  return typeof node.additionalProperties === 'object' ? node.additionalProperties : undefined
}

/** Levenshtein distance; of names that have nearly the length of a member's. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(swap, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1))
    }
    previous = row
  }
  return previous[b.length] ?? 0
}

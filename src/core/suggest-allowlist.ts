// The fewest blocks that cover addresses that were seen, and the tightest of those: a block reaches as far as the addresses in
// it have their first bits in common. Pure; what may be suggested is the caller's rule.
import { blockOf, type Cidr, compareBlocks, maxPrefix } from './cidr.ts'

/** A block and what it covers. */
export interface CoveringBlock<Seen> {
  readonly block: Cidr
  /** In the order of their addresses. */
  readonly members: readonly Seen[]
}

/** What could be covered, and what no acceptable block holds. */
export interface Cover<Seen> {
  readonly blocks: readonly CoveringBlock<Seen>[]
  readonly uncovered: readonly Seen[]
}

/**
 * Covers single addresses with the fewest acceptable blocks. Acceptable must be downward: of an acceptable block every part is
 * acceptable. Then no other choice has fewer blocks, and none of as many reaches over fewer addresses.
 * Yields after each block that it looked at, some microseconds of work, so that a caller can leave off; addresses that come in
 * their order make the first step short too.
 */
export function* coverAddresses<Seen extends { readonly block: Cidr }>(
  seen: readonly Seen[],
  acceptable: (block: Cidr) => boolean,
): Generator<void, Cover<Seen>> {
  const sorted = [...seen].sort((a, b) => compareBlocks(a.block, b.block))
  const blocks: CoveringBlock<Seen>[] = []
  const uncovered: Seen[] = []
  const border = sorted.findIndex(({ block }) => block.family === 6)
  const split = border < 0 ? sorted.length : border
  for (const family of [sorted.slice(0, split), sorted.slice(split)])
    yield* cover(family, acceptable, blocks, uncovered)
  return { blocks, uncovered }
}

/** Sorted members of one family, looked at part by part from a stack: at most one part a bit of the address waits there. */
function* cover<Seen extends { readonly block: Cidr }>(
  sorted: readonly Seen[],
  acceptable: (block: Cidr) => boolean,
  blocks: CoveringBlock<Seen>[],
  uncovered: Seen[],
): Generator<void, void> {
  const parts = [sorted]
  for (let members = parts.pop(); members !== undefined; members = parts.pop()) {
    const [first] = members
    const last = members.at(-1)
    if (first === undefined || last === undefined) continue
    const { family, octets } = first.block
    const bits = commonBits(octets, last.block.octets, maxPrefix(family))
    const block = blockOf(family, octets, bits)
    if (acceptable(block)) {
      blocks.push({ block, members })
    } else if (bits === maxPrefix(family)) {
      for (const member of members) uncovered.push(member)
    } else {
      const half = firstWithBit(members, bits)
      parts.push(members.slice(half), members.slice(0, half))
    }
    yield
  }
}

/** How many leading bits two addresses share, at most `max`. */
function commonBits(a: Uint8Array, b: Uint8Array, max: number): number {
  for (let at = 0; at * 8 < max; at++) {
    const difference = (a[at] ?? 0) ^ (b[at] ?? 0)
    if (difference !== 0) return Math.min(max, at * 8 + Math.clz32(difference) - 24)
  }
  return max
}

/** Index of the first sorted member whose bit `bit` is set; the members agree in the bits before. */
function firstWithBit(members: readonly { readonly block: Cidr }[], bit: number): number {
  let [low, high] = [0, members.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const octet = members[middle]?.block.octets[bit >> 3] ?? 0
    if ((octet & (0x80 >> (bit & 7))) === 0) low = middle + 1
    else high = middle
  }
  return low
}

// The suggested cover against a plain search over every block of a small tree: no cover has fewer blocks, none of as many is tighter.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseAddress, parseEntry } from '../../src/core/address.ts'
import { blockOf, type Cidr, cidrText, contains, overlaps } from '../../src/core/cidr.ts'
import { coverAddresses } from '../../src/core/suggest-allowlist.ts'

/** All at once. */
function coverAll<Seen extends { readonly block: Cidr }>(...given: Parameters<typeof coverAddresses<Seen>>) {
  const steps = coverAddresses(...given)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

const address = (text: string) => ({ block: parseAddress(text) ?? expect.fail(text) })
const entry = (text: string) => parseEntry(text)?.block ?? expect.fail(text)
const texts = (blocks: readonly { readonly block: Cidr }[]) => blocks.map(({ block }) => cidrText(block))

interface Best {
  readonly count: number
  readonly size: number
}

/** The best cover below a block, bit by bit; null: there is none. */
function search(node: Cidr, seen: readonly Cidr[], acceptable: (block: Cidr) => boolean): Best | null {
  const inside = seen.filter(one => contains(node, one))
  if (inside.length === 0) return { count: 0, size: 0 }
  const whole = acceptable(node) ? { count: 1, size: 2 ** (32 - node.prefix) } : null
  if (node.prefix === 32) return whole
  const right = node.octets.slice()
  right[node.prefix >> 3] = (right[node.prefix >> 3] ?? 0) | (0x80 >> (node.prefix & 7))
  const halves = [node.octets, right].map(octets => search(blockOf(4, octets, node.prefix + 1), inside, acceptable))
  const [a, b] = halves
  const apart = a != null && b != null ? { count: a.count + b.count, size: a.size + b.size } : null
  if (whole === null || apart === null) return whole ?? apart
  return whole.count < apart.count || (whole.count === apart.count && whole.size < apart.size) ? whole : apart
}

test('no cover of a small network has fewer blocks, none of as many is tighter', () => {
  const low = fc.nat(63)
  fc.assert(
    fc.property(
      fc.uniqueArray(low, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 24, max: 32 }),
      fc.option(fc.tuple(low, fc.integer({ min: 27, max: 32 })), { nil: null }),
      (lows, widest, taboo) => {
        const seen = lows.map(n => ({ block: blockOf(4, Uint8Array.of(203, 0, 113, n, ...Array(12).fill(0)), 32) }))
        const forbidden =
          taboo === null ? null : blockOf(4, Uint8Array.of(203, 0, 113, taboo[0], ...Array(12).fill(0)), taboo[1])
        const acceptable = (block: Cidr) =>
          block.prefix >= widest && (forbidden === null || !overlaps(forbidden, block))
        const { blocks, uncovered } = coverAll(seen, acceptable)
        const possible = seen.map(({ block }) => block).filter(acceptable)
        expect(uncovered.map(({ block }) => block).some(acceptable)).toBe(false)
        expect(blocks.flatMap(({ members }) => members)).toHaveLength(possible.length)
        for (const { block, members } of blocks) {
          expect(acceptable(block)).toBe(true)
          for (const member of members) expect(contains(block, member.block)).toBe(true)
        }
        const best = search(entry('203.0.113.0/24'), possible, acceptable)
        const size = blocks.reduce((sum, { block }) => sum + 2 ** (32 - block.prefix), 0)
        expect({ count: blocks.length, size }).toEqual(best)
      },
    ),
    { numRuns: 500 },
  )
})

describe('by hand', () => {
  const upTo = (v4: number, v6: number) => (block: Cidr) => block.prefix >= (block.family === 4 ? v4 : v6)

  test('one address stays one, neighbours become a block, networks stay apart', () => {
    const seen = [
      '203.0.113.7',
      '198.51.100.4',
      '198.51.100.6',
      '203.0.114.7',
      '2001:db8::1',
      '2001:db8::2',
      '2001:db8:0:1::1',
    ]
    const { blocks, uncovered } = coverAll(seen.map(address), upTo(24, 64))
    expect(texts(blocks)).toEqual([
      '198.51.100.4/30',
      '203.0.113.7/32',
      '203.0.114.7/32',
      '2001:db8::/126',
      '2001:db8:0:1::1/128',
    ])
    expect(uncovered).toEqual([])
  })

  test('nothing is covered by nothing', () => {
    expect(coverAll([], () => true)).toEqual({ blocks: [], uncovered: [] })
  })

  test('what no rule accepts is told', () => {
    const { blocks, uncovered } = coverAll([address('10.0.0.1'), address('10.0.0.2')], () => false)
    expect(blocks).toEqual([])
    expect(texts(uncovered)).toEqual(['10.0.0.1/32', '10.0.0.2/32'])
  })
})

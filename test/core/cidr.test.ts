// Blocks against BigInt arithmetic and Node's own BlockList: containment, canonical text, stored form.
import { BlockList } from 'node:net'
import { expect, test } from 'vitest'
import { parseAddress, parseEntry } from '../../src/core/address.ts'
import {
  blockOf,
  type Cidr,
  cidrText,
  compareBlocks,
  contains,
  decodeCidr,
  encodeCidr,
  overlaps,
} from '../../src/core/cidr.ts'
import { type PlainAddress, plainCanonical, plainContains, plainOctets, plainRange, plainText } from '../oracle/cidr.ts'

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
let state = seed

/** mulberry32: small, seeded, good enough for inputs. */
function random(): number {
  state = (state + 0x6d2b79f5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const pick = (n: number) => Math.floor(random() * n)

function randomAddress(family: 4 | 6): PlainAddress {
  let value = 0n
  for (let i = 0; i < (family === 4 ? 2 : 8); i++) {
    const kind = pick(4)
    value = (value << 16n) | BigInt(kind === 0 ? 0 : kind === 1 ? 0xffff : pick(65_536))
  }
  return { family, value }
}

/** What an address is to us: IPv4-mapped IPv6 is IPv4. */
function isMapped(address: PlainAddress): boolean {
  return address.family === 6 && address.value >> 32n === 0xffffn
}

function single(address: PlainAddress): Cidr {
  return blockOf(address.family, plainOctets(address), 128)
}

test('first, last and their neighbours fall inside or outside of every prefix length', () => {
  for (const family of [4, 6] as const) {
    const bits = family === 4 ? 32 : 128
    const top = (1n << BigInt(bits)) - 1n
    for (let prefix = 0; prefix <= bits; prefix++) {
      const network = randomAddress(family)
      const block = blockOf(family, plainOctets(network), prefix)
      const [first, last] = plainRange(network, prefix)
      for (const value of [first - 1n, first, first + 1n, last - 1n, last, last + 1n]) {
        if (value < 0n || value > top) continue
        const inside = value >= first && value <= last
        expect(contains(block, single({ family, value })), `${cidrText(block)} ${value} seed ${seed}`).toBe(inside)
      }
    }
  }
})

test('100,000 random pairs agree with BigInt arithmetic', () => {
  let inside = 0
  for (let i = 0; i < 100_000; i++) {
    const family = random() < 0.5 ? 4 : 6
    const network = randomAddress(family)
    const prefix = pick(family === 4 ? 33 : 129)
    let address = randomAddress(random() < 0.1 ? (family === 4 ? 6 : 4) : family)
    if (random() < 0.5) {
      const [first, last] = plainRange(network, prefix)
      address = { family, value: first + ((last - first) * BigInt(pick(1001))) / 1000n }
    }
    const expected = plainContains(network, prefix, address)
    if (expected) inside++
    const block = blockOf(family, plainOctets(network), prefix)
    if (contains(block, single(address)) !== expected) {
      throw new Error(`${cidrText(block)} and ${plainText(address)}: expected ${expected}, seed ${seed}`)
    }
  }
  expect(inside).toBeGreaterThan(40_000)
})

test('5,000 random pairs agree with net.BlockList', () => {
  for (let i = 0; i < 5000; i++) {
    const family = random() < 0.5 ? 4 : 6
    const network = randomAddress(family)
    if (isMapped(network)) continue
    const prefix = 1 + pick(family === 4 ? 32 : 128)
    const block = blockOf(family, plainOctets(network), prefix)
    const [first, last] = plainRange(network, prefix)
    const address: PlainAddress =
      random() < 0.6 ? { family, value: first + (last - first) / BigInt(1 + pick(9)) } : randomAddress(family)
    const list = new BlockList()
    list.addSubnet(plainText(network), prefix, family === 4 ? 'ipv4' : 'ipv6')
    const theirs = list.check(plainText(address), family === 4 ? 'ipv4' : 'ipv6')
    expect(contains(block, single(address)), `${cidrText(block)} ${plainText(address)} seed ${seed}`).toBe(theirs)
  }
})

test('text, block and stored form are one and the same', () => {
  for (let i = 0; i < 5000; i++) {
    const address = randomAddress(random() < 0.3 ? 4 : 6)
    if (isMapped(address)) continue
    const parsed = parseAddress(plainText(address))
    const prefix = pick(address.family === 4 ? 33 : 129)
    const block = blockOf(address.family, plainOctets(address), prefix)
    const network = { family: address.family, value: plainRange(address, prefix)[0] }
    expect(parsed, `seed ${seed}`).toEqual(single(address))
    if (!isMapped(network)) {
      expect(cidrText(block), `seed ${seed}`).toBe(`${plainCanonical(network)}/${prefix}`)
      expect(parseEntry(cidrText(block))?.block, `seed ${seed}`).toEqual(block)
    }
    expect(decodeCidr(encodeCidr(block)), `seed ${seed}`).toEqual(block)
  }
})

test('a stored form with host bits, a foreign family or another length is not a block', () => {
  const good = encodeCidr(blockOf(4, new Uint8Array([203, 0, 113, 0, ...new Uint8Array(12)]), 24))
  const broken = (at: number, octet: number) => {
    const copy = good.slice()
    copy[at] = octet
    return copy
  }
  expect(decodeCidr(good)).not.toBeNull()
  for (const bad of [
    broken(0, 5),
    broken(1, 33),
    broken(5, 1),
    broken(17, 1),
    good.slice(0, 17),
    new Uint8Array(0),
    new Uint8Array(19),
  ]) {
    expect(decodeCidr(bad)).toBeNull()
  }
})

test('families never match each other, and order is total', () => {
  const everyIpv4 = blockOf(4, new Uint8Array(16), 0)
  const everyIpv6 = blockOf(6, new Uint8Array(16), 0)
  expect(contains(everyIpv4, everyIpv6)).toBe(false)
  expect(overlaps(everyIpv6, everyIpv4)).toBe(false)
  const blocks = Array.from({ length: 200 }, () => {
    const family = random() < 0.5 ? 4 : 6
    return blockOf(family, plainOctets(randomAddress(family)), pick(family === 4 ? 33 : 129))
  })
  for (const a of blocks) {
    for (const b of blocks) {
      expect(Math.sign(compareBlocks(a, b)) + Math.sign(compareBlocks(b, a))).toBe(0)
      expect(compareBlocks(a, b) === 0).toBe(cidrText(a) === cidrText(b))
      if (contains(a, b)) expect(compareBlocks(a, b)).toBeLessThanOrEqual(0)
    }
  }
})

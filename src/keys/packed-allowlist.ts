// An allowlist as words: one that says how many blocks of each family follow, IPv4 as (address, mask), IPv6 as (four words, prefix).
// Guarantee: the families never match each other, and host bits never matter. It allocates nothing when asked.
import type { Cidr } from '../core/cidr.ts'

/** Engine limit of entries of one API key, with room to raise it; a row with more is not one the admin service wrote. */
export const allowlistEntriesMax = 1024

/** Words of the longest packed allowlist. */
export const packedWordsMax = 1 + 5 * allowlistEntriesMax

const v4Words = 2
const v6Words = 5
const countShift = 16
const countMask = 0xffff

/** Packs blocks into `out` and gives the number of words; -1: too many, or one that is no block. */
export function packAllowlist(blocks: readonly Cidr[], out: Int32Array): number {
  if (blocks.length > allowlistEntriesMax || !blocks.every(isBlock)) return -1
  let end = 1
  for (const block of blocks) {
    if (block.family === 4) end = packV4(block, out, end)
  }
  const v4 = (end - 1) / v4Words
  for (const block of blocks) {
    if (block.family === 6) end = packV6(block, out, end)
  }
  out[0] = v4 | ((blocks.length - v4) << countShift)
  return end
}

function isBlock(block: Cidr): boolean {
  const most = block.family === 4 ? 32 : block.family === 6 ? 128 : -1
  return block.octets.length === 16 && Number.isInteger(block.prefix) && block.prefix >= 0 && block.prefix <= most
}

function packV4(block: Cidr, out: Int32Array, at: number): number {
  out[at] = wordOf(block.octets, 0)
  out[at + 1] = block.prefix === 0 ? 0 : -1 << (32 - block.prefix)
  return at + v4Words
}

function packV6(block: Cidr, out: Int32Array, at: number): number {
  for (let i = 0; i < 4; i++) out[at + i] = wordOf(block.octets, i)
  out[at + 4] = block.prefix
  return at + v6Words
}

function wordOf(octets: Uint8Array, word: number): number {
  let value = 0
  for (let i = 0; i < 4; i++) value = (value << 8) | (octets[word * 4 + i] ?? 0)
  return value
}

/** Number of blocks of the allowlist packed at `at`. */
export function packedLength(words: Int32Array, at: number): number {
  const counts = words[at] ?? 0
  return (counts & countMask) + (counts >>> countShift)
}

/** Whether an IPv4 address lies in one of the IPv4 blocks packed at `at`. */
export function containsV4(words: Int32Array, at: number, address: number): boolean {
  const end = at + 1 + ((words[at] ?? 0) & countMask) * v4Words
  for (let i = at + 1; i < end; i += v4Words) {
    if ((((words[i] ?? 0) ^ address) & (words[i + 1] ?? -1)) === 0) return true
  }
  return false
}

/** Whether an IPv6 address lies in one of the IPv6 blocks packed at `at`. */
export function containsV6(words: Int32Array, at: number, w0: number, w1: number, w2: number, w3: number): boolean {
  const counts = words[at] ?? 0
  const start = at + 1 + (counts & countMask) * v4Words
  const end = start + (counts >>> countShift) * v6Words
  for (let i = start; i < end; i += v6Words) {
    const prefix = words[i + 4] ?? 128
    const differs =
      (((words[i] ?? 0) ^ w0) & maskOf(prefix)) |
      (((words[i + 1] ?? 0) ^ w1) & maskOf(prefix - 32)) |
      (((words[i + 2] ?? 0) ^ w2) & maskOf(prefix - 64)) |
      (((words[i + 3] ?? 0) ^ w3) & maskOf(prefix - 96))
    if (differs === 0) return true
  }
  return false
}

/** The mask of one word of which `bits` leading bits count; below 0 none, above 32 all. */
function maskOf(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits)
}

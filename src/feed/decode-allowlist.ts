// The allowlist column: 18 octets an entry (family 4 or 6, prefix length, 16 octets of address). Anything that is not
// canonical is refused, so that two writers can never mean different blocks by the same octets. Never throws.
import type { Cidr } from '../core/cidr.ts'
import { UNREADABLE, type Unreadable } from './decode-column.ts'

const ENTRY_OCTETS = 18
/** The engine's limit (profiles.md d.1). */
export const ALLOWLIST_ENTRIES_MAX = 256
const ADDRESS_OCTETS = 16

/** The blocks in their order. NULL is a fault: it must not read as "no restriction". */
export function decodeAllowlist(value: unknown): readonly Cidr[] | Unreadable {
  if (!(value instanceof Uint8Array) || value.length % ENTRY_OCTETS !== 0) return UNREADABLE
  if (value.length > ALLOWLIST_ENTRIES_MAX * ENTRY_OCTETS) return UNREADABLE
  const blocks: Cidr[] = []
  for (let at = 0; at < value.length; at += ENTRY_OCTETS) {
    const block = readBlock(value, at)
    if (block === UNREADABLE) return UNREADABLE
    blocks.push(block)
  }
  return blocks
}

function readBlock(bytes: Uint8Array, at: number): Cidr | Unreadable {
  const family = bytes[at]
  const prefix = bytes[at + 1] ?? 0
  if (family !== 4 && family !== 6) return UNREADABLE
  if (prefix > (family === 4 ? 32 : 128)) return UNREADABLE
  const octets = new Uint8Array(bytes.subarray(at + 2, at + ENTRY_OCTETS)) // a copy: Buffer.slice would not be
  if (!zeroFrom(octets, prefix)) return UNREADABLE
  if (family === 6 && spansMapped(octets, prefix)) return UNREADABLE
  return { family, prefix, octets }
}

/** Whether every bit from `prefix` on is zero; for IPv4 that includes the twelve unused octets. */
function zeroFrom(octets: Uint8Array, prefix: number): boolean {
  for (let i = prefix >>> 3; i < ADDRESS_OCTETS; i++) {
    const mask = i === prefix >>> 3 ? 0xff >>> (prefix & 7) : 0xff
    if (((octets[i] ?? 0) & mask) !== 0) return false
  }
  return true
}

/** Whether an IPv6 block touches ::ffff:0:0/96: such addresses are IPv4 before any rule (D8), so no block may name them. */
function spansMapped(octets: Uint8Array, prefix: number): boolean {
  for (let i = 0; i < 12 && i * 8 < prefix; i++) {
    const mask = prefix - i * 8 >= 8 ? 0xff : 0xff & ~(0xff >>> (prefix - i * 8))
    const mapped = i < 10 ? 0x00 : 0xff
    if (((octets[i] ?? 0) & mask) !== (mapped & mask)) return false
  }
  return true
}

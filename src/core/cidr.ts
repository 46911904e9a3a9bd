// An address block in binary: containment, order, canonical text, and the 18 octets it is stored as.
// One family never matches the other; IPv4-mapped IPv6 is settled before (D8). Never reads text: address.ts does.
import { formatAddress } from './address-octets.ts'

/** A canonical address block: host bits are zero. */
export interface Cidr {
  readonly family: 4 | 6
  /** 0–32 for IPv4, 0–128 for IPv6. */
  readonly prefix: number
  /** 16 octets; IPv4 in the first four, zeros after. */
  readonly octets: Uint8Array
}

/** Octets of an encoded block: family (4 or 6), prefix length, then the 16 address octets. */
export const encodedCidrLength = 18

/** The longest prefix of a family, that is, the number of bits of an address. */
export function maxPrefix(family: 4 | 6): number {
  return family === 4 ? 32 : 128
}

/** The block of `prefix` bits around an address, host bits cleared. `octets` has 16 octets and is copied. */
export function blockOf(family: 4 | 6, octets: Uint8Array, prefix: number): Cidr {
  const bits = Math.min(prefix, maxPrefix(family))
  const network = new Uint8Array(16)
  const whole = bits >> 3
  network.set(octets.subarray(0, whole))
  if ((bits & 7) !== 0) network[whole] = (octets[whole] ?? 0) & (0xff << (8 - (bits & 7)))
  return { family, prefix: bits, octets: network }
}

/** Whether the first `bits` bits of two addresses are the same. */
function samePrefix(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  const whole = bits >> 3
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false
  const rest = bits & 7
  return rest === 0 || ((a[whole] ?? 0) ^ (b[whole] ?? 0)) >> (8 - rest) === 0
}

/** Whether every address of `inner` lies in `outer`. */
export function contains(outer: Cidr, inner: Cidr): boolean {
  return (
    outer.family === inner.family &&
    outer.prefix <= inner.prefix &&
    samePrefix(outer.octets, inner.octets, outer.prefix)
  )
}

/** Whether some address lies in both: blocks are nested or apart, never partly over one another. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  return contains(a, b) || contains(b, a)
}

/** Whether two blocks are the same. */
export function sameBlock(a: Cidr, b: Cidr): boolean {
  return a.prefix === b.prefix && contains(a, b)
}

/** A total order: IPv4 before IPv6, then by address, then the broader block first. */
export function compareBlocks(a: Cidr, b: Cidr): number {
  if (a.family !== b.family) return a.family - b.family
  for (let i = 0; i < 16; i++) {
    const difference = (a.octets[i] ?? 0) - (b.octets[i] ?? 0)
    if (difference !== 0) return difference
  }
  return a.prefix - b.prefix
}

/** The address part of a block in canonical text (RFC 5952). */
export function addressText(cidr: Cidr): string {
  const { octets } = cidr
  const word = (at: number) =>
    (((octets[at] ?? 0) << 24) |
      ((octets[at + 1] ?? 0) << 16) |
      ((octets[at + 2] ?? 0) << 8) |
      (octets[at + 3] ?? 0)) >>>
    0
  return formatAddress(cidr.family, word(0), word(4), word(8), word(12))
}

/** Canonical text with its prefix length, single addresses included: `203.0.113.5/32`. */
export function cidrText(cidr: Cidr): string {
  return `${addressText(cidr)}/${cidr.prefix}`
}

/** Canonical text, single addresses without their prefix length: `203.0.113.5`. */
export function bareText(cidr: Cidr): string {
  return cidr.prefix === maxPrefix(cidr.family) ? addressText(cidr) : cidrText(cidr)
}

/** The stored form: 18 octets. */
export function encodeCidr(cidr: Cidr): Uint8Array {
  const encoded = new Uint8Array(encodedCidrLength)
  encoded[0] = cidr.family
  encoded[1] = cidr.prefix
  encoded.set(cidr.octets, 2)
  return encoded
}

/** The block of 18 stored octets; null when they are not exactly what `encodeCidr` writes. */
export function decodeCidr(encoded: Uint8Array): Cidr | null {
  const [family, prefix] = encoded
  if (encoded.length !== encodedCidrLength || (family !== 4 && family !== 6)) return null
  if (prefix === undefined || prefix > maxPrefix(family)) return null
  const octets = encoded.slice(2)
  const block = blockOf(family, octets, prefix)
  for (let i = 0; i < 16; i++) if (block.octets[i] !== octets[i]) return null
  return block
}

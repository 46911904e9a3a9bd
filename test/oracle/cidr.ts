// A second reading of addresses and blocks, in BigInt arithmetic over parsed groups: slow, obvious, sharing no code with src.

/** An address as a number of its family. */
export interface PlainAddress {
  readonly family: 4 | 6
  readonly value: bigint
}

const bitsOf = (family: 4 | 6) => (family === 4 ? 32n : 128n)

/** Whether two addresses of one family agree in the first `prefix` bits. */
export function plainContains(network: PlainAddress, prefix: number, address: PlainAddress): boolean {
  if (network.family !== address.family) return false
  const shift = bitsOf(network.family) - BigInt(prefix)
  return network.value >> shift === address.value >> shift
}

/** The first and last address of a block. */
export function plainRange(network: PlainAddress, prefix: number): [bigint, bigint] {
  const shift = bitsOf(network.family) - BigInt(prefix)
  const first = (network.value >> shift) << shift
  return [first, first + (1n << shift) - 1n]
}

/** Octets, 16 of them, IPv4 in the first four. */
export function plainOctets(address: PlainAddress): Uint8Array {
  const width = address.family === 4 ? 4 : 16
  const octets = new Uint8Array(16)
  for (let i = 0; i < width; i++) octets[i] = Number((address.value >> BigInt(8 * (width - 1 - i))) & 255n)
  return octets
}

/** Text in full, nothing shortened: a spelling every parser understands. */
export function plainText(address: PlainAddress): string {
  if (address.family === 4) return [24n, 16n, 8n, 0n].map(shift => (address.value >> shift) & 255n).join('.')
  const groups: string[] = []
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(((address.value >> shift) & 0xffffn).toString(16))
  return groups.join(':')
}

/** RFC 5952: lower case, no leading zeros, the first longest run of at least two zero groups shortened. */
export function plainCanonical(address: PlainAddress): string {
  const full = plainText(address)
  if (address.family === 4) return full
  const groups = full.split(':')
  let best = { start: -1, length: 1 }
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (groups[start + length] === '0') length++
    if (length > best.length) best = { start, length }
  }
  if (best.start < 0) return full
  return `${groups.slice(0, best.start).join(':')}::${groups.slice(best.start + best.length).join(':')}`
}

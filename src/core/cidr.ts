// An address block in binary, and containment. One family never matches the other; IPv4-mapped IPv6 is settled before (D8).

/** A canonical address block: host bits are zero. */
export interface Cidr {
  readonly family: 4 | 6
  /** 0–32 for IPv4, 0–128 for IPv6. */
  readonly prefix: number
  /** 16 octets; IPv4 in the first four, zeros after. */
  readonly octets: Uint8Array
}

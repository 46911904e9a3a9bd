// The host of a request in the one spelling that profiles use: lower case, without port and without one final dot.
// A host that is no name and no address literal, or holds a comma, has no canonical form and so belongs to nobody.
import { createAddressWords, parseAddressOctets } from './address-octets.ts'
import { lowerCase } from './request-view.ts'

/** Octets of a host name with its final dot (RFC 1035), and more than enough for an address literal and a port. */
export const hostLengthMax = 262

const DOT = 0x2e
const COLON = 0x3a
const literal = createAddressWords()

/** 1 for the octets of a name: letters, digits, hyphen and dot. */
const nameOctet = new Uint8Array(256)
for (const character of 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.') {
  nameOctet[character.charCodeAt(0)] = 1
}

/**
 * End of the host proper in `bytes[start, end)`: what stands behind it is a port or a final dot. -1: not canonical.
 * An IPv6 literal keeps its brackets. Letter case is folded by whoever compares.
 */
export function findHostEnd(bytes: Uint8Array, start: number, end: number): number {
  if (start >= end || end - start > hostLengthMax) return -1
  if (bytes[start] === 0x5b) return findLiteralEnd(bytes, start, end)
  let at = start
  let label = start
  for (; at < end && bytes[at] !== COLON; at++) {
    const octet = bytes[at] ?? 0
    if (nameOctet[octet] === 0) return -1
    if (octet !== DOT) continue
    if (at === label) return -1
    label = at + 1
  }
  // A port alone is no host.
  if (at === start || !isPort(bytes, at, end)) return -1
  // `label` stands behind the last dot: an empty last label is the one final dot.
  return label === at ? at - 1 : at
}

function findLiteralEnd(bytes: Uint8Array, start: number, end: number): number {
  let close = start + 1
  while (close < end && bytes[close] !== 0x5d) close++
  if (close === end || !parseAddressOctets(bytes, start + 1, close, literal)) return -1
  // A bracketed IPv4 address is no literal of RFC 3986; the mapped form is one.
  let at = start + 1
  while (at < close && bytes[at] !== COLON) at++
  return at < close && isPort(bytes, close + 1, end) ? close + 1 : -1
}

/** Whether `bytes[at, end)` is empty or `:` and at most five digits. */
function isPort(bytes: Uint8Array, at: number, end: number): boolean {
  if (at === end) return true
  if (bytes[at] !== COLON || end - at < 2 || end - at > 6) return false
  for (let i = at + 1; i < end; i++) {
    const octet = bytes[i] ?? 0
    if (octet < 0x30 || octet > 0x39) return false
  }
  return true
}

/** A host that somebody serves. */
interface HostEntry<T> {
  readonly host: string
  readonly value: T
}

/** Finds what belongs to a host, straight from request octets and without allocating. Immutable. */
export class HostTable<T> {
  private readonly slots: readonly (HostEntry<T> | undefined)[]
  private readonly names: readonly Uint8Array[]
  private readonly mask: number

  /** @param hosts canonical names: lower case, no port. @throws Error when a name is not canonical or comes twice. */
  constructor(hosts: Iterable<readonly [host: string, value: T]>) {
    const entries = [...hosts]
    // At most half full, so that a probe for a foreign host ends soon.
    const size = 2 ** Math.ceil(Math.log2(Math.max(2, entries.length * 2)))
    const slots: (HostEntry<T> | undefined)[] = new Array<HostEntry<T> | undefined>(size).fill(undefined)
    const names = new Array<Uint8Array>(size).fill(new Uint8Array(0))
    this.mask = size - 1
    for (const [host, value] of entries) {
      const octets = Uint8Array.from(host, character => character.charCodeAt(0))
      if (host !== host.toLowerCase() || findHostEnd(octets, 0, octets.length) !== octets.length) {
        throw new Error(`not a canonical host: ${JSON.stringify(host)}`)
      }
      let at = hashOf(octets, 0, octets.length) & this.mask
      while (slots[at] !== undefined) {
        if (slots[at]?.host === host) throw new Error(`two profiles claim the host ${host}`)
        at = (at + 1) & this.mask
      }
      slots[at] = { host, value }
      names[at] = octets
    }
    this.slots = slots
    this.names = names
  }

  /** The entry for the host `bytes[start, end)` as a client wrote it, if somebody serves it. */
  find(bytes: Uint8Array, start: number, end: number): HostEntry<T> | undefined {
    if (end - start > hostLengthMax) return undefined
    // What folds to a canonical name is one, without port and final dot: nearly every host, and needs no other look.
    const known = this.probe(bytes, start, end)
    if (known !== undefined) return known
    const stop = findHostEnd(bytes, start, end)
    return stop < 0 || stop === end ? undefined : this.probe(bytes, start, stop)
  }

  private probe(bytes: Uint8Array, start: number, end: number): HostEntry<T> | undefined {
    for (let at = hashOf(bytes, start, end) & this.mask; ; at = (at + 1) & this.mask) {
      const entry = this.slots[at]
      const name = this.names[at]
      if (entry === undefined || name === undefined || equalsFolded(bytes, start, end, name)) return entry
    }
  }
}

/** FNV-1a over the folded octets. Only hosts of profiles are stored, so nobody outside can fill a bucket. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (lowerCase[bytes[i] ?? 0] ?? 0), 0x01000193)
  return (hash ^ (hash >>> 15)) >>> 0
}

function equalsFolded(bytes: Uint8Array, start: number, end: number, host: Uint8Array): boolean {
  if (end - start !== host.length) return false
  for (let i = 0; i < host.length; i++) if (lowerCase[bytes[start + i] ?? 0] !== host[i]) return false
  return true
}

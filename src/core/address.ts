// The strict text grammar of addresses and allowlist entries at the admin edge: an address, optionally `/` and a decimal
// prefix length. One grammar with the data plane (address-octets.ts); nothing is trimmed, repaired or guessed.
import { type AddressWords, createAddressWords, parseAddressOctets } from './address-octets.ts'
import { blockOf, type Cidr, maxPrefix } from './cidr.ts'

/** Characters of the longest entry: 39 of an address, `/` and three digits. */
const entryLengthMax = 43

/** An entry as written: the address, the block it lies in, and what is noteworthy about the spelling. */
export interface EntryText {
  /** Host bits cleared. */
  readonly block: Cidr
  /** Whether the text had bits set beyond its prefix. */
  readonly hostBits: boolean
  /** An IPv6 block that covers `::ffff:0:0/96`, so that its family is undecidable (D8). */
  readonly spansMapped: boolean
}

const mappedPrefix = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0])

/** Bits of `::ffff:0:0/96`. */
const mappedBits = 96

function ascii(text: string): Uint8Array | null {
  const octets = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code > 0x7e) return null
    octets[i] = code
  }
  return octets
}

function octetsOf(words: AddressWords): Uint8Array {
  const octets = new Uint8Array(16)
  const view = new DataView(octets.buffer)
  view.setUint32(0, words.w0)
  view.setUint32(4, words.w1)
  view.setUint32(8, words.w2)
  view.setUint32(12, words.w3)
  return octets
}

function toMapped(octets: Uint8Array): Uint8Array {
  const mapped = mappedPrefix.slice()
  mapped.set(octets.subarray(0, 4), 12)
  return mapped
}

/** A prefix length of decimal digits without sign or leading zero, at most `max`; null when it is not one. */
function parsePrefix(text: string, max: number): number | null {
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(text)) return null
  const prefix = Number(text)
  return prefix <= max ? prefix : null
}

/** One address as a block of a single address; null when the text is not exactly that. Mapped IPv6 becomes IPv4. */
export function parseAddress(text: string): Cidr | null {
  const octets = text.length <= entryLengthMax ? ascii(text) : null
  const words = createAddressWords()
  if (octets === null || !parseAddressOctets(octets, 0, octets.length, words) || words.family === 0) return null
  return blockOf(words.family, octetsOf(words), maxPrefix(words.family))
}

/** An allowlist entry: an address or a block. Null when it fits the grammar in no way. */
export function parseEntry(text: string): EntryText | null {
  if (text.length > entryLengthMax) return null
  const slash = text.indexOf('/')
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash))
  if (address === null) return null
  if (slash < 0) return { block: address, hostBits: false, spansMapped: false }
  const spelledMapped = address.family === 4 && text.includes(':')
  const prefix = parsePrefix(text.slice(slash + 1), spelledMapped ? 128 : maxPrefix(address.family))
  if (prefix === null) return null
  if (!spelledMapped) return entryOf(address.family, address.octets, prefix)
  if (prefix >= mappedBits) return entryOf(4, address.octets, prefix - mappedBits)
  return entryOf(6, toMapped(address.octets), prefix)
}

function entryOf(family: 4 | 6, octets: Uint8Array, prefix: number): EntryText {
  const block = blockOf(family, octets, prefix)
  const hostBits = octets.some((octet, i) => octet !== block.octets[i])
  return { block, hostBits, spansMapped: family === 6 && coversMapped(block) }
}

/** Whether an IPv6 block covers `::ffff:0:0/96`. */
export function coversMapped(block: Cidr): boolean {
  if (block.prefix >= mappedBits) return false
  return blockOf(6, mappedPrefix, block.prefix).octets.every((octet, i) => octet === block.octets[i])
}

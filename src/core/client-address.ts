// The client's address by the one configured mode (envoy-contract.md 6.2). Counts from the right, never takes what a
// client may choose: too short, too long, empty, unreadable or absent is *unknown*, which is a denial under an allowlist.
import { type AddressWords, parseAddressOctets } from './address-octets.ts'
import type { Cidr } from './cidr.ts'
import { findHeader, type RequestView, valueEnd, valueStart } from './request-view.ts'

/** Where the trusted client address is read. */
export type ClientAddressMode =
  | { readonly mode: 'grpc-metadata' }
  | { readonly mode: 'trusted-header'; readonly header: string }
  | { readonly mode: 'xff-hops'; readonly hops: number; readonly appended: boolean }
  | { readonly mode: 'xff-trusted-cidrs'; readonly cidrs: readonly Cidr[]; readonly appended: boolean }
  | { readonly mode: 'source-address' }

/** Entries of a forwarding chain that are read at all; Envoy refuses the 21st as well. */
export const chainEntriesMax = 20
/** Octets of a forwarding chain over all its lines. */
export const chainLengthMax = 4096
/** Octets of one entry, or of the metadata that is one: an address with brackets, port and a zone id that is no novel. */
export const entryLengthMax = 256

const forwardedFor = 'x-forwarded-for'

/** 1 for the unreserved characters of RFC 3986. */
const unreserved = new Uint8Array(256)
for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~') {
  unreserved[character.charCodeAt(0)] = 1
}

const metadataOctets = new Uint8Array(entryLengthMax)
/** Ranges of the entries of a chain, first to last. */
const entries = new Int32Array(chainEntriesMax * 2)

/** Reads the client address of a request into its view. */
export type ClientAddressReader = (view: RequestView, metadata: string | undefined) => void

/** The reader of a mode. `metadata`, given with each request, is the value of the metadata entry that carries the address. */
export function compileClientAddress(mode: ClientAddressMode): ClientAddressReader {
  switch (mode.mode) {
    case 'grpc-metadata':
      return (view, metadata) => readMetadata(metadata, view.client)
    case 'trusted-header': {
      const header = mode.header.toLowerCase()
      return view => readTrustedHeader(view, header)
    }
    case 'xff-hops': {
      const { hops, appended } = mode
      return view => readHops(view, hops, appended)
    }
    case 'xff-trusted-cidrs': {
      const trusted = compileBlocks(mode.cidrs)
      const { appended } = mode
      return view => readWalk(view, trusted, appended)
    }
    case 'source-address':
      return view => readSource(view)
  }
}

function readMetadata(text: string | undefined, out: AddressWords): void {
  out.family = 0
  if (text === undefined || text.length > entryLengthMax) return
  for (let i = 0; i < text.length; i++) {
    const octet = text.charCodeAt(i)
    if (octet > 0x7e) return
    metadataOctets[i] = octet
  }
  readEntry(metadataOctets, 0, text.length, out)
}

function readTrustedHeader(view: RequestView, header: string): void {
  const index = findHeader(view, header, 0)
  // Twice means that the filter which owns this header did not run.
  if (index < 0 || findHeader(view, header, index + 1) >= 0) return
  readEntry(view.bytes, valueStart(view, index), valueEnd(view, index), view.client)
}

function readSource(view: RequestView): void {
  if (view.sourceStart >= 0) readEntry(view.bytes, view.sourceStart, view.sourceEnd, view.client)
}

function readHops(view: RequestView, hops: number, appended: boolean): void {
  // With `appended` the last entry is Envoy's peer; without, the peer stands only in the source address.
  if (hops === 0 && !appended) {
    readSource(view)
    return
  }
  const count = readChain(view)
  const index = appended ? count - 1 - hops : count - hops
  if (index < 0 || index >= count) return
  readEntry(view.bytes, entries[index * 2] ?? 0, entries[index * 2 + 1] ?? 0, view.client)
}

function readWalk(view: RequestView, trusted: AddressBlocks, appended: boolean): void {
  const { client } = view
  if (!appended) {
    readSource(view)
    if (client.family === 0 || !blocksContain(trusted, client)) return
  }
  const count = readChain(view)
  if (count < 0) {
    client.family = 0
    return
  }
  for (let index = count - 1; index >= 0; index--) {
    readEntry(view.bytes, entries[index * 2] ?? 0, entries[index * 2 + 1] ?? 0, client)
    if (client.family === 0 || !blocksContain(trusted, client)) return
  }
  // Every hop is trusted, so each told the truth about the one before it: the first is the client.
}

/** Splits all lines of the chain, in order, into `entries`. @returns their number; -1 when the chain is too long to be read. */
function readChain(view: RequestView): number {
  let count = 0
  let length = 0
  for (let line = findHeader(view, forwardedFor, 0); line >= 0; line = findHeader(view, forwardedFor, line + 1)) {
    const end = valueEnd(view, line)
    let start = valueStart(view, line)
    length += end - start
    if (length > chainLengthMax) return -1
    for (let at = start; at <= end; at++) {
      if (at < end && view.bytes[at] !== 0x2c) continue
      if (count === chainEntriesMax) return -1
      entries[count * 2] = start
      entries[count * 2 + 1] = at
      count++
      start = at + 1
    }
  }
  return count
}

/**
 * Reads one entry of a chain: an address with blanks around it, an IPv6 address perhaps in brackets and with a zone id,
 * a port perhaps behind. These are removed; nothing else is forgiven (profiles.md I5).
 */
function readEntry(bytes: Uint8Array, start: number, end: number, out: AddressWords): boolean {
  while (start < end && isBlank(bytes[start])) start++
  while (start < end && isBlank(bytes[end - 1])) end--
  out.family = 0
  if (end - start > entryLengthMax) return false
  if (bytes[start] === 0x5b && start < end) return readBracketed(bytes, start, end, out)
  const colon = indexOf(bytes, start, end, 0x3a)
  if (colon < 0) return parseAddressOctets(bytes, start, end, out)
  if (indexOf(bytes, colon + 1, end, 0x3a) < 0) {
    return isPort(bytes, colon + 1, end) && parseAddressOctets(bytes, start, colon, out)
  }
  return readZoned(bytes, start, end, out)
}

function readBracketed(bytes: Uint8Array, start: number, end: number, out: AddressWords): boolean {
  const close = indexOf(bytes, start, end, 0x5d)
  if (close < 0 || (close + 1 < end && !(bytes[close + 1] === 0x3a && isPort(bytes, close + 2, end)))) return false
  // Brackets are for IPv6 spellings only.
  return indexOf(bytes, start, close, 0x3a) >= 0 && readZoned(bytes, start + 1, close, out)
}

/**
 * An IPv6 spelling with its zone id cut off: it names an interface of somebody else's machine. Unreserved characters only
 * (RFC 6874), so that no comma between two values of a header, no port and no prefix length is taken for a part of it.
 */
function readZoned(bytes: Uint8Array, start: number, end: number, out: AddressWords): boolean {
  const percent = indexOf(bytes, start, end, 0x25)
  if (percent < 0) return parseAddressOctets(bytes, start, end, out)
  if (percent + 1 === end) return false
  for (let i = percent + 1; i < end; i++) if (unreserved[bytes[i] ?? 0] === 0) return false
  return indexOf(bytes, start, percent, 0x3a) >= 0 && parseAddressOctets(bytes, start, percent, out)
}

/** Whether `bytes[start, end)` is a decimal 1–65535 without leading zero. */
function isPort(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < 1 || end - start > 5 || bytes[start] === 0x30) return false
  let port = 0
  for (let i = start; i < end; i++) {
    const digit = (bytes[i] ?? 0) - 0x30
    if (digit < 0 || digit > 9) return false
    port = port * 10 + digit
  }
  return port <= 65_535
}

function isBlank(octet: number | undefined): boolean {
  return octet === 0x20 || octet === 0x09
}

function indexOf(bytes: Uint8Array, start: number, end: number, octet: number): number {
  for (let i = start; i < end; i++) if (bytes[i] === octet) return i
  return -1
}

/** Address blocks of one family after the other: network word and mask word, four of each a block. */
interface AddressBlocks {
  readonly families: Uint8Array
  readonly networks: Uint32Array
  readonly masks: Uint32Array
}

function compileBlocks(cidrs: readonly Cidr[]): AddressBlocks {
  const networks = new Uint32Array(cidrs.length * 4)
  const masks = new Uint32Array(cidrs.length * 4)
  for (const [index, { octets, prefix }] of cidrs.entries()) {
    const view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength)
    for (let word = 0; word < 4; word++) {
      const bits = Math.min(32, Math.max(0, prefix - word * 32))
      masks[index * 4 + word] = bits === 0 ? 0 : 0xffff_ffff << (32 - bits)
      networks[index * 4 + word] = view.getUint32(word * 4)
    }
  }
  return { families: Uint8Array.from(cidrs, cidr => cidr.family), networks, masks }
}

const words = new Uint32Array(4)

function blocksContain(blocks: AddressBlocks, address: AddressWords): boolean {
  words[0] = address.w0
  words[1] = address.w1
  words[2] = address.w2
  words[3] = address.w3
  for (let block = 0; block < blocks.families.length; block++) {
    if (blocks.families[block] === address.family && blockContains(blocks, block)) return true
  }
  return false
}

function blockContains(blocks: AddressBlocks, block: number): boolean {
  for (let word = 0; word < 4; word++) {
    const at = block * 4 + word
    if ((((words[word] ?? 0) ^ (blocks.networks[at] ?? 0)) & (blocks.masks[at] ?? 0)) !== 0) return false
  }
  return true
}

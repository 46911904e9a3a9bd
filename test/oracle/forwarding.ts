// The client's address by each mode of envoy-contract.md 6.2, over plain lists of texts: what a person would work out by hand.
// Shares no code with src/; addresses are judged by Node and canonicalised in BigInt.
import { isIPv4, isIPv6 } from 'node:net'
import { type PlainAddress, plainCanonical, plainContains } from './cidr.ts'

export type PlainMode =
  | { readonly mode: 'grpc-metadata' }
  | { readonly mode: 'source-address' }
  | { readonly mode: 'trusted-header'; readonly header: string }
  | { readonly mode: 'xff-hops'; readonly hops: number; readonly appended: boolean }
  | { readonly mode: 'xff-trusted-cidrs'; readonly trusted: readonly string[]; readonly appended: boolean }

/** One request as it arrives: header lines in order, the peer's address if it has one, call metadata. */
export interface Arrival {
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly source: string | null
  readonly metadata: string | undefined
}

/** An address in any spelling that Node accepts; embedded IPv4 only behind `::ffff:`. */
export function plainAddress(text: string): PlainAddress | null {
  if (isIPv4(text)) return { family: 4, value: text.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n) }
  if (!isIPv6(text) || text.includes('%')) return null
  const quad = /^::ffff:([\d.]+)$/i.exec(text)?.[1]
  if (quad?.includes('.')) return plainAddress(quad)
  if (text.includes('.')) return null
  const [head = '', tail] = text.split('::')
  const groups = (part: string) => part.split(':').filter(group => group !== '')
  const right = tail === undefined ? [] : groups(tail)
  const zeros = Array.from({ length: 8 - groups(head).length - right.length }, () => '0')
  const value = [...groups(head), ...zeros, ...right].reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n)
  return value >> 32n === 0xffffn ? { family: 4, value: value & 0xffff_ffffn } : { family: 6, value }
}

/** One entry of a chain: blanks around it, a port, brackets and a zone id are taken off; nothing else is forgiven. */
export function plainEntry(text: string): PlainAddress | null {
  const bare = text.replace(/^[ \t]+|[ \t]+$/g, '')
  const [, bracketed, quad, port = '1'] =
    /^(?:\[([^[\]]*:[^[\]]*)\]|([0-9.]+(?=:[^:]*$)))(?::([1-9][0-9]{0,4}))?$/.exec(bare) ?? []
  if (Number(port) > 65_535) return null
  const address = bracketed ?? quad ?? bare
  return plainAddress(address.includes(':') ? address.replace(/%[\w.~-]+$/, '') : address)
}

export function plainIsIn(address: PlainAddress, cidrs: readonly string[]): boolean {
  return cidrs.some(cidr => {
    const [text = '', prefix] = cidr.split('/')
    const network = plainAddress(text)
    return network !== null && plainContains(network, Number(prefix), address)
  })
}

/** The client's address; null: unknown. */
export function clientByModel(mode: PlainMode, arrival: Arrival): PlainAddress | null {
  const values = (name: string) => arrival.headers.filter(header => header[0] === name).map(header => header[1])
  const peer = arrival.source === null ? null : plainEntry(arrival.source)
  if (mode.mode === 'grpc-metadata') return arrival.metadata === undefined ? null : plainEntry(arrival.metadata)
  if (mode.mode === 'source-address') return peer
  if (mode.mode === 'trusted-header') {
    const [only, second] = values(mode.header)
    return only === undefined || second !== undefined ? null : plainEntry(only)
  }
  const lines = values('x-forwarded-for')
  const chain = lines.length === 0 ? [] : lines.join(',').split(',')
  const readable = chain.length <= 20 && lines.join('').length <= 4096
  if (mode.mode === 'xff-hops') {
    // The chain as Envoy knows it, its peer last.
    if (mode.hops === 0 && !mode.appended) return peer
    const entry = mode.appended ? chain[chain.length - 1 - mode.hops] : chain[chain.length - mode.hops]
    return readable && entry !== undefined ? plainEntry(entry) : null
  }
  const fromRight = [...(readable ? chain : ['unreadable']).map(plainEntry).reverse()]
  if (!mode.appended) fromRight.unshift(peer)
  const end = fromRight.findIndex(each => each === null || !plainIsIn(each, mode.trusted))
  return fromRight[end < 0 ? fromRight.length - 1 : end] ?? null
}

/** How the log and the metadata write it. */
export const plainTextOf = (address: PlainAddress | null): string => (address === null ? '' : plainCanonical(address))

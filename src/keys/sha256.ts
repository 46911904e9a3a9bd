// SHA-256 of a range of octets and HMAC-SHA-256 of a 32-octet message from precomputed pad states, without allocation.
// Guarantee: equal to FIPS 180-4 and RFC 2104 for every input; what was hashed does not stay behind in scratch memory.
// Results are eight 32-bit words, most significant first, because the key table compares words.
import { compress } from './sha256-block.ts'

/** Number of words of a hash. */
export const hashWords = 8

/** Number of octets of a hash. */
export const hashOctets = 32

const blockOctets = 64

/** FIPS 180-4 section 5.3.3. */
const INITIAL = new Int32Array([
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
])

/** The one block every call fills; calls are synchronous and never nest. */
const block = new Int32Array(16)

/** SHA-256 of `bytes[start, end)` into `out` (8 words). */
export function sha256(bytes: Uint8Array, start: number, end: number, out: Int32Array): void {
  absorb(INITIAL, 0, bytes, start, end, out)
}

/** The state after one block of 64 octets, to begin many hashes with; see `hashAfterBlock`. */
export function stateAfterBlock(octets: Uint8Array): Int32Array {
  if (octets.length !== blockOctets) throw new RangeError(`a block has ${blockOctets} octets, not ${octets.length}`)
  const state = Int32Array.from(INITIAL)
  for (let i = 0; i < 16; i++) block[i] = wordAt(octets, i * 4)
  compress(state, block)
  block.fill(0)
  return state
}

/** SHA-256 of the block behind `state` and `bytes[start, end)` after it, into `out` (8 words). */
export function hashAfterBlock(
  state: Int32Array,
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Int32Array,
): void {
  absorb(state, blockOctets, bytes, start, end, out)
}

/** Goes on from a state after `before` octets with the rest of a message. Leaves nothing of it in the block. */
function absorb(
  state: Int32Array,
  before: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Int32Array,
): void {
  restore(out, state)
  let at = start
  for (; end - at >= blockOctets; at += blockOctets) {
    for (let i = 0, p = at; i < 16; i++, p += 4) block[i] = wordAt(bytes, p)
    compress(out, block)
  }
  absorbTail(bytes, at, end, (before + end - start) * 8, out)
  for (let i = 0; i < 16; i++) block[i] = 0
}

/** The last, padded block, or two where the length does not fit behind the octets. `bits` is below 2^32. */
function absorbTail(bytes: Uint8Array, at: number, end: number, bits: number, out: Int32Array): void {
  let p = at
  let i = 0
  for (; end - p >= 4; p += 4) block[i++] = wordAt(bytes, p)
  let last = 0x80
  for (let q = end - 1, shift = 8; q >= p; q--, shift += 8) last |= (bytes[q] ?? 0) << shift
  block[i++] = last << (24 - 8 * (end - p))
  for (; i < 15; i++) block[i] = 0
  if (end - at > blockOctets - 9) {
    block[15] = i > 15 ? (block[15] ?? 0) : 0
    compress(out, block)
    for (i = 0; i < 15; i++) block[i] = 0
  }
  block[15] = bits
  compress(out, block)
}

/** Four octets as one word, most significant first. */
export function wordAt(bytes: Uint8Array, p: number): number {
  return ((bytes[p] ?? 0) << 24) | ((bytes[p + 1] ?? 0) << 16) | ((bytes[p + 2] ?? 0) << 8) | (bytes[p + 3] ?? 0)
}

/** Copies a state by hand: eight stores are cheaper than a call of `set`. */
function restore(out: Int32Array, from: Int32Array): void {
  for (let i = 0; i < hashWords; i++) out[i] = from[i] ?? 0
}

/** A key of HMAC-SHA-256, reduced to the two states after its padded blocks. */
export interface HmacKey {
  readonly inner: Int32Array
  readonly outer: Int32Array
}

/** Prepares a key. @throws RangeError for a key longer than one block (64 octets), which no pepper is. */
export function hmacKey(key: Uint8Array): HmacKey {
  if (key.length > blockOctets) throw new RangeError(`a key of ${key.length} octets is longer than one block`)
  return { inner: padState(key, 0x36), outer: padState(key, 0x5c) }
}

function padState(key: Uint8Array, pad: number): Int32Array {
  const padded = new Uint8Array(blockOctets).fill(pad)
  for (const [i, octet] of key.entries()) padded[i] = octet ^ pad
  return stateAfterBlock(padded)
}

/** HMAC-SHA-256 of the 32 octets in `message` (8 words) into `out` (8 words): two compressions. */
export function hmacOfHash(key: HmacKey, message: Int32Array, out: Int32Array): void {
  absorbHash(key.inner, message, out)
  absorbHash(key.outer, out, out)
}

/** Continues from a pad state with one hash as the whole rest of the message: 64 + 32 octets. */
function absorbHash(state: Int32Array, message: Int32Array, out: Int32Array): void {
  for (let i = 0; i < hashWords; i++) block[i] = message[i] ?? 0
  block[8] = 0x80000000
  for (let i = 9; i < 15; i++) block[i] = 0
  block[15] = (blockOctets + hashOctets) * 8
  restore(out, state)
  compress(out, block)
}

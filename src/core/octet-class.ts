// Which alphabets of secrets an octet belongs to, as bits in one 256-byte table: one load answers for all of them.
// Total over every octet; there is no case folding, and no octet above 0x7a is in any alphabet.
import type { SecretAlphabet } from './secret-grammar.ts'

export const CLASS_BASE62 = 1
export const CLASS_HEX = 2
export const CLASS_BASE64URL = 4

/** The letters of each alphabet, in order of value. `hex` is lower-case. */
export const alphabets: Readonly<Record<SecretAlphabet, string>> = {
  base62: '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz',
  hex: '0123456789abcdef',
  base64url: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
}

const bits: Readonly<Record<SecretAlphabet, number>> = {
  base62: CLASS_BASE62,
  hex: CLASS_HEX,
  base64url: CLASS_BASE64URL,
}

const CLASSES = new Uint8Array(256)
/** Value of a base64url letter; 0 for every other octet, which the class has refused before. */
const SEXTETS = new Uint8Array(256)

for (const alphabet of ['base62', 'hex', 'base64url'] as const) {
  for (const letter of alphabets[alphabet])
    CLASSES[letter.charCodeAt(0)] = classOf(letter.charCodeAt(0)) | bits[alphabet]
}
for (const [value, letter] of [...alphabets.base64url].entries()) SEXTETS[letter.charCodeAt(0)] = value

/** The CLASS_* bit of an alphabet. */
export function classBit(alphabet: SecretAlphabet): number {
  return bits[alphabet]
}

/** The CLASS_* bits of one octet; 0 beyond the table. */
export function classOf(octet: number): number {
  return CLASSES[octet] ?? 0
}

/** The CLASS_* bits that every octet of `bytes[start, end)` has; all of them for an empty range. */
export function commonClasses(bytes: Uint8Array, start: number, end: number): number {
  let common = CLASS_BASE62 | CLASS_HEX | CLASS_BASE64URL
  for (let i = start; i < end; i++) common &= CLASSES[bytes[i] ?? 0] ?? 0
  return common
}

/** The six bits of a base64url letter. */
export function sextetOf(octet: number): number {
  return SEXTETS[octet] ?? 0
}

// CRC-32 (IEEE, as in zlib) written as six base62 digits: the checksum in every issued secret (admin-api section 4).
// It tells a mistyped key from an unknown one. It is public, so it must never be taken for a proof of anything.
import { alphabets } from './octet-class.ts'

/** Six digits hold 62^6 values, more than the 2^32 of a CRC-32. */
export const checksumLength = 6

/** The reflected polynomial of IEEE 802.3. */
const POLYNOMIAL = 0xedb88320

const TABLE = Int32Array.from({ length: 256 }, (_, octet) => {
  let remainder = octet
  for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ ((remainder & 1) * POLYNOMIAL)
  return remainder
})

const DIGITS = Uint8Array.from(alphabets.base62, digit => digit.charCodeAt(0))

/** CRC-32 of `bytes[start, end)` as an unsigned number. */
export function crc32(bytes: Uint8Array, start: number, end: number): number {
  let crc = -1
  for (let i = start; i < end; i++) crc = (TABLE[(crc ^ (bytes[i] ?? 0)) & 0xff] ?? 0) ^ (crc >>> 8)
  return ~crc >>> 0
}

/** Whether the six octets from `at` are the checksum of `bytes[start, at)`. Reads nothing beyond `at + 6`. */
export function checksumMatches(bytes: Uint8Array, start: number, at: number): boolean {
  let rest = crc32(bytes, start, at)
  for (let i = at + checksumLength - 1; i >= at; i--) {
    if (bytes[i] !== DIGITS[rest % 62]) return false
    rest = Math.floor(rest / 62)
  }
  return true
}

/** The checksum of `bytes[start, end)` as text, most significant digit first. */
export function checksumText(bytes: Uint8Array, start: number, end: number): string {
  let rest = crc32(bytes, start, end)
  let text = ''
  for (let i = 0; i < checksumLength; i++) {
    text = alphabets.base62.charAt(rest % 62) + text
    rest = Math.floor(rest / 62)
  }
  return text
}

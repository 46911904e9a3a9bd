// The text of a UUID (RFC 9562 section 4) from four words, written out: there are several in every reply.

/** Characters of a UUID. */
export const uuidTextLength = 36

/** The two digits of an octet, the first in the low half. */
const hexPairs = new Uint16Array(256)
for (let octet = 0; octet < 256; octet++) {
  const digits = octet.toString(16).padStart(2, '0')
  hexPairs[octet] = digits.charCodeAt(0) | (digits.charCodeAt(1) << 8)
}

const HYPHEN = 0x2d

/** Writes the UUID `words[at, at + 4)` in lower case to `target`. @returns the position behind it */
export function writeUuidText(words: Int32Array, at: number, target: Uint8Array, offset: number): number {
  putHalf(target, offset, (words[at] ?? 0) >>> 16)
  putHalf(target, offset + 4, words[at] ?? 0)
  target[offset + 8] = HYPHEN
  putHalf(target, offset + 9, (words[at + 1] ?? 0) >>> 16)
  target[offset + 13] = HYPHEN
  putHalf(target, offset + 14, words[at + 1] ?? 0)
  target[offset + 18] = HYPHEN
  putHalf(target, offset + 19, (words[at + 2] ?? 0) >>> 16)
  target[offset + 23] = HYPHEN
  putHalf(target, offset + 24, words[at + 2] ?? 0)
  putHalf(target, offset + 28, (words[at + 3] ?? 0) >>> 16)
  putHalf(target, offset + 32, words[at + 3] ?? 0)
  return offset + uuidTextLength
}

/** The four digits of the lower half of a word. */
function putHalf(target: Uint8Array, at: number, word: number): void {
  const high = hexPairs[(word >>> 8) & 0xff] ?? 0
  const low = hexPairs[word & 0xff] ?? 0
  target[at] = high
  target[at + 1] = high >>> 8
  target[at + 2] = low
  target[at + 3] = low >>> 8
}

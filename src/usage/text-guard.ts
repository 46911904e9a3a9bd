// The slow way of texts into a usage record: what is not printable ASCII, what is too long, what may hold a secret.
// What comes out is valid UTF-8 within its bound, has no character that acts in a terminal, and no API key after a prefix.

/** Controls, format characters (zero-width, bidirectional), separators of lines, halves of surrogates. */
const harmful = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu
/** Octets of one character in UTF-8 at most. */
const characterLengthMax = 4

/** `[start, end)` of `source` as harmless UTF-8 of at most `max` octets, cut between characters. */
export function toHarmless(source: DataView, start: number, end: number, max: number): Uint8Array {
  const taken = Math.min(end, start + max + characterLengthMax)
  const text = Buffer.from(source.buffer, source.byteOffset + start, taken - start).toString('utf8')
  return cut(Buffer.from(text.replace(harmful, '\ufffd')), max)
}

/** A text of ours, e.g. of a profile, within its bound. */
export function toBounded(text: string, max: number): Buffer {
  return cut(Buffer.from(text.replace(harmful, '\ufffd')), max)
}

function cut(octets: Buffer, max: number): Buffer {
  if (octets.length <= max) return octets
  let end = max
  while (end > 0 && ((octets[end] ?? 0) & 0xc0) === 0x80) end--
  return octets.subarray(0, end)
}

/** Octets behind a prefix from which on they are taken for a secret: no profile has shorter ones, ordinary words are. */
const secretLengthMin = 8
const STAR = 0x2a

/** 1 for octets that a secret may have. */
const secretOctet = new Uint8Array(256)
for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-~.+=%')
  secretOctet[character.charCodeAt(0)] = 1

/** Covers what stands behind key prefixes, in place. Prefixes hold no NUL, so that a length in front of a text is none. */
export class SecretCover {
  private readonly prefixes: readonly Buffer[]
  /** An octet that all prefixes share, the least usual one; -1: none. Texts without it need no look. */
  readonly marker: number

  constructor(prefixes: readonly string[]) {
    this.prefixes = prefixes.filter(prefix => prefix !== '').map(prefix => Buffer.from(prefix))
    this.marker = sharedOctet(this.prefixes)
  }

  get isNeeded(): boolean {
    return this.prefixes.length > 0
  }

  cover(bytes: Buffer, start: number, end: number): void {
    for (const prefix of this.prefixes) {
      let from = start
      for (;;) {
        const found = bytes.subarray(0, end).indexOf(prefix, from)
        if (found < 0) break
        from = coverRun(bytes, found + prefix.length, end)
      }
    }
  }
}

/** @returns where the run ends. */
function coverRun(bytes: Buffer, start: number, end: number): number {
  let at = start
  while (at < end && secretOctet[bytes[at] ?? 0] === 1) at++
  if (at - start >= secretLengthMin) bytes.fill(STAR, start, at)
  return at
}

/** Letters and digits are everywhere; anything else is a better sign. */
function sharedOctet(prefixes: readonly Buffer[]): number {
  const [first, ...others] = prefixes
  if (first === undefined) return -1
  const shared = [...first].filter(octet => others.every(prefix => prefix.includes(octet)))
  const rare = shared.find(octet => !/[A-Za-z0-9]/.test(String.fromCharCode(octet)))
  return rare ?? shared[0] ?? -1
}

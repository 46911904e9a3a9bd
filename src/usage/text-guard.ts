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
const PERCENT = 0x25

/** 1 for octets that a secret may have, percent-encoded ones included. */
const secretOctet = new Uint8Array(256)
for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-~.+=%')
  secretOctet[character.charCodeAt(0)] = 1

/** Covers what stands behind key prefixes, in place, percent-encoded prefixes (RFC 3986 section 2.1) included. */
export class SecretCover {
  /** The longest first: of two that match, it leaves more to read. */
  private readonly prefixes: readonly Buffer[]
  /** 1 for octets that a prefix can begin with as it stands in a text. */
  private readonly beginnings = new Uint8Array(256)
  /** An octet that all prefixes share, the least usual one; -1: none. Texts with neither it nor `%` need no look. */
  readonly marker: number

  constructor(prefixes: readonly string[]) {
    this.prefixes = prefixes
      .filter(prefix => prefix !== '')
      .map(prefix => Buffer.from(prefix))
      .sort((a, b) => b.length - a.length)
    for (const [first = PERCENT] of this.prefixes) this.beginnings[first] = this.beginnings[PERCENT] = 1
    this.marker = sharedOctet(this.prefixes)
  }

  /** @param isCut the text went on behind `end`: of a secret there, any length is covered */
  cover(bytes: Uint8Array, start: number, end: number, isCut: boolean): void {
    const { beginnings } = this
    if (this.prefixes.length === 0) return
    for (let at = start; at < end; ) {
      const behind = beginnings[bytes[at] ?? 0] === 1 ? this.behindPrefix(bytes, at, end) : -1
      at = behind < 0 ? at + 1 : coverRun(bytes, behind, end, isCut)
    }
  }

  /** Where a prefix that begins at `start` ends; -1: none does. */
  private behindPrefix(bytes: Uint8Array, start: number, end: number): number {
    const { prefixes } = this
    for (let i = 0; i < prefixes.length; i++) {
      const prefix = prefixes[i] ?? bytes
      let at = start
      let matched = 0
      while (matched < prefix.length && at < end) {
        const isPlain = bytes[at] === prefix[matched]
        if (!isPlain && (bytes[at] !== PERCENT || encodedOctet(bytes, at) !== prefix[matched])) break
        at += isPlain ? 1 : 3
        matched++
      }
      if (matched === prefix.length) return at
    }
    return -1
  }
}

/** The octet that `%` and two digits at `at` stand for; -1: none. */
function encodedOctet(bytes: Uint8Array, at: number): number {
  const text = String.fromCharCode(bytes[at + 1] ?? 0, bytes[at + 2] ?? 0)
  return /^[0-9A-Fa-f]{2}$/.test(text) ? Number.parseInt(text, 16) : -1
}

/** @returns where the run ends. */
function coverRun(bytes: Uint8Array, start: number, end: number, isCut: boolean): number {
  let at = start
  while (at < end && secretOctet[bytes[at] ?? 0] === 1) at++
  if (at - start >= secretLengthMin || (isCut && at === end)) bytes.fill(STAR, start, at)
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

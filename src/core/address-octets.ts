// The one grammar of an IP address, read from octets into 32-bit words and written back in canonical form (RFC 5952).
// Strict: nothing is trimmed, repaired or guessed. IPv4-mapped IPv6 becomes IPv4 before anybody sees it. Never allocates
// while reading or writing; every other parser of addresses in this project calls this one.

/** An address in binary. One instance is reused by its owner; `family` 0 says that there is none. */
export interface AddressWords {
  family: 0 | 4 | 6
  /** Unsigned, most significant first. IPv4 stands in `w0` alone, the others are 0. */
  w0: number
  w1: number
  w2: number
  w3: number
}

/** No address. */
export function createAddressWords(): AddressWords {
  return { family: 0, w0: 0, w1: 0, w2: 0, w3: 0 }
}

/** Octets of the longest canonical text: eight groups of four hex digits and seven colons. */
export const addressTextLengthMax = 39

/** Octets of the longest accepted spelling: `::ffff:255.255.255.255` is shorter than eight full groups. */
const inputLengthMax = 39

const DOT = 0x2e
const COLON = 0x3a
/** Groups of an IPv6 address while it is read. */
const groups = new Uint16Array(8)

/**
 * Reads exactly one address from `bytes[start, end)`: dotted quad of decimals 0–255 without leading zeros, or RFC 4291
 * hex groups with at most one `::`, or `::ffff:` and a dotted quad. No zone, port, bracket, prefix length or blank.
 * @returns whether it is one; `out` has family 0 when it is not.
 */
export function parseAddressOctets(bytes: Uint8Array, start: number, end: number, out: AddressWords): boolean {
  out.family = 0
  out.w0 = out.w1 = out.w2 = out.w3 = 0
  const length = end - start
  // `::` is the shortest address; the bounds keep every index below inside the array.
  if (length < 2 || length > inputLengthMax || start < 0 || end > bytes.length) return false
  if (startsMappedQuad(bytes, start, end)) return readQuad(bytes, start + 7, end, out)
  for (let at = start; at < end && at < start + 5; at++) {
    if (bytes[at] === COLON) return readGroups(bytes, start, end, out)
  }
  return readQuad(bytes, start, end, out)
}

/** Whether the text is `::ffff:` followed by something with a dot in it. */
function startsMappedQuad(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < 14 || bytes[start] !== COLON || bytes[start + 1] !== COLON || bytes[start + 6] !== COLON)
    return false
  for (let at = start + 2; at < start + 6; at++) if (hexDigit(bytes[at] ?? 0) !== 15) return false
  for (let at = start + 7; at < end; at++) if (bytes[at] === DOT) return true
  return false
}

function readQuad(bytes: Uint8Array, start: number, end: number, out: AddressWords): boolean {
  let word = 0
  let parts = 0
  let digits = 0
  let part = 0
  for (let at = start; at < end; at++) {
    const octet = bytes[at] ?? 0
    if (octet === DOT) {
      if (digits === 0 || parts === 3) return false
      word = word * 256 + part
      parts++
      digits = 0
      part = 0
      continue
    }
    const digit = octet - 0x30
    // A second digit after 0 is a leading zero, which other programs read as octal.
    if (digit < 0 || digit > 9 || (digits > 0 && part === 0)) return false
    part = part * 10 + digit
    digits++
    if (part > 255) return false
  }
  if (parts !== 3 || digits === 0) return false
  out.family = 4
  out.w0 = word * 256 + part
  return true
}

function readGroups(bytes: Uint8Array, start: number, end: number, out: AddressWords): boolean {
  let count = 0
  let gap = -1
  let at = start
  if (bytes[at] === COLON) {
    if (bytes[at + 1] !== COLON) return false
    gap = 0
    at += 2
  }
  while (at < end) {
    let group = 0
    let digits = 0
    while (at < end && bytes[at] !== COLON) {
      const digit = hexDigit(bytes[at] ?? 0)
      if (digit < 0 || digits === 4) return false
      group = group * 16 + digit
      digits++
      at++
    }
    if (digits === 0 || count === 8) return false
    groups[count++] = group
    if (at === end) break
    at++ // the colon
    if (at === end) return false
    if (bytes[at] === COLON) {
      if (gap >= 0) return false
      gap = count
      at++
    }
  }
  if (gap < 0 ? count !== 8 : count > 7) return false
  store(count, gap < 0 ? count : gap, out)
  return true
}

/** Spreads `count` groups around the gap over eight, and settles the mapped form. */
function store(count: number, gap: number, out: AddressWords): void {
  const zeros = 8 - count
  for (let i = count - 1; i >= gap; i--) groups[i + zeros] = groups[i] ?? 0
  for (let i = gap; i < gap + zeros; i++) groups[i] = 0
  const w0 = wordOf(0)
  const w1 = wordOf(2)
  const w2 = wordOf(4)
  const w3 = wordOf(6)
  if (w0 === 0 && w1 === 0 && w2 === 0xffff) {
    out.family = 4
    out.w0 = w3
    return
  }
  out.family = 6
  out.w0 = w0
  out.w1 = w1
  out.w2 = w2
  out.w3 = w3
}

function wordOf(index: number): number {
  return (groups[index] ?? 0) * 65_536 + (groups[index + 1] ?? 0)
}

function hexDigit(octet: number): number {
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30
  const letter = octet | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

/**
 * Writes the canonical text of an address (RFC 5952: lower case, no leading zeros, the first longest run of two or
 * more zero groups as `::`) to `bytes` from `at`, which has room for `addressTextLengthMax` octets.
 * @returns the offset after the text; `at` itself for family 0.
 */
export function writeAddress(
  bytes: Uint8Array,
  at: number,
  family: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
): number {
  if (family === 4) return writeQuad(bytes, at, w0)
  if (family !== 6) return at
  splitWord(0, w0)
  splitWord(2, w1)
  splitWord(4, w2)
  splitWord(6, w3)
  let gap = -1
  let gapLength = 1
  for (let i = 0; i < 8; ) {
    let run = 0
    while (i + run < 8 && groups[i + run] === 0) run++
    if (run > gapLength) {
      gap = i
      gapLength = run
    }
    i += run === 0 ? 1 : run
  }
  for (let i = 0; i < 8; i++) {
    if (i === gap) {
      bytes[at++] = COLON
      i += gapLength - 1
      if (i === 7) bytes[at++] = COLON
      continue
    }
    if (i > 0) bytes[at++] = COLON
    at = writeHex(bytes, at, groups[i] ?? 0)
  }
  return at
}

function writeQuad(bytes: Uint8Array, at: number, word: number): number {
  for (let shift = 24; shift >= 0; shift -= 8) {
    const part = (word >>> shift) & 255
    if (part >= 100) bytes[at++] = 0x30 + Math.floor(part / 100)
    if (part >= 10) bytes[at++] = 0x30 + (Math.floor(part / 10) % 10)
    bytes[at++] = 0x30 + (part % 10)
    if (shift > 0) bytes[at++] = DOT
  }
  return at
}

function splitWord(index: number, word: number): void {
  groups[index] = word >>> 16
  groups[index + 1] = word & 0xffff
}

function writeHex(bytes: Uint8Array, at: number, group: number): number {
  for (let shift = group > 0xfff ? 12 : group > 0xff ? 8 : group > 15 ? 4 : 0; shift >= 0; shift -= 4) {
    const digit = (group >>> shift) & 15
    bytes[at++] = digit < 10 ? 0x30 + digit : 0x57 + digit
  }
  return at
}

const scratch = new Uint8Array(addressTextLengthMax)

/** The canonical text of an address; empty for family 0. */
export function formatAddress(family: number, w0: number, w1: number, w2: number, w3: number): string {
  const end = writeAddress(scratch, 0, family, w0, w1, w2, w3)
  return String.fromCharCode(...scratch.subarray(0, end))
}

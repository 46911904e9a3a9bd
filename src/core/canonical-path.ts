// Whether a request path is in the one spelling that rules are written for (profiles.md R4). Refuses, never repairs:
// nothing is decoded, merged or resolved, so what was matched is what the upstream gets.

/** Octets of a path without its query. Longer ones are no route of any API and cost the caller only. */
export const pathLengthMax = 8192
/** Segments of a path; templates have at most 32. */
export const pathSegmentsMax = 64

const OK = 0
const REFUSED = 1
const SLASH = 2
const PERCENT = 3
const QUERY = 4
const DOT = 5

/** What each octet means in a path. */
const octetClass = new Uint8Array(256)
for (let octet = 0; octet < 256; octet++) {
  const character = String.fromCharCode(octet)
  if (octet < 0x21 || octet > 0x7e || '\\;#'.includes(character)) octetClass[octet] = REFUSED
}
octetClass[0x2f] = SLASH
octetClass[0x25] = PERCENT
octetClass[0x3f] = QUERY
octetClass[0x2e] = DOT

/** 1 for octets that must not stand encoded: unreserved characters, `/ \ ; %` and controls. */
const neverEncoded = new Uint8Array(256)
for (let octet = 0; octet < 256; octet++) {
  const character = String.fromCharCode(octet)
  if (octet < 0x20 || octet === 0x7f || /[A-Za-z0-9._~/\\;%-]/.test(character)) neverEncoded[octet] = 1
}

/** End of the path (its query cut at the first `?`) in `bytes[start, end)`, or -1 when it is not canonical. */
export function findPathEnd(bytes: Uint8Array, start: number, end: number): number {
  if (start >= end || bytes[start] !== 0x2f) return -1
  const limit = Math.min(end, start + pathLengthMax)
  let segments = 1
  /** Start of the segment under way, and whether it holds nothing but dots. */
  let segment = start + 1
  let dots = true
  let at = start + 1
  for (; at < limit; at++) {
    const kind = octetClass[bytes[at] ?? 0]
    if (kind === OK) {
      dots = false
    } else if (kind === SLASH) {
      const length = at - segment
      if (length === 0 || (dots && length <= 2) || ++segments > pathSegmentsMax) return -1
      segment = at + 1
      dots = true
    } else if (kind === PERCENT) {
      const octet = at + 2 < limit ? hexPair(bytes[at + 1] ?? 0, bytes[at + 2] ?? 0) : -1
      if (octet < 0 || neverEncoded[octet] === 1) return -1
      dots = false
      at += 2
    } else if (kind === QUERY) {
      break
    } else if (kind === REFUSED) {
      return -1
    }
  }
  // The loop ended at the query, at the end, or at the bound with the path still going on.
  if (at < end && bytes[at] !== 0x3f) return -1
  const length = at - segment
  return dots && length >= 1 && length <= 2 ? -1 : at
}

function hexPair(high: number, low: number): number {
  const upper = hexDigit(high)
  const lower = hexDigit(low)
  return upper < 0 || lower < 0 ? -1 : upper * 16 + lower
}

function hexDigit(octet: number): number {
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30
  const letter = octet | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

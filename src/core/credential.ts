// Finds the one secret of a request among the headers that a profile names (profiles.md K1, K2).
// Exactly one or a denial: never the first of several, never each in turn. It looks at no octet of the secret but commas.
import type { CredentialSource } from './policy.ts'
import { codeOf, type DecisionCode } from './reason.ts'
import { findHeader, lowerCase, type RequestView, valueEnd, valueStart } from './request-view.ts'

/** Where the secret stands in the request's octets. One instance is reused for all checks. */
export interface CredentialRange {
  start: number
  end: number
}

/** A credential was found. */
export const FOUND = -1

const MISSING = codeOf('credential_missing')
const MULTIPLE = codeOf('multiple_credentials')

const SPACE = 0x20
const TAB = 0x09

/** `FOUND`, with the secret's range in `out`, or the reason against the request. */
export function findCredential(
  view: RequestView,
  sources: readonly CredentialSource[],
  out: CredentialRange,
): DecisionCode | typeof FOUND {
  let found = 0
  let foundStart = 0
  let foundEnd = 0
  out.start = out.end = 0
  for (let i = 0; i < sources.length; i++) {
    const source = sources[i]
    if (source === undefined) continue
    const header = findHeader(view, source.header, 0)
    if (header < 0) continue
    const start = valueStart(view, header)
    const end = valueEnd(view, header)
    // Checked before the scheme: two values of one header are two credentials to somebody behind us.
    if (findHeader(view, source.header, header + 1) >= 0 || hasComma(view.bytes, start, end)) return MULTIPLE
    const secret = secretStart(view.bytes, start, end, source)
    if (secret < 0) continue
    found++
    foundStart = secret
    foundEnd = end
  }
  if (found !== 1) return found === 0 ? MISSING : MULTIPLE
  out.start = foundStart
  out.end = foundEnd
  return FOUND
}

function hasComma(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] === 0x2c) return true
  return false
}

/** Start of the secret in a header value, or -1 when the value carries none: blank, or of another scheme. */
function secretStart(bytes: Uint8Array, start: number, end: number, source: CredentialSource): number {
  if (isBlank(bytes, start, end)) return -1
  const { scheme } = source
  if (scheme === null) return start
  const behind = start + scheme.length
  if (behind <= end && startsWithWord(bytes, start, scheme)) {
    let at = behind
    while (at < end && bytes[at] === SPACE) at++
    if (at === end) return -1
    if (at > behind) return at
  }
  return source.bare && isOneWord(bytes, start, end) ? start : -1
}

function isBlank(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] !== SPACE && bytes[i] !== TAB) return false
  return true
}

/** Whether there is no space in it: with one, its first word is another scheme. */
function isOneWord(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] === SPACE) return false
  return true
}

function startsWithWord(bytes: Uint8Array, start: number, word: string): boolean {
  for (let i = 0; i < word.length; i++) {
    if (lowerCase[bytes[start + i] ?? 0] !== lowerCase[word.charCodeAt(i)]) return false
  }
  return true
}

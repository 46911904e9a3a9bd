// Takes what must not be written out of a log line: anything shaped like a key, credential headers, characters that fool a terminal.
// Works on the finished JSON line, so it covers every field and every nesting; the line stays one line of valid JSON.

/** Shortest run behind a key prefix that is taken for a secret; hints (`prefix…last4`) have an ellipsis there and stay. */
const secretLengthMin = 4

/** Prefixes of this product's own secrets: admin keys and bootstrap tokens. */
const ownPrefixes = ['gwa_', 'gwb_']

/** Controls, format characters (zero-width, bidirectional) and line separators: they make a line read unlike what it says. */
const deceptive = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

const credentialMember =
  /("(?:proxy-)?(?:authorization|cookie|set-cookie|x[-_]api[-_]key)"\s*:\s*)("(?:[^"\\]|\\.)*"|\[[^\]]*\])/gi
const bearer = /\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}/gi

/** A function from any text to the same without what is shaped like a key, for texts that leave the process. */
export function createKeyRedactor(prefixes: readonly string[]): (text: string) => string {
  const all = [...ownPrefixes, ...prefixes].filter(prefix => prefix !== '').map(escapePattern)
  const secret = new RegExp(`(${all.join('|')})[A-Za-z0-9_-]{${secretLengthMin},}`, 'g')
  return text => text.replace(secret, '$1[redacted]')
}

/** A function from line to redacted line for the given key prefixes. */
export function createRedactor(prefixes: readonly string[]): (line: string) => string {
  const redactKeys = createKeyRedactor(prefixes)
  return line =>
    redactKeys(line.replace(credentialMember, '$1"[redacted]"'))
      .replace(bearer, '$1 [redacted]')
      .replace(deceptive, toEscape)
}

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

function toEscape(character: string): string {
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at))
  return units.map(unit => `\\u${unit.toString(16).padStart(4, '0')}`).join('')
}

// A new secret of a profile's issued form, made from random octets that the caller drew: prefix, core, checksum, suffix.
// Guarantee: every core is equally likely (rejection sampling), and the secret fits no imported form.
// It draws no randomness itself and never keeps a secret; the caller shows it once and drops it.
import { checksumText } from './checksum.ts'
import { alphabets } from './octet-class.ts'
import { FORM_ISSUED, recognise, type SecretGrammar } from './secret-grammar.ts'

/** Letters of a secret that its hint shows. */
const hintLetters = 4

/** A secret and what people may see of it. */
export interface IssuedSecret {
  readonly secret: string
  /** Prefix, an ellipsis and the last four characters before the suffix: of the checksum, not of the core. */
  readonly hint: string
}

/**
 * How many random octets a call of `issueSecret` should be given. Of 256 octets at least 248 are usable, so twice the core
 * and 64 more leave a shortage less likely than 2^-128.
 */
export function octetsToIssue(grammar: SecretGrammar): number {
  return 2 * grammar.forms.issued.secretLength + 64
}

/**
 * Builds the secret of the environment from `octets`, which must come from a cryptographic generator and be used once.
 * Null: the octets did not suffice, draw new ones and ask again. @throws RangeError for an environment without prefix.
 */
export function issueSecret(grammar: SecretGrammar, environment: number, octets: Uint8Array): IssuedSecret | null {
  const prefix = prefixOf(grammar, environment)
  const { alphabet, secretLength, suffix } = grammar.forms.issued
  const letters = lettersFrom(alphabets[alphabet], octets)
  for (let at = 0; at + secretLength <= letters.length; at += secretLength) {
    const issued = assemble(prefix, letters.slice(at, at + secretLength), suffix)
    if (isOnlyIssued(grammar, issued.secret)) return issued
  }
  return null
}

/** The hint of any secret of the prefix, e.g. for an import: the last four characters before `suffix`. */
export function hintOf(prefix: string, secret: string, suffix = ''): string {
  const body = secret.slice(prefix.length, secret.length - suffix.length)
  return `${prefix}…${body.slice(-hintLetters)}`
}

function prefixOf(grammar: SecretGrammar, environment: number): string {
  const entry = grammar.forms.prefixes.find(candidate => candidate.environment === environment)
  if (entry === undefined) throw new RangeError(`the profile has no prefix for environment ${environment}`)
  return entry.prefix
}

/** Maps octets to letters and skips those that would make some letters likelier than others. */
function lettersFrom(alphabet: string, octets: Uint8Array): string {
  const usable = 256 - (256 % alphabet.length)
  let letters = ''
  for (const octet of octets) {
    if (octet < usable) letters += alphabet.charAt(octet % alphabet.length)
  }
  return letters
}

function assemble(prefix: string, core: string, suffix: string): IssuedSecret {
  const signed = new TextEncoder().encode(prefix + core)
  const secret = prefix + core + checksumText(signed, 0, signed.length) + suffix
  return { secret, hint: hintOf(prefix, secret, suffix) }
}

function isOnlyIssued(grammar: SecretGrammar, secret: string): boolean {
  const octets = new TextEncoder().encode(secret)
  return recognise(grammar, octets, 0, octets.length) === FORM_ISSUED
}

// The forms an API key's secret may have under a profile, compiled; recognised on raw octets before anything is hashed.
// The checksum tells a mistyped key from an unknown one; it protects nothing (admin-api.md section 4).
import { checksumLength, checksumMatches } from './checksum.ts'
import { compileInner, type InnerTemplate, matchesInner } from './inner-template.ts'
import { CLASS_BASE62, classBit, commonClasses } from './octet-class.ts'

export type SecretAlphabet = 'base62' | 'hex' | 'base64url'

/** The form of new keys: prefix + core + 6 checksum characters + suffix. */
export interface IssuedForm {
  readonly alphabet: SecretAlphabet
  readonly secretLength: number
  readonly suffix: string
}

/** A form without checksum, for keys that existed before. */
export type ImportedForm =
  | { readonly alphabet: SecretAlphabet; readonly length: { readonly min: number; readonly max: number } }
  /** Body decodes to a text that fits `inner`: literals with {uuidv7} {uuidv4} {hex:N} {base62:N}. */
  | { readonly encoding: 'base64url'; readonly inner: string }

/** What a profile states of its keys. */
export interface SecretForms {
  /** In the order of matching. `environment` is a number of `Names.environments`. */
  readonly prefixes: readonly { readonly environment: number; readonly prefix: string }[]
  readonly maxLength: number
  readonly issued: IssuedForm
  readonly imported: readonly ImportedForm[]
}

/** Compiled forms. Opaque but for `forms`. */
export interface SecretGrammar {
  readonly forms: SecretForms
}

/** What `compileSecretGrammar` really makes; the interface above shows the part others may read. */
interface CompiledGrammar extends SecretGrammar {
  readonly prefixes: readonly Uint8Array[]
  readonly coreClass: number
  readonly suffix: Uint8Array
  /** Octets of an issued body: core, checksum and suffix. */
  readonly issuedLength: number
  readonly plain: readonly PlainForm[]
  readonly inner: readonly InnerTemplate[]
}

interface PlainForm {
  readonly classBit: number
  readonly min: number
  readonly max: number
}

/** Result bits of `recognise`; 0: fits no form. */
export const FORM_NONE = 0
export const FORM_ISSUED = 1
export const FORM_IMPORTED = 2

/** Compiles what a profile states of its keys. @throws SyntaxError for an inner template that is none; the linter refuses it before. */
export function compileSecretGrammar(forms: SecretForms): SecretGrammar {
  const encoder = new TextEncoder()
  const suffix = encoder.encode(forms.issued.suffix)
  return Object.freeze<CompiledGrammar>({
    forms,
    prefixes: forms.prefixes.map(({ prefix }) => encoder.encode(prefix)),
    coreClass: classBit(forms.issued.alphabet),
    suffix,
    issuedLength: forms.issued.secretLength + checksumLength + suffix.length,
    plain: forms.imported.flatMap(form =>
      'length' in form ? [{ classBit: classBit(form.alphabet), ...form.length }] : [],
    ),
    inner: forms.imported.flatMap(form => ('inner' in form ? [compileInner(form.inner)] : [])),
  })
}

/** Which forms the octets `bytes[start, end)` fit: bits FORM_ISSUED and FORM_IMPORTED. Never allocates, never hashes. */
export function recognise(grammar: SecretGrammar, bytes: Uint8Array, start: number, end: number): number {
  if (!isCompiled(grammar) || end - start > grammar.forms.maxLength) return FORM_NONE
  const body = bodyStart(grammar.prefixes, bytes, start, end)
  if (body < 0) return FORM_NONE
  const issued = fitsIssued(grammar, bytes, body, end) ? FORM_ISSUED : FORM_NONE
  return fitsImported(grammar, bytes, body, end) ? issued | FORM_IMPORTED : issued
}

/** Whether the checksum of a secret of the issued form is right. Called only after a table miss. */
export function checksumHolds(grammar: SecretGrammar, bytes: Uint8Array, start: number, end: number): boolean {
  if (!isCompiled(grammar)) return false
  const at = end - grammar.suffix.length - checksumLength
  return at >= start && checksumMatches(bytes, start, at)
}

function isCompiled(grammar: SecretGrammar): grammar is CompiledGrammar {
  return 'issuedLength' in grammar
}

/** Position behind the one prefix the octets begin with, or -1. No prefix begins another (the linter refuses it). */
function bodyStart(prefixes: readonly Uint8Array[], bytes: Uint8Array, start: number, end: number): number {
  for (let i = 0; i < prefixes.length; i++) {
    const prefix = prefixes[i]
    if (prefix !== undefined && holdsAt(prefix, bytes, start, end)) return start + prefix.length
  }
  return -1
}

/** Whether `part` stands at `at` and ends at or before `end`. */
function holdsAt(part: Uint8Array, bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < part.length) return false
  for (let i = 0; i < part.length; i++) {
    if (bytes[at + i] !== part[i]) return false
  }
  return true
}

function fitsIssued(grammar: CompiledGrammar, bytes: Uint8Array, body: number, end: number): boolean {
  if (end - body !== grammar.issuedLength) return false
  const suffixAt = end - grammar.suffix.length
  const checksumAt = suffixAt - checksumLength
  return (
    holdsAt(grammar.suffix, bytes, suffixAt, end) &&
    (commonClasses(bytes, checksumAt, suffixAt) & CLASS_BASE62) !== 0 &&
    (commonClasses(bytes, body, checksumAt) & grammar.coreClass) !== 0
  )
}

function fitsImported(grammar: CompiledGrammar, bytes: Uint8Array, body: number, end: number): boolean {
  const { plain, inner } = grammar
  for (let i = 0; i < plain.length; i++) {
    const form = plain[i]
    if (form !== undefined && fitsPlain(form, bytes, body, end)) return true
  }
  for (let i = 0; i < inner.length; i++) {
    const template = inner[i]
    if (template !== undefined && matchesInner(template, bytes, body, end)) return true
  }
  return false
}

function fitsPlain(form: PlainForm, bytes: Uint8Array, body: number, end: number): boolean {
  const length = end - body
  return length >= form.min && length <= form.max && (commonClasses(bytes, body, end) & form.classBit) !== 0
}

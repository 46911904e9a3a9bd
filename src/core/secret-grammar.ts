// The forms an API key's secret may have under a profile, compiled; recognised on raw octets before anything is hashed.
// The checksum tells a mistyped key from an unknown one; it protects nothing (admin-api.md section 4).

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

/** Result bits of `recognise`; 0: fits no form. */
export const FORM_NONE = 0
export const FORM_ISSUED = 1
export const FORM_IMPORTED = 2

export function compileSecretGrammar(_forms: SecretForms): SecretGrammar {
  throw new Error('not built yet')
}

/** Which forms the octets `bytes[start, end)` fit: bits FORM_ISSUED and FORM_IMPORTED. Never allocates, never hashes. */
export function recognise(_grammar: SecretGrammar, _bytes: Uint8Array, _start: number, _end: number): number {
  throw new Error('not built yet')
}

/** Whether the checksum of a secret of the issued form is right. Called only after a table miss. */
export function checksumHolds(_grammar: SecretGrammar, _bytes: Uint8Array, _start: number, _end: number): boolean {
  throw new Error('not built yet')
}

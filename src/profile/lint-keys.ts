// `prefix_conflict`, `key_weak`, `key_ambiguous`: the forms of keys must be told apart, and none may be guessed.
import { checksumLength } from '../core/checksum.ts'
import { compileInner } from '../core/inner-template.ts'
import { lintRule } from './lint-rule.ts'
import type { Report } from './parse-document.ts'
import type { ProfileDocument } from './schema.ts'

/** Bits of the core of a new key: no search can find one. */
export const ISSUED_BITS_MIN = 190
/** Bits of an imported key at its shortest: below, it could be guessed by asking a running service. */
export const IMPORTED_BITS_MIN = 64

const alphabetSize = { base62: 62, hex: 16, base64url: 64 } as const

type ImportedDocument = ProfileDocument['key']['imported'][number]

export const lintKeys = [
  lintRule(['environments'], ({ environments }, report) => {
    const prefixes = Object.entries(environments)
    for (const [index, [name, { prefix }]] of prefixes.entries()) {
      for (const [other, { prefix: earlier }] of prefixes.slice(0, index)) {
        if (!prefix.startsWith(earlier) && !earlier.startsWith(prefix)) continue
        const how = prefix === earlier ? 'is also that of' : 'overlaps that of'
        const message = `the prefix \`${prefix}\` ${how} \`${other}\`; give each environment a prefix that begins no other`
        report('prefix_conflict', ['environments', name, 'prefix'], message)
      }
    }
  }),
  lintRule(['key'], ({ key }, report) => {
    const { alphabet, secret_length: length } = key.issued
    const bits = Math.log2(alphabetSize[alphabet]) * length
    if (bits < ISSUED_BITS_MIN) {
      const needed = Math.ceil(ISSUED_BITS_MIN / Math.log2(alphabetSize[alphabet]))
      const message = `a core of ${length} ${alphabet} characters has ${Math.floor(bits)} random bits; set \`secret_length\` to at least ${needed}`
      report('key_weak', ['key', 'issued', 'secret_length'], message)
    }
  }),
  lintRule(['key'], ({ key }, report) => {
    const issuedLength = key.issued.secret_length + checksumLength + key.issued.suffix.length
    for (const [index, form] of key.imported.entries()) lintImported(form, index, issuedLength, report)
  }),
] as const

function lintImported(form: ImportedDocument, index: number, issuedLength: number, report: Report): void {
  const path = ['key', 'imported', index]
  if ('inner' in form) {
    lintInner(form.inner, [...path, 'inner'], report)
    return
  }
  const { min, max } = form.length
  if (min > max) {
    report('type', [...path, 'length'], `\`length\` runs from ${min} to ${max}; swap min and max`)
    return
  }
  const bits = Math.log2(alphabetSize[form.alphabet]) * min
  if (bits < IMPORTED_BITS_MIN) {
    const needed = Math.ceil(IMPORTED_BITS_MIN / Math.log2(alphabetSize[form.alphabet]))
    const message = `${min} ${form.alphabet} characters have at most ${Math.floor(bits)} random bits; set \`min\` to at least ${needed}`
    report('key_weak', [...path, 'length', 'min'], message)
  }
  if (min <= issuedLength && issuedLength <= max) {
    const message = `a body of ${issuedLength} characters is that of a new key too; leave this length out (two forms around it)`
    report('key_ambiguous', [...path, 'length'], message)
  }
}

function lintInner(inner: string, path: readonly (string | number)[], report: Report): void {
  try {
    const { randomBits } = compileInner(inner)
    if (randomBits < IMPORTED_BITS_MIN) {
      const message = `this form has at most ${Math.floor(randomBits)} random bits; only forms of ${IMPORTED_BITS_MIN} and more can be imported`
      report('key_weak', path, message)
    }
  } catch (error) {
    const cause = error instanceof Error ? error.message : 'it cannot be read'
    report('type', path, `\`inner\` is not usable (${cause}); write literals and {uuidv7} {uuidv4} {hex:N} {base62:N}`)
  }
}

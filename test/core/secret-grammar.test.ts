// The forms of secrets: documented keys fit, everything else is malformed whatever its octets, and one spelling fits one form.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compileInner } from '../../src/core/inner-template.ts'
import {
  checksumHolds,
  compileSecretGrammar,
  FORM_IMPORTED,
  FORM_ISSUED,
  FORM_NONE,
  recognise,
  type SecretForms,
} from '../../src/core/secret-grammar.ts'

const bitbybit = compileSecretGrammar({
  prefixes: [
    { environment: 0, prefix: 'bbb_live_' },
    { environment: 1, prefix: 'bbb_test_' },
  ],
  maxLength: 256,
  issued: { alphabet: 'base62', secretLength: 32, suffix: '' },
  imported: [
    { alphabet: 'base62', length: { min: 12, max: 37 } },
    { alphabet: 'base62', length: { min: 39, max: 128 } },
  ],
})

const billoget = compileSecretGrammar({
  prefixes: [
    { environment: 0, prefix: 'bk_live_' },
    { environment: 1, prefix: 'bk_test_' },
  ],
  maxLength: 256,
  issued: { alphabet: 'base62', secretLength: 32, suffix: '' },
  imported: [
    { alphabet: 'hex', length: { min: 16, max: 16 } },
    { alphabet: 'hex', length: { min: 32, max: 32 } },
  ],
})

const bitgptForms: SecretForms = {
  prefixes: [
    { environment: 0, prefix: 'sk_live_' },
    { environment: 1, prefix: 'sk_test_' },
  ],
  maxLength: 256,
  issued: { alphabet: 'base62', secretLength: 42, suffix: 'X2JpdGdwdA' },
  imported: [{ encoding: 'base64url', inner: '{uuidv7}_bitgpt' }],
}
const bitgpt = compileSecretGrammar(bitgptForms)

/** An inner form may have the outer shape of the issued one; only its decoded text tells. */
const BOTH = FORM_ISSUED | FORM_IMPORTED

/** Recognises a text inside a larger buffer, so that reading beyond the range would show. */
function form(grammar: typeof bitbybit, text: string): number {
  const bytes = Buffer.from(`0${text}0`, 'latin1')
  return recognise(grammar, bytes, 1, bytes.length - 1)
}

function holds(grammar: typeof bitbybit, text: string): boolean {
  const bytes = Buffer.from(`0${text}0`, 'latin1')
  return checksumHolds(grammar, bytes, 1, bytes.length - 1)
}

function inner(text: string): string {
  return `sk_live_${Buffer.from(text, 'latin1').toString('base64url')}`
}

describe('recognise', () => {
  test.each([
    ['bbb_live_a1b2c3d4e5f6', bitbybit, FORM_IMPORTED],
    ['bbb_test_a1b2c3d4e5f6', bitbybit, FORM_IMPORTED],
    ['bbb_live_0123456789ABCDEFGHIJKLMNOPQRSTUV4QATsX', bitbybit, FORM_ISSUED],
    [`bbb_live_${'a'.repeat(11)}`, bitbybit, FORM_NONE],
    [`bbb_live_${'a'.repeat(37)}`, bitbybit, FORM_IMPORTED],
    [`bbb_live_${'a'.repeat(39)}`, bitbybit, FORM_IMPORTED],
    [`bbb_live_${'a'.repeat(128)}`, bitbybit, FORM_IMPORTED],
    [`bbb_live_${'a'.repeat(129)}`, bitbybit, FORM_NONE],
    ['BBB_live_a1b2c3d4e5f6', bitbybit, FORM_NONE],
    ['bbb_live', bitbybit, FORM_NONE],
    ['', bitbybit, FORM_NONE],
    ['bbb_live_a1b2c3d4e5f\u00e9', bitbybit, FORM_NONE],
    ['bbb_live_a1b2c3d4e5f6 ', bitbybit, FORM_NONE],
    ['bbb_live_a1b2c3d4e5f6\0', bitbybit, FORM_NONE],
    ['bbb_live_a1b2c3d4e5_6', bitbybit, FORM_NONE],
    ['bk_live_1234567890abcdef', billoget, FORM_IMPORTED],
    ['bk_live_1234567890ABCDEF', billoget, FORM_NONE],
    ['bk_live_1234567890abcdef1234567890abcdef', billoget, FORM_IMPORTED],
    ['bk_live_1234567890abcde', billoget, FORM_NONE],
    ['sk_live_MDE5N2MwZWMtYTE5Ny03NDVlLWE1YmMtYzQyNTQ4M2JiZjAxX2JpdGdwdA', bitgpt, BOTH],
    ['sk_test_MDE5N2MwZjEtOTU4OS03MDAwLTgwMDAtMDAwMDAwMDAwMDBhX2JpdGdwdA', bitgpt, BOTH],
    ['sk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef1q8mweX2JpdGdwdA', bitgpt, FORM_ISSUED],
    ['sk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef1q8mweX2JpdGdwdB', bitgpt, FORM_NONE],
  ])('%j has the form it has', (secret, grammar, expected) => {
    expect(form(grammar, secret)).toBe(expected)
  })

  test.each([
    ['version 4 instead of 7', '0197c0ec-a197-445e-a5bc-c425483bbf01_bitgpt'],
    ['variant 7', '0197c0ec-a197-745e-75bc-c425483bbf01_bitgpt'],
    ['variant c', '0197c0ec-a197-745e-c5bc-c425483bbf01_bitgpt'],
    ['upper-case digits', '0197C0EC-A197-745E-A5BC-C425483BBF01_bitgpt'],
    ['a hyphen moved', '0197c0eca-197-745e-a5bc-c425483bbf01_bitgpt'],
    ['another literal', '0197c0ec-a197-745e-a5bc-c425483bbf01_bitgpu'],
    ['one octet more', '0197c0ec-a197-745e-a5bc-c425483bbf01_bitgptt'],
  ])('an inner text with %s is malformed', (_, text) => {
    expect(form(bitgpt, inner('0197c0ec-a197-745e-a5bc-c425483bbf01_bitgpt'))).toBe(BOTH)
    expect(form(bitgpt, inner(text)) & FORM_IMPORTED).toBe(FORM_NONE)
  })

  test('only the canonical unpadded base64url fits: no padding, no spare bits, no other alphabet', () => {
    const canonical = inner('0197c0ec-a197-745e-a5bc-c425483bbf01_bitgpt')
    for (const last of 'BCDEFGHIJKLMNOP') expect(form(bitgpt, canonical.slice(0, -1) + last)).toBe(FORM_NONE)
    expect(form(bitgpt, `${canonical}==`)).toBe(FORM_NONE)
    // An octet outside the alphabet must not count as the letter of value 0.
    for (const letter of ['!', '+', '/', '=', '\0', '\u00ff']) {
      expect(form(bitgpt, canonical.slice(0, -1) + letter)).toBe(FORM_NONE)
    }
    const octets = compileSecretGrammar({ ...bitgptForms, imported: [{ encoding: 'base64url', inner: '~~?{hex:9}' }] })
    expect(form(octets, inner('~~?0123abcde').replace('_', '/'))).toBe(FORM_NONE)
    expect(form(octets, inner('~~?0123abcde'))).toBe(FORM_IMPORTED)
  })

  test('a secret longer than the maximum is malformed before its octets are looked at', () => {
    const short = compileSecretGrammar({ ...bitgptForms, maxLength: 65 })
    expect(form(short, 'sk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef1q8mweX2JpdGdwdA')).toBe(FORM_NONE)
  })

  test('any octets, any length: it answers, and as a regular expression would', () => {
    const issued = /^(bbb_live_|bbb_test_)[0-9A-Za-z]{38}$/
    const imported = /^(bbb_live_|bbb_test_)([0-9A-Za-z]{12,37}|[0-9A-Za-z]{39,128})$/
    const piece = fc.oneof(
      fc.constantFrom('bbb_live_', 'bbb_test_', 'bbb_', '\n', '_', ' '),
      fc.stringMatching(/^[0-9A-Za-z]{0,60}$/),
      fc.string({ unit: 'binary', maxLength: 4 }),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 5 }), parts => {
        const text = Buffer.from(parts.join(''), 'utf8').toString('latin1')
        const last = text.endsWith('\n') ? FORM_NONE : -1
        const expected = (issued.test(text) ? FORM_ISSUED : 0) | (imported.test(text) ? FORM_IMPORTED : 0)
        expect(form(bitbybit, text)).toBe(last === FORM_NONE ? FORM_NONE : expected)
      }),
      { numRuns: 20_000 },
    )
  })

  test('inner forms agree with decoding by the platform, over texts near the template', () => {
    const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}_bitgpt$/
    const good = '0197c0ec-a197-745e-a5bc-c425483bbf01_bitgpt'
    let accepted = 0
    fc.assert(
      fc.property(fc.nat(42), fc.integer({ min: 0, max: 255 }), fc.boolean(), (at, octet, change) => {
        const text = change ? good.slice(0, at) + String.fromCharCode(octet) + good.slice(at + 1) : good
        const fits = pattern.test(text)
        if (fits) accepted++
        expect((form(bitgpt, inner(text)) & FORM_IMPORTED) !== 0).toBe(fits)
      }),
      { numRuns: 20_000 },
    )
    expect(accepted).toBeGreaterThan(1000)
  })
})

describe('checksumHolds', () => {
  test.each([
    ['bbb_live_0123456789ABCDEFGHIJKLMNOPQRSTUV4QATsX', bitbybit],
    ['bbb_live_VUTSRQPONMLKJIHGFEDCBA98765432101Y8BDG', bitbybit],
    ['bk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV0rexUI', billoget],
    ['sk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef1q8mweX2JpdGdwdA', bitgpt],
  ])('the documented secret %s has a right checksum, and no change of one character keeps it', (secret, grammar) => {
    expect(holds(grammar, secret)).toBe(true)
    const end = secret.length - grammar.forms.issued.suffix.length
    for (let i = 0; i < end; i++) {
      for (const letter of '0Az_-') {
        if (secret[i] !== letter) expect(holds(grammar, secret.slice(0, i) + letter + secret.slice(i + 1))).toBe(false)
      }
    }
  })

  test('octets too few to hold a checksum have none', () => {
    for (let length = 0; length < 16; length++) expect(holds(bitgpt, 'x'.repeat(length))).toBe(false)
  })
})

describe('compileInner', () => {
  test.each(['', '{uuidv1}', '{hex:0}', '{hex:}', '{hex:1000}', '{hex:200}', 'a{b', 'a}b', 'é', '{}', 'a\n'])(
    'the template %j is refused',
    template => {
      expect(() => compileInner(template)).toThrow(SyntaxError)
    },
  )

  test('a template knows its encoded length and its random bits', () => {
    const template = compileInner('{uuidv7}_bitgpt')
    expect(template.encodedLength).toBe(58)
    expect(template.randomBits).toBe(74)
    expect(compileInner('{hex:16}').randomBits).toBe(64)
  })
})

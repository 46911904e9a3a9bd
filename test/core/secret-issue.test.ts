// New secrets: the issued form and no other, uniform over the alphabet, only from the octets handed in, with a hint that tells no core.
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { alphabets } from '../../src/core/octet-class.ts'
import { checksumHolds, compileSecretGrammar, FORM_ISSUED, recognise } from '../../src/core/secret-grammar.ts'
import { hintOf, issueSecret, octetsToIssue } from '../../src/core/secret-issue.ts'

const forms = {
  prefixes: [
    { environment: 3, prefix: 'ex_live_' },
    { environment: 7, prefix: 'ex_test_' },
  ],
  maxLength: 256,
  issued: { alphabet: 'base62', secretLength: 32, suffix: 'Tail' },
  imported: [],
} as const
const grammar = compileSecretGrammar(forms)

describe('issueSecret', () => {
  test('a secret has the issued form, a right checksum and a hint of its last four checksum characters', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('base62', 'hex', 'base64url'),
        fc.uint8Array({ minLength: 200, maxLength: 200 }),
        (alphabet, octets) => {
          const any = compileSecretGrammar({ ...forms, issued: { ...forms.issued, alphabet } })
          const issued = issueSecret(any, 7, octets)
          if (issued === null) return
          const bytes = Buffer.from(issued.secret)
          expect(recognise(any, bytes, 0, bytes.length)).toBe(FORM_ISSUED)
          expect(checksumHolds(any, bytes, 0, bytes.length)).toBe(true)
          expect(issued.hint).toBe(`ex_test_…${issued.secret.slice(-8, -4)}`)
        },
      ),
      { numRuns: 1000 },
    )
  })

  test('octets that would favour some letters are skipped', () => {
    const octets = new Uint8Array(40).fill(0)
    octets.fill(248, 0, 8)
    expect(issueSecret(grammar, 3, octets)?.secret.slice(8, 40)).toBe('0'.repeat(32))
    expect(issueSecret(grammar, 3, octets.subarray(1, 39))).toBeNull()
  })

  test('every letter is equally likely', () => {
    const counts = new Map<string, number>()
    const rounds = 2000
    for (let i = 0; i < rounds; i++) {
      const issued = issueSecret(grammar, 3, randomBytes(octetsToIssue(grammar)))
      for (const letter of issued?.secret.slice(8, 40) ?? '') counts.set(letter, (counts.get(letter) ?? 0) + 1)
    }
    const expected = (rounds * 32) / 62
    let chiSquare = 0
    for (const letter of alphabets.base62) chiSquare += ((counts.get(letter) ?? 0) - expected) ** 2 / expected
    // 61 degrees of freedom: beyond 130 comes about once in 10^6 runs.
    expect(chiSquare).toBeLessThan(130)
  })

  test('a draw that also fits an imported form is drawn again', () => {
    const inner = { encoding: 'base64url', inner: '{hex:6}{base62:27}' } as const
    const ambiguous = compileSecretGrammar({
      ...forms,
      issued: { alphabet: 'base64url', secretLength: 38, suffix: '' },
      imported: [inner],
    })
    // The first core decodes to letters that fit; its checksum may not, so try cores until one collides.
    let collided = 0
    for (let i = 0; i < 20_000 && collided === 0; i++) {
      const text = `012abc${randomText(24)}`
      const core = Buffer.from(text).toString('base64url').slice(0, 38)
      const octets = Uint8Array.from(core + 'A'.repeat(38), letter => alphabets.base64url.indexOf(letter))
      const issued = issueSecret(ambiguous, 3, octets)
      if (issued?.secret.startsWith(`ex_live_${'A'.repeat(38)}`)) collided++
    }
    expect(collided).toBe(1)
  })

  test('an environment without prefix is a mistake of the caller', () => {
    expect(() => issueSecret(grammar, 0, new Uint8Array(200))).toThrow(RangeError)
  })
})

test('the hint of an imported key is its prefix and its own last four characters', () => {
  expect(hintOf('bk_live_', 'bk_live_1234567890abcdef')).toBe('bk_live_…cdef')
})

function randomText(length: number): string {
  return Array.from(randomBytes(length), octet => alphabets.base62.charAt(octet % 62)).join('')
}

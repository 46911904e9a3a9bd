// K1 and K2: exactly one credential, found by position, or the documented reason.
import { describe, expect, it } from 'vitest'
import { type CredentialRange, FOUND, findCredential } from '../../src/core/credential.ts'
import type { CredentialSource } from '../../src/core/policy.ts'
import { reasonOf } from '../../src/core/reason.ts'
import { addHeader, createRequestView } from '../../src/core/request-view.ts'

const raw: CredentialSource = { header: 'x-api-key', scheme: null, bare: false }
const bearer: CredentialSource = { header: 'authorization', scheme: 'Bearer', bare: false }
const bare: CredentialSource = { ...bearer, bare: true }

function find(sources: readonly CredentialSource[], ...headers: readonly (readonly [string, string])[]): string {
  const view = createRequestView()
  let text = ''
  const place = (part: string) => {
    const start = text.length
    text += part
    return [start, text.length] as const
  }
  for (const [name, value] of headers) addHeader(view, ...place(name), ...place(value))
  view.bytes = Buffer.from(text, 'latin1')
  const range: CredentialRange = { start: 9, end: 9 }
  const code = findCredential(view, sources, range)
  if (code !== FOUND) {
    expect(range).toEqual({ start: 0, end: 0 })
    return reasonOf(code)
  }
  return `=${text.slice(range.start, range.end)}`
}

describe('a credential', () => {
  it.each([
    ['raw value', [raw], [['x-api-key', 'k']], '=k'],
    ['name in any letter case', [raw], [['X-API-Key', 'k']], '=k'],
    ['blanks at the ends are part of a raw value', [raw], [['x-api-key', ' k ']], '= k '],
    ['scheme', [bearer], [['authorization', 'Bearer k']], '=k'],
    ['scheme in any letter case, several spaces', [bearer], [['authorization', 'bEARER   k']], '=k'],
    [
      'two sources, one with a value',
      [raw, bearer],
      [
        ['x-api-key', 'k'],
        ['authorization', 'Basic dTpw'],
      ],
      '=k',
    ],
    [
      'two sources, one blank',
      [raw, bearer],
      [
        ['x-api-key', ' '],
        ['authorization', 'Bearer k'],
      ],
      '=k',
    ],
    ['bare', [bare], [['authorization', 'k']], '=k'],
    ['bare source, with scheme', [bare], [['authorization', 'Bearer k']], '=k'],
    [
      'other headers are ignored',
      [raw],
      [
        ['x-api-key', 'k'],
        ['authorization', 'Bearer j'],
        ['x_api_key', 'i'],
      ],
      '=k',
    ],
  ] as const)('%s', (_, sources, headers, expected) => {
    expect(find(sources, ...headers)).toBe(expected)
  })

  it.each([
    ['no header', [raw], []],
    ['empty', [raw], [['x-api-key', '']]],
    ['blank', [raw], [['x-api-key', ' \t ']]],
    ['another scheme', [bearer], [['authorization', 'Basic dTpw']]],
    ['the scheme alone', [bearer], [['authorization', 'Bearer']]],
    ['the scheme and blanks', [bearer], [['authorization', 'Bearer   ']]],
    ['no space behind the scheme', [bearer], [['authorization', 'Bearerk']]],
    ['a tab behind the scheme', [bearer], [['authorization', 'Bearer\tk']]],
    ['no scheme', [bearer], [['authorization', 'k']]],
    ['bare source, another scheme', [bare], [['authorization', 'Basic dTpw']]],
    ['bare source, the scheme alone', [bare], [['authorization', 'Bearer']]],
    ['a twin of the name', [raw], [['x_api_key', 'k']]],
    ['not a source', [bearer], [['x-api-key', 'k']]],
  ] as const)('is missing: %s', (_, sources, headers) => {
    expect(find(sources, ...headers)).toBe('credential_missing')
  })

  it.each([
    [
      'twice',
      [raw],
      [
        ['x-api-key', 'k'],
        ['x-api-key', 'j'],
      ],
    ],
    [
      'twice with equal values',
      [raw],
      [
        ['x-api-key', 'k'],
        ['X-Api-Key', 'k'],
      ],
    ],
    [
      'twice, one empty',
      [raw],
      [
        ['x-api-key', 'k'],
        ['x-api-key', ''],
      ],
    ],
    [
      'twice, the first empty',
      [raw],
      [
        ['x-api-key', ''],
        ['x-api-key', 'k'],
      ],
    ],
    ['a comma', [raw], [['x-api-key', 'k,j']]],
    ['a comma at the end', [raw], [['x-api-key', 'k,']]],
    ['merged lines of a scheme', [bearer], [['authorization', 'Bearer a,Bearer b']]],
    [
      'two sources',
      [raw, bearer],
      [
        ['x-api-key', 'k'],
        ['authorization', 'Bearer k'],
      ],
    ],
    [
      'another scheme twice',
      [bearer],
      [
        ['authorization', 'Basic a'],
        ['authorization', 'Basic a'],
      ],
    ],
  ] as const)('is one of several: %s', (_, sources, headers) => {
    expect(find(sources, ...headers)).toBe('multiple_credentials')
  })

  it('is never chosen from several, in every placement of two values over three headers', () => {
    const values = ['', ' ', 'k', 'Bearer k', 'Basic k', 'k,k']
    const carries = (source: CredentialSource, value: string) =>
      source.scheme === null ? value.trim() !== '' : /^bearer +\S/i.test(value)
    for (const a of values) {
      for (const b of values) {
        for (const c of values) {
          const found = find([raw, bearer], ['x-api-key', a], ['authorization', b], ['other', c])
          const count = Number(carries(raw, a)) + Number(carries(bearer, b))
          const merged = a.includes(',') || b.includes(',')
          const expected = merged || count > 1 ? 'multiple_credentials' : count === 0 ? 'credential_missing' : '='
          expect(found.replace(/^=.*/s, '=')).toBe(expected)
        }
      }
    }
  })
})

// The grammar of secrets against a straight-line reading of random key blocks, on raw octets: what fits, and whether its checksum holds.
import { crc32 } from 'node:zlib'
import { it } from 'vitest'
import {
  checksumHolds,
  compileSecretGrammar,
  FORM_IMPORTED,
  FORM_ISSUED,
  type ImportedForm,
  recognise,
  type SecretForms,
} from '../../src/core/secret-grammar.ts'
import { pick, type Random } from '../oracle/random-worlds.ts'
import { below, randomFor, Tally, times } from './tally.ts'

const classes = { base62: '0-9A-Za-z', hex: '0-9a-f', base64url: '0-9A-Za-z_-' } as const
const letters = {
  base62: '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz',
  hex: '0123456789abcdef',
  base64url: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
} as const
const alphabets = ['base62', 'hex', 'base64url'] as const

function randomForms(random: Random): SecretForms {
  const prefix = pick(random, ['ex_', 'k-', 'a', 'sk_live_'])
  const imported: ImportedForm[] = []
  for (let i = below(random, 4); i > 0; i--) {
    const min = 1 + below(random, 20)
    if (random() < 0.6)
      imported.push({ alphabet: pick(random, alphabets), length: { min, max: min + below(random, 20) } })
    else
      imported.push({
        encoding: 'base64url',
        inner: pick(random, ['{uuidv7}_x', 'id:{hex:6}', '{base62:4}', '{uuidv4}', 'v1.{hex:3}.{base62:2}']),
      })
  }
  return {
    prefixes: [
      { environment: 0, prefix: `${prefix}1_` },
      { environment: 1, prefix: `${prefix}2_` },
    ],
    maxLength: pick(random, [20, 64, 256]),
    issued: {
      alphabet: pick(random, alphabets),
      secretLength: 4 + below(random, 30),
      suffix: pick(random, ['', '', 'ZZ', 'X2JpdGdwdA']),
    },
    imported,
  }
}

const digits = letters.base62
function checksum(text: string): string {
  let value = crc32(Buffer.from(text, 'latin1'))
  let out = ''
  for (let i = 0; i < 6; i++, value = Math.floor(value / 62)) out = digits.charAt(value % 62) + out
  return out
}

/** Forms as bits, by regular expressions over the whole text. */
function plainForms(forms: SecretForms, secret: string): number {
  if (secret.length > forms.maxLength) return 0
  const prefix = forms.prefixes.find(each => secret.startsWith(each.prefix))
  if (prefix === undefined) return 0
  const body = secret.slice(prefix.prefix.length)
  const { alphabet, secretLength, suffix } = forms.issued
  const issued = new RegExp(`^[${classes[alphabet]}]{${secretLength}}[0-9A-Za-z]{6}${suffix}$(?!\n)`).test(body)
  const imported = forms.imported.some(form =>
    'inner' in form
      ? innerFits(form.inner, body)
      : new RegExp(`^[${classes[form.alphabet]}]{${form.length.min},${form.length.max}}$(?!\n)`).test(body),
  )
  return (issued ? FORM_ISSUED : 0) | (imported ? FORM_IMPORTED : 0)
}

function innerFits(inner: string, body: string): boolean {
  const text = Buffer.from(body, 'base64url').toString('latin1')
  if (Buffer.from(text, 'latin1').toString('base64url') !== body) return false
  const uuid = (version: number) => `[0-9a-f]{8}-[0-9a-f]{4}-${version}[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
  const pattern = inner
    .replaceAll('.', '\\.')
    .replace('{uuidv7}', uuid(7))
    .replace('{uuidv4}', uuid(4))
    .replace(/\{hex:(\d+)\}/g, '[0-9a-f]{$1}')
    .replace(/\{base62:(\d+)\}/g, '[0-9A-Za-z]{$1}')
  return new RegExp(`^${pattern}$`).test(text)
}

const textOf = (random: Random, alphabet: keyof typeof letters, length: number) =>
  Array.from({ length }, () => pick(random, [...letters[alphabet]])).join('')

function innerText(random: Random, inner: string): string {
  const hex = (length: number) => textOf(random, 'hex', length)
  const uuid = (version: number) =>
    `${hex(8)}-${hex(4)}-${version}${hex(3)}-${pick(random, ['8', 'b'])}${hex(3)}-${hex(12)}`
  return inner
    .replace('{uuidv7}', () => uuid(7))
    .replace('{uuidv4}', () => uuid(4))
    .replace(/\{hex:(\d+)\}/g, (_, count: string) => hex(Number(count)))
    .replace(/\{base62:(\d+)\}/g, (_, count: string) => textOf(random, 'base62', Number(count)))
}

/** A secret of one of the forms, changed a little now and then. */
function randomSecret(random: Random, forms: SecretForms): string {
  const { prefix } = pick(random, forms.prefixes)
  const form = pick(random, [null, ...forms.imported])
  const { alphabet, secretLength, suffix } = forms.issued
  let secret = prefix
  if (form === null) {
    secret += textOf(random, alphabet, secretLength)
    secret += (random() < 0.6 ? checksum(secret) : textOf(random, 'base62', 6)) + suffix
  } else if ('inner' in form) secret += Buffer.from(innerText(random, form.inner), 'latin1').toString('base64url')
  else secret += textOf(random, form.alphabet, form.length.min + below(random, form.length.max - form.length.min + 1))
  for (let edits = pick(random, [0, 0, 1, 2]); edits > 0; edits--) {
    const at = below(random, secret.length + 1)
    const by =
      random() < 0.3
        ? String.fromCharCode(below(random, 256))
        : pick(random, ['', 'a', 'Z', '0', '_', '-', '=', '\n', prefix])
    secret = secret.slice(0, at) + by + secret.slice(at + below(random, 2))
  }
  return secret
}

it('a secret has the forms that a straight-line reading gives it, and the checksum that zlib gives it', () => {
  const random = randomFor('secrets')
  const tally = new Tally('secrets')
  for (let round = 0; round < times(1000); round++) {
    const forms = randomForms(random)
    const grammar = compileSecretGrammar(forms)
    for (let i = 0; i < 100; i++) {
      const secret = randomSecret(random, forms)
      const bytes = Buffer.from(`aZ${secret}Za`, 'latin1')
      const found = recognise(grammar, bytes, 2, bytes.length - 2)
      const tail = 6 + forms.issued.suffix.length
      const wanted = plainForms(forms, secret)
      const holds = (found & FORM_ISSUED) !== 0 && checksumHolds(grammar, bytes, 2, bytes.length - 2)
      const shouldHold =
        (wanted & FORM_ISSUED) !== 0 && checksum(secret.slice(0, -tail)) === secret.slice(-tail).slice(0, 6)
      tally.note(found !== 0, found !== wanted || holds !== shouldHold, () =>
        JSON.stringify({ forms, secret, found, wanted, holds }),
      )
    }
  }
  tally.finish(times(100_000), times(20_000))
})

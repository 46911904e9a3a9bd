// Spellings and placements of credentials: only one valid secret, in its header, in exactly the octets it was issued in, opens anything.
// And a mistyped key is always named as one: every change of one character of core or checksum fails the checksum.
import { expect, it } from 'vitest'
import { issueSecret, octetsToIssue } from '../../src/core/secret-issue.ts'
import type { SentRequest } from '../check/encode-check.ts'
import { goldenHosts, goldenKey } from '../core/cases.ts'
import { below, randomFor, Tally, times } from '../fuzz/tally.ts'
import { pick, type Random } from '../oracle/random-worlds.ts'
import { compileText, type Product, products, profileText } from '../profile/documents.ts'
import { createScopedStand, credentialOf, productDocuments, type ScopedKey } from './scoped-stand.ts'

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const randomOctets = (random: Random, count: number) => Uint8Array.from({ length: count }, () => below(random, 256))

/** A request of the product that any key with all scopes may make. */
function requestFor(profile: Product, headers: SentRequest['headers']): SentRequest {
  const paths = { bitbybit: '/customer/open/v1/customers', billoget: '/v1/api/public/budgets', bitgpt: '/invoices' }
  return { path: paths[profile], host: goldenHosts[profile], headers: headers ?? [] }
}

const show = (profile: Product, secret: string) =>
  requestFor(profile, [profile === 'bitbybit' ? ['x-api-key', secret] : ['authorization', `Bearer ${secret}`]])

/** Issued secrets: those of the golden cases and new ones of the product's own generator. */
function issuedSecrets(random: Random, profile: Product): string[] {
  const { grammar } = compileText(profileText(profile)).policy
  const environment = grammar.forms.prefixes[0]?.environment ?? 0
  const golden = { bitbybit: ['B2', 'B7'], billoget: ['L10'], bitgpt: ['G3'] }[profile]
  const made = Array.from({ length: times(6) }, () => {
    const issued = issueSecret(grammar, environment, randomOctets(random, octetsToIssue(grammar)))
    if (issued === null) throw new Error('a shortage of octets')
    return issued.secret
  })
  return [...golden.map(name => goldenKey(name).secret), ...made]
}

it('every change of one character of core or checksum of an issued key fails its checksum', () => {
  const { ask } = createScopedStand()
  const random = randomFor('checksums')
  let tried = 0
  for (const profile of products) {
    for (const secret of issuedSecrets(random, profile)) {
      const start = profile === 'billoget' ? 8 : profile === 'bitbybit' ? 9 : 8
      const end = secret.length - (profile === 'bitgpt' ? 'X2JpdGdwdA'.length : 0)
      // Nothing of these is stored, so that a right checksum is told from a wrong one.
      expect(ask(show(profile, secret)).outcome, secret).toBe('credential_unknown')
      for (let at = start; at < end; at++) {
        for (const other of base62) {
          if (other === secret[at]) continue
          const changed = secret.slice(0, at) + other + secret.slice(at + 1)
          const { outcome } = ask(show(profile, changed))
          if (outcome !== 'credential_check_failed')
            expect([changed, outcome]).toEqual([secret, 'credential_check_failed'])
          tried++
        }
      }
    }
  }
  process.stdout.write(`one changed character: inputs tried ${tried}, all credential_check_failed\n`)
  expect(tried).toBeGreaterThan(50_000)
})

/** Characters that look like others, or that some folding turns into them. */
const lookAlikes: Readonly<Record<string, string>> = {
  a: 'а',
  b: 'Ь',
  e: 'е',
  i: 'ı',
  k: '\u212a',
  l: 'I',
  o: 'о',
  s: 'ſ',
  t: 'τ',
  v: 'ѵ',
  _: '＿',
  0: 'O',
  1: 'l',
  B: 'В',
  S: 'Ѕ',
  d: 'ԁ',
  g: 'ɡ',
}
const extras = [
  ' ',
  '\t',
  '\0',
  '\r',
  '\n',
  ',',
  ';',
  '!',
  '"',
  "'",
  '%',
  '=',
  '.',
  '-',
  '\u00a0',
  '\u200b',
  '\ufeff',
  '\u0301',
  '\u202e',
  '\ufffd',
  '\x7f',
  '\x80',
  'é',
  '😀',
  'a',
  '0',
]

const respellings: readonly ((random: Random, secret: string) => string)[] = [
  (_, secret) => secret.toUpperCase(),
  (_, secret) => secret.toLowerCase(),
  (random, secret) => flipCase(secret, below(random, secret.length)),
  (random, secret) => secret.slice(0, below(random, secret.length)),
  (random, secret) => secret.slice(1 + below(random, 10)),
  (random, secret) => secret + pick(random, extras),
  (random, secret) => pick(random, extras) + secret,
  (random, secret) => insert(secret, below(random, secret.length), pick(random, extras)),
  (random, secret) => replace(secret, below(random, secret.length), pick(random, extras)),
  (random, secret) => replace(secret, below(random, secret.length), String.fromCharCode(below(random, 256))),
  (random, secret) => secret.replace(/[a-z_0-9]/gi, c => (random() < 0.15 ? (lookAlikes[c] ?? c) : c)),
  (_, secret) => secret.replace('live', 'test'),
  (_, secret) => secret.replace('_live_', '_Live_'),
  (random, secret) => secret.replace(/^[a-z]+_/, () => pick(random, ['bbb_', 'bk_', 'sk_', 'gwa_', ''])),
  (_, secret) => secret + secret,
  (_, secret) => `${secret},${secret}`,
  (_, secret) => `${secret} ${secret}`,
  (_, secret) => encodeURI(secret).replaceAll('_', '%5F'),
  (_, secret) => Buffer.from(secret).toString('base64'),
  (_, secret) => Buffer.from(secret).toString('hex'),
  (_, secret) => `"${secret}"`,
  (_, secret) => [...secret].reverse().join(''),
  (_, secret) => Buffer.from(secret, 'utf16le').toString('latin1'),
  (_, secret) => secret.normalize('NFKD').replaceAll('_', '\uff3f'),
  (random, secret) => secret + 'a'.repeat(pick(random, [1, 100, 256, 8000])),
  (_, secret) => `${secret}=`,
]

const replace = (text: string, at: number, by: string) => text.slice(0, at) + by + text.slice(at + 1)
const insert = (text: string, at: number, what: string) => text.slice(0, at) + what + text.slice(at)
function flipCase(text: string, at: number): string {
  const c = text.charAt(at)
  return replace(text, at, c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase())
}

it('no other spelling of a secret opens anything', () => {
  const { allKey, ask } = createScopedStand()
  const random = randomFor('spellings')
  const tally = new Tally('credential spellings')
  for (const document of productDocuments) {
    const profile = document.metadata.name as Product
    const { secret } = allKey(document)
    for (let i = 0; i < times(3000); i++) {
      const spelled = random() < 0.1 ? secret : pick(random, respellings)(random, secret)
      const { outcome } = ask({
        ...show(profile, spelled),
        form: pick(random, ['headers', 'header_map', 'both'] as const),
      })
      // Blanks behind the scheme belong to the scheme.
      const same = spelled === secret || (profile !== 'bitbybit' && spelled === ` ${secret}`)
      tally.note(outcome === 'allow', outcome === 'allow' && !same, () => `${profile}: ${JSON.stringify(spelled)}`)
      if ((outcome === 'allow') !== same) expect({ spelled, outcome }).toEqual({ outcome: secret })
    }
  }
  tally.finish(times(9000), times(300))
})

const names = [
  'x-api-key',
  'X-API-KEY',
  'x_api_key',
  'x-api_key',
  'x-api-key ',
  ' x-api-key',
  'x-api-key\0',
  'x-api-keys',
  'api-key',
  'apikey',
  'x-api-key:',
  'authorization',
  'Authorization',
  'AUTHORIZATION',
  'authorisation',
  'proxy-authorization',
  'x-authorization',
  'x-forwarded-authorization',
  'authorization ',
  'www-authenticate',
  'cookie',
  'x-gatewarden-api-key-id',
  '__proto__',
  'constructor',
  '',
  '-',
  ':authority',
  'x-access-token',
]

/** The value that a source of the product is given, right or nearly. */
function sourceValue(random: Random, profile: Product, keys: readonly ScopedKey[]): string {
  const own = keys.filter(key => key.profile.metadata.name === profile)
  const secret = pick(random, random() < 0.8 ? own : keys).secret
  const bare = random() < 0.7 ? secret : pick(random, respellings)(random, secret)
  const schemes = [
    'Bearer ',
    'Bearer ',
    'Bearer ',
    'bearer ',
    'BEARER   ',
    'Bearer',
    'Bearer\t',
    'Basic ',
    'Bearer Bearer ',
    'Token ',
    '',
    'Bearer: ',
    ' Bearer ',
    'Bearer,',
  ]
  const fitting = profile === 'bitbybit' ? random() < 0.15 : random() < 0.9
  const value = fitting ? pick(random, schemes) + bare : bare
  return random() < 0.12
    ? pick(random, ['', ' ', '\t', 'Bearer', 'Bearer ', ',', `${value},${value}`, `${value}, x`, `x ${value}`])
    : value
}

/** Whether the headers hold exactly one credential of the product, and that is a stored secret. Lower-cases ASCII only. */
function holdsOneCredential(
  profile: Product,
  keys: readonly ScopedKey[],
  headers: readonly (readonly [string, string])[],
): boolean {
  const source = profile === 'bitbybit' ? 'x-api-key' : 'authorization'
  const lines = headers.filter(([name]) => name.replace(/[A-Z]/g, c => c.toLowerCase()) === source)
  const [only] = lines
  if (only === undefined || lines.length > 1) return false
  const secret = profile === 'bitbybit' ? only[1] : /^bearer +(.*)$/is.exec(only[1])?.[1]
  return keys.some(key => key.profile.metadata.name === profile && key.secret === secret)
}

it('no placement of credentials opens anything but exactly one valid one', () => {
  const { keys, ask } = createScopedStand()
  const random = randomFor('placements')
  const tally = new Tally('header placements')
  // Without its one missing scope each key may still read this.
  const readers = keys.filter(key => key.lacks === null || !/READ_BUDGETS|customers:READ|invoices.read/.test(key.lacks))
  for (let i = 0; i < times(12_000); i++) {
    const profile = pick(random, products)
    const source = profile === 'bitbybit' ? 'x-api-key' : 'authorization'
    const headers = Array.from({ length: 1 + below(random, 3) }, (_, line) => {
      const name = random() < (line === 0 ? 0.7 : 0.25) ? source : pick(random, names)
      return [name, sourceValue(random, profile, readers)] as const
    })
    const sent = requestFor(profile, headers)
    const form = pick(random, ['headers', 'header_map', 'both'] as const)
    const query = random() < 0.1 ? `?x-api-key=${readers[0]?.secret ?? ''}&authorization=Bearer` : ''
    const { outcome } = ask({ ...sent, path: `${String(sent.path)}${query}`, form, pseudoHeaders: random() < 0.5 })
    const right = holdsOneCredential(profile, readers, headers)
    tally.note(outcome === 'allow', outcome === 'allow' && !right, () => JSON.stringify({ profile, headers, form }))
    if ((outcome === 'allow') !== right) expect({ profile, headers, form, outcome }).toEqual({ outcome: right })
  }
  tally.finish(times(12_000), times(1000))
})

it('an empty credential, an empty name and a header of odd octets deny nobody else', () => {
  const { allKey, ask } = createScopedStand()
  for (const document of productDocuments) {
    const profile = document.metadata.name as Product
    const odd = Array.from({ length: 256 }, (_, octet) => [`x-odd-${octet}`, Buffer.from([0x53, octet, 0x50])] as const)
    const headers = [['', 'x'], ['x-empty', ''], ['-', 'x'], credentialOf(allKey(document)), ...odd] as const
    for (const form of ['headers', 'header_map', 'both'] as const) {
      expect(ask({ ...requestFor(profile, headers), form }).outcome, `${profile} ${form}`).toBe('allow')
    }
  }
})

// Seeded worlds and requests for the comparison of `decide` with the model: keys in every state, requests mostly near a boundary.
// Purely random text would be malformed nearly always, so each part is a valid one, changed a little now and then.
import type { ModelKey, ModelRequest, ModelWorld, ProfileDocument } from './decision.ts'

/** Uniform in [0, 1); a given seed gives the same sequence everywhere. */
export type Random = () => number

/** A small, fast generator of 32-bit state; not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

export function pick<T>(random: Random, items: readonly T[]): T {
  if (items.length === 0) throw new Error('pick needs at least one item')
  return items[Math.floor(random() * items.length)] as T
}

const chance = (random: Random, probability: number) => random() < probability
const NOW = Date.UTC(2026, 2, 1, 13)
const INSTANTS = [
  null,
  null,
  null,
  null,
  null,
  NOW + 86_400_000,
  NOW - 86_400_000,
  NOW - 1,
  NOW,
  NOW + 1,
  NOW + 86_400_000,
]
const BLOCKS = [
  '203.0.113.0/24',
  '198.51.100.7/32',
  '2001:db8::/48',
  '2001:db8::5/128',
  '0.0.0.0/1',
  '192.0.2.128/25',
  '::1/128',
]
const ADDRESSES = [
  ...[
    '203.0.113.77',
    '203.0.113.0',
    '203.0.112.255',
    '198.51.100.7',
    '198.51.100.8',
    '192.0.2.1',
    '192.0.2.128',
    '127.255.255.255',
  ],
  ...[
    '128.0.0.0',
    '2001:db8::5',
    '2001:db8:0:ffff::1',
    '2001:db8:1::5',
    '::1',
    '::ffff:203.0.113.5',
    '::ffff:cb00:714d',
    'fe80::1%eth0',
  ],
  ...[
    '[2001:db8::5]',
    '[2001:db8::5]:443',
    '203.0.113.77:4711',
    '203.0.113.77:0',
    '203.0.113.77:',
    '203.0.113.77:99999',
    '[203.0.113.77]:80',
  ],
  ...[
    '203.0.113.077',
    'unknown',
    '_hidden',
    '',
    ' 203.0.113.77\t',
    '2001:DB8::5',
    '1.2.3',
    '0x7f.1',
    '2001:db8::5::1',
    ':::',
    '1.2.3.4.5',
  ],
]
const METHODS = ['GET', 'GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'get', 'CONNECT', 'TRACE', 'G']
const SEGMENTS = [
  'c_1',
  'a%20b',
  'constructor',
  '__proto__',
  'x',
  'a%3Fb',
  '%C0%AF',
  '100%',
  '%zz',
  '%2e%2e',
  '..',
  '.',
  '',
  'a;b',
  'a\\b',
  '%2F',
  '%61',
  'ä',
  '**',
]

function randomText(random: Random, alphabet: string, length: number): string {
  return Array.from({ length }, () => pick(random, [...alphabet])).join('')
}

/** A secret of one of the profile's imported forms. Issued forms come from the product's own generator in the tests that need them. */
function randomSecret(random: Random, profile: ProfileDocument, environment: string): string {
  const form = pick<ProfileDocument>(random, profile.key.imported)
  const prefix: string = profile.environments[environment].prefix
  if (form.inner !== undefined) {
    const hex = (n: number) => randomText(random, '0123456789abcdef', n)
    const uuid = `${hex(8)}-${hex(4)}-7${hex(3)}-${pick(random, ['8', '9', 'a', 'b'])}${hex(3)}-${hex(12)}`
    return prefix + Buffer.from(form.inner.replace('{uuidv7}', uuid)).toString('base64url')
  }
  const alphabet =
    form.alphabet === 'hex' ? '0123456789abcdef' : '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
  return (
    prefix +
    randomText(
      random,
      alphabet,
      form.length.min + Math.floor(random() * Math.min(8, form.length.max - form.length.min)),
    )
  )
}

export function scopeNamesOf(profile: ProfileDocument): string[] {
  if (profile.scopes.names !== undefined) return profile.scopes.names
  return Object.entries<string[]>(profile.scopes.resources).flatMap(([resource, actions]) =>
    actions.map(action => profile.scopes.form.replace('{resource}', resource).replace('{action}', action)),
  )
}

function randomKey(random: Random, profile: ProfileDocument): ModelKey {
  const environment = pick(random, Object.keys(profile.environments))
  const some = (probability: number) => chance(random, probability)
  return {
    secret: randomSecret(random, profile, environment),
    profile: profile.metadata.name,
    environment,
    scopes: scopeNamesOf(profile).filter(() => some(0.6)),
    all: some(0.15),
    allowlist: some(0.5) ? [] : BLOCKS.filter(() => some(0.3)),
    expireAt: pick(random, INSTANTS),
    graceEndAt: some(0.7) ? null : pick(random, INSTANTS),
    revoked: some(0.03),
    deleted: some(0.03),
    suspended: some(0.03),
    organizationSuspended: some(0.03),
  }
}

/** A world of `keyCount` API keys over the given profiles. */
export function randomWorld(random: Random, profiles: readonly ProfileDocument[], keyCount: number): ModelWorld {
  return {
    profiles,
    keys: Array.from({ length: keyCount }, () => randomKey(random, pick(random, profiles))),
    now: NOW,
    hops: pick(random, [0, 0, 1, 2]),
    accepted: pick(random, [null, null, ['live'], ['test', 'live']]),
    fresh: !chance(random, 0.05),
  }
}

function randomPath(random: Random, profile: ProfileDocument, rule: { readonly path: string }): string {
  const base: string = profile.routes.base_path?.strip ?? ''
  const fill = () => (chance(random, 0.7) ? 'c_1' : pick(random, SEGMENTS))
  let path = rule.path
    .replace(/\{[^}]*\}/g, fill)
    .replace('/**', () => pick(random, ['', '', '/', '/a', `/a/${fill()}`]))
  if (chance(random, 0.9)) path = base + path
  if (chance(random, 0.05)) path = base + path
  if (chance(random, 0.08))
    path += pick(random, ['/', '//', '/x', '/..', '%00', '#f', `/${'s/'.repeat(70)}`, `/${'a'.repeat(8200)}`])
  if (chance(random, 0.05)) path = path.toUpperCase()
  if (chance(random, 0.2)) path += pick(random, ['?limit=1', '?', '??x', '?a=%zz', '?/../../admin', '?x#y'])
  return path
}

function changeText(random: Random, text: string): string {
  const at = Math.floor(random() * text.length)
  const other = pick(random, ['a', 'Z', '0', '-', '_', ' ', ',', '!', '\t', '%', '\u00e4'])
  return pick(random, [
    text.slice(0, at) + other + text.slice(at + 1),
    text.slice(0, at),
    text + other,
    other + text,
    text.toUpperCase(),
  ])
}

function credentialHeaders(random: Random, profile: ProfileDocument, secret: string): [string, string][] {
  const source = profile.credential.sources[0]
  const name = chance(random, 0.1) ? source.header.toUpperCase() : source.header
  const scheme =
    source.scheme === null
      ? ''
      : pick(random, chance(random, 0.85) ? [source.scheme] : [source.scheme.toLowerCase(), 'Basic', ''])
  const gap = scheme === '' ? '' : chance(random, 0.95) ? ' ' : pick(random, ['   ', ''])
  const header: [string, string] = [name, scheme + gap + secret]
  if (chance(random, 0.05)) return []
  if (chance(random, 0.05)) return [header, header]
  if (chance(random, 0.05)) return [header, [name, '']]
  return [header]
}

/** A request aimed at the world: usually one of its keys on one of its profile's routes. */
export function randomRequest(random: Random, world: ModelWorld): ModelRequest {
  const key = pick(random, world.keys)
  const own = world.profiles.find(p => p.metadata.name === key.profile)
  const profile = chance(random, 0.05) ? pick(random, world.profiles) : own
  let secret = chance(random, 0.9)
    ? key.secret
    : randomSecret(random, profile, pick(random, Object.keys(profile.environments)))
  if (chance(random, 0.1)) secret = changeText(random, secret)
  const headers = credentialHeaders(random, profile, secret)
  const rule = pick<{ path: string; methods: object }>(random, profile.routes.rules)
  const chain = Array.from({ length: Math.floor(random() * 4) + 1 }, () => pick(random, ADDRESSES))
  if (chance(random, 0.02)) chain.push(...Array.from({ length: 18 }, () => '203.0.113.77'))
  if (chance(random, 0.9)) headers.push(['x-forwarded-for', chain.join(pick(random, [',', ', ']))])
  if (chance(random, 0.1)) headers.push([pick(random, ['X-Forwarded-For', 'x-forwarded-for']), pick(random, ADDRESSES)])
  if (chance(random, 0.1))
    headers.push([pick(random, ['__proto__', 'constructor', 'x_api_key', 'x-real-ip', 'forwarded']), '203.0.113.77'])
  const host: string = profile.select.hosts[0]
  return {
    method: pick(random, chance(random, 0.75) ? Object.keys(rule.methods) : METHODS),
    path: randomPath(random, profile, rule),
    host: chance(random, 0.85)
      ? host
      : pick(random, [
          host.toUpperCase(),
          `${host}:443`,
          `${host}.`,
          `${host}..`,
          `${host},x`,
          '',
          'constructor',
          `x${host}`,
        ]),
    profile: chance(random, 0.05)
      ? pick(random, ['constructor', '__proto__', ''])
      : pick(random, [undefined, profile.metadata.name]),
    headers,
  }
}

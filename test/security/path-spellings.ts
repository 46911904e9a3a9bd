// Spellings of a path by which somebody might reach it past a rule: seeded generators, one for each family.
// Characters are octets (latin1), as a request line has them.
import { below } from '../fuzz/tally.ts'
import { pick, type Random } from '../oracle/random-worlds.ts'

const hexOf = (random: Random, octet: number) => {
  const hex = octet.toString(16).padStart(2, '0')
  return [...hex].map(digit => (random() < 0.5 ? digit.toUpperCase() : digit)).join('')
}

/** One octet percent-encoded once, twice or three times. */
function encoded(random: Random, octet: number): string {
  return `%${pick(random, ['', '', '', '25', '2525'])}${hexOf(random, octet)}`
}

function someEncoded(random: Random, text: string, share: number): string {
  return [...text].map(c => (random() < share ? encoded(random, c.charCodeAt(0)) : c)).join('')
}

const slashes = [
  '//', '/./', '\\', '/\\', '%2f', '%2F', '%5c', '%5C', '%252f', '%25252F', '%c0%af', '%C0%2F', '%e0%80%af',
  '%ef%bc%8f', '%u002f', '/%2e/', '/%2E%2f', '/;/', '/;x=1/', '/.;/', '%00/', '/%00', '/%09', '/%0d%0a', '/%20', ' /',
  '/x/../', '/x/%2e%2e/', '/x/..;/', '/x/..%2f', '/x/..\\', '/x/%2e.%5c', '/x/.%2e/', '/x/%252e%252e/', '/x/%c0%ae%c0%ae/',
  '/\u00ef\u00bc\u008f', '/\0', '/\t',
] // biome-ignore format: one list
const ends = [
  '/',
  '//',
  '/.',
  '/..',
  '/%2e',
  '%00',
  '%00.json',
  ';',
  ';a=b',
  '.json',
  '%20',
  ' ',
  '#',
  '#x',
  '%23x',
  '?',
  '%3f',
  '%3Fx',
  '?/../..',
  '%',
  '%2',
  '%zz',
  '%0a',
  '\n',
  '\0',
  '/*',
  '/**',
  '/;',
  '~',
  '\\',
  '%5c..',
  '/%2e%2e%2f',
  ',',
  '&',
  '\u00e4',
  '\x7f',
  '%7f',
  '%ff',
]
const climbs = [
  '/..',
  '/%2e%2e',
  '/%2E.',
  '/.%2e',
  '/..;',
  '/..;x',
  '/%2e%2e;',
  '/..%00',
  '/..%5c',
  '\\..',
  '%2f..',
  '%2f%2e%2e',
  '/%252e%252e',
  '/%25252e%25252e',
  '/..%2f',
  '/%c0%ae%c0%ae',
  '/%u002e%u002e',
  '/...',
  '/..%20',
  '/. .',
  '%5c%2e%2e',
]

const encodedSlashes = ['%2f', '%2F', '%5c', '\\', '%252f', '%c0%af', '%00/', ';/']

type Family = (random: Random, target: string, neighbour: string) => string

/** Ways over from a path that the key may use. */
const climbing: readonly Family[] = [
  // From a path the key may use, up to its root and over to the target, in one way of writing or in several.
  (random, target, neighbour) => {
    const only = pick(random, climbs)
    const depth = neighbour.split('/').length - pick(random, [1, 1, 1, 0, 2])
    const climb = Array.from({ length: Math.max(0, depth) }, () => (random() < 0.9 ? only : pick(random, climbs)))
    return neighbour + climb.join('') + target
  },
  // The same inside one segment, where only a decoder would see the slashes.
  (random, target, neighbour) => {
    const slash = pick(random, encodedSlashes)
    const up = pick(random, ['..', '%2e%2e', '%2E.', '..;', '%252e%252e'])
    const depth = neighbour.split('/').length - pick(random, [0, 0, 0, 1, 2])
    return `${neighbour}/${pick(random, ['', 'x'])}${`${up}${slash}`.repeat(Math.max(0, depth))}${target.slice(1).replaceAll('/', slash)}`
  },
]

const families: readonly Family[] = [
  (random, target) => someEncoded(random, target, pick(random, [0.02, 0.1, 0.5, 1])),
  (random, target) => target.replaceAll('/', () => (random() < 0.4 ? pick(random, slashes) : '/')),
  (random, target) => target + pick(random, ends),
  (random, target) => target + pick(random, ends) + pick(random, ends),
  (random, target) => {
    const segments = target.split('/')
    const at = below(random, segments.length)
    segments[at] = `${segments[at]}${pick(random, [';', ';a', ';a=b', ';/', '%3b', '%3Bx', ';jsessionid=1'])}`
    return segments.join('/')
  },
  (random, target) => {
    const at = below(random, target.length + 1)
    return target.slice(0, at) + pick(random, [...ends, ...slashes]) + target.slice(at)
  },
  (random, target) => [...target].map(c => (random() < 0.3 ? c.toUpperCase() : c)).join(''),
  (random, target) =>
    pick(random, ['/', '//', '//h', 'http://h', 'HTTPS://h:1', '/http://h', '\\', '', ' ', '/.', '/%2f']) + target,
  (random, target) => target.slice(1 + below(random, 3)),
  (random, target) => `${target}?${pick(random, ['', '?', '/../..', '%zz', '#', 'a=1&a=2', '\u00ff'])}`,
  (random, target) => `/${'x/'.repeat(pick(random, [61, 62, 63, 64, 65]))}..${target}`,
  (random, target) => target + 'a'.repeat(pick(random, [8100, 8192, 8193])),
  // Octets that may stand encoded or bare in a parameter, on a path the key may use.
  (random, _, neighbour) =>
    neighbour +
    pick(random, ['', '', '/', '-']) +
    pick(random, ['%20', '%C3%A4', '%ef%bc%8f', '%C0%AE', '%3F', '%23x', '~', '!$&()*+,=:@', '%7C', '%80']),
  // Up to something above, and something put into the path of another.
  (random, _, neighbour) => neighbour + pick(random, climbs).repeat(1 + below(random, 2)),
  (random, _, neighbour) => {
    const at = below(random, neighbour.length + 1)
    return neighbour.slice(0, at) + pick(random, [...ends, ...slashes]) + neighbour.slice(at)
  },
  (random, _, neighbour) => neighbour + pick(random, ['', '', '?x=1', '?', `?${'q'.repeat(9000)}`]),
]

/** Written by hand and tried on every pair of rules: what may stand behind a parameter or at the end of a path. */
export const joiners: readonly string[] = [
  ...['/..', '/.', '/../..', '/..;', '/..;/', '/%2e%2e', '/x/..', '/..%2f', '/..%5c', '/..\\', '/..%00', '/.%00'],
  ...['%00', '%00x', '\0', ';', ';x', '/;', '%3b', '#', '%23', '?', '%3f', '//', '/', '%2f', '%5c', '%0a', '%7f'],
]

/** One spelling around `target`; `neighbour` is a path of another rule. */
export function spellPath(random: Random, target: string, neighbour: string): string {
  const spelled = pick(random, random() < 0.35 ? climbing : families)(random, target, neighbour)
  return random() < 0.2 ? pick(random, families)(random, spelled, neighbour) : spelled
}

// Every path that some server behind us might make of one request path: all decodings, in any order, until nothing new comes.
// What a key may send must need no scope it lacks under any of these readings. Shares no code with src/.
import type { ProfileDocument } from './decision.ts'

/** Readings are followed until there are this many; a corpus of short paths stays far below. */
const readingsMax = 400
/** Percent-decoding is repeated; each round is one reading. */
type Step = (path: string) => string

const decodeOnce: Step = path =>
  path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

/** `.` and `..` segments resolved as RFC 3986 section 5.2.4 does. */
const resolveDots: Step = path => {
  const kept: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '..') kept.length = Math.max(kept.length - 1, 1)
    else if (segment !== '.') kept.push(segment)
  }
  return kept.join('/')
}

/** Over-long UTF-8 and full-width forms of `/`, `.` and `\`, which no decoder has read as such since 2001. */
const overlong: Step = path =>
  path
    .replace(/\xc0\xaf|\xe0\x80\xaf|\xef\xbc\x8f/g, '/')
    .replace(/\xc0\xae|\xe0\x80\xae|\xef\xbc\x8e/g, '.')
    .replace(/\xc1\x9c|\xef\xbc\xbc/g, '\\')

const steps: readonly Step[] = [
  decodeOnce,
  path => path.replace(/%u00([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
  path => path.replaceAll('\\', '/'),
  path => path.replace(/\/{2,}/g, '/'),
  resolveDots,
  path => path.replace(/;[^/]*/g, ''),
  path => path.replace(/\0.*$/s, ''),
  path => path.replace(/[\r\n\t]/g, ''),
  path => (path.length > 1 ? path.replace(/\/+$/, '') : path),
  path => path.toLowerCase(),
  path => (path.startsWith('/') ? path : `/${path}`),
  // `//host/path` and `http://host/path` read as authority and path.
  path => path.replace(/^(?:[a-z]+:)?\/\/[^/]*/i, ''),
]

/** Cut again at a `?` or `#` that was encoded: field-reports.md 9 lets both pass inside a parameter. */
const recut: Step = path => path.replace(/[?#].*$/s, '')

/** All readings of a path whose query has been cut off. `documented`: also those that the documents knowingly let pass. */
export function readingsOf(path: string, documented = false): ReadonlySet<string> {
  const readings = new Set([path])
  const all = documented ? [...steps, recut, overlong] : steps
  for (const reading of readings) {
    for (const step of all) if (readings.size < readingsMax) readings.add(step(reading))
  }
  return readings
}

/** Scopes of every rule that a reading reaches under a method: one list a rule, all of which are needed. */
export function scopesReached(profile: ProfileDocument, method: string, path: string): ReadonlyMap<string, string[]> {
  const base: string = profile.routes.base_path?.strip ?? ''
  const wanted = method === 'HEAD' ? 'GET' : method
  const reached = new Map<string, string[]>()
  let rest = path
  for (let stripped = 0; stripped < 3; stripped++) {
    for (const rule of profile.routes.rules) {
      if (Object.hasOwn(rule.methods, wanted) && fits(rule.path, rest)) {
        reached.set(`${wanted} ${rule.path}`, [rule.methods[wanted]].flat())
      }
    }
    if (base === '' || !rest.startsWith(base)) break
    rest = rest.slice(base.length)
  }
  return reached
}

function fits(template: string, path: string): boolean {
  const wanted = template.split('/').slice(1)
  const segments = path.split('/').slice(1)
  if (wanted.at(-1) === '**') {
    wanted.pop()
    segments.length = Math.min(segments.length, wanted.length)
  }
  return (
    wanted.length === segments.length &&
    wanted.every((text, i) => (text.startsWith('{') ? segments[i] !== '' : text === segments[i]))
  )
}

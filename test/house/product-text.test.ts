// A product is data: its name, prefixes, scopes and error texts occur in profiles and tests, never in the source.
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { denialReasons } from '../../src/core/reason.ts'
import { lintProfile } from '../../src/profile/lint.ts'
import { errorReasons } from '../../src/rpc/reasons.ts'
import { filesBelow, root } from './sources.ts'

/** Texts shorter than this are words of any program (`error`, `status`). */
const textLengthMin = 12

const profiles = filesBelow('profiles', '.yaml').map(({ path, text }) => {
  const { compiled } = lintProfile(text, { file: basename(path) })
  if (compiled === undefined) throw new Error(`${path} does not compile`)
  return compiled
})

function textsOf(template: { readonly pieces: readonly Buffer[] }): string[] {
  return template.pieces.map(piece => piece.toString())
}

const names = profiles.flatMap(profile => [
  profile.name,
  ...profile.hosts,
  ...profile.hosts.map(host => host.split('.').slice(-2).join('.')),
  ...profile.management.environments.map(each => each.prefix),
  profile.policy.grammar.forms.issued.suffix,
])
const scopes = profiles
  .flatMap(profile => profile.management.scopes.map(each => each.name))
  .filter(name => name.length >= textLengthMin || /[:_]/.test(name))
const messages = profiles.flatMap(profile =>
  profile.renderings.flatMap(each => [...textsOf(each.message), ...jsonStrings(each.body)]),
)

function jsonStrings(template: { readonly pieces: readonly Buffer[] }): string[] {
  return textsOf(template).flatMap(text => [...text.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, inner]) => inner ?? ''))
}

/** Words of the engine itself that a product happens to use as well: reasons, admin scopes, and plain English for a state. */
const ours = new Set<string>([
  ...denialReasons,
  ...Object.keys(errorReasons),
  'API key is suspended',
  'application/json',
])
const isOurs = (text: string) =>
  [text, text.toLowerCase(), text.toUpperCase()].some(each => ours.has(each)) || adminScope.test(text)
const adminScope = /^(organizations|keys|usage|profiles|propagation|audit|access|decisions)\.[a-z]+$/
/** The shape of no product (profiles.md D21) says these. */
const shapeOfNone = new Set(['service_unavailable', 'SERVICE_UNAVAILABLE', 'unauthorized'])

const forbidden = [...new Set([...names, ...scopes, ...messages.filter(text => text.length >= textLengthMin)])].filter(
  text => text !== '' && !isOurs(text) && !shapeOfNone.has(text),
)

describe('product text', () => {
  const files = filesBelow('src', '').filter(file => !file.path.startsWith('src/gen/'))

  it('the list of texts is long enough to mean something', () => {
    expect(profiles.length).toBe(3)
    expect(forbidden.length).toBeGreaterThan(60)
    expect(files.length).toBeGreaterThan(100)
  })

  it('none of it is in the source', () => {
    const found = files.flatMap(({ path, text }) => {
      const whole = `${path}\n${text}`
      return forbidden.filter(each => whole.includes(each)).map(each => `${path}: ${each}`)
    })
    expect(found).toEqual([])
  })

  it('a product of the repository is found where it is allowed: the search works', () => {
    const readme = readFileSync(join(root, 'envoy/envoy.yaml'), 'utf8')
    expect(forbidden.some(each => readme.includes(each))).toBe(true)
  })
})

// Profiles as checks use them, replaced one by one: what did not change is taken over, what changed answers at once and in the
// same octets whether or not its templates are there yet.
import { expect, it } from 'vitest'
import { type CheckProfiles, compileCheckProfiles, makeTemplates } from '../../src/check/check-profiles.ts'
import { createNames } from '../../src/core/names.ts'
import { goldenHosts, goldenKey } from '../core/cases.ts'
import { compileText, products, profileText } from '../profile/documents.ts'
import { createStand } from './check-stand.ts'

const mode = 'xff-hops'
const names = createNames()
const compiled = products.map(name => compileText(profileText(name), { names }))
const [, second, third] = compiled
const changed = compileText(profileText('bitbybit').replace('version: 1', 'version: 2'), { names })
if (second === undefined || third === undefined) throw new Error('there are three profiles')

const missing = ({ list }: CheckProfiles) =>
  list.map(({ profile, templates }) => profile.policy.routes.rules.length - templates.length)

it('at start every template is made', () => {
  expect(missing(compileCheckProfiles(compiled, mode))).toEqual([0, 0, 0])
})

it('at a change the others are taken over as they are, and the new one has no template yet', () => {
  const before = compileCheckProfiles(compiled, mode)
  const after = compileCheckProfiles([changed, second, third], mode, before)
  expect(after.list.slice(1)).toEqual(before.list.slice(1))
  expect(after.list[1]).toBe(before.list[1])
  expect(after.list[0]?.profile).toBe(changed)
  expect(missing(after)).toEqual([changed.policy.routes.rules.length, 0, 0])
  expect(missing(before)).toEqual([0, 0, 0])
})

it('templates are made a few rules at a time until none is missing, those of an overtaken change too', () => {
  const none = compileCheckProfiles([], mode)
  const first = compileCheckProfiles([changed, second], mode, none)
  const rules = first.list.reduce((sum, { profile }) => sum + profile.policy.routes.rules.length, 0)
  expect(makeTemplates(first, 3)).toBe(true)
  const overtaking = compileCheckProfiles([changed, second], mode, first)
  let steps = 1
  while (makeTemplates(overtaking, 3)) steps++
  expect(steps).toBe(Math.ceil((rules - 3) / 3))
  expect(missing(overtaking)).toEqual([0, 0])
  expect(overtaking.list[0]?.templates).toEqual(compileCheckProfiles([changed], mode).list[0]?.templates)
})

it('an allowed request is answered in the same octets without and with templates', () => {
  const path = '/customer/open/v1/customers'
  const sent = { path, host: goldenHosts.bitbybit, headers: [['x-api-key', goldenKey('B2').secret]] } as const
  let profiles = compileCheckProfiles([], mode)
  const stand = createStand({ override: base => ({ ...base, profiles: () => profiles }) })
  const profile = compileText(profileText('bitbybit'), { names: stand.names })
  profiles = compileCheckProfiles([profile], mode, profiles)
  const without = stand.check(sent)
  expect(without.code).toBe(0)
  expect(makeTemplates(profiles, Number.POSITIVE_INFINITY)).toBe(false)
  const written = (length: number | undefined) =>
    profiles.list[0]?.templates.flat().filter(({ bytes }) => bytes.length === length).length
  expect(written(without.octets?.length)).toBe(0)
  const withTemplates = stand.check(sent)
  expect(written(without.octets?.length)).toBe(1)
  const fields = (answer: typeof without) => ({ ...answer, octets: undefined })
  expect(withoutIds(fields(withTemplates))).toEqual(withoutIds(fields(without)))
  expect(withTemplates.octets?.length).toBe(without.octets?.length)
})

/** Each answer has a decision id of its own. */
function withoutIds(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value).replace(/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'id'),
  )
}

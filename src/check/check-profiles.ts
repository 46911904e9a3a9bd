// The profiles that checks are decided by, ready for use: replies encoded, hosts and names in one look-up each.
// Made as a whole and swapped as one reference; when one profile is not usable nothing is made and the old set stays.
// Templates only make replies quicker to write: those of a changed profile are made after the swap, a few at a time.

import { HostTable } from '../core/host.ts'
import { equalsText, type RequestView } from '../core/request-view.ts'
import type { RouteRule } from '../core/route-table.ts'
import { uuidTextLength } from '../core/uuid-text.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import { AllowTemplate } from './allow-template.ts'
import { compileReplies, type ProfileReplies } from './profile-replies.ts'

/** One profile with its replies. */
export interface CheckProfile {
  readonly profile: CompiledProfile
  readonly replies: ProfileReplies
  /** By rule: the allow replies of its environments, as far as they can be encoded ahead. Grows: see `makeTemplates`. */
  readonly templates: (readonly AllowTemplate[])[]
}

/** Every profile that this process decides by. */
export interface CheckProfiles {
  readonly list: readonly CheckProfile[]
  readonly hosts: HostTable<CheckProfile>
}

/**
 * Prepares profiles. `clientAddressMode` is the name that dynamic metadata carries. While `earlier` is in force, what it has of
 * them is taken over, and the templates of the others are left to `makeTemplates`, so that checks need not wait for them.
 * @throws Error when a reply would be invalid, or when two profiles have one name or host.
 */
export function compileCheckProfiles(
  profiles: readonly CompiledProfile[],
  clientAddressMode: string,
  earlier?: CheckProfiles,
): CheckProfiles {
  const list = profiles.map((profile): CheckProfile => {
    const known = earlier?.list.find(entry => entry.profile === profile)
    return known ?? { profile, replies: compileReplies(profile, clientAddressMode), templates: [] }
  })
  if (new Set(profiles.map(profile => profile.name)).size !== list.length) throw new Error('two profiles have one name')
  const hosts = new HostTable(list.flatMap(entry => entry.profile.hosts.map(host => [host, entry] as const)))
  const made = { list, hosts }
  if (earlier === undefined) makeTemplates(made, Number.POSITIVE_INFINITY)
  return made
}

/** Makes the missing templates of at most so many rules. Gives whether there are more. */
export function makeTemplates({ list }: CheckProfiles, rulesMax: number): boolean {
  let left = rulesMax
  for (const { profile, replies, templates } of list) {
    const { rules } = profile.policy.routes
    for (; templates.length < rules.length && left > 0; left--) {
      const rule = rules[templates.length]
      templates.push(rule === undefined ? [] : templatesOf(rule, profile, replies))
    }
    if (templates.length < rules.length) return true
  }
  return false
}

/**
 * The profile of a request: by the context extension when there is one, else by host; null: none. Never by the key.
 * Notes the canonical host for rules that are bound to one.
 */
export function selectProfile(profiles: CheckProfiles, view: RequestView): CheckProfile | null {
  const byHost = profiles.hosts.find(view.bytes, view.hostStart, view.hostEnd)
  if (byHost !== undefined) view.host = byHost.host
  if (view.profileStart < 0) return byHost?.value ?? null
  for (const entry of profiles.list) {
    if (equalsText(view.bytes, view.profileStart, view.profileEnd, entry.profile.name)) return entry
  }
  return null
}

/** Templates for ids of the form that the profile makes; keys with other ids get the same reply, a little later. */
function templatesOf(rule: RouteRule, profile: CompiledProfile, replies: ProfileReplies): readonly AllowTemplate[] {
  if (rule.access === 'public') return []
  const { ids, environments } = profile.management
  const lengthOf = (id: string) => id.replace(/\{uuidv[47]\}/, 'x'.repeat(uuidTextLength)).length
  const apiKeyIdLength = lengthOf(ids.apiKey)
  const organizationIdLength = lengthOf(ids.organization)
  return environments.flatMap(({ name: environment }) => {
    const shape = { rule: rule.index, environment, apiKeyIdLength, organizationIdLength }
    return AllowTemplate.create(shape, replies, profile.upstream) ?? []
  })
}

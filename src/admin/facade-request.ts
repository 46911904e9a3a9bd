// The body of a product-shaped create call: strict JSON to the settings of a key, every fault of every member at once.
// What is judged here is the product's shape; what a key may be is judged by the command that all entrances share.
import type { CreateApiKeyRequest } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { ApiKey } from '../gen/gatewarden/admin/v1/resources.ts'
import type { CreateCall, FacadeFault, FacadeMember } from '../profile/compiled-facade.ts'
import type { CompiledProfile, ManagementRules } from '../profile/compiled-profile.ts'
import { parseTimestamp, type TimestampForm } from '../profile/timestamp-form.ts'
import type { FacadeIdentity } from './facade-caller.ts'
import { organizationName } from './resource-name.ts'
import type { StrictJson } from './strict-json.ts'
import { descriptionMax, displayNameMax, notInLine, notInLines } from './text-fields.ts'

/** What is wrong with one member. */
export interface MemberFault {
  readonly fault: FacadeFault
  /** The caller's text that is meant. */
  readonly value?: string
  readonly max?: number
}

/** Faults by member name; the first of each member. */
export type MemberFaults = ReadonlyMap<string, MemberFault>

/** A request as far as it could be read: members with faults are left out of the key. */
export interface FacadeRequest {
  readonly apiKey: ApiKey
  readonly faults: MemberFaults
}

/** Unknown members that are told: more are no slip of a person, and an answer should not outgrow its request. */
const unknownMembersMax = 64

/** Reads the members of a body. */
export function readFacadeRequest(
  body: ReadonlyMap<string, StrictJson>,
  call: CreateCall,
  profile: CompiledProfile,
  identity: FacadeIdentity,
): FacadeRequest {
  const faults = new Map<string, MemberFault>()
  let apiKey: ApiKey = { ...ApiKey.create({}), environment: identity.environment }
  for (const member of call.members) {
    const given = body.get(member.name)
    if (isAbsent(given, member)) {
      if (member.required) faults.set(member.name, { fault: 'required' })
      continue
    }
    const read = readMember(given ?? null, member, profile)
    if ('fault' in read) faults.set(member.name, read)
    else apiKey = { ...apiKey, ...read }
  }
  const known = new Set(call.members.map(member => member.name))
  const unknown = [...body.keys()].filter(name => !known.has(name))
  for (const name of unknown.slice(0, unknownMembersMax)) faults.set(name, { fault: 'unknown_field' })
  return { apiKey, faults }
}

/** The request of the shared command. `judgeOnly`: nothing is to be made of it. */
export function toCreateRequest(
  { apiKey }: FacadeRequest,
  identity: FacadeIdentity,
  requestId: string,
  judgeOnly: boolean,
): CreateApiKeyRequest {
  return {
    parent: organizationName(identity.organization),
    // A key without name is refused after all of its settings were judged, and before anything else is looked at.
    apiKey: judgeOnly ? { ...apiKey, displayName: '' } : apiKey,
    apiKeyId: '',
    requestId,
    validateOnly: judgeOnly,
    callerAddress: '',
  }
}

/** Null is the same as nothing where the profile says so, of what must be there, and of lists. */
function isAbsent(given: StrictJson | undefined, { field, nullable, required }: FacadeMember): boolean {
  if (given === undefined) return true
  return given === null && (nullable || required || field === 'scopes' || field === 'allowlist')
}

const wrongType: MemberFault = { fault: 'wrong_type' }

function readMember(given: StrictJson, member: FacadeMember, profile: CompiledProfile): Partial<ApiKey> | MemberFault {
  switch (member.field) {
    case 'display_name':
      return readText(given, member, displayNameMax, notInLine, text => ({ displayName: text }))
    case 'description':
      return readText(given, member, descriptionMax, notInLines, text => ({ description: text }))
    case 'scopes':
      return readList(given, member, scopes => scopeFault(scopes, profile.management) ?? { scopes })
    case 'allowlist':
      return readList(given, member, entries => ({ allowlist: entries.map(cidr => ({ cidr, label: '' })) }))
    case 'expire_time':
      return typeof given === 'string' ? readTime(given, profile.timestamps) : wrongType
  }
}

function readText(
  given: StrictJson,
  member: FacadeMember,
  engineMax: number,
  forbidden: RegExp,
  take: (text: string) => Partial<ApiKey>,
): Partial<ApiKey> | MemberFault {
  if (typeof given !== 'string') return wrongType
  if (given === '' && member.required) return { fault: 'required' }
  const max = Math.min(member.maxLength ?? engineMax, engineMax)
  if (given.length > max && [...given].length > max) return { fault: 'too_long', max }
  return forbidden.test(given) ? { fault: 'invalid_entry', value: given } : take(given)
}

function readList(
  given: StrictJson,
  member: FacadeMember,
  take: (texts: readonly string[]) => Partial<ApiKey> | MemberFault,
): Partial<ApiKey> | MemberFault {
  if (!Array.isArray(given) || !given.every((each: StrictJson) => typeof each === 'string')) return wrongType
  if (given.length === 0 && member.required) return { fault: 'required' }
  return take(given)
}

/** The first scope that is none, or that developers may not grant (D19). The command judges again: it has the last word. */
function scopeFault(scopes: readonly string[], rules: ManagementRules): MemberFault | undefined {
  const known = new Map(rules.scopes.map(scope => [scope.name, scope]))
  for (const value of scopes) {
    const definition = known.get(value)
    if (definition === undefined) return { fault: 'unknown_scope', value }
    if (!definition.grantableBy.includes('developer')) return { fault: 'not_grantable', value }
  }
  return undefined
}

function readTime(text: string, form: TimestampForm): Partial<ApiKey> | MemberFault {
  const expireTime = parseTimestamp(text, form)
  return expireTime === null ? { fault: 'invalid_time' } : { expireTime }
}

// AllowlistAdmin: what would become of these entries under these rules. The same judgement as in create, update and import.
import { judgeAllowlist } from '../core/allowlist.ts'
import type {
  ValidateIpAllowlistRequest,
  ValidateIpAllowlistResponse,
} from '../gen/gatewarden/admin/v1/allowlist_admin.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import type { AdminReads } from './admin-store.ts'
import { type ApiKeyContext, findOrganization, findProfile, storedAllowlist } from './api-key-context.ts'
import { excludesCaller } from './api-key-fields.ts'
import { type Query, query } from './command.ts'
import { parseOrganizationName, parseProfileName } from './resource-name.ts'
import { simulateIpAllowlist } from './simulate-allowlist.ts'
import { suggestIpAllowlist } from './suggest-allowlist.ts'
import { usageQuestion } from './usage-call.ts'
import type { Violations } from './violations.ts'

/** The handlers of the service, by method. */
export function allowlistAdmin(context: ApiKeyContext) {
  return {
    validateIpAllowlist: query(context, validateIpAllowlist(context)),
    simulateIpAllowlist: usageQuestion(context, simulateIpAllowlist(context)),
    suggestIpAllowlist: usageQuestion(context, suggestIpAllowlist(context)),
  }
}

interface Parsed {
  readonly request: ValidateIpAllowlistRequest
  /** Whose rules. */
  readonly organization: string | null
  readonly profile: string | null
}

function validateIpAllowlist(
  context: ApiKeyContext,
): Query<ValidateIpAllowlistRequest, Parsed, ValidateIpAllowlistResponse> {
  return {
    rpc: 'AllowlistAdmin/ValidateIpAllowlist',
    organizationOf: ({ rules }) => (rules?.$case === 'parent' ? (parseOrganizationName(rules.value) ?? '') : null),
    parse,
    run: async (tx, parsed) =>
      verdictOf(await profileOf(context, tx, parsed), parsed.request, text => context.redact?.(text) ?? text),
  }
}

function parse(request: ValidateIpAllowlistRequest, violations: Violations): Parsed | null {
  const { rules } = request
  if (rules === undefined) {
    violations.add('parent', 'FIELD_REQUIRED', 'Give an organization as parent, or a profile.')
    return null
  }
  const isParent = rules.$case === 'parent'
  const id = isParent ? parseOrganizationName(rules.value) : parseProfileName(rules.value)
  if (id === undefined) {
    const form = isParent ? 'organizations/{organization}' : 'profiles/{profile}'
    violations.add(rules.$case, 'FIELD_INVALID', `It is not ${form}.`)
    return null
  }
  return { request, organization: isParent ? id : null, profile: isParent ? null : id }
}

async function profileOf(context: ApiKeyContext, tx: AdminReads, parsed: Parsed): Promise<CompiledProfile> {
  if (parsed.organization === null) return findProfile(context, parsed.profile ?? '')
  return (await findOrganization(context, tx, parsed.organization)).profile
}

function verdictOf(
  profile: CompiledProfile,
  request: ValidateIpAllowlistRequest,
  redact: (text: string) => string,
): ValidateIpAllowlistResponse {
  const verdict = judgeAllowlist(request.entries, profile.management.ipRules)
  const valid = verdict.violations.length === 0
  const excluded = valid && excludesCaller(verdict.entries, request.callerAddress, profile)
  const warnings = verdict.warnings.map(({ index, reason, message }) => ({
    code: reason,
    field: `entries[${index}].cidr`,
    message,
  }))
  if (excluded) {
    const message = `None of the entries contains the caller's address ${request.callerAddress}.`
    warnings.push({ code: 'EXCLUDES_CALLER', field: 'entries', message })
  }
  return {
    entries: valid ? storedAllowlist(verdict.entries) : [],
    violations: verdict.violations.map(({ index, reason, message, suggestion }) => ({
      index,
      reason,
      message: redact(message),
      suggestion,
    })),
    warnings: warnings.map(warning => ({ ...warning, message: redact(warning.message) })),
    excludesCaller: excluded,
  }
}

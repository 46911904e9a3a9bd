// What went wrong in a create call, in the product's words: faults of members, or the denial reason that a profile renders.
// Total: whatever is thrown comes to one of the two, and what nobody foresaw to our own failure, with its cause for the log.
import { entriesMax } from '../core/allowlist.ts'
import type { DenialReason } from '../core/reason.ts'
import type { ApiKey } from '../gen/gatewarden/admin/v1/resources.ts'
import type { CreateCall, FacadeField, FacadeMember } from '../profile/compiled-facade.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import { type FieldViolation, RpcError } from '../rpc/errors.ts'
import { type ErrorReason, errorReasons } from '../rpc/reasons.ts'
import { scopesMax } from './api-key-fields.ts'
import { toStoreError } from './command.ts'
import { FacadeDenial } from './facade-caller.ts'
import type { MemberFault, MemberFaults } from './facade-request.ts'
import { descriptionMax, displayNameMax } from './text-fields.ts'

/** The codes of reasons, without their numbers. */
const invalidArgument = errorReasons.FIELD_INVALID
const resourceExhausted = errorReasons.RATE_LIMITED

/** Why a call made no key. */
export type FacadeFailure =
  /** `faults` null: the request as a whole is not acceptable. */
  | { readonly kind: 'invalid'; readonly faults: MemberFaults | null; readonly why: string }
  | {
      readonly kind: 'denied'
      readonly reason: DenialReason
      readonly requiredScope: string
      readonly retryAfterMs: number
      readonly why: string
      /** For the log only; undefined: nothing that anybody here has to mend. */
      readonly cause?: unknown
    }

/** What was asked for, of whom: the answer repeats texts of the one and bounds of the other. */
export interface FacadeSubject {
  readonly call: CreateCall
  readonly profile: CompiledProfile
  /** Undefined: it was not read. */
  readonly apiKey: ApiKey | undefined
}

/** What a throw comes to. */
export function toFailure(thrown: unknown, subject: FacadeSubject): FacadeFailure {
  if (thrown instanceof FacadeDenial)
    return denied(thrown.reason, thrown.reason, { requiredScope: thrown.requiredScope })
  const error = toStoreError(thrown)
  if (!(error instanceof RpcError)) return denied('authz_unavailable', 'INTERNAL', { cause: thrown })
  const { reason } = error
  if (reason === 'SCOPE_NOT_GRANTABLE') return notGrantable(error, subject.call) ?? unforeseen(error)
  if (error.code === invalidArgument) return invalid(error, subject) ?? unforeseen(error)
  return denied(reasonFor(error), reason, { retryAfterMs: error.details.retryDelayMs ?? 0, cause: error.details.cause })
}

function denied(
  reason: DenialReason,
  why: string,
  more: { readonly requiredScope?: string; readonly retryAfterMs?: number; readonly cause?: unknown },
): FacadeFailure {
  return { kind: 'denied', reason, why, requiredScope: '', retryAfterMs: 0, ...more }
}

/** An error of the command that no request of ours can bring about. */
function unforeseen(error: RpcError): FacadeFailure {
  return denied('authz_unavailable', error.reason, { cause: error })
}

/** Which denial an error that is about no field is rendered as (admin-api.md section 9). */
function reasonFor({ reason, code }: RpcError): DenialReason {
  if (reason === 'ORGANIZATION_SUSPENDED') return 'organization_suspended'
  if (reason === 'STORE_FULL') return 'authz_unavailable' // ours to mend: waiting does not help the client
  if (code === resourceExhausted) return 'rate_limited'
  return 'authz_unavailable'
}

function notGrantable(error: RpcError, call: CreateCall): FacadeFailure | undefined {
  const member = call.members.find(({ field }) => field === 'scopes')
  const [value = ''] = (error.details.metadata?.['scopes'] ?? '').split(',')
  if (member === undefined) return undefined
  return { kind: 'invalid', why: error.reason, faults: new Map([[member.name, { fault: 'not_grantable', value }]]) }
}

/** The faults of the members that the violations mean; undefined: one means no member. */
function invalid(error: RpcError, subject: FacadeSubject): FacadeFailure | undefined {
  const violations = error.details.violations ?? []
  if (violations.some(({ field }) => field === 'request_id')) {
    return { kind: 'invalid', why: error.reason, faults: null }
  }
  const faults = new Map<string, MemberFault>()
  for (const violation of violations) {
    const { field, index } = placeOf(violation)
    const member = subject.call.members.find(each => each.field === field)
    if (member === undefined) return undefined
    if (!faults.has(member.name)) faults.set(member.name, faultOf(violation.reason, member, subject, index))
  }
  return faults.size === 0 ? undefined : { kind: 'invalid', why: error.reason, faults }
}

/** `api_key.allowlist[2].cidr` → allowlist, 2. */
function placeOf({ field }: FieldViolation): { readonly field: string; readonly index: number } {
  const [, name = '', index = '0'] = /^api_key\.([a-z_]+)(?:\[(\d+)\])?/.exec(field) ?? []
  return { field: name === 'scope_mode' ? 'scopes' : name, index: Number(index) }
}

function faultOf(reason: ErrorReason, member: FacadeMember, subject: FacadeSubject, index: number): MemberFault {
  const { profile } = subject
  switch (reason) {
    case 'FIELD_REQUIRED':
    case 'SCOPES_EMPTY':
    case 'EXPIRE_TIME_REQUIRED':
      return { fault: 'required' }
    case 'FIELD_TOO_LONG':
      return { fault: 'too_long', max: member.field === 'description' ? descriptionMax : displayNameMax }
    case 'SCOPE_UNKNOWN':
      return { fault: 'unknown_scope', value: subject.apiKey?.scopes[index] ?? '' }
    case 'TOO_MANY_ENTRIES':
      return { fault: 'too_many', max: Math.min(profile.management.ipRules.maxEntries ?? entriesMax, entriesMax) }
    case 'EXPIRE_TIME_PAST':
      return { fault: 'past_time' }
    default:
      return otherFault(member.field, subject.apiKey, index)
  }
}

/** What has no text of its own: an entry that cannot be stored, control characters, a time beyond all bounds. */
function otherFault(field: FacadeField, apiKey: ApiKey | undefined, index: number): MemberFault {
  switch (field) {
    case 'display_name':
      return { fault: 'invalid_entry', value: apiKey?.displayName ?? '' }
    case 'description':
      return { fault: 'invalid_entry', value: apiKey?.description ?? '' }
    case 'scopes':
      return { fault: 'too_many', max: scopesMax }
    case 'allowlist':
      return { fault: 'invalid_entry', value: apiKey?.allowlist[index]?.cidr ?? '' }
    case 'expire_time':
      return { fault: 'invalid_time' }
  }
}

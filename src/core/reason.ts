// The canonical denial reasons and the numbers the decision path uses for them.
// Code 0, the value of memory nobody wrote, is our own failure: it can never be read as an allow.

/** Every reason a request is denied for. A decision has exactly one; `allow` is not a reason. */
export const denialReasons = [
  'authz_unavailable',
  'request_malformed',
  'credential_missing',
  'multiple_credentials',
  'credential_malformed',
  'credential_check_failed',
  'credential_unknown',
  'deleted',
  'revoked',
  'rotated_out',
  'expired',
  'organization_suspended',
  'suspended',
  'environment_mismatch',
  'route_unmapped',
  'insufficient_scope',
  'ip_undeterminable',
  'ip_not_allowed',
  'rate_limited',
] as const

export type DenialReason = (typeof denialReasons)[number]

/** What `decide` answers: `ALLOW`, or the index of a denial reason in `denialReasons`. */
export type DecisionCode = number

/** Far from 0 and from every reason, so that no slip of an index turns a denial into an allow. */
export const ALLOW: DecisionCode = 200

const codes = new Map<DenialReason, DecisionCode>(denialReasons.map((reason, code) => [reason, code]))

/** The code of a reason. */
export function codeOf(reason: DenialReason): DecisionCode {
  return codes.get(reason) ?? 0
}

/** The reason of a code; a code that is neither a reason nor `ALLOW` is our own failure. */
export function reasonOf(code: DecisionCode): DenialReason {
  return denialReasons[code] ?? 'authz_unavailable'
}

/** The steps of a decision in their documented order; a profile may permute only the last three. */
export const checkSteps = ['credential', 'state', 'environment', 'scope', 'ip', 'rate_limit'] as const

export type CheckStep = (typeof checkSteps)[number]

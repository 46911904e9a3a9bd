// Which placeholder means what, and for which denial reasons it has a value (profiles.md d.1).
// A value known when a profile is compiled becomes text; one known when a reply is written stays a hole.
import { type CheckStep, checkSteps, type DenialReason } from '../core/reason.ts'
import { type InsertionName, insertionNames } from './compiled-profile.ts'

/** A literal, or a hole filled when a reply is written. */
export type Part<Name extends string = InsertionName> = string | { readonly hole: Name }

/** What a rendering knows while it is compiled. */
export interface PlaceholderScope {
  readonly reason: DenialReason
  readonly httpStatus: number
  readonly code: string | null
  /** Undefined while the message itself is compiled: it cannot contain itself. */
  readonly message: readonly Part[] | undefined
  readonly deploymentEnvironment: string
  readonly headerName: string
  /** Whether the profile makes support ids. */
  readonly hasSupportId: boolean
}

/** A resolved placeholder: its parts, null for JSON null, and what it stands for in JSON. */
export interface Resolved<Name extends string = InsertionName> {
  readonly parts: readonly Part<Name>[] | null
  /** `value`: any JSON value, which cannot stand inside a text. */
  readonly kind: 'text' | 'number' | 'value'
}

/** Why a template cannot be compiled: what is wrong, and how to mend it. */
export interface TemplateFault {
  readonly problem: string
  readonly mend: string
  /** Whether it is wrong for this reason only, not for every reason of the rendering. */
  readonly perReason: boolean
}

/** The step that gives each reason; undefined: before the steps, or any of them. */
const stepOf: Readonly<Record<DenialReason, CheckStep | undefined>> = {
  authz_unavailable: undefined,
  request_malformed: undefined,
  credential_missing: 'credential',
  multiple_credentials: 'credential',
  credential_malformed: 'credential',
  credential_check_failed: 'credential',
  credential_unknown: 'credential',
  deleted: 'state',
  revoked: 'state',
  rotated_out: 'state',
  expired: 'state',
  organization_suspended: 'state',
  suspended: 'state',
  environment_mismatch: 'environment',
  route_unmapped: 'scope',
  insufficient_scope: 'scope',
  ip_undeterminable: 'ip',
  ip_not_allowed: 'ip',
  rate_limited: 'rate_limit',
}

const numericHoles: ReadonlySet<string> = new Set(['retry_after', 'limit', 'remaining', 'reset_unix'])
const compiledNames: ReadonlySet<string> = new Set([
  'http_status',
  'code',
  'message',
  'deployment_environment',
  'header_name',
])

/** Reasons for which a hole has a value; undefined: for all. */
function reasonsOf(name: InsertionName): readonly DenialReason[] | undefined {
  switch (name) {
    case 'required_scope':
      return ['insufficient_scope']
    case 'retry_after':
      return ['rate_limited', 'authz_unavailable']
    case 'limit':
    case 'remaining':
    case 'reset_unix':
      return ['rate_limited']
    case 'key_environment':
      return reasonsWithKey
    default:
      return undefined
  }
}

const reasonsWithKey = (Object.keys(stepOf) as DenialReason[]).filter(reason => {
  const step = stepOf[reason]
  return step !== undefined && checkSteps.indexOf(step) >= checkSteps.indexOf('state')
})

function isInsertion(name: string): name is InsertionName {
  return (insertionNames as readonly string[]).includes(name)
}

/** What a placeholder stands for in a rendering, or why it cannot stand there. */
export function resolvePlaceholder(name: string, scope: PlaceholderScope): Resolved | TemplateFault {
  if (compiledNames.has(name)) return resolveCompiled(name, scope)
  if (!isInsertion(name)) {
    const known = [...compiledNames, ...insertionNames].join(', ')
    return { problem: `there is no placeholder \`${name}\``, mend: `use one of ${known}`, perReason: false }
  }
  if (name === 'support_id' && !scope.hasSupportId) {
    const problem = 'the placeholder `support_id` has no value because `ids.support` is null'
    return { problem, mend: 'set a template there', perReason: false }
  }
  const reasons = reasonsOf(name)
  if (reasons !== undefined && !reasons.includes(scope.reason)) {
    const mend = `it exists for ${reasons.join(', ')} only; use another rendering or text`
    return { problem: `the placeholder \`${name}\` has no value`, mend, perReason: true }
  }
  return { parts: [{ hole: name }], kind: numericHoles.has(name) ? 'number' : 'text' }
}

const selfReference: TemplateFault = {
  problem: 'a message cannot contain `{message}`',
  mend: 'write the text out',
  perReason: false,
}

function resolveCompiled(name: string, scope: PlaceholderScope): Resolved | TemplateFault {
  switch (name) {
    case 'http_status':
      return { parts: [String(scope.httpStatus)], kind: 'number' }
    case 'code':
      return { parts: scope.code === null ? null : [scope.code], kind: 'text' }
    case 'deployment_environment':
      return { parts: [scope.deploymentEnvironment], kind: 'text' }
    case 'header_name':
      return { parts: [scope.headerName], kind: 'text' }
    default:
      if (scope.message === undefined) return selfReference
      return { parts: scope.message, kind: 'text' }
  }
}

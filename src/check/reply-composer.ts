// Turns one decision into one reply: collects what varies, then writes the allow, the denial or our own failure.
// The only place that tells an allow from all else; everything that is not exactly an allow becomes a denial.
import type { Decision } from '../core/decide.ts'
import type { NameTable } from '../core/names.ts'
import { ALLOW, codeOf } from '../core/reason.ts'
import { findHeader, type RequestView, valueEnd, valueStart } from '../core/request-view.ts'
import { unixSecondsCeil } from '../core/time.ts'
import type { AllowTemplate } from './allow-template.ts'
import type { CheckProfile } from './check-profiles.ts'
import { type FailureField, writeAllow, writeDenial } from './check-response.ts'
import { denialOf, type ProfileReplies } from './profile-replies.ts'
import { ReplyBuffer } from './reply-buffer.ts'
import {
  createReplyValues,
  drawRetrySeconds,
  drawUuid7,
  type KeyIdentities,
  type ReplyValues,
  takeClientAddress,
  takeRequestId,
} from './reply-values.ts'
import { compileUnmatchedReplies } from './unmatched-replies.ts'

/** How our own failures are answered (envoy-contract.md section 12). */
export type OwnFailure = 'denied-503' | 'error_response' | 'rpc-error'

/** What names the API key in a slot. */
export interface KeyNames extends KeyIdentities {
  /** Number in `Names.environments`. */
  environment(slot: number): number
}

/** A reply: in the composer's octets, or none because the call itself is to fail. */
export type Composed = 'message' | 'rpc-failure'

const UNAVAILABLE = codeOf('authz_unavailable')

/** Composes replies into reused buffers. */
export class ReplyComposer {
  /** The reply composed last is `buffer.bytes[start, end)`, until the next one. */
  buffer: { readonly bytes: Buffer }
  start = 0
  end = 0
  private readonly written = new ReplyBuffer()
  readonly values: ReplyValues = createReplyValues()
  private readonly supportUuid = new Int32Array(4)
  /** HTTP status of the reply composed last; 0: an allow. */
  status = 0
  private readonly keys: KeyNames
  private readonly environments: Pick<NameTable, 'text' | 'size'>
  private readonly ownFailure: OwnFailure
  private readonly unmatched: ProfileReplies

  /** `mode` is the name of the client-address mode. */
  constructor(keys: KeyNames, environments: Pick<NameTable, 'text' | 'size'>, ownFailure: OwnFailure, mode: string) {
    this.keys = keys
    this.environments = environments
    this.ownFailure = ownFailure
    this.unmatched = compileUnmatchedReplies(mode)
    this.buffer = this.written
  }

  /** Composes the reply for a decision at `unixMs`. `chosen` is null when no profile matched. */
  compose(view: RequestView, decision: Decision, chosen: CheckProfile | null, unixMs: number): Composed {
    const { values } = this
    values.unixMs = Number.isFinite(unixMs) ? unixMs : 0
    drawUuid7(values.unixMs, values.decisionUuid, values.decisionId)
    takeClientAddress(view, values.clientAddress)
    values.hasSupportId = false
    this.takeIdentity(decision, chosen)
    this.takeLimit(decision)
    if (decision.code === ALLOW && chosen !== null) {
      this.allow(decision, chosen)
      return 'message'
    }
    takeRequestId(view, values.requestId)
    return this.refuse(decision, chosen === null ? this.unmatched : chosen.replies, isGrpcCall(view))
  }

  /** Composes our own failure after a throw, relying on as little as possible: in the profile's shape, or in that of no product. */
  composeFailure(decision: Decision, chosen: CheckProfile | null, isPlain: boolean): Composed {
    const { values } = this
    decision.code = UNAVAILABLE
    decision.slot = -1
    decision.limited = false
    decision.isPublic = false
    decision.missingCount = 0
    values.environment = values.missingScope = ''
    values.apiKeyId.length = values.organizationId.length = 0
    values.clientAddress.length = values.requestId.length = 0
    drawUuid7(values.unixMs, values.decisionUuid, values.decisionId)
    return this.refuse(decision, chosen === null || isPlain ? this.unmatched : chosen.replies, false)
  }

  private allow(decision: Decision, chosen: CheckProfile): void {
    const { written, values } = this
    this.status = 0
    const template = decision.isPublic ? undefined : templateFor(chosen.templates[decision.rule], values)
    if (template === undefined) {
      writeAllow(written, chosen.replies, decision, values)
      this.takeRange()
    } else {
      template.write(values, decision.limited)
      this.buffer = template
      this.start = 0
      this.end = template.bytes.length
    }
  }

  private takeRange(): void {
    this.buffer = this.written
    this.start = this.written.at
    this.end = this.written.bytes.length
  }

  private refuse(decision: Decision, replies: ProfileReplies, isGrpc: boolean): Composed {
    const { values, ownFailure } = this
    const isOurs = decision.code === UNAVAILABLE || decision.code === ALLOW
    if (isOurs) decision.code = UNAVAILABLE
    values.retryAfterSeconds =
      isOurs || !decision.limited
        ? drawRetrySeconds()
        : Math.max(1, Math.ceil(decision.charge.retryAfterMicros / 1_000_000))
    values.hasSupportId = replies.support !== null
    if (values.hasSupportId) drawUuid7(values.unixMs, this.supportUuid, values.supportId)
    this.status = denialOf(replies, decision.code).status
    if (isOurs && ownFailure === 'rpc-error') return 'rpc-failure'
    const field: FailureField = isOurs && ownFailure === 'error_response' ? 'error_response' : 'denied_response'
    writeDenial(this.written, replies, decision, values, isGrpc, field)
    this.takeRange()
    return 'message'
  }

  private takeIdentity(decision: Decision, chosen: CheckProfile | null): void {
    const { values, keys, environments } = this
    const { slot } = decision
    values.environment = values.missingScope = ''
    values.apiKeyId.length = values.organizationId.length = 0
    if (slot < 0) return
    values.apiKeyId.settle(keys.writeApiKeyId(slot, values.apiKeyId.octets, 0))
    values.organizationId.settle(keys.writeOrganizationId(slot, values.organizationId.octets, 0))
    const environment = keys.environment(slot)
    if (environment >= 0 && environment < environments.size) values.environment = environments.text(environment)
    if (decision.missingCount > 0 && chosen !== null) values.missingScope = missingScope(decision, chosen)
  }

  private takeLimit({ limited, charge }: Decision): void {
    const { values } = this
    values.limit = limited ? charge.limit : 0
    values.remaining = limited ? charge.remaining : 0
    values.resetUnixSeconds = limited ? unixSecondsCeil(charge.resetAt) : 0
  }
}

function templateFor(templates: readonly AllowTemplate[] | undefined, values: ReplyValues): AllowTemplate | undefined {
  if (templates === undefined) return undefined
  for (let i = 0; i < templates.length; i++) {
    const template = templates[i]
    if (template?.fits(values) === true) return template
  }
  return undefined
}

/** The names that the key lacks, joined as the profile joins them. */
function missingScope(decision: Decision, { profile, replies }: CheckProfile): string {
  const rule = profile.policy.routes.rules[decision.rule]
  if (rule === undefined) return ''
  if (decision.missingCount === rule.scopeNames.length) return rule.requiredScope
  const join = replies.scopeJoins[decision.rule] ?? ''
  let text = ''
  for (let i = 0; i < decision.missingCount; i++) {
    const name = rule.scopeNames[decision.missing[i] ?? 0] ?? ''
    text = i === 0 ? name : text + join + name
  }
  return text
}

const grpcType = 'application/grpc'
const PLUS = 0x2b

/** Whether Envoy takes the request for a gRPC call: the content type is `application/grpc` or starts with `application/grpc+`. */
function isGrpcCall(view: RequestView): boolean {
  const index = findHeader(view, 'content-type', 0)
  if (index < 0) return false
  const start = valueStart(view, index)
  const length = valueEnd(view, index) - start
  if (length < grpcType.length) return false
  for (let i = 0; i < grpcType.length; i++) if (view.bytes[start + i] !== grpcType.charCodeAt(i)) return false
  return length === grpcType.length || view.bytes[start + grpcType.length] === PLUS
}

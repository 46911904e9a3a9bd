// The one error that handlers throw on purpose: a reason of the catalogue, a text for people and typed details.
// The text and the details leave the process; the private cause never does.
import type { status } from '@grpc/grpc-js'
import { type ErrorReason, errorReasons, type FieldReason, type PreconditionReason } from './reasons.ts'

/** One thing that is wrong with one field of a request. */
export interface FieldViolation {
  /** Proto path, e.g. `api_key.allowlist[2].cidr`. */
  readonly field: string
  readonly reason: FieldReason
  /** What was found and what is accepted; holds no secret. */
  readonly message: string
}

/** What an error says beyond its reason and text. */
export interface RpcErrorDetails {
  /** Facts for machines, e.g. `{required: 'keys.write'}`. */
  readonly metadata?: Readonly<Record<string, string>>
  readonly violations?: readonly FieldViolation[]
  /** Name of the resource that the precondition is about. */
  readonly subject?: string
  readonly resource?: { readonly type: string; readonly name: string }
  /** When to try again. */
  readonly retryDelayMs?: number
  /** For the log only. */
  readonly cause?: unknown
}

/** Carries a stable reason to the caller. Anything else that is thrown reaches the caller as INTERNAL. */
export class RpcError extends Error {
  override readonly name = 'RpcError'
  readonly reason: ErrorReason
  readonly code: status
  readonly details: RpcErrorDetails

  constructor(reason: ErrorReason, message: string, details: RpcErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.reason = reason
    this.code = errorReasons[reason]
    this.details = details
  }
}

/** The error for a request with faulty fields: the reason of the one violation, or FIELD_INVALID for several. */
export function invalidArgument(violations: readonly FieldViolation[]): RpcError {
  const [first] = violations
  if (first === undefined) throw new Error('invalidArgument needs a violation')
  if (violations.length === 1) return new RpcError(first.reason, `${first.field}: ${first.message}`, { violations })
  const fields = [...new Set(violations.map(violation => violation.field))]
  if (fields.length === 1) {
    return new RpcError('FIELD_INVALID', `${first.field} is not valid for ${violations.length} reasons`, { violations })
  }
  const more = fields.length > namedFieldsMax ? ', …' : ''
  const named = fields.slice(0, namedFieldsMax).join(', ')
  return new RpcError('FIELD_INVALID', `${fields.length} fields are not valid: ${named}${more}`, { violations })
}

/** Fields named in the text of an error; the details list the others. */
const namedFieldsMax = 5

/** The error for a resource whose state does not allow the call. `subject` is its name. */
export function failedPrecondition(reason: PreconditionReason, subject: string, message: string): RpcError {
  return new RpcError(reason, message, { subject })
}

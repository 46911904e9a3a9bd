// The one mapper from what a handler threw to what the caller sees: a gRPC status with typed details.
// Guarantee: an error that is no RpcError leaves as a fixed text; its message, stack and cause stay here.
import { Metadata, type StatusObject, status } from '@grpc/grpc-js'
import type { Any } from '../gen/google/protobuf/any.ts'
import {
  BadRequest,
  ErrorInfo,
  PreconditionFailure,
  RequestInfo,
  ResourceInfo,
  RetryInfo,
} from '../gen/google/rpc/error_details.ts'
import { Status } from '../gen/google/rpc/status.ts'
import { RpcError } from './errors.ts'

/** ErrorInfo.domain of every error. */
export const errorDomain = 'gatewarden'

/** Metadata name under which the encoded google.rpc.Status travels. */
export const statusDetailsKey = 'grpc-status-details-bin'

/** Octets of field violations in one error: in base64 they must fit, with the rest, into the 16 KiB of headers that common clients accept. */
const violationOctetsMax = 8 * 1024

/** Code points of the text of an error, which travels percent-encoded in the same headers. */
const messageLengthMax = 512

/** What every caller sees of an error that nobody foresaw. */
export const internalText = 'Something went wrong inside the service. The request id leads to the cause in its log.'

/** What an unknown throw becomes: the caller sees only this. */
export function toRpcError(thrown: unknown): RpcError {
  return thrown instanceof RpcError ? thrown : new RpcError('INTERNAL', internalText, { cause: thrown })
}

/** The error with every text that a caller may have written put through `redact`: an error repeats no key. */
export function withoutKeys(error: RpcError, redact: (text: string) => string): RpcError {
  const { metadata, violations, subject, resource } = error.details
  return new RpcError(error.reason, redact(error.message), {
    ...error.details,
    ...(metadata === undefined
      ? {}
      : { metadata: Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, redact(value)])) }),
    ...(violations === undefined
      ? {}
      : {
          violations: violations.map(({ field, reason, message }) => ({
            field: redact(field),
            reason,
            message: redact(message),
          })),
        }),
    ...(subject === undefined ? {} : { subject: redact(subject) }),
    ...(resource === undefined ? {} : { resource: { type: resource.type, name: redact(resource.name) } }),
  })
}

/** The google.rpc.Status of an error, for the details of a call or a row of an import. */
export function toRpcStatus(error: RpcError, requestId: string): Status {
  const { violations, truncated } = boundedViolations(error)
  const info: Any[] = [
    pack('google.rpc.ErrorInfo', ErrorInfo, {
      reason: error.reason,
      domain: errorDomain,
      metadata: new Map(Object.entries({ ...error.details.metadata, ...truncated })),
    }),
  ]
  if (error.code === status.INVALID_ARGUMENT && violations.length > 0) {
    info.push(pack('google.rpc.BadRequest', BadRequest, { fieldViolations: violations }))
  }
  if (error.code === status.FAILED_PRECONDITION) {
    const violation = { type: error.reason, subject: error.details.subject ?? '', description: error.message }
    info.push(pack('google.rpc.PreconditionFailure', PreconditionFailure, { violations: [violation] }))
  }
  if (error.details.resource !== undefined) {
    const { type, name } = error.details.resource
    info.push(
      pack('google.rpc.ResourceInfo', ResourceInfo, {
        resourceType: type,
        resourceName: name,
        owner: '',
        description: '',
      }),
    )
  }
  if (error.details.retryDelayMs !== undefined) {
    info.push(pack('google.rpc.RetryInfo', RetryInfo, { retryDelay: durationOf(error.details.retryDelayMs) }))
  }
  info.push(pack('google.rpc.RequestInfo', RequestInfo, { requestId, servingData: '' }))
  return { code: error.code, message: cut(error.message), details: info }
}

/** The status object that ends a call of grpc-js with this error. */
export function toStatusObject(error: RpcError, requestId: string): StatusObject {
  const encoded = toRpcStatus(error, requestId)
  const metadata = new Metadata()
  metadata.set(statusDetailsKey, Buffer.from(Status.encode(encoded).finish()))
  return { code: error.code, details: encoded.message, metadata }
}

function boundedViolations(error: RpcError) {
  const all = (error.details.violations ?? []).map(({ field, reason, message }) => ({
    field,
    reason,
    description: message,
  }))
  let octets = 0
  const violations = all.filter(violation => {
    octets += BadRequest.encode({ fieldViolations: [violation] }).finish().length
    return octets <= violationOctetsMax
  })
  return { violations, truncated: violations.length < all.length ? { violations: String(all.length) } : {} }
}

function durationOf(ms: number) {
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: Math.round((ms % 1000) * 1e6) }
}

function cut(text: string): string {
  const points = [...text]
  return points.length <= messageLengthMax ? text : `${points.slice(0, messageLengthMax - 1).join('')}…`
}

function pack<Message>(
  name: string,
  type: { encode(message: Message): { finish(): Uint8Array } },
  message: Message,
): Any {
  return { typeUrl: `type.googleapis.com/${name}`, value: Buffer.from(type.encode(message).finish()) }
}

// Every reason that an error of this API can carry, with its gRPC code: one row each (admin-api.md section 7).
// A reason is for machines and never changes its meaning; a retired one is never used again.
import { status } from '@grpc/grpc-js'

/** Reason → gRPC status code. */
export const errorReasons = {
  FIELD_INVALID: status.INVALID_ARGUMENT,
  FIELD_REQUIRED: status.INVALID_ARGUMENT,
  FIELD_TOO_LONG: status.INVALID_ARGUMENT,
  FIELD_IMMUTABLE: status.INVALID_ARGUMENT,
  FIELD_MASK_INVALID: status.INVALID_ARGUMENT,
  FILTER_INVALID: status.INVALID_ARGUMENT,
  ORDER_INVALID: status.INVALID_ARGUMENT,
  PAGE_TOKEN_INVALID: status.INVALID_ARGUMENT,
  REQUEST_ID_INVALID: status.INVALID_ARGUMENT,
  REQUEST_ID_REUSED: status.INVALID_ARGUMENT,
  ENVIRONMENT_UNKNOWN: status.INVALID_ARGUMENT,
  SCOPE_UNKNOWN: status.INVALID_ARGUMENT,
  SCOPES_EMPTY: status.INVALID_ARGUMENT,
  SCOPES_CONFLICT: status.INVALID_ARGUMENT,
  SCOPE_MODE_NOT_ALLOWED: status.INVALID_ARGUMENT,
  EXPIRE_TIME_PAST: status.INVALID_ARGUMENT,
  EXPIRE_TIME_TOO_FAR: status.INVALID_ARGUMENT,
  EXPIRE_TIME_REQUIRED: status.INVALID_ARGUMENT,
  GRACE_OUT_OF_RANGE: status.INVALID_ARGUMENT,
  RATE_LIMIT_INVALID: status.INVALID_ARGUMENT,
  ID_TEMPLATE_MISMATCH: status.INVALID_ARGUMENT,
  IMPORT_HINT_MISMATCH: status.INVALID_ARGUMENT,
  INVALID_ENTRY: status.INVALID_ARGUMENT,
  HOST_BITS_SET: status.INVALID_ARGUMENT,
  PREFIX_TOO_SHORT: status.INVALID_ARGUMENT,
  PRIVATE_RANGE: status.INVALID_ARGUMENT,
  SPANS_MAPPED_RANGE: status.INVALID_ARGUMENT,
  DUPLICATE_ENTRY: status.INVALID_ARGUMENT,
  TOO_MANY_ENTRIES: status.INVALID_ARGUMENT,
  LABEL_TOO_LONG: status.INVALID_ARGUMENT,
  LABELS_NOT_SUPPORTED: status.INVALID_ARGUMENT,
  /** The request's octets are no message of the method. */
  MESSAGE_MALFORMED: status.INVALID_ARGUMENT,

  CLIENT_CERTIFICATE_REQUIRED: status.UNAUTHENTICATED,
  PRINCIPAL_UNKNOWN: status.UNAUTHENTICATED,
  ADMIN_KEY_INVALID: status.UNAUTHENTICATED,
  BOOTSTRAP_TOKEN_INVALID: status.UNAUTHENTICATED,

  ADMIN_SCOPE_MISSING: status.PERMISSION_DENIED,
  ORGANIZATION_NOT_PERMITTED: status.PERMISSION_DENIED,
  SCOPE_NOT_GRANTABLE: status.PERMISSION_DENIED,
  BOOTSTRAP_CLOSED: status.PERMISSION_DENIED,

  ORGANIZATION_UNKNOWN: status.NOT_FOUND,
  API_KEY_UNKNOWN: status.NOT_FOUND,
  PROFILE_UNKNOWN: status.NOT_FOUND,
  PRINCIPAL_NOT_FOUND: status.NOT_FOUND,
  ADMIN_KEY_NOT_FOUND: status.NOT_FOUND,

  ID_EXISTS: status.ALREADY_EXISTS,
  DIGEST_EXISTS: status.ALREADY_EXISTS,

  KEY_SUSPENDED: status.FAILED_PRECONDITION,
  KEY_EXPIRED: status.FAILED_PRECONDITION,
  KEY_REVOKED: status.FAILED_PRECONDITION,
  KEY_DELETED: status.FAILED_PRECONDITION,
  KEY_NOT_DELETED: status.FAILED_PRECONDITION,
  KEY_ALREADY_ROTATED: status.FAILED_PRECONDITION,
  KEY_NOT_ROTATING: status.FAILED_PRECONDITION,
  TOO_MANY_PREDECESSORS: status.FAILED_PRECONDITION,
  ORGANIZATION_SUSPENDED: status.FAILED_PRECONDITION,
  COUNT_MISMATCH: status.FAILED_PRECONDITION,
  PEPPER_NOT_PROPAGATED: status.FAILED_PRECONDITION,
  /** A pepper file of the service has another content than the database was told of: whoever runs it has to mend that. */
  PEPPER_MISMATCH: status.FAILED_PRECONDITION,
  HISTORY_CHANGED: status.FAILED_PRECONDITION,
  LAST_ROOT: status.FAILED_PRECONDITION,

  ETAG_MISMATCH: status.ABORTED,
  REQUEST_IN_PROGRESS: status.ABORTED,
  CONCURRENT_CHANGE: status.ABORTED,

  KEY_QUOTA: status.RESOURCE_EXHAUSTED,
  RATE_LIMITED: status.RESOURCE_EXHAUSTED,
  EXPORT_LIMIT: status.RESOURCE_EXHAUSTED,
  /** The database has no room to write; reads and checks go on. */
  STORE_FULL: status.RESOURCE_EXHAUSTED,

  STORE_UNAVAILABLE: status.UNAVAILABLE,

  /** The call's time is over; whether a change was made is unknown: repeat it with the same request_id. */
  DEADLINE_EXCEEDED: status.DEADLINE_EXCEEDED,
  /** The caller has left. */
  CANCELLED: status.CANCELLED,
  /** Part of the interface, not of this build. */
  METHOD_NOT_IMPLEMENTED: status.UNIMPLEMENTED,
  INTERNAL: status.INTERNAL,
} as const

export type ErrorReason = keyof typeof errorReasons

/** The reasons that a field of a request can be wrong for. */
export type FieldReason = {
  [Reason in ErrorReason]: (typeof errorReasons)[Reason] extends status.INVALID_ARGUMENT ? Reason : never
}[ErrorReason]

export type PreconditionReason = {
  [Reason in ErrorReason]: (typeof errorReasons)[Reason] extends status.FAILED_PRECONDITION ? Reason : never
}[ErrorReason]

/** Whether the text is one of our reasons, for readers of errors. */
export function isErrorReason(text: string): text is ErrorReason {
  return Object.hasOwn(errorReasons, text)
}

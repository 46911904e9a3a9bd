// One request in the usage log, as recording, joining, storing and querying share it: the names are those of the table
// usage_log (store/migrations/0002_usage.sql). Texts are sanitised and cut before they get here; none holds a secret, a
// query, or a character that could act in a terminal. '' always means: not known, or not kept by the profile.
import type { DenialReason } from '../core/reason.ts'
import type { Micros } from '../core/time.ts'

/** What the check knew when it answered. */
export interface UsageRow {
  /** Database time of the decision. */
  readonly time: Micros
  /** UUIDv7 in lower case; its time is that of `time`, to the millisecond. */
  readonly decisionId: string
  /** UUID of the process that answered: `sidecars.id`. */
  readonly sidecar: string
  /** '': no profile matched. */
  readonly profile: string
  readonly organizationId: string
  readonly apiKeyId: string
  readonly environment: string
  readonly method: string
  readonly host: string
  /** Without the query. */
  readonly path: string
  /** Path template of the rule, without the base path; '': unmapped. */
  readonly route: string
  /** Scopes that the rule needs, joined as the profile joins them. */
  readonly requiredScope: string
  readonly decision: UsageDecision
  /** '': allowed. */
  readonly reason: DenialReason | ''
  /** Status of the denial; 0: allowed. */
  readonly status: number
  /** Canonical text; '': could not be determined. */
  readonly clientIp: string
  /** How `clientIp` was found: the mode's name. */
  readonly clientIpMode: string
  /** Address of Envoy's immediate peer, canonical. */
  readonly directIp: string
  readonly userAgent: string
  readonly requestId: string
  readonly supportId: string
}

export type UsageDecision = 'allow' | 'deny'

/** What the proxy knew when the request had ended: the access-log half of a row. Null: not known. */
export interface AccessHalf {
  /** UUID of the decision it belongs to. */
  readonly decisionId: string
  readonly finalStatus: number | null
  readonly durationUs: number | null
  readonly requestBytes: number | null
  readonly responseBytes: number | null
  readonly responseFlags: string
  readonly upstream: string
  readonly grpcStatus: number | null
}

/**
 * Gives the half of a decision that is about to be stored, if it has come already, and forgets it. Asked once a stored
 * row, by decision id; must not wait.
 */
export type TakeAccessHalf = (decisionId: string) => AccessHalf | undefined

/** Characters kept of a text, in UTF-8 octets: what is longer is cut at a character. */
export const usageTextMax = {
  method: 32,
  host: 255,
  path: 1024,
  route: 256,
  requiredScope: 256,
  userAgent: 256,
  requestId: 128,
  name: 128,
} as const

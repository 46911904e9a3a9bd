// A profile after compilation: the decision policy, the renderings of every denial, and what admin needs to know.
// Frozen; made only by compile.ts; swapped as one reference.
import type { AllowlistRules } from '../core/allowlist.ts'
import type { DecisionPolicy } from '../core/policy.ts'
import type { DecisionCode, DenialReason } from '../core/reason.ts'
import type { CompiledFacade } from './compiled-facade.ts'
import type { usageFields } from './schema.ts'
import type { TimestampForm } from './timestamp-form.ts'

/** Values that exist only when a reply is written (profiles.md d.1 placeholders). */
export const insertionNames = [
  'support_id',
  'request_id',
  'decision_id',
  'now',
  'key_environment',
  'required_scope',
  'retry_after',
  'limit',
  'remaining',
  'reset_unix',
] as const

export type InsertionName = (typeof insertionNames)[number]

/** Characters of `x-request-id` that a reply repeats at most; whoever fills a hole cuts it here. A UUID has 36. */
export const requestIdLengthMax = 128

/**
 * Text with holes, encoded at compile time: piece 0, value of hole 0, piece 1, value of hole 1, …, last piece.
 * In a JSON body a hole of form `json-string-part` stands inside quotes that belong to the pieces and takes the value JSON-escaped;
 * a `json-value` hole takes a number in decimal digits (the only typed values that are open at compile time). `text` stands in
 * header values and messages: printable ASCII.
 */
export interface Template<Name extends string = InsertionName> {
  /** UTF-8; always one more than holes. */
  readonly pieces: readonly Buffer[]
  readonly holes: readonly { readonly name: Name; readonly form: 'json-string-part' | 'json-value' | 'text' }[]
}

/** How one denial reason is shown to a client. */
export interface Rendering {
  /** Name in the profile, e.g. `invalid`. */
  readonly name: string
  readonly reason: DenialReason
  /** 400–599. */
  readonly status: number
  /** gRPC status for gRPC clients, 1–16. */
  readonly grpcStatus: number
  /** The whole body. */
  readonly body: Template
  /** The message text alone: `grpc-message` for gRPC clients. */
  readonly message: Template
  /** Header names lower-case, in order; content-type and the profile's common headers included. */
  readonly headers: readonly { readonly name: string; readonly value: Template }[]
  readonly documented: 'true' | 'partial' | 'false'
}

/** One scope of the vocabulary. */
export interface ScopeDefinition {
  readonly name: string
  readonly grantableBy: readonly ('developer' | 'operator')[]
  readonly inAll: boolean
}

/** What admin reads of a profile; durations in milliseconds. */
export interface ManagementRules {
  /** In the profile's order: the first is the default environment. */
  readonly environments: readonly { readonly name: string; readonly prefix: string; readonly label: string }[]
  /** In vocabulary order. */
  readonly scopes: readonly ScopeDefinition[]
  readonly emptyScopes: 'refuse' | 'none' | 'all'
  readonly ids: { readonly apiKey: string; readonly organization: string; readonly support: string | null }
  readonly importable: boolean
  readonly ipRules: AllowlistRules & { readonly singleDisplay: 'cidr' | 'bare' }
  readonly rotation: {
    readonly defaultMs: number
    readonly minMs: number
    readonly maxMs: number
    readonly maxLivePredecessors: number
  }
  readonly expiry: { readonly required: boolean; readonly maxLifetimeMs: number | null; readonly minAheadMs: number }
}

/** What the usage log keeps of this profile's requests, and how its rows are shown (profiles.md d.1 `usage_log`). */
export interface UsageRules {
  /** Whether allowed requests are recorded as well. */
  readonly record: 'all' | 'denied'
  /** Members of a record that are kept. Time, decision id, organization, decision and reason are kept always. */
  readonly fields: readonly UsageField[]
  /** Members that an organization's own users may filter by. */
  readonly filters: readonly string[]
  /** Default columns of an export, in order. */
  readonly csvColumns: readonly UsageField[]
  readonly retentionMs: number
}

/** Request headers set towards the upstream on allow; null: not set. */
export interface UpstreamHeaders {
  readonly organization: string | null
  readonly apiKey: string | null
  readonly environment: string | null
  readonly scope: string | null
}

/** A member of a usage record, as profiles name it. */
export type UsageField = (typeof usageFields)[number]

export interface CompiledProfile {
  readonly name: string
  readonly version: number
  /** Lower-case hex SHA-256 of the canonical YAML. */
  readonly digest: string
  readonly hosts: readonly string[]
  readonly policy: DecisionPolicy
  /** Indexed by `DecisionCode`: one rendering for every denial reason. */
  readonly renderings: readonly Rendering[]
  readonly forwardCredential: 'strip' | 'keep'
  readonly upstream: UpstreamHeaders
  /** Names of the limit, remaining and reset headers, in this order; empty: none are sent. */
  readonly limitHeaders: readonly string[]
  readonly management: ManagementRules
  readonly usageLog: UsageRules
  readonly timestamps: TimestampForm
  /** The product's own HTTP endpoints; null: none. */
  readonly facade: CompiledFacade | null
  /** Source text, for GetProfile. */
  readonly yaml: string
}

/** The rendering of a code; an unknown code is our own failure. */
export function renderingOf(profile: CompiledProfile, code: DecisionCode): Rendering {
  const rendering = profile.renderings[code] ?? profile.renderings[0]
  if (rendering === undefined) throw new Error('a compiled profile has a rendering for every reason')
  return rendering
}

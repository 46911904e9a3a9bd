// A product's own HTTP endpoints after compilation (profiles.md d.1 `facade`, admin-api.md section 9): members, answers, texts.
// Frozen with the profile; holds every word a client reads, so that no code does.
import type { Template } from './compiled-profile.ts'

/** Values that exist when an answer of the facade is written. */
export const facadeValueNames = [
  'support_id',
  'request_id',
  'now',
  'api_key_id',
  'organization_id',
  'environment',
  'display_name',
  'description',
  'secret',
  'scopes',
  'allowlist',
  'expire_time',
  'create_time',
  'update_time',
  'usage_metrics',
  'total_requests',
  'last_used_at',
  'field_errors',
] as const

export type FacadeValueName = (typeof facadeValueNames)[number]

/** Settings of an API key that a request may give. */
export const facadeFields = ['display_name', 'description', 'scopes', 'allowlist', 'expire_time'] as const

export type FacadeField = (typeof facadeFields)[number]

/** What can be wrong with a member of a request; each has a text of its own. */
export const facadeFaults = [
  'required',
  'too_long',
  'wrong_type',
  'unknown_scope',
  'not_grantable',
  'invalid_entry',
  'too_many',
  'invalid_time',
  'past_time',
  'unknown_field',
] as const

export type FacadeFault = (typeof facadeFaults)[number]

/** What a text about a member may name. */
export const facadeMessageNames = ['title', 'value', 'max'] as const

export type FacadeMessageName = (typeof facadeMessageNames)[number]

/** One member of a request. */
export interface FacadeMember {
  readonly name: string
  readonly field: FacadeField
  /** Name of the member in messages. */
  readonly title: string
  readonly required: boolean
  /** Code points; null: the engine's bound. */
  readonly maxLength: number | null
  /** Whether null means the same as no member; of lists and required members it does anyway. */
  readonly nullable: boolean
}

/** One kind of answer. In the body a `json-value` hole takes JSON text. */
export interface FacadeAnswer {
  readonly status: number
  readonly body: Template<FacadeValueName>
}

/** The call that creates an API key. */
export interface CreateCall {
  readonly method: string
  /** Without query, as the product's clients write it. */
  readonly path: string
  /** In the order of the profile. */
  readonly members: readonly FacadeMember[]
  /** What the route rule of the call asks of the calling key. */
  readonly requires: { readonly mode: 'all' | 'any'; readonly scopes: readonly string[]; readonly join: string }
  readonly success: FacadeAnswer
  readonly invalid: FacadeAnswer
  /** The object of `usage_metrics`; null: JSON null. */
  readonly usageMetrics: Template<FacadeValueName> | null
  /** Pieces of each text: literals, and names of what varies. */
  readonly fieldMessages: Readonly<Record<FacadeFault, readonly (string | { readonly hole: FacadeMessageName })[]>>
}

export interface CompiledFacade {
  readonly createApiKey: CreateCall
}

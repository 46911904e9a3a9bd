// The compiled policy as far as a decision reads it: frozen, made by the profile compiler, never by hand.
// It holds no error text: how a reason is shown to a client is the profile's rendering (profile/compiled-profile.ts).
import type { LimitAlgorithm, LimitSpec } from './limit-spec.ts'
import type { CheckStep, DecisionCode } from './reason.ts'
import type { RouteTable } from './route-table.ts'
import type { ScopeSet } from './scope-set.ts'
import type { SecretGrammar } from './secret-grammar.ts'

/** One header that may carry the secret (profiles.md d.1 `credential.sources`). */
export interface CredentialSource {
  /** Lower-case header name. */
  readonly header: string
  /** Scheme word before the secret, compared without case; null: the raw value is the secret. */
  readonly scheme: string | null
  /** Whether a value without the scheme is taken as the secret. */
  readonly bare: boolean
}

/** A profile's limit for keys that carry none of their own, and how all limits of the profile count. */
export interface PolicyLimits {
  readonly algorithm: LimitAlgorithm
  /** Own bucket of each API key; null: unlimited unless the key says otherwise. */
  readonly default: LimitSpec | null
  /** gcra burst for keys with a limit of their own; null: their limit. */
  readonly burst: number | null
  /** Decision codes that consume although denied (only reasons of steps after `state`). */
  readonly chargeDenied: ReadonlySet<DecisionCode>
}

/** Everything `decide` needs to know of a profile. */
export interface DecisionPolicy {
  readonly name: string
  /** Number of `name` in `Names.profiles`: a key of another profile is unknown here. */
  readonly profile: number
  readonly sources: readonly CredentialSource[]
  readonly grammar: SecretGrammar
  readonly routes: RouteTable
  /** Order of evaluation; the first three are always credential, state, environment. */
  readonly checks: readonly CheckStep[]
  /** What a key with scope mode ALL holds. */
  readonly allScopes: ScopeSet
  /** What no allowlist entry means. */
  readonly emptyAllowlist: 'any' | 'none'
  /** Numbers (`Names.environments`) this deployment accepts; null: all. */
  readonly acceptedEnvironments: ReadonlySet<number> | null
  readonly limits: PolicyLimits
}

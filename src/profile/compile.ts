// Turns a profile that passed lint into its frozen form: decision policy, encoded renderings, rules for administration.
// Deterministic: the same document, names and deployment give the same policy. Never called with a document that has errors.

import type { Names } from '../core/names.ts'
import type { DecisionPolicy } from '../core/policy.ts'
import type { CheckStep } from '../core/reason.ts'
import { compileRouteTable } from '../core/route-table.ts'
import { scopeSetOf } from '../core/scope-set.ts'
import { compileSecretGrammar } from '../core/secret-grammar.ts'
import { compileFacade } from './compile-facade.ts'
import { compileRenderings } from './compile-renderings.ts'
import { compileLimits, compileRouteOptions, compileRules } from './compile-routes.ts'
import type { CompiledProfile, ManagementRules, UsageRules } from './compiled-profile.ts'
import { deepFreeze } from './deep-freeze.ts'
import type { ProfileDocument } from './schema.ts'
import { offsetMinutesOf } from './timestamp-form.ts'
import { scopeDefinitions } from './vocabulary.ts'

/** What compilation needs to know of the process and its deployment. */
export interface CompileOptions {
  /** Name tables of this process; new names of the profile are added. */
  readonly names: Names
  /** `env` in product bodies (E1). */
  readonly deploymentEnvironment: string
  /** Key environments this deployment accepts, by name; null: all. Names that a profile does not have are ignored by it. */
  readonly acceptedEnvironments: readonly string[] | null
}

/** The text a profile was read from. */
export interface ProfileText {
  readonly yaml: string
  /** See digest.ts. */
  readonly digest: string
}

/** Compiles a sound profile. @throws Error when the profile has errors that lint would have found. */
export function compileProfile(profile: ProfileDocument, text: ProfileText, options: CompileOptions): CompiledProfile {
  return deepFreeze({
    name: profile.metadata.name,
    version: profile.metadata.version,
    digest: text.digest,
    hosts: profile.select.hosts,
    policy: compilePolicy(profile, options),
    renderings: compileRenderings(profile, options.deploymentEnvironment),
    forwardCredential: profile.credential.forward,
    upstream: {
      organization: profile.upstream.organization,
      apiKey: profile.upstream.api_key,
      environment: profile.upstream.environment,
      scope: profile.upstream.scope,
    },
    limitHeaders: profile.rate_limit.headers,
    management: compileManagement(profile),
    usageLog: compileUsageLog(profile),
    timestamps: {
      format: profile.timestamps.format,
      offsetMinutes: offsetMinutesOf(profile.timestamps.offset),
    },
    facade: compileFacade(profile, options.deploymentEnvironment),
    yaml: text.yaml,
  })
}

function compilePolicy(profile: ProfileDocument, options: CompileOptions): DecisionPolicy {
  const { names, acceptedEnvironments } = options
  const inAll = scopeDefinitions(profile.scopes).filter(scope => scope.inAll)
  // Frozen by hand: route table and grammar are opaque, what they hold inside is theirs.
  return Object.freeze({
    name: profile.metadata.name,
    profile: names.profiles.intern(profile.metadata.name),
    sources: deepFreeze(profile.credential.sources),
    grammar: compileSecretGrammar({
      prefixes: Object.entries(profile.environments).map(([name, { prefix }]) => ({
        environment: names.environments.intern(name),
        prefix,
      })),
      maxLength: profile.key.max_length,
      issued: {
        alphabet: profile.key.issued.alphabet,
        secretLength: profile.key.issued.secret_length,
        suffix: profile.key.issued.suffix,
      },
      imported: profile.key.imported,
    }),
    routes: compileRouteTable(
      deepFreeze(compileRules(profile, names)),
      deepFreeze(compileRouteOptions(profile.routes)),
    ),
    checks: deepFreeze(profile.checks as readonly CheckStep[]),
    allScopes: Object.freeze(scopeSetOf(inAll.map(scope => names.scopes.intern(scope.name)))),
    emptyAllowlist: profile.ip_rules.empty,
    acceptedEnvironments:
      acceptedEnvironments === null ? null : new Set(acceptedEnvironments.map(name => names.environments.intern(name))),
    limits: deepFreeze(compileLimits(profile.rate_limit)),
  })
}

function compileManagement(profile: ProfileDocument): ManagementRules {
  const { ip_rules: ip, rotation, expiry } = profile
  return {
    environments: Object.entries(profile.environments).map(([name, { prefix, label }]) => ({ name, prefix, label })),
    scopes: scopeDefinitions(profile.scopes),
    emptyScopes: profile.scopes.empty,
    ids: { apiKey: profile.ids.api_key, organization: profile.ids.organization, support: profile.ids.support },
    importable: profile.key.imported.length > 0,
    ipRules: {
      minPrefix: ip.min_prefix,
      maxEntries: ip.max_entries,
      labels: { allowed: ip.labels.allowed, maxLength: ip.labels.max_length },
      private: ip.private,
      privateRanges: ip.private_ranges,
      hostBits: ip.host_bits,
      singleDisplay: ip.single_display,
    },
    rotation: {
      defaultMs: rotation.grace.default,
      minMs: rotation.grace.min,
      maxMs: rotation.grace.max,
      maxLivePredecessors: rotation.max_live_predecessors,
    },
    expiry: { required: expiry.required, maxLifetimeMs: expiry.max_lifetime, minAheadMs: expiry.min_ahead },
  }
}

function compileUsageLog({ usage_log: log }: ProfileDocument): UsageRules {
  return {
    record: log.record,
    fields: log.fields,
    filters: log.filters,
    csvColumns: log.csv.columns,
    retentionMs: log.retention,
  }
}

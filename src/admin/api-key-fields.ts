// The settings of an API key as a request gives them, held against the profile: every violation is added, nothing is repaired.
// Create, Update, Rotate and Import read the same settings by the same functions.

import { parseAddress } from '../core/address.ts'
import { type AllowlistEntry as CoreEntry, excludes, judgeAllowlist } from '../core/allowlist.ts'
import type { OwnLimit } from '../core/api-key-entry.ts'
import type { Micros } from '../core/time.ts'
import { type AllowlistEntry, type RateLimit, ScopeMode, type Warning } from '../gen/gatewarden/admin/v1/resources.ts'
import type { Duration } from '../gen/google/protobuf/duration.ts'
import type { Timestamp } from '../gen/google/protobuf/timestamp.ts'
import type { CompiledProfile, ManagementRules } from '../profile/compiled-profile.ts'
import { RpcError } from '../rpc/errors.ts'
import type { GrantClass } from './permission.ts'
import { quoted } from './text-fields.ts'
import type { Violations } from './violations.ts'
import { durationMicrosOf, microsOf } from './wire-time.ts'

/** What a key may do: its mode and its scopes, sorted, without duplicates, empty with ALL. */
export interface ScopeGrant {
  readonly scopeMode: 'LISTED' | 'ALL'
  readonly scopes: readonly string[]
}

/** Bounds of rate-limits.md section 1. */
const limitMax = 1_000_000n
const windowMinMicros = 1_000_000
const windowMaxMicros = 31 * 86_400_000_000
/** A finer interval between two requests could not be told apart in microseconds. */
const intervalMinMicros = 100

/** Scopes of a request that are looked at: more than any vocabulary holds. */
export const scopesMax = 1024

/** The environment of a new key: the profile's first if none is named. */
export function readEnvironment(given: string, field: string, rules: ManagementRules, violations: Violations): string {
  const [first] = rules.environments
  if (given === '' && first !== undefined) return first.name
  if (rules.environments.some(environment => environment.name === given)) return given
  const known = rules.environments.map(environment => environment.name).join(', ')
  violations.add(field, 'ENVIRONMENT_UNKNOWN', `${quoted(given)} is none of ${known}.`)
  return given
}

/** Scopes as stored: each in the vocabulary, sorted, without duplicates. */
export function readScopeList(
  given: readonly string[],
  field: string,
  rules: ManagementRules,
  violations: Violations,
): readonly string[] {
  if (given.length > scopesMax) {
    violations.add(field, 'FIELD_INVALID', `There are more than ${scopesMax} scopes.`)
    return []
  }
  const known = new Set(rules.scopes.map(scope => scope.name))
  given.forEach((scope, index) => {
    if (known.has(scope)) return
    violations.add(`${field}[${index}]`, 'SCOPE_UNKNOWN', `${quoted(scope)} is not a scope of the profile.`)
  })
  return [...new Set(given)].sort()
}

/** What a new key is granted. `emptyScopes`: what no scopes mean; for imported keys that is nothing, whatever the profile says. */
export function readNewGrant(
  mode: ScopeMode,
  given: readonly string[],
  path: string,
  rules: ManagementRules,
  emptyScopes: ManagementRules['emptyScopes'],
  violations: Violations,
): ScopeGrant {
  const scopes = readScopeList(given, `${path}scopes`, rules, violations)
  checkMode(mode, path, violations)
  if (mode === ScopeMode.ALL) return allScopes(scopes, path, rules, violations)
  if (scopes.length > 0 || emptyScopes === 'none') return { scopeMode: 'LISTED', scopes }
  if (emptyScopes === 'all' && mode === ScopeMode.SCOPE_MODE_UNSPECIFIED) return { scopeMode: 'ALL', scopes: [] }
  violations.add(`${path}scopes`, 'SCOPES_EMPTY', 'Name at least one scope.')
  return { scopeMode: 'LISTED', scopes }
}

function checkMode(mode: ScopeMode, path: string, violations: Violations): void {
  if (Object.values<number>(ScopeMode).includes(mode)) return
  violations.add(`${path}scope_mode`, 'FIELD_INVALID', `${mode} is not a scope mode.`)
}

function allScopes(
  scopes: readonly string[],
  path: string,
  rules: ManagementRules,
  violations: Violations,
): ScopeGrant {
  if (rules.emptyScopes !== 'all') {
    violations.add(`${path}scope_mode`, 'SCOPE_MODE_NOT_ALLOWED', 'Keys of this profile list their scopes.')
  }
  if (scopes.length > 0) violations.add(`${path}scopes`, 'SCOPES_CONFLICT', 'With scope mode ALL no scope is listed.')
  return { scopeMode: 'ALL', scopes: [] }
}

/** What a change of an existing key asks for: members that are not meant are null. */
export interface GrantChange {
  readonly mode: ScopeMode | null
  readonly scopes: readonly string[] | null
  /** Whether the caller named the fields itself: ALL is never granted by silence. */
  readonly explicit: boolean
}

/** The grant after a change. */
export function readChangedGrant(
  current: ScopeGrant,
  change: GrantChange,
  path: string,
  maskField: string,
  rules: ManagementRules,
  violations: Violations,
): ScopeGrant {
  const scopes = change.scopes === null ? null : readScopeList(change.scopes, `${path}scopes`, rules, violations)
  if (change.mode !== null) checkMode(change.mode, path, violations)
  if (change.mode === ScopeMode.ALL) {
    if (current.scopeMode !== 'ALL' && !change.explicit) {
      violations.add(maskField, 'FIELD_MASK_INVALID', 'To grant all scopes name scope_mode in the mask.')
    }
    return current.scopeMode === 'ALL' && (scopes ?? []).length === 0
      ? current
      : allScopes(scopes ?? [], path, rules, violations)
  }
  if (change.mode === null && current.scopeMode === 'ALL') {
    if (scopes !== null && scopes.length > 0) {
      violations.add(`${path}scopes`, 'SCOPES_CONFLICT', 'The key holds all scopes; set scope_mode to LISTED as well.')
    }
    return current
  }
  const listed = { scopeMode: 'LISTED', scopes: scopes ?? current.scopes } as const
  if (listed.scopes.length === 0 && !(current.scopeMode === 'LISTED' && current.scopes.length === 0)) {
    violations.add(`${path}scopes`, 'SCOPES_EMPTY', 'Name at least one scope.')
  }
  return listed
}

/** The scopes that a grant amounts to. */
export function grantedScopes(grant: ScopeGrant, rules: ManagementRules): readonly string[] {
  if (grant.scopeMode === 'LISTED') return grant.scopes
  return rules.scopes.filter(scope => scope.inAll).map(scope => scope.name)
}

/**
 * Refuses scopes that the caller's class may not give away. A scope that has left the vocabulary is left to operators.
 * @throws RpcError SCOPE_NOT_GRANTABLE
 */
export function requireGrantable(
  scopes: readonly string[],
  grantClass: GrantClass | null,
  rules: ManagementRules,
): void {
  const definitions = new Map(rules.scopes.map(scope => [scope.name, scope]))
  const refused = scopes.filter(scope => {
    if (grantClass === null) return true
    const definition = definitions.get(scope)
    return definition === undefined ? grantClass !== 'operator' : !definition.grantableBy.includes(grantClass)
  })
  if (refused.length === 0) return
  const text = `The caller may not grant ${refused.join(', ')}.`
  throw new RpcError('SCOPE_NOT_GRANTABLE', text, { metadata: { scopes: refused.join(',') } })
}

/** The allowlist in canonical form, with warnings. */
export function readAllowlist(
  given: readonly AllowlistEntry[],
  field: string,
  profile: CompiledProfile,
  callerAddress: string,
  violations: Violations,
): { readonly entries: readonly CoreEntry[]; readonly warnings: readonly Warning[] } {
  const verdict = judgeAllowlist(given, profile.management.ipRules)
  for (const { index, field: member, reason, message, suggestion } of verdict.violations) {
    violations.add(reason === 'TOO_MANY_ENTRIES' ? field : `${field}[${index}].${member}`, reason, message)
    if (suggestion !== '') violations.suggest(suggestion)
  }
  const warnings = verdict.warnings.map(({ index, reason, message }) => ({
    code: reason,
    field: `${field}[${index}].cidr`,
    message,
  }))
  if (verdict.violations.length === 0 && excludesCaller(verdict.entries, callerAddress, profile)) {
    const message = `None of the entries contains the caller's address ${callerAddress}.`
    warnings.push({ code: 'EXCLUDES_CALLER', field, message })
  }
  return { entries: verdict.entries, warnings }
}

/** Whether the entries keep out the caller. An address that cannot be read proves nothing. */
export function excludesCaller(entries: readonly CoreEntry[], address: string, profile: CompiledProfile): boolean {
  const caller = parseAddress(address)
  return caller !== null && excludes(entries, caller, profile.policy.emptyAllowlist)
}

/** The expiry; null: never. `createAt` is where the longest lifetime counts from. `mayBePast`: an imported key may be expired. */
export function readExpiry(
  given: Timestamp | undefined,
  field: string,
  rules: ManagementRules['expiry'],
  times: { readonly now: Micros; readonly createAt: Micros; readonly mayBePast: boolean },
  violations: Violations,
): Micros | null {
  if (given === undefined) {
    if (rules.required) violations.add(field, 'EXPIRE_TIME_REQUIRED', 'Keys of this profile expire.')
    return null
  }
  const expireAt = microsOf(given)
  if (expireAt === 'invalid') violations.add(field, 'FIELD_INVALID', 'It is not a timestamp.')
  else if (expireAt === 'before' || (expireAt !== 'after' && !times.mayBePast && isPast(expireAt, rules, times.now))) {
    violations.add(field, 'EXPIRE_TIME_PAST', 'It must lie in the future.')
  } else if (expireAt === 'after' || isTooFar(expireAt, rules, times.createAt)) {
    violations.add(field, 'EXPIRE_TIME_TOO_FAR', 'It lies beyond the longest lifetime of a key.')
  } else return expireAt
  return null
}

/** An end equal to now has been reached. */
function isPast(expireAt: Micros, rules: ManagementRules['expiry'], now: Micros): boolean {
  return expireAt <= now || expireAt < now + rules.minAheadMs * 1000
}

function isTooFar(expireAt: Micros, rules: ManagementRules['expiry'], createAt: Micros): boolean {
  return rules.maxLifetimeMs !== null && expireAt > createAt + rules.maxLifetimeMs * 1000
}

/** The key's own limit; null: the profile's. */
export function readRateLimit(given: RateLimit | undefined, field: string, violations: Violations): OwnLimit | null {
  if (given === undefined) return null
  const { limit } = given
  const windowMicros = readWindow(given.window, field, violations)
  if (limit === undefined || limit < 0n || limit > limitMax) {
    const message = `Give a number of requests from 0 to ${limitMax}; without rate_limit the profile's holds.`
    violations.add(`${field}.limit`, 'RATE_LIMIT_INVALID', message)
    return null
  }
  if (windowMicros === null) return null
  if (windowMicros < Number(limit) * intervalMinMicros) {
    violations.add(field, 'RATE_LIMIT_INVALID', 'It allows more than one request in 100 microseconds.')
  }
  return { limit: Number(limit), windowMicros }
}

function readWindow(given: Duration | undefined, field: string, violations: Violations): number | null {
  const micros = given === undefined ? null : durationMicrosOf(given)
  if (micros !== null && micros >= windowMinMicros && micros <= windowMaxMicros) return micros
  violations.add(`${field}.window`, 'RATE_LIMIT_INVALID', 'Give a window from 1 second to 31 days.')
  return null
}

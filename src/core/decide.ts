// What allow and deny mean: one total function from a request, a policy and the table to one decision.
// Its memory starts as a denial and each step can only pass or name its reason; nothing here waits, throws, draws
// randomness or reads a clock. Order: profiles.md (c), with D13, D14, D17, K1–K6.
import { findPathEnd } from './canonical-path.ts'
import { type CredentialRange, FOUND, findCredential } from './credential.ts'
import {
  type ChargeResult,
  KEY_ALL_SCOPES,
  KEY_DELETED,
  KEY_INVALID,
  KEY_ORGANIZATION_SUSPENDED,
  KEY_REVOKED,
  KEY_SUSPENDED,
  type KeyLookup,
  type LimitCharger,
  MISS,
} from './key-lookup.ts'
import type { LimitSpec } from './limit-spec.ts'
import type { DecisionPolicy } from './policy.ts'
import { ALLOW, codeOf, type DecisionCode } from './reason.ts'
import { equalsText, findHeader, type RequestView, valueEnd, valueStart } from './request-view.ts'
import { matchPath, matchRoute, type RouteRule, UNMAPPED } from './route-table.ts'
import { hasScope } from './scope-set.ts'
import { checksumHolds, FORM_IMPORTED, FORM_NONE, recognise } from './secret-grammar.ts'
import type { Micros } from './time.ts'

/** Steps of `DecisionPolicy.checks` that are always the first ones: credential, state, environment. */
const fixedSteps = 3

/** Scopes of one rule that can be reported missing: the vocabulary's bound. */
const missingScopesMax = 512

/** The outcome of one check. One instance is reused; a new one says that we failed. */
export interface Decision {
  /** `ALLOW` or the code of a denial reason. */
  code: DecisionCode
  /** Slot of the API key once the look-up has found it, good within this check only; else -1. */
  slot: number
  /** Index of the rule that the request falls under, or `UNMAPPED`. */
  rule: number
  /** Decided before any credential: no key, no identity. */
  isPublic: boolean
  /** Positions in the rule's `scopes` that the key lacks, `missing[0, missingCount)`; for `any` all of them. */
  readonly missing: Uint16Array
  missingCount: number
  /** Whether `charge` describes a limit: the key's own on an allow, the refusing one on `rate_limited`. */
  limited: boolean
  readonly charge: ChargeResult
}

export function createDecision(): Decision {
  return {
    code: UNAVAILABLE,
    slot: -1,
    rule: UNMAPPED,
    isPublic: false,
    missing: new Uint16Array(missingScopesMax),
    missingCount: 0,
    limited: false,
    charge: createChargeResult(),
  }
}

/** What a check is decided on beside the request. */
export interface DecisionState {
  readonly keys: KeyLookup
  readonly limits: LimitCharger
}

const UNAVAILABLE = codeOf('authz_unavailable')
const REQUEST_MALFORMED = codeOf('request_malformed')
const CREDENTIAL_MALFORMED = codeOf('credential_malformed')
const CHECK_FAILED = codeOf('credential_check_failed')
const UNKNOWN = codeOf('credential_unknown')
const DELETED = codeOf('deleted')
const REVOKED = codeOf('revoked')
const ROTATED_OUT = codeOf('rotated_out')
const EXPIRED = codeOf('expired')
const ORGANIZATION_SUSPENDED = codeOf('organization_suspended')
const SUSPENDED = codeOf('suspended')
const ENVIRONMENT_MISMATCH = codeOf('environment_mismatch')
const ROUTE_UNMAPPED = codeOf('route_unmapped')
const INSUFFICIENT_SCOPE = codeOf('insufficient_scope')
const IP_UNDETERMINABLE = codeOf('ip_undeterminable')
const IP_NOT_ALLOWED = codeOf('ip_not_allowed')
const RATE_LIMITED = codeOf('rate_limited')

/** A step has nothing against the request. No decision code. */
const PASS = -1

const credential: CredentialRange = { start: 0, end: 0 }
/** The result of charging a denied request, which nobody reads. */
const unread = createChargeResult()
/** A key's own limit, written anew for each check. */
const ownLimit: { -readonly [K in keyof LimitSpec]: LimitSpec[K] } = {
  bucket: 0,
  algorithm: 'window_from_first_request',
  limit: 0,
  windowMicros: 0,
  burst: 0,
}
const noLimits: readonly LimitSpec[] = []

/**
 * Decides one request. `policy` is null when no profile matches (D21). `fresh` says whether the table may be used and
 * `now` is database time, both read after the request's octets were in memory. Resets and fills `out`.
 */
export function decide(
  request: RequestView,
  policy: DecisionPolicy | null,
  state: DecisionState,
  fresh: boolean,
  now: Micros,
  out: Decision,
): DecisionCode {
  out.code = UNAVAILABLE
  out.slot = -1
  out.rule = UNMAPPED
  out.isPublic = false
  out.missingCount = 0
  out.limited = false
  const code = settle(request, policy, state, fresh, now, out)
  out.code = code
  return code
}

function settle(
  request: RequestView,
  policy: DecisionPolicy | null,
  state: DecisionState,
  fresh: boolean,
  now: Micros,
  out: Decision,
): DecisionCode {
  if (!isWellFormed(request)) return REQUEST_MALFORMED
  if (policy === null) return ROUTE_UNMAPPED
  const rule = findRule(request, policy, out)
  if (out.isPublic) return ALLOW
  const refused = findCredential(request, policy.sources, credential)
  if (refused !== FOUND) return refused
  const unknown = findKey(request, policy, state.keys, fresh, now, out)
  if (unknown !== PASS) return unknown
  const inactive = stateStep(state.keys, out.slot, now)
  if (inactive !== PASS) {
    // A row that cannot be read names nobody.
    if (inactive === UNAVAILABLE) out.slot = -1
    return inactive
  }
  const own = ownLimitOf(policy, state.keys, out.slot)
  const denied = laterSteps(request, policy, state, rule, own, now, out)
  if (denied === ALLOW) return ALLOW
  if (policy.limits.chargeDenied.has(denied)) {
    state.limits.charge(out.slot, own, rule === undefined ? noLimits : rule.limits, now, unread)
  }
  return denied
}

/** Whether there is an HTTP request with one canonical path. */
function isWellFormed(request: RequestView): boolean {
  if (!request.http) return false
  const { bytes, pathStart, pathEnd } = request
  request.pathStop = findPathEnd(bytes, pathStart, pathEnd)
  if (request.pathStop < 0 || isMethod(request, 'CONNECT')) return false
  for (let index = findHeader(request, ':path', 0); index >= 0; index = findHeader(request, ':path', index + 1)) {
    if (!isSame(bytes, valueStart(request, index), valueEnd(request, index), pathStart, pathEnd)) return false
  }
  return true
}

function isMethod(request: RequestView, method: string): boolean {
  return equalsText(request.bytes, request.methodStart, request.methodEnd, method)
}

function isSame(bytes: Uint8Array, start: number, end: number, otherStart: number, otherEnd: number): boolean {
  const length = end - start
  if (length !== otherEnd - otherStart) return false
  for (let i = 0; i < length; i++) if (bytes[start + i] !== bytes[otherStart + i]) return false
  return true
}

/** Notes the rule of a request and whether it is open to all; undefined: unmapped, which is reported at the scope step (D14). */
function findRule(request: RequestView, policy: DecisionPolicy, out: Decision): RouteRule | undefined {
  const { routes } = policy
  const { bytes, pathStart, pathStop, host } = request
  const { options } = routes.options
  if (options !== 'mapped' && isMethod(request, 'OPTIONS')) {
    if (options === 'preflight_public' && isPreflight(request)) {
      out.rule = matchPath(routes, bytes, pathStart, pathStop, host)
      out.isPublic = out.rule !== UNMAPPED
      if (out.isPublic) return routes.rules[out.rule]
    }
    if (options === 'unmapped') return undefined
  }
  out.rule = matchRoute(routes, bytes, pathStart, pathStop, request.methodStart, request.methodEnd, host)
  const rule = routes.rules[out.rule]
  out.isPublic = rule !== undefined && rule.access === 'public'
  return rule
}

/** A preflight has both headers with a value; Fetch standard, CORS-preflight fetch. */
function isPreflight(request: RequestView): boolean {
  return hasValue(request, 'origin') && hasValue(request, 'access-control-request-method')
}

function hasValue(request: RequestView, name: string): boolean {
  const index = findHeader(request, name, 0)
  return index >= 0 && valueEnd(request, index) > valueStart(request, index)
}

/** Grammar and look-up. The table is not touched unless it is confirmed fresh. */
function findKey(
  request: RequestView,
  policy: DecisionPolicy,
  keys: KeyLookup,
  fresh: boolean,
  now: Micros,
  out: Decision,
): DecisionCode | typeof PASS {
  const { bytes } = request
  const { start, end } = credential
  const forms = recognise(policy.grammar, bytes, start, end)
  if (forms === FORM_NONE) return CREDENTIAL_MALFORMED
  // Without a time no instant of a key can be judged, so that is our failure as well.
  if (!fresh || !Number.isFinite(now)) return UNAVAILABLE
  const slot = keys.find(bytes, start, end, policy.profile)
  if (slot >= 0) {
    out.slot = slot
    return PASS
  }
  if (slot !== MISS) return UNAVAILABLE
  // A secret that fits an imported form as well has no checksum to be wrong.
  const mistyped = (forms & FORM_IMPORTED) === 0 && !checksumHolds(policy.grammar, bytes, start, end)
  return mistyped ? CHECK_FAILED : UNKNOWN
}

/** K5 and K6: the first of several reasons; an end that has been reached has passed. */
function stateStep(keys: KeyLookup, slot: number, now: Micros): DecisionCode | typeof PASS {
  const flags = keys.flags(slot)
  if ((flags & KEY_INVALID) !== 0) return UNAVAILABLE
  if ((flags & KEY_DELETED) !== 0) return DELETED
  if ((flags & KEY_REVOKED) !== 0) return REVOKED
  const graceEndAt = keys.graceEndAt(slot)
  const expireAt = keys.expireAt(slot)
  // Written so that an instant that is no number denies.
  if (!(now < graceEndAt) && !(expireAt <= graceEndAt)) return ROTATED_OUT
  if (!(now < expireAt)) return EXPIRED
  if ((flags & KEY_ORGANIZATION_SUSPENDED) !== 0) return ORGANIZATION_SUSPENDED
  return (flags & KEY_SUSPENDED) !== 0 ? SUSPENDED : PASS
}

/** Environment, then scope, address and limit in the profile's order; the limit is charged last of all (D13). */
function laterSteps(
  request: RequestView,
  policy: DecisionPolicy,
  state: DecisionState,
  rule: RouteRule | undefined,
  own: LimitSpec | null,
  now: Micros,
  out: Decision,
): DecisionCode {
  const { keys, limits } = state
  const { slot } = out
  const accepted = policy.acceptedEnvironments
  if (accepted !== null && !accepted.has(keys.environment(slot))) return ENVIRONMENT_MISMATCH
  const routeLimits = rule === undefined ? noLimits : rule.limits
  const isLimited = own !== null || routeLimits.length > 0
  for (let i = fixedSteps; i < policy.checks.length; i++) {
    const step = policy.checks[i]
    let denied = PASS
    if (step === 'scope') {
      denied = scopeStep(policy, keys, rule, out)
    } else if (step === 'ip') {
      denied = addressStep(request, policy, keys, slot)
    } else if (step === 'rate_limit' && isLimited && i < policy.checks.length - 1) {
      limits.peek(slot, own, routeLimits, now, out.charge)
      denied = out.charge.admitted ? PASS : RATE_LIMITED
      out.limited = denied !== PASS
    }
    if (denied !== PASS) return denied
  }
  if (!isLimited) return ALLOW
  limits.charge(slot, own, routeLimits, now, out.charge)
  const { admitted } = out.charge
  out.limited = !admitted || own !== null
  return admitted ? ALLOW : RATE_LIMITED
}

function scopeStep(
  policy: DecisionPolicy,
  keys: KeyLookup,
  rule: RouteRule | undefined,
  out: Decision,
): DecisionCode | typeof PASS {
  if (rule === undefined) return policy.routes.options.unmapped === 'authenticated' ? PASS : ROUTE_UNMAPPED
  if (rule.access === 'authenticated') return PASS
  const held = (keys.flags(out.slot) & KEY_ALL_SCOPES) !== 0 ? policy.allScopes : keys.scopes(out.slot)
  const { scopes } = rule
  let missing = 0
  for (let i = 0; i < scopes.length; i++) {
    if (!hasScope(held, scopes[i] ?? -1)) out.missing[missing++] = i
  }
  const isHeld = rule.mode === 'all' ? missing === 0 : missing < scopes.length
  if (isHeld && scopes.length > 0) return PASS
  out.missingCount = missing
  return INSUFFICIENT_SCOPE
}

function addressStep(
  request: RequestView,
  policy: DecisionPolicy,
  keys: KeyLookup,
  slot: number,
): DecisionCode | typeof PASS {
  if (keys.allowlistLength(slot) === 0) return policy.emptyAllowlist === 'any' ? PASS : IP_NOT_ALLOWED
  const { client } = request
  if (client.family === 0) return IP_UNDETERMINABLE
  const isAllowed = keys.allows(slot, client.family, client.w0, client.w1, client.w2, client.w3)
  return isAllowed ? PASS : IP_NOT_ALLOWED
}

/** The limit that counts in the key's own bucket: the key's, else the profile's; null: none. */
function ownLimitOf(policy: DecisionPolicy, keys: KeyLookup, slot: number): LimitSpec | null {
  const limit = keys.ownLimit(slot)
  if (limit < 0) return policy.limits.default
  ownLimit.algorithm = policy.limits.algorithm
  ownLimit.limit = limit
  ownLimit.windowMicros = keys.ownLimitWindow(slot)
  ownLimit.burst = Math.min(policy.limits.burst ?? limit, limit)
  return ownLimit
}

function createChargeResult(): ChargeResult {
  return { admitted: false, limit: 0, remaining: 0, resetAt: 0, retryAfterMicros: 0 }
}

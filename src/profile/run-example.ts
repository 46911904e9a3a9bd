// Decides one self-test example with the decision function of the data plane, on a table that holds that one key.
// No address, no earlier request, every environment accepted: the answer depends on the profile alone.
import { createDecision, decide } from '../core/decide.ts'
import { type ChargeResult, KEY_INVALID, type KeyLookup, type LimitCharger, MISS } from '../core/key-lookup.ts'
import type { LimitSpec } from '../core/limit-spec.ts'
import type { NameTable } from '../core/names.ts'
import type { DecisionPolicy } from '../core/policy.ts'
import { ALLOW, reasonOf } from '../core/reason.ts'
import { addHeader, createRequestView, type RequestView } from '../core/request-view.ts'
import { scopeSetOf } from '../core/scope-set.ts'
import type { ProfileDocument } from './schema.ts'

export type ExampleDocument = ProfileDocument['examples'][number]

/** `allow`, or the denial reason. `scopes` numbers the names; unknown names are held by nobody. */
export function runExample(example: ExampleDocument, policy: DecisionPolicy, host: string, scopes: NameTable): string {
  const anywhere: DecisionPolicy = { ...policy, acceptedEnvironments: null }
  const state = { keys: tableOf(example, policy, scopes), limits: fullBudget }
  const code = decide(requestOf(example, policy, host), anywhere, state, true, 0, createDecision())
  return code === ALLOW ? 'allow' : reasonOf(code)
}

/** Writes the request's texts one after another and notes where each stands. */
function requestOf(example: ExampleDocument, policy: DecisionPolicy, host: string): RequestView {
  const view = createRequestView()
  const space = example.request.indexOf(' ')
  const source = policy.sources[0]
  const secret = example.key ?? ''
  const texts = [
    example.request.slice(0, space),
    example.request.slice(space + 1),
    source?.header ?? '',
    source === undefined || source.scheme === null ? secret : `${source.scheme} ${secret}`,
  ].map(text => Buffer.from(text, 'utf8'))
  const [method = 0, path = 0, header = 0, value = 0] = texts.map(text => text.length)
  view.bytes = Buffer.concat(texts)
  view.http = true
  view.host = host
  view.methodEnd = method
  view.pathStart = method
  view.pathEnd = method + path
  const headerEnd = view.pathEnd + header
  if (example.key !== null) addHeader(view, view.pathEnd, headerEnd, headerEnd, headerEnd + value)
  return view
}

/** Holds the example's key if it says what the key may do; otherwise nobody's. */
function tableOf(example: ExampleDocument, policy: DecisionPolicy, names: NameTable): KeyLookup {
  const secret = example.key
  const { prefixes } = policy.grammar.forms
  const environment = prefixes.find(({ prefix }) => secret?.startsWith(prefix))?.environment ?? -1
  const held = (example.scopes ?? []).map(name => names.find(name)).filter(scope => scope !== undefined)
  const scopes = scopeSetOf(held)
  return {
    find: (bytes, start, end) =>
      example.scopes !== undefined && Buffer.from(bytes.subarray(start, end)).toString('utf8') === secret ? 0 : MISS,
    flags: slot => (slot === 0 ? 0 : KEY_INVALID),
    expireAt: () => Number.POSITIVE_INFINITY,
    graceEndAt: () => Number.POSITIVE_INFINITY,
    environment: () => environment,
    scopes: () => scopes,
    allowlistLength: () => 0,
    allows: () => false,
    ownLimit: () => -1,
    ownLimitWindow: () => 0,
  }
}

/** Nothing has been spent yet: every limit but 0 admits the one request. */
const fullBudget: LimitCharger = { charge: admitUnlessZero, peek: admitUnlessZero }

function admitUnlessZero(
  _slot: number,
  own: LimitSpec | null,
  route: readonly LimitSpec[],
  _now: number,
  out: ChargeResult,
): void {
  out.admitted = (own === null || own.limit > 0) && route.every(spec => spec.limit > 0)
}

// Writes the answers of the facade from the templates of a profile: success, faults of members, denials. No word of them is here.
// Guarantee: a body is valid JSON whatever a caller wrote; nothing of an answer may be kept by a cache.
import { parseEntry } from '../core/address.ts'
import { bareText, cidrText } from '../core/cidr.ts'
import { codeOf, type DenialReason } from '../core/reason.ts'
import type { Micros } from '../core/time.ts'
import type { CreateApiKeyResponse } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { type ApiKey, ScopeMode } from '../gen/gatewarden/admin/v1/resources.ts'
import type { Timestamp } from '../gen/google/protobuf/timestamp.ts'
import type { CreateCall, FacadeAnswer, FacadeValueName } from '../profile/compiled-facade.ts'
import { type CompiledProfile, renderingOf, type Template } from '../profile/compiled-profile.ts'
import { type InsertionValues, renderDenial } from '../profile/render-denial.ts'
import { timestampText } from '../profile/timestamp-form.ts'
import { unmatchedRenderingOf } from '../profile/unmatched.ts'
import { grantedScopes } from './api-key-fields.ts'
import type { MemberFault, MemberFaults } from './facade-request.ts'
import { parseApiKeyName } from './resource-name.ts'
import { microsOf } from './wire-time.ts'

/** A whole answer. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
}

/** What every answer to a request can name. */
export interface AnswerFacts {
  readonly supportId: string
  readonly requestId: string
  readonly now: Micros
}

/** Code points of a caller's text that an answer repeats. */
const echoMax = 256

/** Never a profile's business: an answer may hold a secret. */
const headers = [
  ['content-type', 'application/json'],
  ['cache-control', 'no-store'],
] as const

type Values = { readonly [Name in FacadeValueName]?: unknown }

/** The answer to a call that made a key, or to its repetition, which has no secret. */
export function successAnswer(
  profile: CompiledProfile,
  call: CreateCall,
  reply: CreateApiKeyResponse,
  facts: AnswerFacts,
): HttpAnswer {
  const { apiKey } = reply
  if (apiKey === undefined) throw new Error('the reply of a create call has an API key')
  const values = { ...factValues(profile, facts), ...keyValues(profile, apiKey), secret: reply.secret || null }
  // Of the moment of its creation, also when the answer is repeated: nobody can have used it by then.
  const usage = { ...values, total_requests: 0, last_used_at: null }
  const metrics = call.usageMetrics === null ? null : new Raw(fill(call.usageMetrics, usage))
  return answer(call.success, { ...values, usage_metrics: metrics })
}

/** The answer to a request with faults; null: it is not acceptable as a whole. */
export function invalidAnswer(
  profile: CompiledProfile,
  call: CreateCall,
  faults: MemberFaults | null,
  facts: AnswerFacts,
): HttpAnswer {
  const errors = faults === null ? null : new Raw(errorsText(call, faults))
  return answer(call.invalid, { ...factValues(profile, facts), field_errors: errors })
}

/** A denial as the profile renders it; without a profile in the shape of none. */
export function denialAnswer(
  profile: CompiledProfile | undefined,
  reason: DenialReason,
  values: InsertionValues,
): HttpAnswer {
  const code = codeOf(reason)
  const rendering = profile === undefined ? unmatchedRenderingOf(code) : renderingOf(profile, code)
  const { status, body, headers: rendered } = renderDenial(rendering, values)
  // A header whose value is not known here, such as what is left of a limit, is not sent empty.
  return { status, body, headers: rendered.filter(([, value]) => value !== '') }
}

function answer({ status, body }: FacadeAnswer, values: Values): HttpAnswer {
  return { status, headers, body: fill(body, values) }
}

/** JSON that is written already. */
class Raw {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

function fill(template: Template<FacadeValueName>, values: Values): string {
  let text = template.pieces[0]?.toString('utf8') ?? ''
  for (const [index, { name, form }] of template.holes.entries()) {
    const value = values[name] ?? null
    if (form === 'json-string-part') text += JSON.stringify(String(value ?? '')).slice(1, -1)
    else text += value instanceof Raw ? value.text : JSON.stringify(value)
    text += template.pieces[index + 1]?.toString('utf8') ?? ''
  }
  return text
}

function factValues(profile: CompiledProfile, facts: AnswerFacts): Values {
  return {
    support_id: facts.supportId,
    request_id: facts.requestId,
    now: timestampText(facts.now, profile.timestamps),
  }
}

function keyValues(profile: CompiledProfile, apiKey: ApiKey): Values {
  const name = parseApiKeyName(apiKey.name)
  const create = timeValue(apiKey.createTime, profile)
  const isNew = sameTime(apiKey.createTime, apiKey.updateTime)
  return {
    api_key_id: name?.apiKey ?? '',
    organization_id: name?.organization ?? '',
    environment: apiKey.environment,
    display_name: apiKey.displayName,
    description: apiKey.description,
    scopes: scopesOf(apiKey, profile),
    allowlist: apiKey.allowlist.map(({ cidr }) => entryText(cidr, profile)),
    expire_time: timeValue(apiKey.expireTime, profile),
    create_time: create,
    update_time: isNew ? null : timeValue(apiKey.updateTime, profile),
  }
}

/** What the key may do, in vocabulary order. */
function scopesOf(apiKey: ApiKey, { management }: CompiledProfile): readonly string[] {
  const scopeMode = apiKey.scopeMode === ScopeMode.ALL ? 'ALL' : 'LISTED'
  const held = new Set(grantedScopes({ scopeMode, scopes: apiKey.scopes }, management))
  const known = management.scopes.map(scope => scope.name).filter(scope => held.has(scope))
  return [...known, ...[...held].filter(scope => !known.includes(scope))]
}

function entryText(cidr: string, { management }: CompiledProfile): string {
  const entry = parseEntry(cidr)
  if (entry === null) return cidr
  return management.ipRules.singleDisplay === 'bare' ? bareText(entry.block) : cidrText(entry.block)
}

function timeValue(timestamp: Timestamp | undefined, profile: CompiledProfile): string | null {
  const micros = timestamp === undefined ? undefined : microsOf(timestamp)
  return typeof micros === 'number' ? timestampText(micros, profile.timestamps) : null
}

function sameTime(a: Timestamp | undefined, b: Timestamp | undefined): boolean {
  return a?.seconds === b?.seconds && a?.nanos === b?.nanos
}

/** Members of the profile in its order, then others in the caller's. Written by hand: no name is special. */
function errorsText(call: CreateCall, faults: MemberFaults): string {
  const known = call.members.map(member => member.name).filter(name => faults.has(name))
  const names = new Set([...known, ...faults.keys()])
  const written = new Map<string, string>()
  for (const name of names) {
    const fault = faults.get(name)
    const shown = cut(name)
    if (fault !== undefined && !written.has(shown)) written.set(shown, messageOf(call, name, fault))
  }
  const members = [...written].map(([name, text]) => `${JSON.stringify(name)}:${JSON.stringify(text)}`)
  return `{${members.join(',')}}`
}

function messageOf(call: CreateCall, name: string, { fault, value = '', max = 0 }: MemberFault): string {
  const title = call.members.find(member => member.name === name)?.title ?? ''
  const known = { title, value: cut(value), max: String(max) }
  return call.fieldMessages[fault].map(part => (typeof part === 'string' ? part : known[part.hole])).join('')
}

function cut(text: string): string {
  if (text.length <= echoMax) return text
  const points = [...text]
  return points.length <= echoMax ? text : `${points.slice(0, echoMax).join('')}…`
}

// One request to the facade, from its octets to its answer: who calls, what is asked, the shared command, the product's words.
// Guarantee: nothing is made before the body was read whole and the caller is known from its row; a secret is in one answer only.
import { randomUUID } from 'node:crypto'
import { findHostEnd } from '../core/host.ts'
import type { DenialReason } from '../core/reason.ts'
import { microsFromUnixMs } from '../core/time.ts'
import type { CreateApiKeyResponse } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import type { Log } from '../observe/log.ts'
import type { CreateCall } from '../profile/compiled-facade.ts'
import { type CompiledProfile, requestIdLengthMax } from '../profile/compiled-profile.ts'
import type { ProfileSet } from '../profile/profile-set.ts'
import { untilAborted } from '../rpc/call.ts'
import type { AdminCall } from './admin-call.ts'
import type { ApiKeyContext } from './api-key-context.ts'
import { mutate } from './command.ts'
import { createApiKey } from './create-api-key.ts'
import { type AnswerFacts, denialAnswer, type HttpAnswer, invalidAnswer, successAnswer } from './facade-answer.ts'
import { authoriseApiKey, readIdentity } from './facade-caller.ts'
import { type FacadeFailure, toFailure } from './facade-failure.ts'
import { type MemberFaults, readFacadeRequest, toCreateRequest } from './facade-request.ts'
import { idRandomOctets, newId } from './resource-id.ts'
import { readStrictJson, type StrictJson } from './strict-json.ts'

/** What the facade works with. */
export interface FacadeContext extends ApiKeyContext {
  /** The profiles that are served now. */
  currentProfiles(): ProfileSet
  /** Unix milliseconds, for ids of answers. */
  wall(): number
  readonly log: Pick<Log, 'info' | 'error'>
  /** Told once of each request that is answered. */
  count(outcome: FacadeOutcome): void
}

/** What a request came to: a key, the answer of an earlier call again, faults of the request, or why it was denied. */
export type FacadeOutcome = 'created' | 'repeated' | 'invalid' | DenialReason

/** A request whose head has come. */
export interface FacadeHttpRequest {
  readonly method: string
  /** Path and query as sent. */
  readonly target: string
  readonly host: string
  /** Whether identity headers are believed on this connection. */
  readonly trusted: boolean
  /** Every value of a header. */
  values(name: string): readonly string[]
  /** The whole body; undefined when it is longer than a body may be, or did not come in time. */
  body(): Promise<Buffer | undefined>
}

/** The call as commands see it, but for what the request itself says. */
export type FacadeFrame = Pick<AdminCall, 'signal' | 'deadlineUnixMs' | 'sourceAddress'>

/** The product whose call it is, as far as one is meant. */
interface Found {
  readonly profile: CompiledProfile | undefined
  readonly call: CreateCall | undefined
}

interface Attempt {
  readonly context: FacadeContext
  readonly profile: CompiledProfile
  readonly call: CreateCall
  readonly request: FacadeHttpRequest
  readonly adminCall: AdminCall
}

type Outcome = FacadeFailure | { readonly kind: 'made'; readonly reply: CreateApiKeyResponse }

/** A caller's own request id is used in the log if it is short and harmless there. */
const callIdForm = /^[A-Za-z0-9._-]{1,64}$/

const jsonType = /^application\/json[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*"?utf-8"?[ \t]*)?$/i

/** Answers one request. */
export async function answerFacadeRequest(
  context: FacadeContext,
  request: FacadeHttpRequest,
  frame: FacadeFrame,
): Promise<HttpAnswer> {
  const { profile, call } = findCall(context.currentProfiles(), request)
  const adminCall = { ...frame, callId: callIdOf(request), header: (name: string) => only(request.values(name)) }
  if (profile === undefined || call === undefined) {
    return answerFailure(context, profile, call, notFound, adminCall)
  }
  const attempt = { context, profile, call, request, adminCall }
  const outcome = await untilAborted(create(attempt), frame.signal).catch(thrown =>
    toFailure(thrown, { call, profile, apiKey: undefined }),
  )
  if (outcome.kind !== 'made') return answerFailure(context, profile, call, outcome, adminCall)
  context.count(outcome.reply.secret === '' ? 'repeated' : 'created')
  return successAnswer(profile, call, outcome.reply, factsOf(context, profile, adminCall))
}

const notFound: FacadeFailure = {
  kind: 'denied',
  reason: 'route_unmapped',
  requiredScope: '',
  retryAfterMs: 0,
  why: 'route_unmapped',
}

const nobody: FacadeFailure = { ...notFound, reason: 'credential_missing', why: 'credential_missing' }

/** By host; where the route and not the host has chosen the profile, by the only profile that has such a call. */
function findCall(profiles: ProfileSet, { method, target, host }: FacadeHttpRequest): Found {
  const path = target.split('?', 1)[0] ?? ''
  const callOf = (profile: CompiledProfile): CreateCall | undefined => {
    const call = profile.facade?.createApiKey
    return call?.method === method && call.path === path ? call : undefined
  }
  const profile = profiles.byHost(canonicalHost(host))
  if (profile !== undefined) return { profile, call: callOf(profile) }
  const [only, ...others] = profiles.profiles.filter(each => callOf(each) !== undefined)
  if (only === undefined || others.length > 0) return { profile: undefined, call: undefined }
  return { profile: only, call: callOf(only) }
}

function canonicalHost(host: string): string {
  const octets = Buffer.from(host, 'latin1')
  const end = findHostEnd(octets, 0, octets.length)
  return end < 0 ? '' : host.slice(0, end).toLowerCase()
}

/** Reads, judges and makes. Rejects with what the command throws of a call without faults of its own. */
async function create(attempt: Attempt): Promise<Outcome> {
  const { context, profile, call, request, adminCall } = attempt
  const identity = request.trusted ? readIdentity(adminCall.header, profile.upstream) : undefined
  if (identity === undefined) return nobody
  const body = await readBody(request)
  const keys = request.values('idempotency-key')
  if (body === undefined || keys.length > 1) return unacceptable
  const read = readFacadeRequest(body, call, profile, identity)
  const judgeOnly = read.faults.size > 0
  const wanted = toCreateRequest(read, identity, keys[0] ?? randomUUID(), judgeOnly)
  const authorise = (tx: Parameters<typeof authoriseApiKey>[0]) => authoriseApiKey(tx, identity, profile, call)
  try {
    const reply = await mutate(context.store, createApiKey(context), wanted, adminCall, authorise)
    return judgeOnly ? { kind: 'invalid', faults: read.faults, why: 'FIELD_INVALID' } : { kind: 'made', reply }
  } catch (thrown) {
    const failure = toFailure(thrown, { call, profile, apiKey: read.apiKey })
    return judgeOnly ? joined(failure, read.faults, call) : failure
  }
}

const unacceptable: FacadeFailure = { kind: 'invalid', faults: null, why: 'MESSAGE_MALFORMED' }

/** The members of a body that is what it should be: one JSON object in UTF-8, declared as such. */
async function readBody(request: FacadeHttpRequest): Promise<ReadonlyMap<string, StrictJson> | undefined> {
  const encodings = request.values('content-encoding')
  if (!jsonType.test(only(request.values('content-type')) ?? '')) return undefined
  if (encodings.some(encoding => encoding.toLowerCase() !== 'identity')) return undefined
  const octets = await request.body()
  const value = octets === undefined ? undefined : readStrictJson(octets)
  return value instanceof Map ? value : undefined
}

/** Faults of the shape before those of the command, which judged a key without name to judge nothing but its members. */
function joined(failure: FacadeFailure, own: MemberFaults, call: CreateCall): FacadeFailure {
  if (failure.kind !== 'invalid' || failure.faults === null) return failure
  const nameless = call.members.find(({ field }) => field === 'display_name')?.name
  const others = [...failure.faults].filter(([name]) => name !== nameless)
  return { ...failure, faults: new Map([...others, ...own]) }
}

function answerFailure(
  context: FacadeContext,
  profile: CompiledProfile | undefined,
  call: CreateCall | undefined,
  failure: FacadeFailure,
  { callId, header }: AdminCall,
): HttpAnswer {
  const facts = factsOf(context, profile, { header })
  const { why } = failure
  context.count(failure.kind === 'invalid' ? 'invalid' : failure.reason)
  context.log.info('a create call was refused', {
    why,
    callId,
    supportId: facts.supportId,
    profile: profile?.name ?? '',
  })
  if (failure.kind === 'denied') {
    const { reason, requiredScope, cause } = failure
    if (cause !== undefined) context.log.error('a create call failed', { callId, supportId: facts.supportId, cause })
    return denialAnswer(profile, reason, {
      support_id: facts.supportId,
      request_id: facts.requestId,
      now: new Date(context.wall()).toISOString(),
      required_scope: requiredScope,
      retry_after: retryAfter(context, failure),
      key_environment: header(profile?.upstream.environment ?? '') ?? '',
    })
  }
  if (profile === undefined || call === undefined) throw new Error('a request with faults is one that was found')
  return invalidAnswer(profile, call, failure.faults, facts)
}

/** Seconds: of a limit what is left of it, of our own failure 1 to 3 at random, so that clients come back apart. */
function retryAfter({ random }: FacadeContext, failure: Extract<FacadeFailure, { kind: 'denied' }>): number {
  if (failure.reason === 'authz_unavailable') return 1 + ((random(1)[0] ?? 0) % 3)
  return Math.max(1, Math.ceil(failure.retryAfterMs / 1000))
}

function factsOf(
  context: FacadeContext,
  profile: CompiledProfile | undefined,
  { header }: Pick<AdminCall, 'header'>,
): AnswerFacts {
  const template = profile?.management.ids.support ?? null
  const now = context.wall()
  return {
    supportId: template === null ? '' : newId(template, now, context.random(idRandomOctets)),
    requestId: (header('x-request-id') ?? '').slice(0, requestIdLengthMax),
    now: microsFromUnixMs(now),
  }
}

function callIdOf(request: FacadeHttpRequest): string {
  const asked = only(request.values('x-request-id'))
  return asked !== undefined && callIdForm.test(asked) ? asked : randomUUID()
}

function only(values: readonly string[]): string | undefined {
  return values.length === 1 ? values[0] : undefined
}

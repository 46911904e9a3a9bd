// The one way through which every admin RPC goes: authenticate, authorise, parse, then one transaction.
// Guarantee: a mutation's rows, audit row, idempotency row and feed record commit together or not at all; the feed record
// is the last statement; a no-op and validate_only write nothing; a secret is in the first reply and in no row.
import { createHash } from 'node:crypto'
import type { Pepper } from '../keys/digest.ts'
import { RpcError } from '../rpc/errors.ts'
import type { AdminCall } from './admin-call.ts'
import type {
  AdminReads,
  AdminStore,
  AdminTx,
  FeedChange,
  IdempotencyRecord,
  StoredReply,
  StoreFault,
} from './admin-store.ts'
import { auditText } from './audit-chain.ts'
import { authenticate, type Caller, requireOrganization, requireScope } from './caller.ts'
import { canonicalJson, type Json } from './canonical-json.ts'
import type { FailedAttempts } from './failed-attempts.ts'
import type { RpcName } from './permission.ts'
import { parseRevisionToken, revisionTokenOf } from './revision-token.ts'
import { Violations } from './violations.ts'

/** What every handler works with. */
export interface Admin {
  readonly store: AdminStore
  /** Of admin keys and bootstrap tokens; never one of API keys. */
  readonly pepper: Pepper
  readonly failures: FailedAttempts
}

/** The members that every mutating request has. */
export interface MutatingRequest {
  readonly requestId: string
  readonly validateOnly: boolean
}

/** A generated message type. */
export interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array }
  decode(octets: Uint8Array): Message
}

/** What a mutation came to. `reply` has revision 0, an empty token and no secret. */
export type Change<Reply> =
  | {
      readonly kind: 'changed'
      readonly reply: Reply
      /** Adds the secret to the reply; called for the first reply only. */
      readonly reveal?: (reply: Reply) => Reply
      /** Rows that checks rely on, at most 1000. */
      readonly feed: readonly FeedChange[]
      readonly audit: AuditFacts
    }
  | { readonly kind: 'unchanged'; readonly reply: Reply; readonly revision: bigint }

/** What the audit row says beyond who, when and how. */
export interface AuditFacts {
  /** Id of the organization; empty for what belongs to none. */
  readonly organization: string
  readonly resource: string
  /** The changed fields; never a secret or a digest. */
  readonly before: Json | null
  readonly after: Json | null
}

/** One mutating RPC. */
export interface Mutation<Request extends MutatingRequest, Parsed, Reply> {
  readonly rpc: RpcName
  readonly requestId: 'required' | 'optional'
  readonly replyType: Codec<Reply>
  /** Id of the organization that the request's names speak of, empty if they speak of none that exists yet; null: the call is about no organization. */
  organizationOf(request: Request): string | null
  /** Reads the fields; null only with violations. Sees no database. */
  parse(request: Request, violations: Violations): Parsed | null
  /** Existence, etag, state, profile rules, then the rows: everything but the end of the transaction. */
  run(tx: AdminTx, parsed: Parsed, caller: Caller): Promise<Change<Reply>>
  /** Puts revision and token into the reply, and the revision into the resources that the call changed. */
  stamp(reply: Reply, revision: bigint, revisionToken: string): Reply
  /** Marks the reply to a repeated request id, where the reply has such a mark. */
  replayed?(reply: Reply): Reply
}

/** One reading RPC. */
export interface Query<Request, Parsed, Reply> {
  readonly rpc: RpcName
  organizationOf(request: Request): string | null
  parse(request: Request, violations: Violations): Parsed | null
  run(tx: AdminReads, parsed: Parsed, caller: Caller): Promise<Reply>
  /** A revision token that the read must have reached; empty: any. */
  minRevision?(request: Request): string
}

export type Handler<Request, Reply> = (request: Request, call: AdminCall) => Promise<Reply>

/** The handler of a mutating RPC. */
export function mutation<Request extends MutatingRequest, Parsed, Reply>(
  admin: Admin,
  spec: Mutation<Request, Parsed, Reply>,
): Handler<Request, Reply> {
  return (request, call) =>
    guarded(admin, call, () =>
      mutate(admin.store, spec, request, call, tx =>
        authorise(admin, tx, call, spec.rpc, spec.organizationOf(request)),
      ),
    )
}

/** One mutation, whoever its caller is: `authoriseCall` finds out inside of the transaction. @throws RpcError, StoreFault */
export async function mutate<Request extends MutatingRequest, Parsed, Reply>(
  store: AdminStore,
  spec: Mutation<Request, Parsed, Reply>,
  request: Request,
  call: AdminCall,
  authoriseCall: (tx: AdminTx) => Promise<Caller>,
): Promise<Reply> {
  const { value, point } = await store.transact(async tx => {
    const caller = await authoriseCall(tx)
    const parsed = parseRequest(spec, request, spec.requestId)
    if (request.validateOnly) return rollback({ reply: (await spec.run(tx, parsed, caller)).reply, last: undefined })
    // A UUID is the same in either letter case.
    const requestHash = hashOf(spec.rpc, { ...request, requestId: request.requestId.toLowerCase() })
    const earlier = await claim(tx, caller, request, spec.rpc, requestHash)
    if (earlier !== null) return rollback(await replay(tx, spec, earlier))
    const change = await spec.run(tx, parsed, caller)
    call.signal.throwIfAborted()
    if (change.kind === 'unchanged') return rollback(await unchanged(tx, spec, change.reply, change.revision))
    const idempotency = storedForm(spec, caller, request, requestHash, change.reply)
    await finish(tx, call, caller, { rpc: spec.rpc, requestId: request.requestId, idempotency, ...change })
    return { end: 'commit', value: { reply: change.reply, last: change.reveal ?? same } }
  })
  if (value.last === undefined) return value.reply
  return value.last(spec.stamp(value.reply, point.revision, revisionTokenOf(point)))
}

/** The handler of a reading RPC. */
export function query<Request, Parsed, Reply>(
  admin: Admin,
  spec: Query<Request, Parsed, Reply>,
): Handler<Request, Reply> {
  return async (request, call) => {
    for (;;) {
      const answer = await guarded(admin, call, () =>
        admin.store.read(async tx => {
          const caller = await authorise(admin, tx, call, spec.rpc, spec.organizationOf(request))
          const parsed = parseRequest(spec, request, 'none')
          if (!(await hasReached(tx, spec.minRevision?.(request) ?? ''))) return undefined
          return { reply: await spec.run(tx, parsed, caller) }
        }),
      )
      if (answer !== undefined) return answer.reply
      await pause(revisionPollMs, call.signal)
    }
  }
}

/** The handler of an RPC that this build does not have: it still tells strangers nothing. */
export function unimplemented(admin: Admin, rpc: RpcName): Handler<unknown, never> {
  return async (_, call) => {
    await guarded(admin, call, () => admin.store.read(tx => authorise(admin, tx, call, rpc, null)))
    throw new RpcError('METHOD_NOT_IMPLEMENTED', `${rpc} is not part of this version.`)
  }
}

/**
 * Authenticates the caller and refuses it without the scope of the RPC or rights for the organization, in this order.
 * @throws RpcError
 */
export async function authorise(
  admin: Admin,
  tx: AdminReads,
  call: AdminCall,
  rpc: RpcName,
  organization: string | null,
): Promise<Caller> {
  const caller = await authenticate(tx, call, admin.pepper)
  requireScope(caller, rpc)
  if (organization !== null) requireOrganization(caller, organization)
  return caller
}

/** Runs work on the store: slows down guessing, and turns the store's faults into errors for callers. */
export async function guarded<Value>(admin: Admin, call: AdminCall, work: () => Promise<Value>): Promise<Value> {
  const refusedForMs = admin.failures.refusedForMs(call.sourceAddress)
  if (refusedForMs > 0) {
    throw new RpcError('RATE_LIMITED', 'Too many failed authentications from this address.', {
      retryDelayMs: refusedForMs,
    })
  }
  try {
    return await work()
  } catch (thrown) {
    if (thrown instanceof RpcError && failedAuthentication.has(thrown.reason)) admin.failures.note(call.sourceAddress)
    throw toStoreError(thrown)
  }
}

/** An error for callers where the store failed; anything else as it is. */
export function toStoreError(thrown: unknown): unknown {
  return isStoreFault(thrown) ? toError(thrown) : thrown
}

/** What ends a mutation: its kind, its request id and what it changed. */
export interface FinishedChange {
  readonly rpc: RpcName
  readonly requestId: string
  readonly feed: readonly FeedChange[]
  readonly audit: AuditFacts
  readonly idempotency: IdempotencyRecord | null
}

/** Who acts; nobody where a token stands for the caller. */
export type Actor = Pick<Caller, 'principal' | 'adminKeyHint'>

/** Writes audit row, idempotency row and feed record: the last statements of a transaction. Resolves to the revision. */
export function finish(tx: AdminTx, call: AdminCall, caller: Actor, change: FinishedChange): Promise<bigint> {
  const event = {
    ...change.audit,
    time: tx.now,
    actor: { principal: caller.principal, certificate_serial: '', admin_key_hint: caller.adminKeyHint },
    action: change.rpc.slice(change.rpc.indexOf('/') + 1),
    requestId: change.requestId,
    sourceIp: call.sourceAddress,
    outcome: 'OK',
  }
  return tx.finish({
    changes: change.feed,
    idempotency: change.idempotency,
    audit: { ...event, text: auditText(event) },
  })
}

const failedAuthentication: ReadonlySet<string> = new Set(['ADMIN_KEY_INVALID', 'BOOTSTRAP_TOKEN_INVALID'])

/** How often a read that waits for a revision looks again. */
const revisionPollMs = 50

/** When to come back after a fault of the store: a failover takes seconds, a lost connection none. */
const storeRetryMs = 1000

/** When to ask again for a request that is still running: a transaction lasts at most 2.5 s. */
const busyRetryMs = 500

const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** A reply on its way out; `last` undefined: it is complete. */
interface Outgoing<Reply> {
  readonly reply: Reply
  readonly last: ((reply: Reply) => Reply) | undefined
}

function rollback<Reply>(value: Outgoing<Reply>): { readonly end: 'rollback'; readonly value: Outgoing<Reply> } {
  return { end: 'rollback', value }
}

function same<Value>(value: Value): Value {
  return value
}

function parseRequest<Request, Parsed>(
  spec: { parse(request: Request, violations: Violations): Parsed | null },
  request: Request,
  requestId: 'required' | 'optional' | 'none',
): Parsed {
  const violations = new Violations()
  const parsed = spec.parse(request, violations)
  if (requestId !== 'none') checkRequestId(request as MutatingRequest, requestId, violations)
  violations.throwIfAny()
  if (parsed === null) throw new Error('a request without violations has a parsed form')
  return parsed
}

/** Adds what is wrong with a request id. */
export function checkRequestId(
  request: { readonly requestId: string },
  need: 'required' | 'optional',
  violations: Violations,
): void {
  if (request.requestId === '') {
    if (need === 'required')
      violations.add('request_id', 'FIELD_REQUIRED', 'send a UUID of your choice, and the same one with every retry')
  } else if (!uuidForm.test(request.requestId)) {
    violations.add('request_id', 'REQUEST_ID_INVALID', 'must be a UUID')
  }
}

/** The hash by which a repeated request is recognised. */
export function hashOf(rpc: RpcName, request: unknown): Buffer {
  return createHash('sha256')
    .update(`${rpc}\n${canonicalJson(request)}`)
    .digest()
}

/**
 * The reply that was stored for the request id, or null for a new one, which is then claimed until the end of the transaction.
 * @throws RpcError REQUEST_IN_PROGRESS or REQUEST_ID_REUSED
 */
export async function claim(
  tx: AdminTx,
  caller: Caller,
  request: { readonly requestId: string },
  rpc: RpcName,
  requestHash: Buffer,
): Promise<StoredReply | null> {
  if (request.requestId === '') return null
  const claimed = await tx.claimRequest(caller.principal, request.requestId.toLowerCase())
  if (claimed === 'new') return null
  if (claimed === 'busy') {
    throw new RpcError('REQUEST_IN_PROGRESS', 'A call with this request_id is still running.', {
      retryDelayMs: busyRetryMs,
    })
  }
  if (claimed.method !== rpc || !claimed.requestHash.equals(requestHash)) {
    throw new RpcError('REQUEST_ID_REUSED', 'request_id: it was used for another request within the last 24 hours', {
      violations: [{ field: 'request_id', reason: 'REQUEST_ID_REUSED', message: 'take a new UUID for a new request' }],
    })
  }
  return claimed
}

function storedForm<Request extends MutatingRequest, Reply>(
  spec: { readonly rpc: RpcName; readonly replyType: Codec<Reply> },
  caller: Caller,
  request: Request,
  requestHash: Buffer,
  reply: Reply,
): IdempotencyRecord | null {
  if (request.requestId === '') return null
  return {
    principal: caller.principal,
    requestId: request.requestId.toLowerCase(),
    method: spec.rpc,
    requestHash,
    reply: Buffer.from(spec.replyType.encode(reply).finish()),
  }
}

type Stamping<Reply> = Pick<Mutation<never, never, Reply>, 'stamp' | 'replayed' | 'replyType'>

async function replay<Reply>(tx: AdminReads, spec: Stamping<Reply>, stored: StoredReply): Promise<Outgoing<Reply>> {
  const reply = spec.replyType.decode(stored.reply)
  const stamped = spec.stamp(reply, stored.revision, await tokenAt(tx, stored.revision))
  return { reply: spec.replayed?.(stamped) ?? stamped, last: undefined }
}

async function unchanged<Reply>(
  tx: AdminReads,
  spec: Stamping<Reply>,
  reply: Reply,
  revision: bigint,
): Promise<Outgoing<Reply>> {
  return { reply: spec.stamp(reply, revision, await tokenAt(tx, revision)), last: undefined }
}

/** The token of an earlier revision; of the head, which includes it, where the feed no longer keeps that one. */
export async function tokenAt(tx: AdminReads, revision: bigint): Promise<string> {
  const nonce = await tx.propagation.nonceAt(revision)
  return revisionTokenOf(nonce === undefined ? await tx.propagation.head() : { revision, nonce })
}

/**
 * Whether the database shows the revision of a token.
 * @throws RpcError HISTORY_CHANGED, or FIELD_INVALID for a text that is no token
 */
async function hasReached(tx: AdminReads, token: string): Promise<boolean> {
  if (token === '') return true
  const wanted = parseRevisionToken(token)
  if (wanted === undefined) {
    const message = 'must be a revision_token of an earlier reply'
    throw new RpcError('FIELD_INVALID', `min_revision: ${message}`, {
      violations: [{ field: 'min_revision', reason: 'FIELD_INVALID', message }],
    })
  }
  const head = await tx.propagation.head()
  if (wanted.revision > head.revision) return false
  await requireSameHistory(tx, wanted.revision, wanted.nonce)
  return true
}

/**
 * Refuses a point of another history, one above the head included: tokens are of commits. One that the feed no longer keeps is
 * older than its retention and passes.
 * @throws RpcError HISTORY_CHANGED
 */
export async function requireSameHistory(tx: AdminReads, revision: bigint, nonce: bigint): Promise<void> {
  const kept = await tx.propagation.nonceAt(revision)
  if (kept === nonce || (kept === undefined && revision <= (await tx.propagation.head()).revision)) return
  throw new RpcError('HISTORY_CHANGED', 'The token is of another history: the database was restored or replaced.', {
    subject: 'revision_token',
  })
}

/** Waits; rejects with the reason of the signal as soon as it aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  await new Promise<void>(resolve => {
    const timer = setTimeout(done, ms)
    function done() {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
  signal.throwIfAborted()
}

const storeFaults: ReadonlySet<unknown> = new Set<StoreFault['fault']>(['unavailable', 'conflict', 'full', 'slow'])

function isStoreFault(thrown: unknown): thrown is StoreFault {
  return thrown instanceof Error && 'fault' in thrown && storeFaults.has(thrown.fault)
}

function toError(fault: StoreFault): RpcError {
  if (fault.fault === 'conflict') {
    return new RpcError(
      'CONCURRENT_CHANGE',
      'Another change came first: read the resource again, then repeat the call.',
      { retryDelayMs: busyRetryMs },
    )
  }
  if (fault.fault === 'full') {
    return new RpcError('STORE_FULL', 'The database has no room left on its disk. Nothing was changed.', {
      cause: fault,
    })
  }
  if (fault.fault === 'slow') {
    const text = 'The question is about more requests than can be read in time: narrow the interval or the filter.'
    return new RpcError('EXPORT_LIMIT', text, { cause: fault })
  }
  const text =
    'The database cannot be reached. Whether a change was made is unknown: repeat such a call with the same request_id.'
  return new RpcError('STORE_UNAVAILABLE', text, { retryDelayMs: storeRetryMs, cause: fault })
}

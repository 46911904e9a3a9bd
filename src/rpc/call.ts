// What a handler knows of the call it answers, and the clock that ends it.
// Guarantee: the signal aborts when the caller leaves or the deadline passes, whichever comes first, and never after `close`.
import { randomUUID } from 'node:crypto'
import type { Metadata } from '@grpc/grpc-js'
import { RpcError } from './errors.ts'

/** One call, as handlers see it. */
export interface RpcCall {
  /** Full method name: `gatewarden.admin.v1.ApiKeyAdmin/CreateApiKey`. */
  readonly method: string
  /** Joins log lines and RequestInfo: the caller's `x-request-id` if it is a plain token and no key, else one of ours. */
  readonly callId: string
  /** Where the call came from, without the port; empty on a unix socket. */
  readonly sourceAddress: string
  /** Unix milliseconds at which the caller stops waiting. */
  readonly deadlineUnixMs: number
  /** Aborts with an RpcError as reason. */
  readonly signal: AbortSignal
  /** The value of a metadata name; undefined when absent, sent twice, or binary. */
  header(name: string): string | undefined
}

/** The parts of a grpc-js server call that this file reads. */
export interface GrpcCall {
  readonly metadata: Metadata
  getPath(): string
  getPeer(): string
  getDeadline(): Date | number
  on(event: 'cancelled', listener: (reason: string) => void): unknown
}

/** A caller's own request id is used if it is short and harmless in a log. */
const callIdForm = /^[A-Za-z0-9._-]{1,64}$/

/** The longest time a Node timer can hold; a longer one would fire at once. */
const timerMaxMs = 2_147_483_647

/** Opens the context of one call; `close` must follow when the reply is known. `redact` takes keys out of a text. */
export function openCall(
  grpc: GrpcCall,
  defaultDeadlineMs: number,
  redact: (text: string) => string,
): { call: RpcCall; close: () => void } {
  const abort = new AbortController()
  const now = Date.now()
  const given = Number(grpc.getDeadline())
  const deadlineUnixMs = Number.isFinite(given) ? given : now + defaultDeadlineMs
  let open = true
  const end = (reason: 'DEADLINE_EXCEEDED' | 'CANCELLED', text: string) => {
    if (open) abort.abort(new RpcError(reason, text))
  }
  const waitMs = Math.min(Math.max(0, deadlineUnixMs - now), timerMaxMs)
  const timer = setTimeout(() => end('DEADLINE_EXCEEDED', 'The deadline of the call has passed.'), waitMs)
  grpc.on('cancelled', () => end('CANCELLED', 'The caller has ended the call.'))
  const header = (name: string) => onlyText(grpc.metadata, name)
  const asked = header('x-request-id')
  const call: RpcCall = {
    method: grpc.getPath().slice(1),
    callId: asked !== undefined && callIdForm.test(asked) && redact(asked) === asked ? asked : randomUUID(),
    sourceAddress: addressOf(grpc.getPeer()),
    deadlineUnixMs,
    signal: abort.signal,
    header,
  }
  const close = () => {
    open = false
    clearTimeout(timer)
  }
  return { call, close }
}

/** Settles like `work`, but rejects with the signal's reason as soon as it aborts. */
export function untilAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  if (signal.aborted) {
    work.catch(() => undefined) // the call has ended: nobody is left to tell
    return Promise.reject(signal.reason)
  }
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

function onlyText(metadata: Metadata, name: string): string | undefined {
  const [value, ...others] = metadata.get(name)
  return others.length === 0 && typeof value === 'string' ? value : undefined
}

function addressOf(peer: string): string {
  const match = /^\[?([0-9a-fA-F.:]+?)\]?:\d+$/.exec(peer)
  return match?.[1] ?? ''
}

// grpc-js as promises: a handler takes a message and returns one, or throws.
// Guarantee: every call ends, by its deadline at the latest; every error passes the one mapper of status.ts.
import {
  logVerbosity,
  type MethodDefinition,
  Server,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  setLogVerbosity,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { type GrpcCall, openCall, type RpcCall, untilAborted } from './call.ts'
import { RpcError } from './errors.ts'
import { toRpcError, toStatusObject, withoutKeys } from './status.ts'

export type UnaryMethod<Request, Reply> = (request: Request, call: RpcCall) => Promise<Reply>
export type ClientStreamMethod<Request, Reply> = (requests: AsyncIterable<Request>, call: RpcCall) => Promise<Reply>
export type ServerStreamMethod<Request, Reply> = (request: Request, call: RpcCall) => AsyncIterable<Reply>

/** The generated description of one method, as far as handlers depend on it. */
interface MethodShape {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly requestDeserialize: (octets: Buffer) => unknown
  readonly responseDeserialize: (octets: Buffer) => unknown
}

/** A generated service: method name → description. */
export type ServiceShape = Readonly<Record<string, MethodShape>>

type Request<Method extends MethodShape> = ReturnType<Method['requestDeserialize']>
type Reply<Method extends MethodShape> = ReturnType<Method['responseDeserialize']>

/** One handler for each method of a generated service: none can be forgotten. */
export type Handlers<Service> = {
  readonly [Name in keyof Service]: Service[Name] extends MethodShape
    ? Service[Name]['requestStream'] extends true
      ? ClientStreamMethod<Request<Service[Name]>, Reply<Service[Name]>>
      : Service[Name]['responseStream'] extends true
        ? ServerStreamMethod<Request<Service[Name]>, Reply<Service[Name]>>
        : UnaryMethod<Request<Service[Name]>, Reply<Service[Name]>>
    : never
}

/** Where the cause of an unforeseen error goes; the process log satisfies it. */
export interface RpcLog {
  error(message: string, fields: { readonly method: string; readonly callId: string; readonly cause: unknown }): void
  /** A text without anything shaped like a key: errors are put through it. Absent: as it is. */
  redact?(text: string): string
}

/** A call without deadline gets this long; long enough for any single change, short enough to free what it holds. */
export const defaultDeadlineMs = 10_000

/** Import and export move many rows. */
export const streamDeadlineMs = 600_000

/** One message, either way: the bound that admin-api.md section 1 publishes. */
export const messageOctetsMax = 4 * 1024 * 1024

/** Streams of one connection; an admin client has no use for more, and each may hold a message of 4 MiB. */
const connectionStreamsMax = 128

/** A server with the bounds of this API set: grpc-js has none by default. */
export function createServer(): Server {
  setLogVerbosity(logVerbosity.NONE) // grpc-js would write lines of its own to stderr; errors reach us as values
  return new Server({
    'grpc.max_receive_message_length': messageOctetsMax,
    'grpc.max_send_message_length': messageOctetsMax,
    'grpc.max_concurrent_streams': connectionStreamsMax,
    'grpc.enable_channelz': 0,
  })
}

/** Adds a generated service with its handlers to a server. */
export function addService<Service extends ServiceShape>(
  server: Server,
  service: Service,
  handlers: Handlers<Service>,
  log: RpcLog,
): void {
  const table: Readonly<Record<string, unknown>> = handlers
  const implementation: UntypedServiceImplementation = {}
  const definition: Record<string, MethodDefinition<Buffer, unknown>> = {}
  for (const [name, method] of Object.entries(service)) {
    const handler = table[name]
    if (typeof handler !== 'function') throw new Error(`no handler for ${method.path}`)
    // Octets pass through grpc-js: what cannot be decoded then ends in our mapper, not in its text.
    definition[name] = { ...(method as unknown as MethodDefinition<Buffer, unknown>), requestDeserialize: same }
    implementation[name] = adapt(method, handler as AnyHandler, log)
  }
  server.addService(definition as ServiceDefinition, implementation)
}

type AnyHandler = (input: unknown, call: RpcCall) => Promise<unknown> | AsyncIterable<unknown>

function same(octets: Buffer): Buffer {
  return octets
}

function adapt(method: MethodShape, handler: AnyHandler, log: RpcLog): UntypedServiceImplementation[string] {
  if (method.requestStream) {
    return (grpc: ServerReadableStream<Buffer, unknown>, reply: sendUnaryData<unknown>) => {
      const run = (call: RpcCall) => handler(decodeAll(method, grpc), call) as Promise<unknown>
      void answer(grpc, streamDeadlineMs, run, reply, log).finally(() => grpc.destroy())
    }
  }
  if (method.responseStream) {
    return (grpc: ServerWritableStream<Buffer, unknown>) => {
      const run = async (call: RpcCall) =>
        writeAll(grpc, handler(decode(method, grpc.request), call) as AsyncIterable<unknown>, call)
      void answer(grpc, streamDeadlineMs, run, error => (error ? grpc.emit('error', error) : grpc.end()), log)
    }
  }
  return (grpc: ServerUnaryCall<Buffer, unknown>, reply: sendUnaryData<unknown>) => {
    const run = async (call: RpcCall) => handler(decode(method, grpc.request), call) as Promise<unknown>
    void answer(grpc, defaultDeadlineMs, run, reply, log)
  }
}

/** Runs one call to its end: exactly one reply, whatever the handler does. Never rejects. */
async function answer(
  grpc: GrpcCall,
  deadlineMs: number,
  run: (call: RpcCall) => Promise<unknown>,
  reply: sendUnaryData<unknown>,
  log: RpcLog,
): Promise<void> {
  const redact = (text: string) => log.redact?.(text) ?? text
  const { call, close } = openCall(grpc, deadlineMs, redact)
  try {
    reply(null, await untilAborted(run(call), call.signal))
  } catch (thrown) {
    const error = toRpcError(thrown)
    if (error.details.cause !== undefined) {
      log.error('an RPC failed', { method: call.method, callId: call.callId, cause: error.details.cause })
    }
    reply(toStatusObject(withoutKeys(error, redact), call.callId))
  } finally {
    close()
  }
}

function decode(method: MethodShape, octets: Buffer): unknown {
  try {
    return method.requestDeserialize(octets)
  } catch (cause) {
    void cause // says which octet, never what the caller meant
    throw new RpcError('MESSAGE_MALFORMED', 'The request is no message of this method.')
  }
}

async function* decodeAll(method: MethodShape, messages: AsyncIterable<Buffer>): AsyncGenerator<unknown> {
  for await (const octets of messages) yield decode(method, octets)
}

async function writeAll(
  grpc: ServerWritableStream<Buffer, unknown>,
  messages: AsyncIterable<unknown>,
  call: RpcCall,
): Promise<void> {
  for await (const message of messages) {
    call.signal.throwIfAborted()
    if (!grpc.write(message)) {
      await untilAborted(new Promise<void>(resolve => grpc.once('drain', resolve)), call.signal)
    }
  }
}

// A generated service as a client with promises: for the command line and for tests.
// Every call has a deadline; a refused call rejects with an RpcFailure that holds the decoded details.
import { type ChannelCredentials, Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { BadRequest, ErrorInfo, PreconditionFailure, RequestInfo, RetryInfo } from '../gen/google/rpc/error_details.ts'
import { Status } from '../gen/google/rpc/status.ts'
import { defaultDeadlineMs, messageOctetsMax, type ServiceShape, streamDeadlineMs } from './server.ts'
import { statusDetailsKey } from './status.ts'

type Input<Method> = Method extends { requestDeserialize: (octets: Buffer) => infer Message } ? Message : never
type Output<Method> = Method extends { responseDeserialize: (octets: Buffer) => infer Message } ? Message : never

/** One method for each method of the service: it answers with a promise, or with messages as they come. */
export type RpcClient<Service> = {
  readonly [Name in keyof Service]: Service[Name] extends { requestStream: true }
    ? (requests: AsyncIterable<Input<Service[Name]>> | Iterable<Input<Service[Name]>>) => Promise<Output<Service[Name]>>
    : Service[Name] extends { responseStream: true }
      ? (request: Input<Service[Name]>) => AsyncIterable<Output<Service[Name]>>
      : (request: Input<Service[Name]>) => Promise<Output<Service[Name]>>
}

export interface RpcClientOptions {
  /** `host:port` or `unix:/path`. */
  readonly address: string
  /** Admin key, sent as `authorization: Bearer …`. */
  readonly adminKey?: string
  /** Default 10 s, 10 min for streams. */
  readonly deadlineMs?: number
  /** PEM of the authority to trust; absent: cleartext. */
  readonly ca?: Buffer
}

/** A call that the server refused or that never reached it. */
export class RpcFailure extends Error {
  override readonly name = 'RpcFailure'
  readonly code: status
  /** ErrorInfo.reason; empty if the error came from no server of ours. */
  readonly reason: string
  readonly metadata: ReadonlyMap<string, string>
  readonly violations: readonly { readonly field: string; readonly reason: string; readonly description: string }[]
  readonly preconditions: readonly { readonly type: string; readonly subject: string; readonly description: string }[]
  readonly retryDelayMs: number | undefined
  readonly requestId: string

  constructor(error: ServiceError) {
    super(error.details)
    const details = decodeDetails(error.metadata)
    this.code = error.code
    this.reason = details.reason
    this.metadata = details.metadata
    this.violations = details.violations
    this.preconditions = details.preconditions
    this.retryDelayMs = details.retryDelayMs
    this.requestId = details.requestId
  }

  /** The code's name: `INVALID_ARGUMENT`. */
  get codeName(): string {
    return status[this.code] ?? String(this.code)
  }
}

/** One connection to a server, shared by the clients of several services. */
export interface RpcChannel {
  client<Service extends ServiceShape>(service: Service): RpcClient<Service>
  close(): void
}

/** Opens a channel; it connects with the first call. */
export function openChannel(options: RpcClientOptions): RpcChannel {
  const secure: ChannelCredentials =
    options.ca === undefined ? credentials.createInsecure() : credentials.createSsl(options.ca)
  const connection = new Client(options.address, secure, {
    'grpc.max_receive_message_length': messageOctetsMax,
    'grpc.enable_channelz': 0,
  })
  return {
    client: service => bindMethods(connection, service, options),
    close: () => connection.close(),
  }
}

function bindMethods<Service extends ServiceShape>(
  connection: Client,
  service: Service,
  options: RpcClientOptions,
): RpcClient<Service> {
  const methods: Record<string, unknown> = {}
  for (const [name, method] of Object.entries(service)) {
    if (method.requestStream) {
      methods[name] = (requests: AsyncIterable<unknown>) => callWithStream(connection, method, requests, options)
    } else if (method.responseStream) {
      methods[name] = (request: unknown) => callForStream(connection, method, request, options)
    } else methods[name] = (request: unknown) => callOnce(connection, method, request, options)
  }
  return methods as RpcClient<Service>
}

type Method = ServiceShape[string] & { readonly requestSerialize?: (message: never) => Buffer }

function callOnce(connection: Client, method: Method, request: unknown, options: RpcClientOptions): Promise<unknown> {
  return new Promise((resolve, reject) => {
    connection.makeUnaryRequest(
      method.path,
      serializerOf(method),
      method.responseDeserialize,
      request,
      metadataOf(options),
      { deadline: Date.now() + (options.deadlineMs ?? defaultDeadlineMs) },
      (error, reply) => (error === null ? resolve(reply) : reject(new RpcFailure(error))),
    )
  })
}

/** Messages as fast as they are taken; leaving the loop ends the call. */
async function* callForStream(
  connection: Client,
  method: Method,
  request: unknown,
  options: RpcClientOptions,
): AsyncGenerator<unknown> {
  const stream = connection.makeServerStreamRequest(
    method.path,
    serializerOf(method),
    method.responseDeserialize,
    request,
    metadataOf(options),
    { deadline: Date.now() + (options.deadlineMs ?? streamDeadlineMs) },
  )
  try {
    yield* stream
  } catch (error) {
    throw isServiceError(error) ? new RpcFailure(error) : error
  } finally {
    stream.cancel()
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error && 'metadata' in error
}

async function callWithStream(
  connection: Client,
  method: Method,
  requests: AsyncIterable<unknown> | Iterable<unknown>,
  options: RpcClientOptions,
): Promise<unknown> {
  let ended = false
  let call: ReturnType<Client['makeClientStreamRequest']> | undefined
  const reply = new Promise<unknown>((resolve, reject) => {
    call = connection.makeClientStreamRequest(
      method.path,
      serializerOf(method),
      method.responseDeserialize,
      metadataOf(options),
      { deadline: Date.now() + (options.deadlineMs ?? streamDeadlineMs) },
      (error, message) => {
        ended = true
        if (error === null) resolve(message)
        else reject(new RpcFailure(error))
      },
    )
  })
  reply.catch(() => undefined) // awaited at the end; it may fail while rows are still being sent
  const stream = call
  if (stream === undefined) throw new Error('grpc-js made no call')
  const sent = (async () => {
    for await (const request of requests) {
      if (ended) return
      if (!stream.write(request)) {
        await Promise.race([new Promise<void>(resolve => stream.once('drain', resolve)), reply.catch(() => undefined)])
      }
    }
    stream.end()
  })()
  await sent.catch(cause => {
    stream.cancel()
    throw cause
  })
  return await reply
}

function serializerOf(method: Method): (message: unknown) => Buffer {
  const serialize = method.requestSerialize as ((message: unknown) => Buffer) | undefined
  if (serialize === undefined) throw new Error(`${method.path} has no serializer`)
  return serialize
}

function metadataOf(options: RpcClientOptions): Metadata {
  const metadata = new Metadata()
  if (options.adminKey !== undefined) metadata.set('authorization', `Bearer ${options.adminKey}`)
  return metadata
}

function decodeDetails(metadata: Metadata) {
  const [encoded] = metadata.get(statusDetailsKey)
  return statusDetails(Buffer.isBuffer(encoded) ? Status.decode(encoded) : undefined)
}

/** What the details of a status say; everything empty where it has none. */
export function statusDetails(of: Status | undefined) {
  const details = of?.details ?? []
  const find = <Message>(name: string, type: { decode(octets: Buffer): Message }) => {
    const found = details.find(any => any.typeUrl.endsWith(`/google.rpc.${name}`))
    return found === undefined ? undefined : type.decode(found.value)
  }
  const info = find('ErrorInfo', ErrorInfo)
  const delay = find('RetryInfo', RetryInfo)?.retryDelay
  return {
    reason: info?.reason ?? '',
    metadata: info?.metadata ?? new Map<string, string>(),
    violations: find('BadRequest', BadRequest)?.fieldViolations ?? [],
    preconditions: find('PreconditionFailure', PreconditionFailure)?.violations ?? [],
    retryDelayMs: delay === undefined ? undefined : Number(delay.seconds) * 1000 + delay.nanos / 1e6,
    requestId: find('RequestInfo', RequestInfo)?.requestId ?? '',
  }
}

// The reference transport: @grpc/grpc-js with pass-through serializers. Octets of a message go in and out untouched; other
// services (health) may be added to the same server. It knows nothing of what is decided.
import { Metadata, Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js'
import { drainServer } from './grpc-js-drain.ts'
import type { CallMetadata, ListenAddress, ReplyWriter, UnaryServer, UnaryService } from './unary-server.ts'
import { removeStaleSocket, restrictSocket, socketPath } from './unix-socket.ts'

/** Octets of one message: Envoy puts a request's whole header block into it, usually 60 KiB at most. */
export const messageLengthMax = 256 * 1024
/** Streams of one connection; at least what the shipped Envoy cluster opens before it has read our settings. */
export const streamsMax = 1024
/** Octets and fields of a call's own header block; Envoy sends some 200 octets in a dozen fields. */
const headerListSizeMax = 16 * 1024
const headerFieldsMax = 128
/** Megabytes that one connection may hold in memory: class B of security.md 7, bounded instead of unlimited. */
const sessionMemoryMax = 64
/** Resets that clients of one Envoy may cause: ordinary disconnects must not close the connection all of them share. */
const resetBurst = 20_000
const resetsPerSecond = 10_000
/** Age of a connection, so that Envoy's workers spread over new processes; grpc-js adds jitter of 10 %. */
const connectionAgeMs = 300_000
/** How long calls of an aged connection may still take. */
const connectionGraceMs = 10_000

export interface GrpcJsServerOptions {
  readonly listen: readonly ListenAddress[]
  readonly services: readonly UnaryService[]
  /** Default: cleartext. */
  readonly credentials?: ServerCredentials
  /** Adds further services before the server listens. */
  readonly register?: (server: Server) => void
}

/** Starts a server. @throws Error naming the address that cannot be bound; nothing listens then. */
export async function startGrpcJsServer(options: GrpcJsServerOptions): Promise<UnaryServer> {
  const server = new Server({
    'grpc.max_receive_message_length': messageLengthMax,
    'grpc.max_concurrent_streams': streamsMax,
    'grpc.max_connection_age_ms': connectionAgeMs,
    'grpc.max_connection_age_grace_ms': connectionGraceMs,
    'grpc-node.max_session_memory': sessionMemoryMax,
    'grpc.enable_channelz': 0,
  })
  limitHttp2(server)
  for (const service of options.services) addUnaryService(server, service)
  options.register?.(server)
  const addresses: ListenAddress[] = []
  try {
    for (const address of options.listen) {
      addresses.push(await bind(server, address, options.credentials ?? ServerCredentials.createInsecure()))
    }
  } catch (error) {
    server.forceShutdown()
    throw error
  }
  return { addresses, drain: deadlineMs => drainServer(server, deadlineMs) }
}

/** grpc-js has no options for these limits of `node:http2`, so they are added to what it will create its servers with. */
function limitHttp2(server: Server): void {
  const http2: unknown = Reflect.get(server, 'commonServerOptions')
  if (typeof http2 !== 'object' || http2 === null) throw new Error('this @grpc/grpc-js has no server options to limit')
  Object.assign(http2, {
    settings: {
      maxConcurrentStreams: streamsMax,
      maxHeaderListSize: headerListSizeMax,
      initialWindowSize: messageLengthMax + 16 * 1024,
    },
    maxHeaderListPairs: headerFieldsMax,
    // Node 20 does not know the last two and ignores them.
    streamResetBurst: resetBurst,
    streamResetRate: resetsPerSecond,
  })
}

function addUnaryService(server: Server, service: UnaryService): void {
  const passThrough = (octets: Buffer) => octets
  const definition = {
    path: service.method,
    requestStream: false,
    responseStream: false,
    requestSerialize: passThrough,
    requestDeserialize: passThrough,
    responseSerialize: passThrough,
    responseDeserialize: passThrough,
  } as const
  server.addService(
    { call: definition },
    {
      call: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
        const reply = new Reply()
        const octets = call.request
        service.handler(octets, 0, octets.length, new NamedMetadata(call.metadata, service.metadataNames), reply)
        // A batch is one call here; the reply leaves after it.
        service.endOfBatch()
        reply.settle(callback)
      },
    },
  )
}

/** Printable ASCII, as metadata values without the suffix `-bin` have to be. */
const printable = /^[ -~]*$/

class NamedMetadata implements CallMetadata {
  private readonly metadata: Metadata
  private readonly names: readonly string[]

  constructor(metadata: Metadata, names: readonly string[]) {
    this.metadata = metadata
    this.names = names
  }

  value(index: number): string | undefined {
    const name = this.names[index]
    if (name === undefined) return undefined
    const values = this.metadata.get(name)
    const [only] = values
    return values.length === 1 && typeof only === 'string' && printable.test(only) ? only : undefined
  }
}

/** Keeps the one answer of a call until it is sent. */
class Reply implements ReplyWriter {
  private octets: Buffer | undefined
  private failure: { readonly code: number; readonly text: string } | undefined

  message(bytes: Uint8Array, start: number, end: number): void {
    this.octets = Buffer.from(bytes.subarray(start, end))
  }

  fail(code: number, text: string): void {
    this.failure = { code, text }
  }

  settle(callback: sendUnaryData<Buffer>): void {
    if (this.failure === undefined && this.octets !== undefined) {
      callback(null, this.octets)
      return
    }
    const { code, text } = this.failure ?? { code: status.INTERNAL, text: 'no reply' }
    callback({ code, details: text, metadata: new Metadata() })
  }
}

async function bind(server: Server, address: ListenAddress, credentials: ServerCredentials): Promise<ListenAddress> {
  const path = socketPath(address)
  if (path !== undefined) await removeStaleSocket(path)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, credentials, (error, bound) => {
      if (error === null) resolve(bound)
      else reject(new Error(`cannot listen on ${address}: ${error.message}`, { cause: error }))
    })
  })
  if (path !== undefined) {
    await restrictSocket(path)
    return address
  }
  return address.replace(/:\d+$/, `:${port}`)
}

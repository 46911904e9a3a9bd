// Binds a grpc-js server to a TCP port or a unix socket.
// Guarantee: nothing beyond this machine is ever served in cleartext unless the owner says so; a socket is 0660 from
// its first moment on; a socket file of a dead process is replaced, one of a living process never.
import { chmod, lstat, unlink } from 'node:fs/promises'
import { BlockList, connect, isIP } from 'node:net'
import { type Server, ServerCredentials } from '@grpc/grpc-js'

/** Where to listen; port 0 takes any free one. */
export type ListenTarget =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

/** PEM texts. With `clientCa` a client certificate of that authority is demanded. */
export interface ListenTls {
  readonly cert: Buffer
  readonly key: Buffer
  readonly clientCa?: Buffer
}

export interface ListenOptions {
  /** PEM texts, or credentials that their owner keeps up to date. */
  readonly tls?: ListenTls | ServerCredentials
  /** Allows cleartext beyond loopback: for listeners whose callers carry no secret of ours. */
  readonly cleartextBeyondLoopback?: boolean
}

/** A listener that could not be opened; the text says what to change. */
export class ListenError extends Error {
  override readonly name = 'ListenError'
}

/** Owner and group: the proxy beside us shares the group, nobody else gets in. */
const socketMode = 0o660

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/**
 * Binds the server; it answers from then on. Returns the bound address: `host:port` with the real port, or `unix:path`.
 * @throws ListenError
 */
export async function listen(server: Server, target: ListenTarget, options: ListenOptions = {}): Promise<string> {
  if (target.kind === 'unix') return await listenUnix(server, target.path)
  const { host, port } = target
  if (options.tls === undefined && options.cleartextBeyondLoopback !== true && !isLoopback(host)) {
    throw new ListenError(
      `${host}:${port} can be reached from other machines and has no TLS: configure a certificate, or listen on 127.0.0.1 or a unix socket`,
    )
  }
  const name = host.includes(':') ? `[${host}]` : host
  const bound = await bind(server, `${name}:${port}`, credentialsOf(options.tls))
  return `${name}:${bound}`
}

/** Whether an address can be reached from this machine only. Names other than `localhost` are not resolved, thus not trusted. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost') return true
  const family = isIP(host)
  return family !== 0 && loopback.check(host, family === 4 ? 'ipv4' : 'ipv6')
}

async function listenUnix(server: Server, path: string): Promise<string> {
  await removeDeadSocket(path)
  const umask = process.umask(0o117)
  try {
    await bind(server, `unix:${path}`, ServerCredentials.createInsecure())
  } finally {
    process.umask(umask)
  }
  await chmod(path, socketMode)
  return `unix:${path}`
}

function credentialsOf(tls: ListenOptions['tls']): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure()
  if (tls instanceof ServerCredentials) return tls
  const { cert, key, clientCa } = tls
  return ServerCredentials.createSsl(clientCa ?? null, [{ cert_chain: cert, private_key: key }], clientCa !== undefined)
}

function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, port) => {
      if (error === null) resolve(port)
      else reject(new ListenError(`cannot listen on ${address}: ${error.message}`, { cause: error }))
    })
  })
}

/** A socket file survives the process that made it; one that nobody answers on is removed. */
async function removeDeadSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket()) throw new ListenError(`cannot listen on unix:${path}: there is a file that is no socket`)
  if (await answers(path)) throw new ListenError(`cannot listen on unix:${path}: another process listens there`)
  await unlink(path)
}

function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

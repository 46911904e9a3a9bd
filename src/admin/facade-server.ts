// The listener of the facade: HTTP/1.1 and HTTP/2 on a unix socket, or over mTLS on TCP, small and bounded.
// Guarantee: identity headers are believed on a unix socket, which file permissions guard, and of peers whose certificate has
// a trusted name; nobody else is. Every request gets one answer or loses its connection; a drain cuts none that is being answered.
import {
  createServer as createHttp1,
  type Server as Http1Server,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import {
  constants,
  createServer as createHttp2,
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2'
import { createServer as createNet, type Server as NetServer, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { HttpAnswer } from './facade-answer.ts'
import type { FacadeFrame, FacadeHttpRequest } from './facade-call.ts'
import { isTrustedPeer } from './facade-peer.ts'

/** PEM texts; `clientCa` must have signed the certificate of every peer. */
export interface FacadeTls {
  readonly cert: Buffer
  readonly key: Buffer
  readonly clientCa: Buffer
}

/** Where to listen; TCP is mTLS, always. */
export type FacadeListen =
  | { readonly kind: 'unix'; readonly path: string }
  | {
      readonly kind: 'tcp'
      readonly host: string
      readonly port: number
      readonly tls: FacadeTls
      /** DNS or URI names, one of which a peer's certificate must have. */
      readonly trustedPeers: readonly string[]
    }

export interface FacadeServer {
  /** `host:port` with the real port, or `unix:/path`. */
  readonly address: string
  /** New handshakes get this certificate and are held against this authority; connections that are open go on. */
  renew(tls: FacadeTls): void
  /** Takes no more connections and requests, answers those that came; cuts what is left after `deadlineMs`. */
  drain(deadlineMs: number): Promise<void>
}

/** Octets of a body (admin-api.md section 9). */
export const bodyOctetsMax = 64 * 1024
/** Octets read and thrown away of a body that is too long, so that its sender hears why; beyond, the connection ends. */
const discardedOctetsMax = 8 * 1024 * 1024
/** Time for a body: it comes from a proxy on the same machine or network. */
const bodyMs = 5000
/** Time for a whole call, as for any call of the admin interface. */
const callMs = 10_000
/** Proxies keep few connections; a flood of them must not take descriptors from the admin interface. */
const connectionsMax = 256
/** A connection on which nothing was sent for longer is closed: more than any proxy leaves one idle. */
const idleMs = 2 * 3_600_000
/** Time for a handshake, and for the first head of a connection: a proxy connects because it has a request to send. */
const firstHeadMs = 10_000
/** Connections without a request so far; of more, the oldest makes room: who sends nothing must not keep a proxy out. */
const waitingMax = connectionsMax / 2
const headerOctetsMax = 16 * 1024
const connectionStreamsMax = 100

type Request = IncomingMessage | Http2ServerRequest
type Response = ServerResponse | Http2ServerResponse
type Answerer = (request: FacadeHttpRequest, frame: FacadeFrame) => Promise<HttpAnswer>

/** Starts listening. @throws Error of node:net, e.g. `EADDRINUSE` */
export async function startFacadeServer(listen: FacadeListen, answer: Answerer): Promise<FacadeServer> {
  const connections = new Connections()
  const trusts = (request: Request) =>
    listen.kind === 'unix' || isTrustedPeer(certificateOf(request), listen.trustedPeers)
  const onRequest = (request: Request, response: Response) => {
    const trusted = trusts(request)
    // Who is not trusted gets an answer, but not the time of those who are.
    if (trusted) connections.heard(isHttp2(request) ? (request.stream.session as ServerHttp2Session) : request.socket)
    void serve(request, response, trusted, answer, connections)
  }
  const server = listen.kind === 'unix' ? cleartext(onRequest, connections) : secure(listen, onRequest, connections)
  server.maxConnections = connectionsMax
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    const bound = () => {
      server.removeListener('error', reject)
      resolve()
    }
    if (listen.kind === 'unix') server.listen(listen.path, bound)
    else server.listen(listen.port, listen.host, bound)
  })
  return {
    address: addressOf(server),
    renew: ({ cert, key, clientCa }) => {
      if ('setSecureContext' in server) server.setSecureContext({ cert, key, ca: clientCa, minVersion: tlsVersionMin })
    },
    drain: deadlineMs => drain(server, connections, deadlineMs),
  }
}

type Peer = Socket | ServerHttp2Session

/** What is open, what has said nothing yet, and what is being answered. */
class Connections {
  /** All, of whatever version. */
  readonly sockets = new Set<Socket>()
  readonly sessions = new Set<ServerHttp2Session>()
  /** Sockets of which it is not known yet what they speak. */
  readonly undecided = new Set<Socket>()
  /** Undecided sockets, and of either version those without a request so far, oldest first; each with what will end it. */
  private readonly waiting = new Map<Peer, NodeJS.Timeout>()
  /** Sockets of HTTP/1.1, and those of them with a request under way. */
  readonly http1 = new Set<Socket>()
  readonly busy = new Set<Socket>()
  draining = false

  add(socket: Socket): void {
    this.sockets.add(socket)
    this.undecided.add(socket)
    this.wait(socket)
    socket.once('close', () => {
      this.sockets.delete(socket)
      this.undecided.delete(socket)
    })
    socket.on('error', () => socket.destroy()) // a peer that went away is no news
    socket.setTimeout(idleMs, () => socket.destroy())
  }

  /** It is known what the socket speaks: `addHttp1` or `addSession` follows. */
  decided(socket: Socket): void {
    for (const raw of this.undecided) {
      // Of TLS the socket is another one than that which was accepted, with the same ends.
      if (raw !== socket && (raw.remotePort === undefined || !hasEndsOf(raw, socket))) continue
      this.undecided.delete(raw)
      this.heard(raw)
    }
  }

  addHttp1(socket: Socket): void {
    this.http1.add(socket)
    this.wait(socket)
    socket.once('close', () => this.http1.delete(socket))
    if (this.draining) socket.end()
  }

  addSession(session: ServerHttp2Session): void {
    this.sessions.add(session)
    this.wait(session)
    session.once('close', () => this.sessions.delete(session))
    session.on('error', () => session.destroy())
    if (this.draining) session.close()
  }

  /** A request has come: the connection may stay as long as it is used. */
  heard(peer: Peer | undefined): void {
    if (peer === undefined) return
    clearTimeout(this.waiting.get(peer))
    this.waiting.delete(peer)
  }

  private wait(peer: Peer): void {
    const [oldest] = this.waiting.size < waitingMax ? [] : this.waiting.keys()
    if (oldest !== undefined) {
      this.heard(oldest)
      oldest.destroy()
    }
    this.waiting.set(
      peer,
      setTimeout(() => peer.destroy(), firstHeadMs),
    )
    peer.once('close', () => this.heard(peer))
  }
}

function hasEndsOf(one: Socket, other: Socket): boolean {
  return one.remotePort === other.remotePort && one.remoteAddress === other.remoteAddress
}

/** One socket for both versions: HTTP/2 begins with a text that no request of HTTP/1.1 begins with. */
function cleartext(onRequest: (request: Request, response: Response) => void, connections: Connections): NetServer {
  const http1: Http1Server = createHttp1({ maxHeaderSize: headerOctetsMax, keepAliveTimeout: 0 }, onRequest)
  const http2 = createHttp2({ settings: http2Settings }, onRequest)
  http1.on('clientError', (_, socket) => socket.destroy())
  http2.on('session', session => connections.addSession(session))
  http2.on('sessionError', () => undefined) // the session ends by itself
  return createNet(socket => {
    connections.add(socket)
    let head = Buffer.alloc(0)
    const look = () => {
      const more = socket.read() as Buffer | null
      if (more === null) return
      head = Buffer.concat([head, more])
      if (head.length < http2Begin.length && http2Begin.startsWith(head.toString('latin1'))) return
      socket.removeListener('readable', look)
      connections.decided(socket)
      socket.unshift(head)
      if (head.toString('latin1', 0, http2Begin.length) === http2Begin) http2.emit('connection', socket)
      else {
        connections.addHttp1(socket)
        http1.emit('connection', socket)
      }
    }
    socket.on('readable', look)
  })
}

const tlsVersionMin = 'TLSv1.3'
const http2Begin = 'PRI * HTTP/2'
const http2Settings = { maxConcurrentStreams: connectionStreamsMax, maxHeaderListSize: headerOctetsMax }

function secure(
  { tls }: Extract<FacadeListen, { kind: 'tcp' }>,
  onRequest: (request: Request, response: Response) => void,
  connections: Connections,
): Http2SecureServer {
  const server = createSecureServer(
    {
      cert: tls.cert,
      key: tls.key,
      ca: tls.clientCa,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: tlsVersionMin,
      allowHTTP1: true,
      maxHeaderSize: headerOctetsMax,
      settings: http2Settings,
      handshakeTimeout: firstHeadMs,
    } as Parameters<typeof createSecureServer>[0],
    onRequest,
  )
  server.on('connection', (socket: Socket) => connections.add(socket))
  server.on('session', session => connections.addSession(session))
  // Before the listener of node:http2, which begins the session.
  server.prependListener('secureConnection', socket => {
    connections.decided(socket)
    if (socket.alpnProtocol !== 'h2') connections.addHttp1(socket)
  })
  server.on('sessionError', () => undefined) // the session ends by itself
  server.on('tlsClientError', (_, socket) => socket.destroy())
  server.on('clientError', (_: Error, socket: Socket) => socket.destroy())
  return server
}

/** The certificate that the handshake has verified; undefined: none. */
function certificateOf(request: Request): { readonly subjectaltname?: string } | undefined {
  // Of a session the socket is a stand-in that answers for its members but does not list them.
  const socket = isHttp2(request) ? request.stream.session?.socket : request.socket
  return (socket as Partial<Pick<TLSSocket, 'getPeerCertificate'>> | undefined)?.getPeerCertificate?.()
}

function isHttp2(request: Request): request is Http2ServerRequest {
  return request.httpVersionMajor === 2
}

/** One request to its answer. Never rejects. */
async function serve(
  request: Request,
  response: Response,
  trusted: boolean,
  answer: Answerer,
  connections: Connections,
): Promise<void> {
  const left = new AbortController()
  const timer = setTimeout(() => left.abort(new Error('the call took too long')), callMs)
  response.once('close', () => left.abort(new Error('the caller has left')))
  response.on('error', () => undefined) // the caller has left: 'close' follows
  const socket = isHttp2(request) ? undefined : request.socket
  if (socket !== undefined) connections.busy.add(socket)
  try {
    const incoming = toFacadeRequest(request, trusted, left.signal)
    const frame = {
      signal: left.signal,
      deadlineUnixMs: Date.now() + callMs,
      sourceAddress: request.socket.remoteAddress ?? '',
    }
    write(request, response, await answer(incoming, frame), connections.draining || !trusted)
  } catch {
    // Its cause is in the log of whoever failed to answer; without an answer the connection is all there is to end.
    if (isHttp2(request)) request.stream.close(constants.NGHTTP2_INTERNAL_ERROR)
    else request.destroy()
  } finally {
    clearTimeout(timer)
    if (socket !== undefined) endWhenIdle(socket, response, connections)
  }
}

function endWhenIdle(socket: Socket, response: Response, connections: Connections): void {
  const idle = () => {
    connections.busy.delete(socket)
    if (connections.draining) socket.end()
  }
  if (response.writableFinished || socket.destroyed) idle()
  else response.once('close', idle)
}

function toFacadeRequest(request: Request, trusted: boolean, signal: AbortSignal): FacadeHttpRequest {
  const raw = request.rawHeaders
  const values = (name: string) =>
    raw.filter((_, index) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === name.toLowerCase())
  return {
    method: request.method ?? '',
    target: request.url ?? '',
    host: values(':authority')[0] ?? values('host')[0] ?? '',
    trusted,
    values,
    body: () => readBody(request, signal),
  }
}

/** The body; undefined when it is too long or does not come. What is too long is read on and thrown away. */
function readBody(request: Request, signal: AbortSignal): Promise<Buffer | undefined> {
  return new Promise(resolve => {
    const chunks: Buffer[] = []
    let octets = 0
    const settle = (body: Buffer | undefined) => {
      clearTimeout(timer)
      resolve(body)
    }
    const timer = setTimeout(() => settle(undefined), bodyMs)
    signal.addEventListener('abort', () => settle(undefined), { once: true })
    request.on('data', (chunk: Buffer) => {
      octets += chunk.length
      if (octets <= bodyOctetsMax) chunks.push(chunk)
      else chunks.length = 0
      if (octets > discardedOctetsMax) settle(undefined)
    })
    request.once('end', () => settle(octets > bodyOctetsMax ? undefined : Buffer.concat(chunks)))
    request.once('error', () => settle(undefined))
  })
}

function write(request: Request, response: Response, { status, headers, body }: HttpAnswer, last: boolean): void {
  const octets = Buffer.from(body, 'utf8')
  const fields: Record<string, string> = Object.fromEntries(headers)
  fields['content-length'] = String(octets.length)
  if (!isHttp2(request) && (last || !request.complete)) fields['connection'] = 'close'
  ;(response as ServerResponse).writeHead(status, fields)
  response.end(octets)
  request.resume() // what is left of a body nobody wanted
  if (!isHttp2(request) || !last) return
  request.stream.session?.close()
  // What is left of a body must not keep the session.
  request.stream.once('finish', () => request.stream.close(constants.NGHTTP2_NO_ERROR))
}

async function drain(server: NetServer, connections: Connections, deadlineMs: number): Promise<void> {
  connections.draining = true
  const closed = new Promise<void>(resolve => server.close(() => resolve()))
  for (const session of connections.sessions) session.close()
  for (const socket of connections.undecided) socket.destroy()
  for (const socket of connections.http1) if (!connections.busy.has(socket)) socket.end()
  const timer = setTimeout(() => {
    for (const session of connections.sessions) session.destroy()
    for (const socket of connections.sockets) socket.destroy()
  }, deadlineMs)
  await closed
  clearTimeout(timer)
}

function addressOf(server: NetServer): string {
  const address = server.address()
  if (address === null) return ''
  if (typeof address === 'string') return `unix:${address}`
  return address.family === 'IPv6' ? `[${address.address}]:${address.port}` : `${address.address}:${address.port}`
}

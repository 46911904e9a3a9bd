// The h2 transport: unary gRPC over cleartext HTTP/2 with prior knowledge, on unix sockets and TCP. Sockets, clocks and timers are
// here; what octets mean is in connection.ts. Replies of one read leave in one write.
import { createServer, type Server, type Socket } from 'node:net'
import type { ListenAddress, UnaryServer, UnaryService } from '../unary-server.ts'
import { removeStaleSocket, restrictSocket, socketPath } from '../unix-socket.ts'
import { BACKLOG_MAX, type ConnectionEvents, type LimitCounts, WRITE_STALL_MS } from './abuse.ts'
import { Connection, createShared, type Shared } from './connection.ts'
import { LoopClock } from './loop-clock.ts'
import { readSocket } from './socket-reads.ts'

/** Connections of a process, and of one peer address on TCP. */
const CONNECTIONS_MAX = 256
const CONNECTIONS_PER_ADDRESS_MAX = 64
/** How often connections are looked at for what passes with time. */
const TICK_MS = 250
/** Age of a connection, so that Envoy's workers spread over new processes; ± 10 %. */
const AGE_MS = 300_000
const AGE_SPREAD = 0.1
/** Between the two halves of a graceful end, for a peer that answers no PING. */
const SETTLE_MS = 1000
/** How often a drain looks whether all are gone. */
const POLL_MS = 5
/** How long a closing connection may take to send its last octets. */
const CLOSE_MS = 1000

export interface H2ServerOptions {
  readonly listen: readonly ListenAddress[]
  readonly services: readonly UnaryService[]
  /** Hears of a handler that threw, which is the handler's fault; the call fails with INTERNAL. */
  readonly report: (error: unknown) => void
}

export interface H2Server extends UnaryServer {
  /** How often each limit was met. */
  readonly limits: Readonly<LimitCounts>
  readonly events: Readonly<ConnectionEvents>
}

/** Starts a server. @throws Error naming the address that cannot be bound; nothing listens then. */
export async function startH2Server({ listen, services, report }: H2ServerOptions): Promise<H2Server> {
  const shared = createShared(services, report)
  const peers = new Peers(shared)
  const listeners: Server[] = []
  const addresses: ListenAddress[] = []
  try {
    for (const address of listen) {
      const listener = createServer({ noDelay: true, pauseOnConnect: true }, socket => peers.accept(socket))
      addresses.push(await bind(listener, address))
      listeners.push(listener)
    }
  } catch (error) {
    for (const listener of listeners) listener.close()
    peers.end()
    throw error
  }
  return {
    addresses,
    limits: shared.limits,
    events: shared.events,
    async drain(deadlineMs) {
      const closed = listeners.map(listener => new Promise<void>(resolve => listener.close(() => resolve())))
      await peers.drain(deadlineMs)
      await Promise.all(closed)
    },
  }
}

async function bind(listener: Server, address: ListenAddress): Promise<ListenAddress> {
  const path = socketPath(address)
  if (path !== undefined) await removeStaleSocket(path)
  await new Promise<void>((resolve, reject) => {
    listener.once('error', error =>
      reject(new Error(`cannot listen on ${address}: ${error.message}`, { cause: error })),
    )
    listener.listen(path === undefined ? tcpOptions(address) : { path }, resolve)
  })
  listener.removeAllListeners('error')
  // A connection that could not be accepted is its peer's trouble; the listener goes on.
  listener.on('error', () => undefined)
  if (path !== undefined) {
    await restrictSocket(path)
    return address
  }
  const bound = listener.address()
  return address.replace(/:\d+$/, `:${typeof bound === 'object' && bound !== null ? bound.port : 0}`)
}

function tcpOptions(address: ListenAddress): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(':')
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) }
}

class Peers {
  private readonly shared: Shared
  private readonly peers = new Set<Peer>()
  private readonly clock = new LoopClock(() => performance.now())
  private readonly ticking: NodeJS.Timeout

  constructor(shared: Shared) {
    this.shared = shared
    this.ticking = setInterval(() => this.tick(), TICK_MS)
    this.ticking.unref()
  }

  accept(accepted: Socket): void {
    const address = accepted.remoteAddress
    let ofAddress = 0
    for (const peer of this.peers) if (peer.address === address) ofAddress++
    if (this.peers.size >= CONNECTIONS_MAX || (address !== undefined && ofAddress >= CONNECTIONS_PER_ADDRESS_MAX)) {
      this.shared.limits.connections++
      accepted.destroy()
      return
    }
    const peer = new Peer(accepted, this.shared, this.clock)
    this.peers.add(peer)
    peer.onClose(() => {
      this.peers.delete(peer)
      peer.release()
    })
  }

  end(): void {
    clearInterval(this.ticking)
    for (const peer of this.peers) peer.destroy()
  }

  async drain(deadlineMs: number): Promise<void> {
    const begin = performance.now()
    for (const peer of this.peers) peer.announceEnd()
    for (let passed = 0; this.peers.size > 0 && passed < deadlineMs; passed = performance.now() - begin) {
      if (passed >= SETTLE_MS) for (const peer of this.peers) peer.settleEnd()
      await sleep(POLL_MS)
    }
    this.end()
  }

  private tick(): void {
    const now = this.clock.now()
    for (const peer of this.peers) peer.tick(now)
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}

/** A connection and its socket. */
class Peer {
  readonly address: string | undefined
  private readonly socket: Socket
  private readonly connection: Connection
  private readonly shared: Shared
  private readonly clock: LoopClock
  private readonly endsAt: number
  private announcedAt = Number.POSITIVE_INFINITY
  private closingAt = Number.POSITIVE_INFINITY
  private progressAt: number
  private progress = 0
  private isPaused = false
  /** The socket has octets that it has not taken. */
  private isWriting = false

  constructor(accepted: Socket, shared: Shared, clock: LoopClock) {
    const now = clock.now()
    this.shared = shared
    this.clock = clock
    this.address = accepted.remoteAddress
    this.connection = new Connection(shared, now)
    this.progressAt = now
    this.endsAt = now + AGE_MS * (1 + AGE_SPREAD * (2 * Math.random() - 1))
    const socket = readSocket(accepted, octets => this.receive(octets))
    this.socket = socket
    socket.on('error', () => undefined) // 'close' follows
    socket.on('end', () => socket.end())
    this.flush(now)
  }

  onClose(listener: () => void): void {
    this.socket.once('close', listener)
  }

  private receive(chunk: Buffer): void {
    const now = this.clock.now()
    this.connection.receive(chunk, now)
    this.flush(now)
  }

  tick(now: number): void {
    const { connection } = this
    connection.tick(now)
    if (now >= this.endsAt) this.announceEnd(now)
    if (now - this.announcedAt >= SETTLE_MS) this.settleEnd()
    this.flush(now)
    this.watchWrites(now)
    this.resume(now)
    if (now - this.closingAt >= CLOSE_MS) this.destroy()
  }

  announceEnd(now = this.clock.now()): void {
    if (this.announcedAt !== Number.POSITIVE_INFINITY) return
    this.announcedAt = now
    this.connection.announceEnd()
    this.flush(now)
  }

  settleEnd(): void {
    this.announcedAt = Number.NEGATIVE_INFINITY
    this.connection.settleEnd()
    this.flush(this.clock.now())
  }

  destroy(): void {
    this.socket.destroy()
  }

  release(): void {
    this.connection.close()
  }

  private flush(now: number): void {
    const { connection, socket } = this
    const { output } = connection
    const mayWrite = !this.isWriting || connection.isClosing
    if (output.length > 0 && mayWrite && !socket.writableEnded && !socket.destroyed) {
      socket.write(output.taken())
      if (socket.writableLength === 0) output.reuse()
      else {
        output.renew()
        this.awaitWrite()
      }
    }
    if (connection.isClosing && this.closingAt === Number.POSITIVE_INFINITY) {
      this.closingAt = now
      socket.end()
      return
    }
    if (this.backlog > BACKLOG_MAX || connection.pausedUntil > now) this.pause()
  }

  /** Octets that the peer has not taken. */
  private get backlog(): number {
    return this.socket.writableLength + this.connection.output.length
  }

  /** Until the socket has taken its octets, more gather in `output`: a write of its own would hold a whole buffer for each few. */
  private awaitWrite(): void {
    if (this.isWriting) return
    this.isWriting = true
    this.socket.write('', () => {
      this.isWriting = false
      const now = this.clock.now()
      this.flush(now)
      this.resume(now)
    })
  }

  private pause(): void {
    if (this.isPaused) return
    this.isPaused = true
    this.shared.events.pauses++
    this.socket.pause()
    const wait = this.connection.pausedUntil - this.clock.now()
    if (wait > 0) setTimeout(() => this.resume(this.clock.now()), wait + 1).unref()
  }

  private resume(now: number): void {
    if (!this.isPaused || this.backlog > BACKLOG_MAX || this.connection.pausedUntil > now) return
    this.isPaused = false
    this.socket.resume()
  }

  /** A peer that reads nothing for long while we have something for it is gone, or means harm. */
  private watchWrites(now: number): void {
    const { socket } = this
    const written = socket.bytesWritten - socket.writableLength
    if (socket.writableLength === 0 || written !== this.progress) {
      this.progress = written
      this.progressAt = now
    } else if (now - this.progressAt > WRITE_STALL_MS) {
      this.shared.limits.write_stall++
      this.destroy()
    }
  }
}

// Ends a grpc-js server without losing a call: no new connections, GOAWAY without a last stream, answers to whatever was on
// its way, then the orderly end; what still hangs at the deadline is cut off.
import { Server as NetServer } from 'node:net'
import type { Server } from '@grpc/grpc-js'
import { cutServer, listenersOf } from './grpc-js-sessions.ts'

/** No error; the connection is only not to be used for new streams. */
const noError = 0
/** The greatest stream id: a first GOAWAY with it refuses nothing that is under way (RFC 9113 section 6.8). */
const lastStreamId = 2 ** 31 - 1
/** How long calls may still come that a peer sent before it read the first GOAWAY: a round trip, generously. */
const settleMs = 250

/** Drains and closes. Resolves when all connections are gone, at the latest after `deadlineMs`. */
export async function drainServer(server: Server, deadlineMs: number): Promise<void> {
  const timeout = new Promise<'late'>(resolve => setTimeout(() => resolve('late'), deadlineMs).unref())
  for (const [listener, sessions] of listenersOf(server)) {
    // Only the listening end: the sessions are told below.
    NetServer.prototype.close.call(listener)
    for (const session of sessions) if (!session.closed && !session.destroyed) session.goaway(noError, lastStreamId)
  }
  await Promise.race([timeout, new Promise(resolve => setTimeout(resolve, Math.min(settleMs, deadlineMs)))])
  const closed = new Promise<'closed'>(resolve => server.tryShutdown(() => resolve('closed')))
  if ((await Promise.race([timeout, closed])) === 'late') cutServer(server)
}

// The connections of a grpc-js server. With channelz off, as everywhere here, its `forceShutdown` closes none: it walks a map
// that only channelz fills. They are found where the listeners keep them; a grpc-js that keeps them elsewhere is an error.
import type { Http2Server, ServerHttp2Session } from 'node:http2'
import type { Server } from '@grpc/grpc-js'

/** Listeners with the connections that each has accepted. @throws Error when this grpc-js keeps them elsewhere */
export function listenersOf(server: Server): ReadonlyMap<Http2Server, ReadonlySet<ServerHttp2Session>> {
  const listeners: unknown = Reflect.get(server, 'http2Servers')
  if (!(listeners instanceof Map)) throw new Error('this @grpc/grpc-js does not tell its listeners')
  return new Map([...listeners].map(([listener, { sessions }]) => [listener as Http2Server, sessionsIn(sessions)]))
}

function sessionsIn(sessions: unknown): ReadonlySet<ServerHttp2Session> {
  if (!(sessions instanceof Set)) throw new Error('this @grpc/grpc-js does not tell its connections')
  return sessions
}

/** Ends the server at once, with every connection. */
export function cutServer(server: Server): void {
  const sessions = [...listenersOf(server).values()].flatMap(each => [...each])
  server.forceShutdown()
  for (const session of sessions) session.destroy()
}

// The one HTTP listener for machines that watch: /metrics, /livez, /readyz. Read-only, small, bounded.
// Alive means that the event loop turns; no dependency is ever part of it. Ready means what the health service says.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

/** What is shown. */
export interface Observed {
  page(): Promise<{ readonly type: string; readonly text: string }>
  /** Whether checks (or admin calls) are answered as they should. */
  ready(): boolean
}

/** Where to listen. */
export type HttpListen = { readonly host: string; readonly port: number } | { readonly path: string }

export interface HttpServer {
  /** `host:port` or `unix:/path`, with the real port. */
  readonly address: string
  close(): Promise<void>
}

/** Scrapers are few; a flood on this port must not take descriptors from the checks. */
const connectionsMax = 64
const requestMs = 5000
const headerOctetsMax = 8192

/** Starts listening. @throws Error of node:net, e.g. `EADDRINUSE`. */
export async function startHttpServer(listen: HttpListen, observed: Observed): Promise<HttpServer> {
  const options = { maxHeaderSize: headerOctetsMax, requestTimeout: requestMs, headersTimeout: requestMs }
  const server = createServer(options, (request, response) => void answer(request, response, observed))
  server.maxConnections = connectionsMax
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(listen, () => {
      server.removeListener('error', reject)
      resolve()
    })
  })
  return { address: addressOf(server), close: () => close(server) }
}

async function answer(request: IncomingMessage, response: ServerResponse, observed: Observed): Promise<void> {
  const path = request.url?.split('?')[0]
  if (request.method !== 'GET' && request.method !== 'HEAD') return reply(response, 405, 'method not allowed\n')
  if (path === '/livez') return reply(response, 200, 'alive\n')
  if (path === '/readyz')
    return observed.ready() ? reply(response, 200, 'ready\n') : reply(response, 503, 'not ready\n')
  if (path !== '/metrics') return reply(response, 404, 'not found\n')
  try {
    const { type, text } = await observed.page()
    reply(response, 200, text, type)
  } catch {
    reply(response, 500, 'the metrics page could not be made\n')
  }
}

function reply(response: ServerResponse, status: number, text: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' })
  response.end(text)
}

function addressOf(server: Server): string {
  const address = server.address()
  if (address === null) return ''
  if (typeof address === 'string') return `unix:${address}`
  return address.family === 'IPv6' ? `[${address.address}]:${address.port}` : `${address.address}:${address.port}`
}

function close(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

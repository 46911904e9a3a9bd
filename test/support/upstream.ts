// The API behind Envoy in demo and tests: answers 200 and tells which request it really received, raw headers in order.
// A path of a documented example can be given a documented body; everything else is echoed.
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface EchoedRequest {
  readonly method: string
  readonly path: string
  /** Name, value, name, value, … as they came over the wire. */
  readonly rawHeaders: readonly string[]
}

export interface Upstream {
  readonly port: number
  /** How many requests arrived: denied ones must not be among them. */
  readonly count: () => number
  stop(): Promise<void>
}

/** Octets; more than any Envoy here lets through, so that what it forwards is answered. */
const headersLengthMax = 256 * 1024

/** Starts the upstream on a free loopback port. `bodies` maps a path without query to the JSON answered for it. */
export async function startUpstream(bodies: ReadonlyMap<string, unknown> = new Map()): Promise<Upstream> {
  let count = 0
  const echo = (request: IncomingMessage): EchoedRequest => ({
    method: request.method ?? '',
    path: request.url ?? '',
    rawHeaders: request.rawHeaders,
  })
  const server = createServer({ maxHeaderSize: headersLengthMax }, (request, response) => {
    count += 1
    const body = bodies.get((request.url ?? '').split('?')[0] ?? '') ?? echo(request)
    request.resume()
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    count: () => count,
    stop: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

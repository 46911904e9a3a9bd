// One HTTP/1.1 request to a loopback port, written as given: no URL parser touches the path, header order and repeats are kept.
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'

export interface OutgoingRequest {
  readonly port: number
  readonly method: string
  readonly path: string
  readonly host: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body?: string
  /** PEM of the authority; with it the request goes over TLS and the certificate must be for `host`. */
  readonly ca?: Buffer
}

export interface Answer {
  readonly status: number
  /** Lower-case name → value; repeated ones joined with `, `. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** A request that waits longer has failed, whatever the reason. */
const answerWithinMs = 10_000

/** Sends it and reads the whole answer. */
export function sendRequest(outgoing: OutgoingRequest): Promise<Answer> {
  const { port, method, path, host, headers, body, ca } = outgoing
  const length = body === undefined ? [] : ['content-length', String(Buffer.byteLength(body))]
  const flat = ['host', host, ...headers.flat(), ...length, 'connection', 'close']
  const options = {
    host: '127.0.0.1',
    port,
    method,
    path,
    headers: flat,
    agent: false as const,
    timeout: answerWithinMs,
  }
  return new Promise((resolve, reject) => {
    const receive = (response: IncomingMessage) => collect(response).then(resolve, reject)
    const request =
      ca === undefined ? httpRequest(options, receive) : httpsRequest({ ...options, ca, servername: host }, receive)
    request.on('timeout', () =>
      request.destroy(new Error(`no answer to ${method} ${path} within ${answerWithinMs} ms`)),
    )
    request.on('error', reject)
    request.end(body)
  })
}

async function collect(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  const headers = Object.fromEntries(
    Object.entries(response.headersDistinct).map(([name, values]) => [name, (values ?? []).join(', ')]),
  )
  return { status: response.statusCode ?? 0, headers, body: Buffer.concat(chunks).toString('utf8') }
}

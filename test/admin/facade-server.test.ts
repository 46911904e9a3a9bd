// The listener of the facade: both versions of HTTP on one socket, mTLS with named peers on TCP, bounds, an orderly end.
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import { connect as connectHttp2, type OutgoingHttpHeaders, type SecureClientSessionOptions } from 'node:http2'
import { Agent, request as httpsRequest } from 'node:https'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { HttpAnswer } from '../../src/admin/facade-answer.ts'
import type { FacadeFrame, FacadeHttpRequest } from '../../src/admin/facade-call.ts'
import { isTrustedPeer } from '../../src/admin/facade-peer.ts'
import {
  bodyOctetsMax,
  type FacadeListen,
  type FacadeServer,
  startFacadeServer,
} from '../../src/admin/facade-server.ts'
import { createAuthority } from '../support/certificate-authority.ts'
import { until } from '../support/until.ts'

interface Got {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

const folder = mkdtempSync(join(tmpdir(), 'gw-facade-'))
afterAll(() => rmSync(folder, { recursive: true }))

const servers: FacadeServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.drain(0)
})

const json = [['content-type', 'application/json']] as const

/** Tells what it was asked, body included. */
async function echo(request: FacadeHttpRequest): Promise<HttpAnswer> {
  const { method, target, host, trusted } = request
  const octets = await request.body()
  const said = { method, target, host, trusted, twice: request.values('x-twice'), octets: octets?.length ?? null }
  return { status: 200, headers: json, body: JSON.stringify(said) }
}

let sockets = 0
async function start(
  answer: (request: FacadeHttpRequest, frame: FacadeFrame) => Promise<HttpAnswer> = echo,
  listen?: FacadeListen,
): Promise<FacadeServer & { readonly path: string; readonly port: number }> {
  const path = join(folder, `${sockets++}.sock`)
  const server = await startFacadeServer(listen ?? { kind: 'unix', path }, answer)
  servers.push(server)
  return { ...server, path, port: Number(server.address.split(':').at(-1)) }
}

const headers = { host: 'api.example', 'x-twice': ['a', 'b'], 'content-type': 'application/json' }

/** One request over HTTP/1.1. */
function http1(options: object, body: Buffer | string = '{}', more: OutgoingHttpHeaders = {}): Promise<Got> {
  const send = 'ca' in options ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const call = send(
      { method: 'POST', path: '/x?y', headers: { ...headers, ...more }, agent: false, ...options },
      response => {
        let text = ''
        response.on('data', chunk => {
          text += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }))
      },
    )
    call.on('error', reject)
    call.end(body)
  })
}

/** One request over HTTP/2 on a session of its own. */
async function http2(
  target: string | { readonly path: string },
  body: Buffer | string = '{}',
  tls: SecureClientSessionOptions = {},
): Promise<Got> {
  const session =
    typeof target === 'string'
      ? connectHttp2(target, tls)
      : connectHttp2('http://api.example', { createConnection: () => connect(target.path) })
  try {
    return await new Promise((resolve, reject) => {
      session.once('error', reject)
      const stream = session.request({
        ':method': 'POST',
        ':path': '/x?y',
        ':authority': 'api.example',
        'x-twice': ['a', 'b'],
      })
      let got: Record<string, unknown> = {}
      let text = ''
      stream.on('response', response => {
        got = response
      })
      stream.on('data', chunk => {
        text += chunk
      })
      stream.on('end', () => {
        if (got[':status'] === undefined) reject(new Error('the session ended without an answer'))
        else resolve({ status: Number(got[':status']), headers: got, body: text })
      })
      stream.on('error', reject)
      stream.end(body)
    })
  } finally {
    session.destroy()
  }
}

const said = (got: Got) => JSON.parse(got.body) as Record<string, unknown>

describe('on a unix socket', () => {
  it('answers HTTP/1.1 and HTTP/2, and believes whoever may open the socket', async () => {
    const server = await start()
    expect(server.address).toBe(`unix:${server.path}`)
    const expected = {
      method: 'POST',
      target: '/x?y',
      host: 'api.example',
      trusted: true,
      twice: ['a', 'b'],
      octets: 2,
    }
    for (const got of [await http1({ socketPath: server.path }), await http2({ path: server.path })]) {
      expect(got.status).toBe(200)
      expect(said(got)).toEqual(expected)
      expect(got.headers).toMatchObject({
        'content-type': 'application/json',
        'content-length': String(got.body.length),
      })
    }
  })

  it('reads a request that comes octet by octet, and one that comes with the first octets of the connection', async () => {
    const server = await start()
    const text = 'POST /x HTTP/1.1\r\nhost: api.example\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}'
    const got = await new Promise<string>((resolve, reject) => {
      const socket = connect(server.path)
      let received = ''
      socket.on('data', chunk => {
        received += chunk
      })
      socket.on('end', () => resolve(received))
      socket.on('error', reject)
      const write = (at: number): void => {
        if (at < text.length) socket.write(text.slice(at, at + 1), () => setImmediate(write, at + 1))
      }
      write(0)
    })
    expect(got).toContain('"octets":2')
  })

  it('takes several requests on one connection of either version', async () => {
    const server = await start()
    const session = connectHttp2('http://api.example', { createConnection: () => connect(server.path) })
    const ask = () =>
      new Promise<number>((resolve, reject) => {
        const stream = session.request({ ':method': 'POST', ':path': '/' })
        stream.on('response', response => resolve(Number(response[':status'])))
        stream.on('error', reject)
        stream.resume().end('{}')
      })
    expect(await Promise.all(Array.from({ length: 50 }, ask))).toEqual(new Array(50).fill(200))
    session.destroy()
  })

  it.each([bodyOctetsMax - 1, bodyOctetsMax, bodyOctetsMax + 1, 10 * bodyOctetsMax])(
    'a body of %i octets is read whole or not at all, and answered',
    async octets => {
      const server = await start()
      const body = Buffer.alloc(octets, 0x20)
      const expected = octets <= bodyOctetsMax ? octets : null
      expect(said(await http1({ socketPath: server.path }, body))['octets']).toBe(expected)
      expect(said(await http2({ path: server.path }, body))['octets']).toBe(expected)
      const chunked = { 'transfer-encoding': 'chunked' }
      expect(said(await http1({ socketPath: server.path }, body, chunked))['octets']).toBe(expected)
    },
  )

  it('a caller that leaves ends its call, and the server goes on', async () => {
    let left: unknown
    const server = await start(
      (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            left = signal.reason
            reject(signal.reason)
          })
        }),
    )
    const socket = connect(server.path, () => socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n'))
    socket.on('error', () => undefined)
    await until('the request has come', () => socket.bytesWritten > 0)
    await new Promise(resolve => setImmediate(resolve))
    await until('the call has ended', () => {
      socket.destroy()
      return left !== undefined
    })
  })

  it('one that fails to answer loses the connection, never the process', async () => {
    const server = await start(() => Promise.reject(new Error('x')))
    await expect(http1({ socketPath: server.path })).rejects.toThrow()
    await expect(http2({ path: server.path })).rejects.toThrow()
  })

  it.each([
    ['line ends', '\r\n\r\n'],
    ['half of the beginning of HTTP/2', 'PRI'],
    ['a beginning of HTTP/2 that goes wrong', 'PRI * HTTP/2.0\r\n\r\nSM'],
    ['a null octet', 'GET\0'],
    ['a handshake', '\x16\x03\x01\x02\x00'],
    ['endless headers', `GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(20_000)}`],
  ])('octets that are no request leave the server as it was: %s', async (_, octets) => {
    const server = await start()
    const socket = connect(server.path, () => socket.end(octets))
    socket.on('error', () => undefined).resume()
    await new Promise(resolve => socket.once('close', resolve))
    expect((await http1({ socketPath: server.path })).status).toBe(200)
  })
})

/** Connections that stay as they are after the given octets, with what became of each. */
function hold(count: number, open: () => Socket, octets: string): { readonly closed: () => number } {
  let closed = 0
  for (let i = 0; i < count; i++) {
    const socket = open()
    held.push(socket)
    socket.on('error', () => undefined).resume()
    socket.on('close', () => closed++)
    socket.write(octets, 'latin1')
  }
  return { closed: () => closed }
}

const held: Socket[] = []
afterEach(() => {
  for (const socket of held.splice(0)) socket.destroy()
  vi.useRealTimers()
})

const http2Preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const openStarts = [
  ['nothing', ''],
  ['half a head', 'POST / HTTP/1.1\r\nhost: x\r\n'],
  ['the beginning of HTTP/2', `${http2Preface}\0\0\0\x04\0\0\0\0\0`],
  ['half a head of HTTP/2', `${http2Preface}\0\0\0\x04\0\0\0\0\0\0\0\x10\x01\x04\0\0\0\x01\x83`],
] as const

describe('connections without a request', () => {
  it.each(openStarts)('a flood of them leaves room for a proxy: %s', async (_, octets) => {
    const server = await start()
    const flood = hold(400, () => connect(server.path), octets)
    await until('the oldest were closed', () => flood.closed() >= 400 - 128)
    expect((await http1({ socketPath: server.path })).status).toBe(200)
    expect((await http2({ path: server.path })).status).toBe(200)
  })

  it.each(openStarts)('are closed when their time is over: %s', async (_, octets) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const server = await start()
    const held = hold(3, () => connect(server.path), octets)
    await http1({ socketPath: server.path }) // all that came before has been read
    vi.advanceTimersByTime(9_999)
    await http1({ socketPath: server.path })
    expect(held.closed()).toBe(0)
    vi.advanceTimersByTime(10_001)
    vi.useRealTimers()
    await until('they are closed', () => held.closed() === 3)
  })

  it('a connection that has had one may stay idle', async () => {
    const server = await start()
    const agent = new HttpAgent({ keepAlive: true, maxSockets: 1 })
    await http1({ socketPath: server.path, agent })
    const session = connectHttp2('http://api.example', { createConnection: () => connect(server.path) })
    const ask = () =>
      new Promise<number>((resolve, reject) => {
        const stream = session.request({ ':method': 'POST', ':path': '/' })
        stream.on('response', response => resolve(Number(response[':status'])))
        stream.on('error', reject)
        stream.resume().end('{}')
      })
    await ask()
    const flood = hold(400, () => connect(server.path), '')
    await until('the oldest were closed', () => flood.closed() >= 400 - 128)
    expect(await ask()).toBe(200)
    expect((await http1({ socketPath: server.path, agent })).status).toBe(200)
    agent.destroy()
    session.destroy()
  })
})

describe('over TCP', () => {
  const authority = createAuthority('edge.trusted.example')
  const stranger = createAuthority('edge.trusted.example')
  const server = authority.issue(['localhost'], 'server')
  const edge = authority.issue(['edge.trusted.example'], 'client')
  const trustedPeers = ['Edge.Trusted.example', 'spiffe://cluster/edge']
  let running: Awaited<ReturnType<typeof start>>
  beforeAll(async () => {
    const listen: FacadeListen = {
      kind: 'tcp',
      host: '127.0.0.1',
      port: 0,
      tls: { ...server, clientCa: authority.ca },
      trustedPeers,
    }
    running = await start(echo, listen)
    servers.splice(0)
  })
  afterAll(() => running.drain(0))

  const over1 = (client: object) =>
    http1({ host: '127.0.0.1', servername: 'localhost', port: running.port, ca: authority.ca, ...client })
  const over2 = (client: object) =>
    http2(`https://127.0.0.1:${running.port}`, '{}', { servername: 'localhost', ca: authority.ca, ...client })

  it.each([
    ['its DNS name', ['edge.trusted.example'], true],
    ['its URI', ['URI:spiffe://cluster/edge'], true],
    ['a trusted name among others', ['other.example', 'EDGE.trusted.example'], true],
    ['another name, with the trusted one as common name', ['other.example'], false],
    ['no alternative name at all', [], false],
    ['a longer URI', ['URI:spiffe://cluster/edge/x'], false],
    ['the name as a URI', ['URI:edge.trusted.example'], true],
    ['a wildcard', ['*.trusted.example'], false],
    ['a list in one name', ['x, DNS:edge.trusted.example, DNS:y'], false],
  ] as const)('a peer with %s', async (_, names, trusted) => {
    const client = authority.issue(names, 'client')
    expect(said(await over1(client))['trusted']).toBe(trusted)
    expect(said(await over2(client))['trusted']).toBe(trusted)
  })

  it('a name between quotes is nobody, however it is written', () => {
    const subjectaltname = 'DNS:"x, DNS:edge.trusted.example, DNS:y"'
    expect(isTrustedPeer({ subjectaltname }, trustedPeers)).toBe(false)
    expect(isTrustedPeer(undefined, trustedPeers)).toBe(false)
    expect(isTrustedPeer({ subjectaltname: 'DNS:edge.trusted.example' }, [])).toBe(false)
  })

  it('a session that is resumed is trusted as it was', async () => {
    let session: Buffer | undefined
    const first = await over1({ ...edge, agent: false })
    expect(said(first)['trusted']).toBe(true)
    const options = { host: '127.0.0.1', port: running.port, servername: 'localhost', ca: authority.ca, ...edge }
    const ask = (resumed?: Buffer) =>
      new Promise<{ reused: boolean; text: string }>((resolve, reject) => {
        const socket = connectTls(resumed === undefined ? options : { ...options, session: resumed }, () => {
          socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}')
        })
        socket.on('session', given => {
          session = given
        })
        let text = ''
        socket.on('data', chunk => {
          text += chunk
        })
        socket.on('end', () => resolve({ reused: socket.isSessionReused(), text }))
        socket.on('error', reject)
      })
    await ask()
    const again = await ask(session)
    expect(again.reused).toBe(true)
    expect(again.text).toContain('"trusted":true')
  })

  it.each([
    ['no certificate', {}],
    ['a certificate of another authority', stranger.issue(['edge.trusted.example'], 'client')],
    ['a certificate for servers', authority.issue(['edge.trusted.example'], 'server')],
    ['an old version of TLS', { ...edge, maxVersion: 'TLSv1.2' }],
  ])('a peer with %s gets no connection', async (_, client) => {
    await expect(over1(client)).rejects.toThrow()
    await expect(over2(client)).rejects.toThrow()
  })

  it('a renewed certificate and authority serve from the next handshake on; a connection that is open goes on', async () => {
    const listen: FacadeListen = {
      kind: 'tcp',
      host: '127.0.0.1',
      port: 0,
      tls: { ...server, clientCa: authority.ca },
      trustedPeers,
    }
    const own = await start(echo, listen)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const over = (ca: Buffer, client: object, more: object = {}) =>
      http1({ host: '127.0.0.1', servername: 'localhost', port: own.port, ca, ...client, ...more })
    expect(said(await over(authority.ca, edge, { agent }))['trusted']).toBe(true)
    own.renew({ ...stranger.issue(['localhost'], 'server'), clientCa: stranger.ca })
    await expect(over(authority.ca, edge)).rejects.toThrow()
    const renewed = stranger.issue(['edge.trusted.example'], 'client')
    expect(said(await over(stranger.ca, renewed))['trusted']).toBe(true)
    await expect(over(stranger.ca, edge)).rejects.toThrow()
    expect(said(await over(authority.ca, edge, { agent }))['trusted']).toBe(true)
    agent.destroy()
  })

  it('a peer that is not trusted loses its connection after the answer, whatever it still sends', async () => {
    const refuse = async ({ trusted }: FacadeHttpRequest) => ({
      status: trusted ? 200 : 401,
      headers: json,
      body: '{}',
    })
    const { port } = await start(refuse, {
      kind: 'tcp',
      host: '127.0.0.1',
      port: 0,
      tls: { ...server, clientCa: authority.ca },
      trustedPeers,
    })
    const other = { ...authority.issue(['other.example'], 'client'), ca: authority.ca, servername: 'localhost' }
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const got = await http1({ host: '127.0.0.1', port, ...other, agent })
    expect(got).toMatchObject({ status: 401, headers: { connection: 'close' }, body: '{}' })
    agent.destroy()
    const session = connectHttp2(`https://127.0.0.1:${port}`, other)
    let closed = false
    session.once('close', () => {
      closed = true
    })
    const stream = session.request({ ':method': 'POST', ':path': '/' }) // its body never ends
    let status: unknown
    stream.once('response', response => {
      status = response[':status']
    })
    let body = ''
    stream
      .on('error', () => undefined)
      .on('data', chunk => {
        body += chunk
      })
    stream.write('{')
    await until('the connection has ended', () => closed, 3000)
    expect([status, body]).toEqual([401, '{}'])
  })

  it.each([
    ['a handshake', () => connect(running.port, '127.0.0.1'), '\x16\x03\x01'],
    [
      'a request',
      () => connectTls({ host: '127.0.0.1', port: running.port, servername: 'localhost', ca: authority.ca, ...edge }),
      'POST / HTTP/1.1\r\n',
    ],
  ] as const)('a flood of connections without %s leaves room for a proxy', async (_, open, octets) => {
    const flood = hold(300, open, octets)
    await until('the oldest were closed', () => flood.closed() >= 300 - 128)
    expect(said(await over1(edge))['trusted']).toBe(true)
    expect(said(await over2(edge))['trusted']).toBe(true)
  })

  it('clear text gets no answer', async () => {
    await expect(http1({ host: '127.0.0.1', port: running.port })).rejects.toThrow()
  })
})

describe('an orderly end', () => {
  it.each(['1.1', '2'])('answers what has come over HTTP/%s, closes what is idle, takes nothing new', async version => {
    const release: (() => void)[] = []
    const server = await start(
      request =>
        new Promise(resolve => {
          release.push(() => resolve(echo(request)))
        }),
    )
    const running =
      version === '2'
        ? http2({ path: server.path })
        : http1({ socketPath: server.path }, '{}', { connection: 'keep-alive' })
    const idle = connect(server.path)
    const idleClosed = new Promise(resolve => idle.once('close', resolve))
    idle.resume()
    await until('the request has come', () => release.length === 1)
    const drained = server.drain(3000)
    await expect(http1({ socketPath: server.path })).rejects.toThrow()
    release[0]?.()
    expect((await running).status).toBe(200)
    await drained
    await idleClosed
  })

  it('cuts what does not end', async () => {
    const server = await start(() => new Promise(() => undefined))
    const lost = [http1({ socketPath: server.path }), http2({ path: server.path })]
    await new Promise(resolve => setImmediate(resolve))
    const began = performance.now()
    await Promise.all([server.drain(100), ...lost.map(each => expect(each).rejects.toThrow())])
    expect(performance.now() - began).toBeLessThan(3000)
  })
})

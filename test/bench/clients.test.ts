// The load programs of the bench tell the truth: right answers are counted, others are errors, latency counts from the intended time.
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, createServer as createNetServer, type Server } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { CheckClient } from '../../bench/compare/check-client.ts'
import { runLoad } from '../../bench/compare/load-program.ts'
import type { LoadOrder } from '../../bench/compare/load-result.ts'
import { startGrpcJsServer } from '../../src/transport/grpc-js-server.ts'
import { startH2Server } from '../../src/transport/h2/server.ts'
import type { UnaryServer, UnaryService } from '../../src/transport/unary-server.ts'
import { until } from '../support/until.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

/** Status of a CheckResponse with a code: an allow without, a denial with one. */
const allow = Buffer.from([0x0a, 0x00, 0x1a, 0x00])
const denial = Buffer.from([0x0a, 0x02, 0x08, 0x10, 0x12, 0x00])
/** A request is one octet here: 1 is allowed. */
const load = {
  messages: [Buffer.from([1]), Buffer.from([0]), Buffer.from([1])],
  isAllowed: [true, false, true],
  clientAddress: '192.0.2.1',
}

const service: UnaryService = {
  method: '/envoy.service.auth.v3.Authorization/Check',
  metadataNames: ['x-gatewarden-client-ip'],
  handler(bytes, start, _end, metadata, reply) {
    const octets = bytes[start] === 1 && metadata.value(0) === '192.0.2.1' ? allow : denial
    reply.message(octets, 0, octets.length)
  },
  endOfBatch() {
    // nothing waits
  },
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A server that answers each call of node:http2 as `answer` says. */
async function http2Server(answer: (stream: ServerHttp2Stream, number: number) => void): Promise<string> {
  let number = 0
  const server = createHttp2Server().on('stream', stream => {
    stream.on('error', () => undefined)
    answer(stream, number++)
  })
  closers.push(() => server.close())
  return listening(server as unknown as Server)
}

function grpcReply(stream: ServerHttp2Stream, message: Buffer): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]))
}

async function connected(address: string): Promise<CheckClient> {
  const client = await CheckClient.connect(address, load)
  closers.unshift(() => client.close())
  return client
}

async function ask(client: CheckClient, count: number): Promise<void> {
  const { counts } = client
  const ended = () => counts.answered + counts.wrong + counts.failed
  client.depth = 16
  client.onEnd = () => {
    if (ended() + client.open >= count) client.depth = 0
  }
  client.refill()
  await until('all were answered', () => ended() >= count && client.open === 0)
}

describe('the client of the direct bench', () => {
  const transports: Readonly<Record<string, () => Promise<UnaryServer>>> = {
    h2: () => startH2Server({ listen: ['127.0.0.1:0'], services: [service], report: () => undefined }),
    'grpc-js': () => startGrpcJsServer({ listen: ['127.0.0.1:0'], services: [service] }),
  }
  for (const [name, start] of Object.entries(transports)) {
    it(`gets every answer of ${name} right, with the client address from metadata`, async () => {
      const server = await start()
      closers.push(() => server.drain(100))
      const client = await connected(server.addresses[0] ?? '')
      await ask(client, 5000)
      expect(client.counts).toMatchObject({ wrong: 0, failed: 0 })
      expect(client.counts.answered).toBeGreaterThanOrEqual(5000)
    })
  }

  it('sends header blocks and messages that node:http2 reads as what Envoy sends', async () => {
    const seen: Record<string, unknown>[] = []
    const server = createHttp2Server().on('stream', (stream, headers) => {
      seen.push({ ...headers })
      grpcReply(stream, allow)
    })
    closers.push(() => server.close())
    const client = await connected(await listening(server as unknown as Server))
    await ask(client, 3)
    expect(seen[2]).toEqual(seen[0])
    expect(seen[2]).toMatchObject({
      ':method': 'POST',
      ':scheme': 'http',
      ':authority': 'gatewarden',
      ':path': '/envoy.service.auth.v3.Authorization/Check',
      te: 'trailers',
      'content-type': 'application/grpc',
      'grpc-timeout': '250m',
      'x-gatewarden-client-ip': '192.0.2.1',
    })
  })

  it('counts an allow that must be a denial as wrong', async () => {
    const client = await connected(await http2Server(stream => grpcReply(stream, allow)))
    await ask(client, 30)
    const { answered, wrong, failed } = client.counts
    expect([wrong > 0, Math.round((answered / (answered + wrong)) * 10), failed]).toEqual([true, 7, 0])
  })

  it('counts a reset, an answer without message, and one without trailers as failed', async () => {
    const kinds: readonly ((stream: ServerHttp2Stream) => void)[] = [
      stream => stream.close(8),
      stream => stream.respond({ ':status': 200, 'grpc-status': '14' }, { endStream: true }),
      stream => {
        stream.respond({ ':status': 200 })
        stream.end(Buffer.from([0, 0, 0, 0, 4, ...allow]))
      },
    ]
    const client = await connected(await http2Server((stream, number) => kinds[number % kinds.length]?.(stream)))
    await ask(client, 30)
    expect(client.counts.answered + client.counts.wrong).toBe(0)
    expect(client.counts.failed).toBeGreaterThanOrEqual(30)
  })

  it('says so when the server goes away', async () => {
    const server = createNetServer(socket => socket.once('data', () => socket.destroy()))
    closers.push(() => server.close())
    await expect(CheckClient.connect(await listening(server), load)).rejects.toThrow()
  })
})

describe('the client behind Envoy', () => {
  const order = (address: string, more: Partial<LoadOrder>): LoadOrder => ({
    ...{ address, mix: 'few', atOnce: 4, warmUpMs: 100, measureMs: 1000, pids: [process.pid] },
    ...more,
  })

  async function httpServer(status: (number: number) => number, delayMs: (number: number) => number): Promise<string> {
    let number = 0
    const server = createHttpServer((_, response) => {
      const own = number++
      const answer = () => {
        const body = 'ok'
        response.writeHead(status(own), { 'content-length': body.length }).end(body)
      }
      const delay = delayMs(own)
      if (delay > 0) setTimeout(answer, delay)
      else answer()
    })
    closers.push(() => server.closeAllConnections())
    closers.push(() => server.close())
    return listening(server)
  }

  it('counts a status that is not the right one, and a server error as failed', async () => {
    const address = await httpServer(
      number => (number % 10 === 3 ? 403 : number % 10 === 7 ? 503 : 200),
      () => 0,
    )
    const { answered, wrong, failed, cpuNs } = await runLoad('http-load', order(address, {}), null)
    expect([answered > 0, wrong > 0, failed > 0]).toEqual([true, true, true])
    expect(Math.abs(wrong - failed)).toBeLessThanOrEqual(4)
    expect(cpuNs[0]).toBeGreaterThan(0)
  })

  it('counts the wait of every request that a stall held up, not only of those under way', async () => {
    const stallMs = 400
    const perSecond = 200
    let isStalled = false
    const address = await httpServer(
      () => 200,
      number => {
        // Four connections, all held: whatever is meant to be sent meanwhile waits.
        isStalled ||= number === 100
        return isStalled && number < 104 ? stallMs : 0
      },
    )
    const result = await runLoad('http-load', order(address, { perSecond }), null)
    expect([result.wrong, result.failed]).toEqual([0, 0])
    const { p50 = 0, p90 = 0, max = 0 } = result.latency ?? {}
    // 80 of 200 requests were meant during the stall: a tenth of all waited for most of it.
    expect(max).toBeGreaterThanOrEqual(stallMs * 1000)
    expect(p90).toBeGreaterThan((stallMs * 1000) / 2)
    expect(p50).toBeLessThan(stallMs * 1000)
  })
})

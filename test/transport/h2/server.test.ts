// The h2 transport on real sockets: it slots into the seam as grpc-js does, guards its sockets, bounds its connections, drains
// without losing a call, and makes no client pay for a pause of our own.
import { once } from 'node:events'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from 'vitest'
import { MESSAGE_MAX } from '../../../src/transport/h2/abuse.ts'
import {
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  HEADERS,
  PREFACE,
  PROTOCOL_ERROR,
} from '../../../src/transport/h2/frames.ts'
import { LoopClock } from '../../../src/transport/h2/loop-clock.ts'
import { type H2Server, startH2Server } from '../../../src/transport/h2/server.ts'
import { readSocket } from '../../../src/transport/h2/socket-reads.ts'
import type { UnaryService } from '../../../src/transport/unary-server.ts'
import { until } from '../../support/until.ts'
import {
  answered,
  call,
  data,
  echo,
  frame,
  framesIn,
  headers,
  message,
  method,
  reset,
  settings,
  settingsAck,
  story,
} from './peer.ts'

const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function start(listen: readonly string[], services: readonly UnaryService[] = [echo()]): Promise<H2Server> {
  const faults: unknown[] = []
  const server = await startH2Server({ listen, services, report: fault => faults.push(fault) })
  closers.push(async () => {
    await server.drain(0)
    expect(faults).toEqual([])
  })
  return server
}

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'gw-h2-'))
  closers.push(() => rm(path, { recursive: true, force: true }))
  return path
}

const portOf = (address: string | undefined) => Number(address?.split(':').at(-1))

/** A connection of plain octets, and what came over it. */
class RawClient {
  readonly socket: Socket
  received = Buffer.alloc(0)
  isClosed = false

  constructor(address: string | undefined) {
    const path = address?.startsWith('unix:') === true ? address.slice(5) : undefined
    this.socket = path === undefined ? connect(portOf(address), '127.0.0.1') : connect(path)
    this.socket.on('data', octets => {
      this.received = Buffer.concat([this.received, octets])
    })
    this.socket.on('error', () => undefined)
    this.socket.on('close', () => {
      this.isClosed = true
    })
    closers.push(() => this.socket.destroy())
  }

  send(...octets: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(octets))
  }

  /** All whole frames so far. */
  get story(): string[] {
    let whole = 0
    while (this.received.length - whole >= 9) {
      const end = whole + 9 + this.received.readUIntBE(whole, 3)
      if (end > this.received.length) break
      whole = end
    }
    return story(framesIn(this.received.subarray(0, whole)))
  }

  async hears(line: string): Promise<void> {
    await until(line, () => this.story.includes(line))
  }
}

function clientOf(address: string | undefined): Client {
  const client = new Client(address ?? '', credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })
  closers.push(() => client.close())
  return client
}

function ask(client: Client, octets: Buffer, path = method, metadata = new Metadata()): Promise<Buffer> {
  const same = (each: Buffer) => each
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + 10_000 }
    client.makeUnaryRequest(path, same, same, octets, metadata, options, (error, reply) => {
      if (error === null) resolve(reply ?? Buffer.alloc(0))
      else reject(error)
    })
  })
}

const codeOf = (failed: Promise<unknown>): Promise<number> =>
  failed.then(
    () => status.OK,
    (error: ServiceError) => error.code,
  )

describe('a listener', () => {
  it('serves TCP and unix sockets, and says where', async () => {
    const path = join(await directory(), 'check.sock')
    const { addresses } = await start(['127.0.0.1:0', `unix:${path}`])
    expect(addresses[0]).toMatch(/^127\.0\.0\.1:[1-9]\d*$/)
    expect(addresses[1]).toBe(`unix:${path}`)
    expect(((await stat(path)).mode & 0o777).toString(8)).toBe('660')
    for (const address of addresses) {
      const client = clientOf(address)
      const sent = Array.from({ length: 50 }, (_, i) => Buffer.from([i, 0, 255, 128]))
      expect(await Promise.all(sent.map(octets => ask(client, octets)))).toEqual(sent)
      const whole = Buffer.alloc(MESSAGE_MAX, 'x')
      expect((await ask(client, whole)).equals(whole)).toBe(true)
      expect(await codeOf(ask(client, Buffer.alloc(MESSAGE_MAX + 1)))).toBe(status.RESOURCE_EXHAUSTED)
      expect(await codeOf(ask(client, sent[0] ?? whole, '/test.Echo/Other'))).toBe(status.UNIMPLEMENTED)
    }
  })

  it('takes over the socket of a dead process, and no other; says which address it cannot have', async () => {
    const folder = await directory()
    const path = join(folder, 'check.sock')
    const other = createServer()
    await new Promise<void>(resolve => other.listen(path, resolve))
    closers.push(() => other.close())
    await expect(start([`unix:${path}`])).rejects.toThrow(`another process listens on ${path}`)
    const file = join(folder, 'notes.txt')
    await writeFile(file, 'precious')
    await expect(start([`unix:${file}`])).rejects.toThrow('is no socket')
    const { addresses } = await start(['127.0.0.1:0'])
    await expect(start(['127.0.0.1:0', addresses[0] ?? ''])).rejects.toThrow(`cannot listen on ${addresses[0]}`)
  })

  it('takes 64 connections of one address, and drops the next', async () => {
    const { addresses, limits } = await start(['127.0.0.1:0'])
    const clients = Array.from({ length: 64 }, () => new RawClient(addresses[0]))
    for (const client of clients) await client.hears('settings')
    const next = new RawClient(addresses[0])
    await until('the next is dropped', () => next.isClosed)
    expect(limits.connections).toBe(1)
    clients[0]?.send(PREFACE, settings(), settingsAck, call(1, 'x'))
    await clients[0]?.hears('headers 1 grpc-status 0 end')
    clients[1]?.socket.destroy()
    await until('there is room again', async () => {
      const again = new RawClient(addresses[0])
      await until('an answer', () => again.isClosed || again.story.includes('settings'))
      return !again.isClosed
    })
  })

  it('closes a connection that breaks the protocol, with the reason, and no other', async () => {
    const { addresses, events } = await start(['127.0.0.1:0'])
    const good = new RawClient(addresses[0])
    const bad = new RawClient(addresses[0])
    bad.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    await until('the bad one is closed', () => bad.isClosed)
    expect(bad.story.at(-1)).toBe('goaway 0 1')
    good.send(PREFACE, settings(), settingsAck, call(1, 'x'))
    await good.hears('headers 1 grpc-status 0 end')
    expect(good.isClosed).toBe(false)
    expect(events).toEqual({ resets: 0, goaways: 1, pauses: 0 })
  })
})

describe('reading', () => {
  it('is slowed down by too many resets, and goes on', async () => {
    const { addresses, events } = await start(['127.0.0.1:0'])
    const client = new RawClient(addresses[0])
    client.send(PREFACE, settings(), settingsAck, call(1, 'x'))
    client.send(...Array.from({ length: 60_000 }, () => reset(1)))
    client.send(call(3, 'x'))
    await client.hears('headers 3 grpc-status 0 end')
    expect(events.pauses).toBeGreaterThan(0)
    expect(events.resets).toBe(60_000)
    expect(client.isClosed).toBe(false)
  })

  it('stops while a megabyte of replies is not taken, and goes on when they are', async () => {
    const service = echo()
    // Unix sockets hold little in the kernel.
    const { addresses, events } = await start([`unix:${join(await directory(), 'check.sock')}`], [service])
    const client = new RawClient(addresses[0])
    client.send(PREFACE, settings(Buffer.from([0, 4, 0x7f, 0, 0, 0])), settingsAck)
    client.send(Buffer.from([0, 0, 4, 8, 0, 0, 0, 0, 0, 0x70, 0, 0, 0]))
    await client.hears('settings ack')
    client.socket.pause()
    const text = 'x'.repeat(10_000)
    const count = 600
    client.send(...Array.from({ length: count }, (_, i) => call(1 + 2 * i, text)))
    await until('it stops reading', () => events.pauses > 0)
    const seen = service.calls
    expect(seen).toBeLessThan(count)
    client.socket.resume()
    await client.hears(`headers ${2 * count - 1} grpc-status 0 end`)
    expect(service.calls).toBe(count)
  })

  it('holds small replies that are not taken in little memory, however many reads they come of', async () => {
    const { addresses } = await start([`unix:${join(await directory(), 'check.sock')}`])
    const client = new RawClient(addresses[0])
    client.send(PREFACE, settings(), settingsAck)
    await client.hears('settings ack')
    client.socket.pause()
    const before = process.memoryUsage().arrayBuffers
    // Each is no request, comes as a read of its own, and earns a RST_STREAM.
    const count = 30_000
    for (let i = 0; i < count; i++) {
      client.send(frame(HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1 + 2 * i, Buffer.from([0x82])))
      await new Promise(resolve => setImmediate(resolve))
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024)
    client.socket.resume()
    await until('all replies', () => client.received.length >= count * 13)
    expect(client.story.at(-1)).toBe(`reset ${2 * count - 1} ${PROTOCOL_ERROR}`)
  })

  it.each(['into one buffer', 'in the usual way'])('%s gives the same octets, pauses and ends', async how => {
    const taken: Buffer[] = []
    let served: Socket | undefined
    let ended = false
    const listener = createServer({ pauseOnConnect: true }, accepted => {
      const handle = Reflect.get(accepted, '_handle') as object
      if (how === 'in the usual way') Object.assign(handle, { useUserBuffer: undefined })
      served = readSocket(accepted, octets => taken.push(Buffer.from(octets)))
      expect(served === accepted).toBe(how === 'in the usual way')
      served.on('end', () => {
        ended = true
      })
    })
    await new Promise<void>(resolve => listener.listen(0, '127.0.0.1', resolve))
    closers.push(() => listener.close())
    const bound = listener.address()
    const client = connect(typeof bound === 'object' && bound !== null ? bound.port : 0, '127.0.0.1')
    closers.push(() => client.destroy())
    const octets = () => Buffer.concat(taken)
    client.write('first')
    await until('the first octets', () => octets().toString() === 'first')
    expect(served?.remoteAddress).toBe('127.0.0.1')
    served?.pause()
    client.write(' second')
    served?.write('reply')
    expect((await once(client, 'data')).toString()).toBe('reply')
    expect(octets().toString()).toBe('first')
    served?.resume()
    await until('the rest', () => octets().toString() === 'first second')
    client.end()
    await until('the end', () => ended)
  })
})

describe('the clock', () => {
  it('passes only while the loop turns', () => {
    let wall = 1000
    const clock = new LoopClock(() => wall)
    const passed = [0, 200, 450, 60_000, 250].map(ms => {
      wall += ms
      return clock.now()
    })
    expect(passed).toEqual([0, 200, 650, 1150, 1400])
  })

  it('a pause of our own ends no request whose octets lie in the kernel', async () => {
    const { addresses, limits } = await start(['127.0.0.1:0'])
    const client = new RawClient(addresses[0])
    client.send(PREFACE, settings(), settingsAck, headers(1))
    await client.hears('settings ack')
    await new Promise<void>(resolve => client.socket.write(data(1, message('x')), () => resolve()))
    for (const until_ = performance.now() + 1500; performance.now() < until_; );
    await client.hears('headers 1 grpc-status 0 end')
    expect(limits.half_open).toBe(0)
  })

  it('a request that does not end is ended', async () => {
    const { addresses } = await start(['127.0.0.1:0'])
    const client = new RawClient(addresses[0])
    client.send(PREFACE, settings(), settingsAck, headers(1), call(3, 'x'))
    await client.hears('reset 1 8')
    expect(client.story).toEqual(expect.arrayContaining(answered(3, 1)))
    expect(client.isClosed).toBe(false)
  })
})

describe('a drain', () => {
  it('loses no call: 40 callers meet only answers until the connections end', async () => {
    const { addresses, drain } = await start(['127.0.0.1:0'])
    const client = clientOf(addresses[0])
    await ask(client, Buffer.from('a'))
    let count = 0
    const failures: number[] = []
    const caller = async () => {
      for (;;) {
        const code = await codeOf(ask(client, Buffer.from('a')))
        if (code === status.OK) count++
        else return failures.push(code)
      }
    }
    const callers = Array.from({ length: 40 }, caller)
    while (count < 500) await new Promise(resolve => setImmediate(resolve))
    const begin = Date.now()
    await drain(5000)
    expect(Date.now() - begin).toBeLessThan(5000)
    await Promise.all(callers)
    // After the end there is nothing to connect to; that is all a caller may ever see.
    expect(new Set(failures)).toEqual(new Set([status.UNAVAILABLE]))
  })

  it('ends an idle connection as soon as the peer has answered, a request under way after its reply', async () => {
    const { addresses, drain } = await start(['127.0.0.1:0'])
    const [idle, busy] = [new RawClient(addresses[0]), new RawClient(addresses[0])]
    idle.send(PREFACE, settings(), settingsAck)
    busy.send(PREFACE, settings(), settingsAck, headers(1))
    await Promise.all([idle.hears('settings ack'), busy.hears('settings ack')])
    const drained = drain(5000)
    await Promise.all([idle.hears('ping'), busy.hears('ping')])
    for (const client of [idle, busy]) client.send(Buffer.from([0, 0, 8, 6, 1, 0, 0, 0, 0]), Buffer.from('the end?'))
    await until('the idle one is closed', () => idle.isClosed)
    await busy.hears('goaway 1 0')
    expect(busy.isClosed).toBe(false)
    busy.send(data(1, message('x')))
    await drained
    await until('the busy one is closed', () => busy.isClosed)
    expect(busy.story.slice(-3)).toEqual(answered(1, 1))
  })

  it('does not wait longer than it is told', async () => {
    const { addresses, drain } = await start(['127.0.0.1:0'])
    const deaf = new RawClient(addresses[0])
    await deaf.hears('settings')
    const begin = performance.now()
    await drain(300)
    expect(performance.now() - begin).toBeLessThan(2000)
    await until('it is closed', () => deaf.isClosed)
  })
})

// The grpc-js transport: octets pass through, limits hold, sockets are guarded, and a drain loses no call.
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from 'vitest'
import { messageLengthMax, startGrpcJsServer } from '../../src/transport/grpc-js-server.ts'
import type { UnaryServer, UnaryService } from '../../src/transport/unary-server.ts'

const method = '/test.Echo/Call'
const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

interface Seen {
  readonly metadata: (string | undefined)[]
  batches: number
}

/** Answers with the request reversed; `fail` as the first octets fails the call. */
function echo(seen: Seen = { metadata: [], batches: 0 }): UnaryService {
  const scratch = Buffer.alloc(messageLengthMax)
  return {
    method,
    metadataNames: ['x-wanted'],
    handler(bytes, start, end, metadata, reply) {
      seen.metadata.push(metadata.value(0))
      if (bytes.toString('latin1', start, start + 4) === 'fail') {
        reply.fail(14, 'not decided')
        return
      }
      bytes.copy(scratch, 10, start, end)
      scratch.subarray(10, 10 + end - start).reverse()
      reply.message(scratch, 10, 10 + end - start)
      // The buffer belongs to the next call at once.
      queueMicrotask(() => scratch.fill(0))
    },
    endOfBatch() {
      seen.batches++
    },
  }
}

async function start(listen: readonly string[], services: readonly UnaryService[] = [echo()]): Promise<UnaryServer> {
  const server = await startGrpcJsServer({ listen, services })
  closers.push(() => server.drain(0))
  return server
}

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'gw-transport-'))
  closers.push(() => rm(path, { recursive: true, force: true }))
  return path
}

function clientOf(address: string): Client {
  const client = new Client(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })
  closers.push(() => client.close())
  return client
}

function call(client: Client, octets: Buffer, path = method, metadata = new Metadata()): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      (b: Buffer) => b,
      (b: Buffer) => b,
      octets,
      metadata,
      { deadline: Date.now() + 10_000 },
      (error, reply) => {
        if (error !== null) reject(error)
        else resolve(reply ?? Buffer.alloc(0))
      },
    )
  })
}

const codeOf = (failed: Promise<unknown>): Promise<number> =>
  failed.then(
    () => status.OK,
    (error: ServiceError) => error.code,
  )

describe('the grpc-js transport', () => {
  it('passes octets through on TCP and on a unix socket, one batch a call', async () => {
    const seen: Seen = { metadata: [], batches: 0 }
    const path = join(await directory(), 'check.sock')
    const { addresses } = await start(['127.0.0.1:0', `unix:${path}`], [echo(seen)])
    expect(addresses[0]).toMatch(/^127\.0\.0\.1:[1-9]\d*$/)
    expect(addresses[1]).toBe(`unix:${path}`)
    for (const address of addresses) {
      const client = clientOf(address)
      const replies = await Promise.all(
        Array.from({ length: 50 }, (_, i) => call(client, Buffer.from([i, 0, 255, 128]))),
      )
      expect(replies.map(reply => [...reply])).toEqual(Array.from({ length: 50 }, (_, i) => [128, 255, 0, i]))
      expect((await call(client, Buffer.alloc(0))).length).toBe(0)
    }
    expect(seen.batches).toBe(102)
  })

  it('hands over wanted metadata only when it is there once and printable', async () => {
    const seen: Seen = { metadata: [], batches: 0 }
    const { addresses } = await start(['127.0.0.1:0'], [echo(seen)])
    const client = clientOf(addresses[0] ?? '')
    const one = new Metadata()
    one.set('x-wanted', '192.0.2.1')
    one.set('x-other', 'y')
    const two = new Metadata()
    two.add('x-wanted', '192.0.2.1')
    two.add('x-wanted', '192.0.2.2')
    await call(client, Buffer.from('a'), method, one)
    await call(client, Buffer.from('a'), method, two)
    await call(client, Buffer.from('a'))
    expect(seen.metadata[0]).toBe('192.0.2.1')
    expect(seen.metadata[1]).not.toBe('192.0.2.1')
    expect(seen.metadata[1]).not.toBe('192.0.2.2')
    expect(seen.metadata[2]).toBeUndefined()
  })

  it('passes a failure on, answers unknown methods UNIMPLEMENTED and refuses large messages', async () => {
    const { addresses } = await start(['127.0.0.1:0'])
    const client = clientOf(addresses[0] ?? '')
    expect(await codeOf(call(client, Buffer.from('fail')))).toBe(status.UNAVAILABLE)
    expect(await codeOf(call(client, Buffer.from('a'), '/test.Echo/Other'))).toBe(status.UNIMPLEMENTED)
    expect(await codeOf(call(client, Buffer.from('a'), '/envoy.service.auth.v2.Authorization/Check'))).toBe(
      status.UNIMPLEMENTED,
    )
    expect(await codeOf(call(client, Buffer.alloc(messageLengthMax)))).toBe(status.OK)
    expect(await codeOf(call(client, Buffer.alloc(messageLengthMax + 1)))).toBe(status.RESOURCE_EXHAUSTED)
    expect(await codeOf(call(client, Buffer.from('a')))).toBe(status.OK)
  })

  it('lets owner and group use its socket, and nobody else', async () => {
    const path = join(await directory(), 'check.sock')
    await start([`unix:${path}`])
    expect(((await stat(path)).mode & 0o777).toString(8)).toBe('660')
  })

  it('takes over the socket of a dead process, and no other', async () => {
    const folder = await directory()
    const path = join(folder, 'check.sock')
    const stale = createServer()
    await new Promise<void>(resolve => stale.listen(path, resolve))
    await expect(start([`unix:${path}`])).rejects.toThrow(`another process listens on ${path}`)
    // A process that is killed leaves its file behind.
    const { rename } = await import('node:fs/promises')
    await rename(path, join(folder, 'kept'))
    await new Promise(resolve => stale.close(resolve))
    await rename(join(folder, 'kept'), path)
    await start([`unix:${path}`])
    expect((await call(clientOf(`unix:${path}`), Buffer.from('ab'))).toString()).toBe('ba')
    const file = join(folder, 'notes.txt')
    await writeFile(file, 'precious')
    await expect(start([`unix:${file}`])).rejects.toThrow('is no socket')
    expect((await stat(file)).size).toBe(8)
  })

  it('says which address it cannot have', async () => {
    const { addresses } = await start(['127.0.0.1:0'])
    await expect(start([addresses[0] ?? ''])).rejects.toThrow(`cannot listen on ${addresses[0]}`)
  })

  it('drains without losing a call: 40 callers meet only answers until the connections end', async () => {
    const { addresses, drain } = await start(['127.0.0.1:0'])
    const client = clientOf(addresses[0] ?? '')
    await call(client, Buffer.from('a'))
    let answered = 0
    const failures: number[] = []
    let draining = false
    const caller = async () => {
      for (;;) {
        const code = await codeOf(call(client, Buffer.from('a')))
        if (code === status.OK) answered++
        else {
          failures.push(code)
          return
        }
      }
    }
    const callers = Array.from({ length: 40 }, caller)
    while (answered < 500) await new Promise(resolve => setImmediate(resolve))
    draining = true
    const begin = Date.now()
    await drain(5000)
    expect(draining).toBe(true)
    expect(Date.now() - begin).toBeLessThan(5000)
    await Promise.all(callers)
    // After the end there is nothing to connect to; that is all a caller may ever see.
    expect(new Set(failures)).toEqual(new Set([status.UNAVAILABLE]))
    expect(answered).toBeGreaterThan(500)
  })

  it('cuts off what hangs at the deadline', async () => {
    const server = await startGrpcJsServer({
      listen: ['127.0.0.1:0'],
      services: [],
      register: grpc =>
        grpc.addService(
          {
            hang: {
              path: '/test.Hang/Hang',
              requestStream: false,
              responseStream: false,
              requestSerialize: (b: Buffer) => b,
              requestDeserialize: (b: Buffer) => b,
              responseSerialize: (b: Buffer) => b,
              responseDeserialize: (b: Buffer) => b,
            },
          },
          { hang: () => undefined },
        ),
    })
    const client = clientOf(server.addresses[0] ?? '')
    const hanging = codeOf(call(client, Buffer.from('a'), '/test.Hang/Hang'))
    await new Promise(resolve => client.waitForReady(Date.now() + 5000, resolve))
    const begin = Date.now()
    await server.drain(600)
    expect(await hanging).not.toBe(status.OK)
    expect(Date.now() - begin).toBeLessThan(3000) // of a call with 10 s
  })
})

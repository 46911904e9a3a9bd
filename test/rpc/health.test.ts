import { connect } from 'node:http2'
import { Client, type ClientReadableStream, credentials } from '@grpc/grpc-js'
import { afterEach, expect, test } from 'vitest'
import {
  type HealthCheckResponse,
  HealthService,
  HealthCheckResponse_ServingStatus as Serving,
} from '../../src/gen/grpc/health/v1/health.ts'
import { openChannel } from '../../src/rpc/client.ts'
import { drain } from '../../src/rpc/drain.ts'
import { createHealth } from '../../src/rpc/health.ts'
import { createServer } from '../../src/rpc/server.ts'
import { listenAnywhere, until } from './harness.ts'

const open: (() => void)[] = []
afterEach(() => {
  for (const close of open.splice(0)) close()
})

const authorization = 'envoy.service.auth.v3.Authorization'

async function serve() {
  const health = createHealth([authorization])
  const server = createServer()
  open.push(() => server.forceShutdown())
  health.addTo(server)
  const address = await listenAnywhere(server)
  const channel = openChannel({ address, deadlineMs: 5000 })
  open.push(channel.close)
  const { check } = channel.client(HealthService)
  const stateOf = async (service: string) => (await check({ service })).status
  return { health, server, address, stateOf }
}

/** Opens a Watch and collects what it says; `ended` is the gRPC status code once it has ended. */
function watch(address: string, service: string) {
  const client = new Client(address, credentials.createInsecure())
  open.push(() => client.close())
  const { watch } = HealthService
  const stream: ClientReadableStream<HealthCheckResponse> = client.makeServerStreamRequest(
    watch.path,
    watch.requestSerialize,
    watch.responseDeserialize,
    { service },
  )
  const seen: { states: number[]; ended: number | undefined } = { states: [], ended: undefined }
  stream.on('data', (reply: HealthCheckResponse) => seen.states.push(reply.status))
  stream.on('error', () => undefined)
  stream.on('status', ({ code }) => {
    seen.ended = code
  })
  return { seen, cancel: () => stream.cancel() }
}

test('nothing is serving before its owner says so, and services have states of their own', async () => {
  const { health, stateOf } = await serve()
  expect(await stateOf('')).toBe(Serving.NOT_SERVING)
  health.set(authorization, 'SERVING')
  expect([await stateOf(''), await stateOf(authorization)]).toEqual([Serving.NOT_SERVING, Serving.SERVING])
  health.set('', 'SERVING')
  expect(await stateOf('')).toBe(Serving.SERVING)
})

test('a service that is not known is NOT_FOUND for Check and SERVICE_UNKNOWN for Watch', async () => {
  const { stateOf, address } = await serve()
  expect((await stateOf('nobody').catch(error => error)).codeName).toBe('NOT_FOUND')
  const { seen } = watch(address, 'nobody')
  await until('a state', () => seen.states.length === 1)
  expect(seen.states).toEqual([Serving.SERVICE_UNKNOWN])
})

test('a Watch hears the state now and every change, once', async () => {
  const { health, address } = await serve()
  const { seen } = watch(address, authorization)
  await until('the first state', () => seen.states.length === 1)
  health.set('', 'SERVING')
  health.set(authorization, 'SERVING')
  health.set(authorization, 'NOT_SERVING')
  await until('three states', () => seen.states.length === 3)
  expect(seen.states).toEqual([Serving.NOT_SERVING, Serving.SERVING, Serving.NOT_SERVING])
})

test('a drain says NOT_SERVING, ends an open Watch without an error and closes the port', async () => {
  const { health, server, address, stateOf } = await serve()
  health.set('', 'SERVING')
  const { seen } = watch(address, '')
  await until('the first state', () => seen.states.length === 1)
  const drained = drain(server, health, { noticeMs: 50, deadlineMs: 5000 })
  expect(await stateOf('')).toBe(Serving.NOT_SERVING)
  health.set('', 'SERVING')
  expect(await drained).toBe('clean')
  await until('the end of the watch', () => seen.ended !== undefined)
  expect(seen).toEqual({ states: [Serving.SERVING, Serving.NOT_SERVING], ended: 0 })
})

test('a drain cuts what is still open at its deadline', async () => {
  const { health, server, address } = await serve()
  const held = { ...health, endWatches: () => undefined }
  const { seen } = watch(address, '')
  await until('the first state', () => seen.states.length === 1)
  expect(await drain(server, held, { noticeMs: 0, deadlineMs: 100 })).toBe('forced')
  await until('the end of the watch', () => seen.ended !== undefined)
  expect(seen.ended).not.toBe(0)
})

test('a connection whose client never ends its stream is closed at the deadline of a drain', async () => {
  const { health, server, address } = await serve()
  const session = connect(`http://${address}`)
  open.push(() => session.destroy())
  let closed = false
  session
    .on('error', () => undefined)
    .once('close', () => {
      closed = true
    })
  const stream = session.request({
    ':method': 'POST',
    ':path': HealthService.check.path,
    'content-type': 'application/grpc',
  })
  stream.on('error', () => undefined).write(Buffer.alloc(1))
  await new Promise(resolve => session.once('connect', resolve))
  await new Promise(resolve => session.ping(resolve))
  expect(await drain(server, health, { noticeMs: 0, deadlineMs: 100 })).toBe('forced')
  await until('the end of the connection', () => closed)
})

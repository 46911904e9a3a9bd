// The access log service against a raw client on a real connection: what a stream may hold, and what becomes of it.
import { Client, type ClientWritableStream, credentials } from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from 'vitest'
import { systemTimers } from '../../src/bin/system-clock.ts'
import { addService, createServer } from '../../src/rpc/server.ts'
import { AccessJoin } from '../../src/usage/als-join.ts'
import { AccessLogStreams, type AlsOptions, accessLogService } from '../../src/usage/als-service.ts'
import { independentClient, keepLog, listenAnywhere, until } from '../rpc/harness.ts'
import { FakeHalfStore, uuid7 } from './halves.ts'
import { entry, httpLogs, identifier } from './log-entries.ts'

const opened: (() => void)[] = []

afterEach(() => {
  for (const close of opened.splice(0)) close()
})

type Stream = ClientWritableStream<unknown> & { readonly ended: Promise<string> }

interface Stand {
  readonly join: AccessJoin
  readonly store: FakeHalfStore
  readonly streams: AccessLogStreams
  readonly seen: string[]
  readonly address: string
  stream(): Stream
  count(outcome: string): number
}

async function stand(options: Partial<AlsOptions> = {}, newMax = 1000): Promise<Stand> {
  const store = new FakeHalfStore()
  const join = new AccessJoin({
    store,
    mono: () => performance.now(),
    wall: () => Date.now(),
    timers: systemTimers,
    onStore: () => undefined,
    bounds: { newMax, orphansMax: 1000 },
  })
  const seen: string[] = []
  const streams = new AccessLogStreams({
    join,
    timers: systemTimers,
    isRecorded: () => true,
    onStream: stream => seen.push(`${stream.node} ${stream.cluster} ${stream.log}`),
    ...options,
  })
  const server = createServer()
  addService(server, accessLogService, { streamAccessLogs: streams.handle }, keepLog())
  const address = await listenAnywhere(server)
  const service = 'envoy.service.accesslog.v3.AccessLogService'
  const client = independentClient('envoy/service/accesslog/v3/als.proto', service, address)
  opened.push(() => {
    client.close()
    server.forceShutdown()
    void join.stop(0)
  })
  return {
    join,
    store,
    streams,
    seen,
    address,
    count: outcome => new Map<string, number>(streams.counts).get(outcome) ?? 0,
    stream() {
      let settle: (end: string) => void = () => undefined
      const ended = new Promise<string>(resolve => {
        settle = resolve
      })
      const open = client['StreamAccessLogs'] as (
        callback: (error: Error | null) => void,
      ) => ClientWritableStream<unknown>
      const stream = open.call(client, error => settle(error === null ? 'ok' : error.message))
      stream.on('error', () => undefined)
      return Object.assign(stream, { ended })
    },
  }
}

const id = () => uuid7(Date.now())

describe('a stream', () => {
  it('begins with 60 KB of identifier, and its entries become halves', async () => {
    const { stream, join, seen, count } = await stand()
    const [allowed, denied] = [id(), id()]
    const envoy = stream()
    envoy.write({ identifier: identifier(), ...httpLogs([entry({ decisionId: allowed })]) })
    const flags = { unauthorized_details: { reason: 'EXTERNAL_SERVICE' } }
    const common = { response_flags: flags, upstream_cluster: '', upstream_remote_address: null }
    envoy.write(httpLogs([entry({ decisionId: denied, decision: 'deny', status: 401, common })]))
    await until('both are taken', () => count('taken') === 2)
    expect(seen).toEqual(['edge-1 edge gatewarden'])
    expect(join.take(allowed)).toEqual({
      decisionId: allowed,
      finalStatus: 200,
      durationUs: 12_345,
      requestBytes: 226,
      responseBytes: 1090,
      responseFlags: '',
      upstream: 'api 10.0.0.7:3000',
      grpcStatus: null,
    })
    expect(join.take(denied)).toMatchObject({ finalStatus: 401, responseFlags: 'UAEX', upstream: '' })
  })

  it('may have a first message of 3 MiB', async () => {
    const { stream, count } = await stand()
    stream().write({ identifier: identifier(3 * 2 ** 20), ...httpLogs([entry({ decisionId: id() })]) })
    await until('it is taken', () => count('taken') === 1)
  })

  it('that never says whose it is is read, counted, and of no consequence', async () => {
    const { stream, join, count } = await stand()
    const envoy = stream()
    envoy.write(httpLogs([entry({ decisionId: id() }), entry({ decisionId: id() })]))
    await until('both are counted', () => count('unidentified') === 2)
    expect(join.newHalves).toBe(0)
    envoy.write({ identifier: identifier(), ...httpLogs([entry({ decisionId: id() })]) })
    await until('it says so later', () => count('taken') === 1)
  })

  it('has a state of its own', async () => {
    const { stream, count } = await stand()
    const [known, unknown] = [stream(), stream()]
    known.write({ identifier: identifier() })
    known.write(httpLogs([entry({ decisionId: id() })]))
    await until('it is taken', () => count('taken') === 1)
    unknown.write(httpLogs([entry({ decisionId: id() })]))
    await until('it is not', () => count('unidentified') === 1)
  })

  it('with octets that are no message ends alone', async () => {
    const { stream, streams, count, address } = await stand()
    const good = stream()
    good.write({ identifier: identifier() })
    await until('it is open', () => streams.open === 1)
    const client = new Client(address, credentials.createInsecure())
    opened.push(() => client.close())
    const same = (octets: Buffer) => octets
    const failure = await new Promise<string>(resolve => {
      const { path } = accessLogService.streamAccessLogs
      const bad = client.makeClientStreamRequest<Buffer, Buffer>(path, same, same, error => resolve(String(error)))
      bad.on('error', () => undefined)
      // A length that points behind the end, in a field that is read.
      bad.write(Buffer.from([0x12, 0x7f, 0x0a]))
    })
    expect(failure).toContain('no message of this method')
    expect(streams.malformedMessages).toBe(1)
    good.write(httpLogs([entry({ decisionId: id() })]))
    await until('the other goes on', () => count('taken') === 1)
  })

  it('that Envoy closes, or loses, is gone', async () => {
    const { stream, streams } = await stand()
    const [closed, lost] = [stream(), stream()]
    closed.write({ identifier: identifier() })
    lost.write({ identifier: identifier() })
    await until('both are open', () => streams.open === 2)
    closed.end()
    expect(await closed.ended).toBe('ok')
    lost.cancel()
    await until('none is open', () => streams.open === 0)
  })
})

describe('an entry', () => {
  it.each([
    ['of a request that goes on', entry({ decisionId: uuid7(1e12), type: 'DownstreamStart' }), 'not_ended'],
    ['of a period', entry({ decisionId: uuid7(1e12), type: 'DownstreamPeriodic' }), 'not_ended'],
    ['of the upstream side', entry({ decisionId: uuid7(1e12), type: 'UpstreamEnd' }), 'not_ended'],
    [
      'of a kind that is not known yet',
      entry({ decisionId: uuid7(1e12), common: { access_log_type: 99 } }),
      'not_ended',
    ],
    ['without a decision', entry({}), 'no_decision'],
    ['without anything', {}, 'no_decision'],
    ['with an id that is none', entry({ decisionId: 'x' }), 'malformed'],
    ['with an id of another kind', entry({ decisionId: '6ff0f2a5-5a5b-4b52-8f3a-0d7d3f1e8a11' }), 'malformed'],
    ['of an Envoy that sets no kind', entry({ decisionId: uuid7(1e12), type: 'NotSet' }), 'taken'],
    ['of a request without a response', entry({ decisionId: uuid7(1e12), status: null }), 'taken'],
  ])('%s is counted as what it is', async (_, sent, outcome) => {
    const { stream, streams, count } = await stand()
    stream().write({ identifier: identifier(0), ...httpLogs([sent]) })
    await until('it is counted', () => streams.counts.size > 0)
    expect(count(outcome)).toBe(1)
  })

  it('of a TCP proxy is tolerated', async () => {
    const { stream, count } = await stand()
    const tcp = { common_properties: { stream_id: '1' }, connection_properties: { received_bytes: 7 } }
    const envoy = stream()
    envoy.write({ identifier: identifier(), tcp_logs: { log_entry: [tcp, {}] } })
    await until('both are counted', () => count('tcp') === 2)
    envoy.write(httpLogs([entry({ decisionId: id() })]))
    await until('the stream goes on', () => count('taken') === 1)
  })

  it('that comes again is counted as a duplicate, on whatever stream', async () => {
    const { stream, count, join } = await stand()
    const sent = entry({ decisionId: id() })
    stream().write({ identifier: identifier(), ...httpLogs([sent, sent]) })
    stream().write({ identifier: identifier(), ...httpLogs([sent]) })
    await until('three have come', () => count('taken') + count('duplicate') === 3)
    expect([count('taken'), join.newHalves]).toEqual([1, 1])
  })

  it('of two requests with one request id belongs to each of them', async () => {
    const { stream, count } = await stand()
    const streamId = 'chosen-by-a-client'
    const entries = [entry({ decisionId: id(), streamId }), entry({ decisionId: id(), streamId })]
    stream().write({ identifier: identifier(), ...httpLogs(entries) })
    await until('both are taken', () => count('taken') === 2)
  })

  it('of a request that is not recorded waits for nothing', async () => {
    const { stream, count, join } = await stand({ isRecorded: (profile, allowed) => profile !== 'petshop' || !allowed })
    const entries = [entry({ decisionId: id() }), entry({ decisionId: id(), decision: 'deny', status: 403 })]
    stream().write({ identifier: identifier(), ...httpLogs(entries) })
    await until('both are counted', () => count('taken') + count('not_recorded') === 2)
    expect([count('not_recorded'), join.newHalves]).toEqual([1, 1])
  })
})

describe('back-pressure', () => {
  it('stops the reading while halves wait for the database, and loses nothing', async () => {
    const { stream, store, streams, count } = await stand({}, 20)
    store.failure = new Error('no database')
    const envoy = stream()
    envoy.write({ identifier: identifier() })
    const ids = Array.from({ length: 400 }, id)
    for (const decisionId of ids) {
      // Messages as large as Envoy's, so that they do not all fit into buffers.
      const padded = entry({
        decisionId,
        common: { route_name: 'r' },
        response: { response_headers: { x: 'y'.repeat(60_000) } },
      })
      envoy.write(httpLogs([padded]))
    }
    await until('reading has stopped', () => streams.pauses === 1)
    expect(count('taken')).toBe(20)
    store.failure = undefined
    for (const decisionId of ids) store.rows.set(decisionId, null)
    await until('all are taken', () => count('taken') === 400, 40_000)
    expect(streams.pauses).toBeGreaterThan(1)
  }, 60_000)
})

describe('the age of a stream', () => {
  it('ends it with OK behind all that was sent, and the next one goes on', async () => {
    const { stream, count, streams } = await stand({ ageMs: 1 })
    for (let round = 1; round <= 5; round++) {
      const envoy = stream()
      envoy.write({ identifier: identifier(), ...httpLogs([entry({ decisionId: id() })]) })
      for (let sent = 0; sent < 20; sent++) envoy.write(httpLogs([entry({ decisionId: id() })]))
      await until('all are taken', () => count('taken') === round * 21)
      if (streams.open === 1) envoy.write(httpLogs([entry({})]))
      expect(await envoy.ended).toBe('ok')
    }
    expect(streams.open).toBe(0)
  })

  it('or a drain ends all of them, and those that come after', async () => {
    const { stream, streams } = await stand()
    const [one, other] = [stream(), stream()]
    for (const each of [one, other]) each.write({ identifier: identifier() })
    await until('both are open', () => streams.open === 2)
    streams.endAll()
    expect(await Promise.all([one.ended, other.ended])).toEqual(['ok', 'ok'])
    const late = stream()
    late.write({ identifier: identifier() })
    expect(await late.ended).toBe('ok')
  })

  it('a drain ends a stream that is not read', async () => {
    const { stream, streams, store } = await stand({}, 1)
    store.failure = new Error('no database')
    const envoy = stream()
    envoy.write({ identifier: identifier(), ...httpLogs([entry({ decisionId: id() }), entry({ decisionId: id() })]) })
    await until('reading has stopped', () => streams.pauses === 1)
    streams.endAll()
    expect(await envoy.ended).toBe('ok')
  })
})

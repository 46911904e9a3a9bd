// The same octets to the h2 transport and to grpc-js on node:http2: every call ends the same, with the same message and code,
// whatever the encoding of its header block, the padding and cuts of its frames, and the order of its streams.
import { hash } from 'node:crypto'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startGrpcJsServer } from '../../../src/transport/grpc-js-server.ts'
import {
  DATA,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FRAME_HEADER,
  GOAWAY,
  HEADERS,
  PREFACE,
  RST_STREAM,
} from '../../../src/transport/h2/frames.ts'
import { startH2Server } from '../../../src/transport/h2/server.ts'
import type { UnaryServer } from '../../../src/transport/unary-server.ts'
import { below, randomFor, seed, times } from '../../fuzz/tally.ts'
import { pick, type Random } from '../../oracle/random-worlds.ts'
import { RandomEncoder } from './hpack-encoder.ts'
import { callFields, continuation, echo, frame, message, settings, settingsAck, windowUpdate } from './peer.ts'
import { ResponseReader } from './response-reader.ts'

const limitMs = 120_000
const servers: UnaryServer[] = []
beforeAll(async () => {
  const listen = ['127.0.0.1:0']
  servers.push(await startH2Server({ listen, services: [echo()], report: () => undefined }))
  servers.push(await startGrpcJsServer({ listen, services: [echo()] }))
})
afterAll(() => Promise.all(servers.map(server => server.drain(0))))

type Fields = readonly (readonly [string, string])[]

/** Calls that both take, and calls that both refuse with the same code. */
function anyCall(random: Random): { readonly fields: Fields; readonly body: Buffer } {
  const text = Buffer.alloc(below(random, pick(random, [1, 20, 3000])), 'a')
  const extra: Fields = Array.from({ length: below(random, 4) }, (_, i) => [
    `x-${i}-${below(random, 5)}`,
    'v'.repeat(below(random, 50)),
  ])
  // Once at most: node:http2 joins what comes twice, ours takes it for nothing.
  const wanted: Fields = random() < 0.5 ? [] : [['x-wanted', '192.0.2.1']]
  const fields = [...callFields, ...extra, ...wanted]
  switch (below(random, 8)) {
    case 0:
      return {
        fields: fields.map(([name, value]) => [name, name === ':path' ? '/test.Echo/Other' : value]),
        body: message(text),
      }
    case 1:
      return { fields, body: message('fail') }
    case 2:
      return { fields, body: message('wanted') }
    default:
      return { fields, body: message(text) }
  }
}

/** The frames of a call, in order. */
function framesOf(random: Random, stream: number, block: Buffer, body: Buffer): Buffer[] {
  const frames: Buffer[] = []
  const cut = random() < 0.3 ? below(random, block.length + 1) : block.length
  // A block is not interrupted: HEADERS and CONTINUATION stay together.
  const begin = frame(HEADERS, cut === block.length ? FLAG_END_HEADERS : 0, stream, block.subarray(0, cut))
  frames.push(
    cut === block.length ? begin : Buffer.concat([begin, continuation(stream, block.subarray(cut), FLAG_END_HEADERS)]),
  )
  for (let at = 0; at < body.length; ) {
    const end = random() < 0.5 ? body.length : Math.min(body.length, at + 1 + below(random, body.length))
    const last = end === body.length ? FLAG_END_STREAM : 0
    const padding = below(random, 30)
    const padded = Buffer.concat([Buffer.from([padding]), body.subarray(at, end), Buffer.alloc(padding)])
    frames.push(
      random() < 0.2
        ? frame(DATA, last | FLAG_PADDED, stream, padded)
        : frame(DATA, last, stream, body.subarray(at, end)),
    )
    at = end
  }
  return frames
}

/** A connection's worth of calls, their frames mixed but in order within each call, header blocks in the order of encoding. */
function anyScript(random: Random): { readonly octets: Buffer; readonly calls: number } {
  const encoder = new RandomEncoder(random)
  const calls = 1 + below(random, 12)
  const under: Buffer[][] = []
  const octets: Buffer[] = [PREFACE, settings(), settingsAck, windowUpdate(0, 1_000_000)]
  for (let i = 0; i < calls || under.length > 0; ) {
    if (i < calls && (under.length === 0 || random() < 0.5)) {
      const { fields, body } = anyCall(random)
      const frames = framesOf(random, 1 + 2 * i++, encoder.encode(fields), body)
      octets.push(frames.shift() ?? Buffer.alloc(0))
      under.push(frames)
    } else {
      const one = below(random, under.length)
      const next = under[one]?.shift()
      if (next === undefined) under.splice(one, 1)
      else octets.push(next)
    }
  }
  return { octets: Buffer.concat(octets), calls }
}

/** How each call ended, by stream. */
function outcomes(
  server: UnaryServer | undefined,
  { octets, calls }: { octets: Buffer; calls: number },
): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const reader = new ResponseReader()
    const socket = connect(Number(server?.addresses[0]?.split(':')[1]), '127.0.0.1', () => socket.write(octets))
    let rest = Buffer.alloc(0)
    const bodies = new Map<number, Buffer>()
    const ends = new Map<number, string>()
    socket.setTimeout(10_000, () => socket.destroy(new Error('no end of the calls')))
    socket.on('error', reject)
    socket.on('data', chunk => {
      rest = Buffer.concat([rest, chunk])
      for (;;) {
        const length = FRAME_HEADER + (rest.length < 3 ? 0 : rest.readUIntBE(0, 3))
        if (rest.length < FRAME_HEADER || rest.length < length) break
        const [type, stream] = [rest[3], rest.readUInt32BE(5)]
        const payload = rest.subarray(FRAME_HEADER, length)
        if (type === DATA) bodies.set(stream, Buffer.concat([bodies.get(stream) ?? Buffer.alloc(0), payload]))
        if (type === HEADERS) {
          const status = reader.grpcStatus(payload)
          if (status !== undefined) ends.set(stream, `${status} ${hash('sha256', bodies.get(stream) ?? '', 'hex')}`)
        }
        if (type === RST_STREAM && !ends.has(stream)) ends.set(stream, `reset ${payload.readUInt32BE(0)}`)
        if (type === GOAWAY) socket.destroy(new Error(`GOAWAY ${payload.readUInt32BE(4)}`))
        rest = rest.subarray(length)
      }
      if (ends.size < calls) return
      socket.destroy()
      resolve([...ends].sort(([one], [other]) => one - other).map(([stream, end]) => `${stream}: ${end}`))
    })
  })
}

it(`every call ends as it ends at grpc-js (seed ${seed})`, { timeout: limitMs }, async () => {
  const random = randomFor('h2 differential')
  const count = times(400)
  let calls = 0
  for (let i = 0; i < count; i++) {
    const script = anyScript(random)
    const [ours, theirs] = await Promise.all(servers.map(server => outcomes(server, script)))
    expect(ours, `seed ${seed}, script ${i}`).toEqual(theirs)
    calls += script.calls
  }
  process.stdout.write(`calls compared with grpc-js: ${calls} (seed ${seed})\n`)
})

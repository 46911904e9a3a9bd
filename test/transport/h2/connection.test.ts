// The connection by RFC 9113, section by section, and unary gRPC over it. Everything happens in memory.
import { describe, expect, it } from 'vitest'
import { CONNECTION_WINDOW, MESSAGE_MAX } from '../../../src/transport/h2/abuse.ts'
import {
  COMPRESSION_ERROR,
  DATA,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FLOW_CONTROL_ERROR,
  FRAME_SIZE_ERROR,
  GOAWAY,
  HEADERS,
  PREFACE,
  PRIORITY,
  PROTOCOL_ERROR,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  STREAM_CLOSED,
  WINDOW_MAX,
  WINDOW_UPDATE,
} from '../../../src/transport/h2/frames.ts'
import {
  answered,
  block,
  call,
  callFields,
  continuation,
  data,
  frame,
  headers,
  message,
  method,
  ping,
  reset,
  setting,
  settings,
  settingsAck,
  story,
  TestPeer,
  uint32,
  windowUpdate,
} from './peer.ts'

const goaway = (code: number, last = 0) => `goaway ${last} ${code}`
const without = (name: string) => callFields.filter(([each]) => each !== name)
const withField = (name: string, value: string) => [...callFields, [name, value] as const]
const instead = (name: string, value: string) =>
  callFields.map(([each, was]) => [each, each === name ? value : was] as const)

describe('3.4 the preface', () => {
  it('is answered by our settings and window, sent before anything came', () => {
    expect(story(new TestPeer().greeting)).toEqual(['settings', `window 0 ${4 * 1024 * 1024 - 65535}`])
  })
  it('may come octet by octet', () => {
    const peer = new TestPeer()
    const said = [...Buffer.concat([PREFACE, settings(), call(1, 'x')])].flatMap(octet =>
      peer.send(Buffer.from([octet])),
    )
    expect(story(said)).toEqual(['settings ack', ...answered(1, 1)])
  })
  it('that is another is refused', () => {
    expect(story(new TestPeer().send(Buffer.from('GET / HTTP/1.1\r\n\r\n')))).toEqual([goaway(PROTOCOL_ERROR)])
  })
  it('is followed by SETTINGS', () => {
    expect(story(new TestPeer().send(PREFACE, ping()))).toEqual([goaway(PROTOCOL_ERROR)])
    expect(story(new TestPeer().send(PREFACE, settingsAck))).toEqual([goaway(PROTOCOL_ERROR)])
  })
})

describe('4 frames', () => {
  it.each([DATA, HEADERS, SETTINGS, 99])('of type %s longer than we allow end the connection', type => {
    expect(story(TestPeer.settled().send(frame(type, 0, type === SETTINGS ? 0 : 1, Buffer.alloc(16_385))))).toEqual([
      goaway(FRAME_SIZE_ERROR),
    ])
  })
  it('of unknown types are passed over', () => {
    expect(story(TestPeer.settled().send(frame(99, 255, 77, Buffer.alloc(100)), call(1, 'x')))).toEqual(answered(1, 1))
  })
  it('of the greatest length are taken, however they are cut', () => {
    const octets = Buffer.concat([headers(1), data(1, message(Buffer.alloc(16_379)))])
    for (const at of [1, 5, 9, 10, 100, 9000, octets.length - 1]) {
      const peer = TestPeer.settled()
      expect(peer.send(octets.subarray(0, at))).toEqual([])
      expect(story(peer.send(octets.subarray(at)))).toEqual(answered(1, 16_379))
    }
  })
})

describe('4.3 header blocks', () => {
  const whole = block(callFields)
  it('may go on in CONTINUATION', () => {
    const peer = TestPeer.settled()
    const parts = [whole.subarray(0, 10), whole.subarray(10, 20), whole.subarray(20)] as const
    const said = peer.send(
      frame(HEADERS, 0, 1, parts[0]),
      continuation(1, parts[1]),
      continuation(1, parts[2], FLAG_END_HEADERS),
      data(1, message('x')),
    )
    expect(story(said)).toEqual(answered(1, 1))
  })
  it.each([
    ['another stream', continuation(3, whole, FLAG_END_HEADERS)],
    ['another frame', ping()],
    ['an unknown frame', frame(99, 0, 1)],
    ['HEADERS', headers(3)],
  ])('are not interrupted by %s', (_, between) => {
    expect(story(TestPeer.settled().send(frame(HEADERS, 0, 1, whole.subarray(0, 5)), between))).toEqual([
      goaway(PROTOCOL_ERROR),
    ])
  })
  it('cannot begin with CONTINUATION', () => {
    expect(story(TestPeer.settled().send(continuation(1, whole, FLAG_END_HEADERS)))).toEqual([goaway(PROTOCOL_ERROR)])
  })
  it('that cannot be decoded end the connection', () => {
    const bad = frame(HEADERS, FLAG_END_HEADERS, 1, Buffer.from([0x80]))
    expect(story(TestPeer.settled().send(bad))).toEqual([goaway(COMPRESSION_ERROR)])
  })
  it('of refused streams are decoded, so that the table stays in step', () => {
    const peer = TestPeer.settled()
    // Upper case makes the request malformed; the field goes into the table all the same.
    const indexed = Buffer.concat([
      Buffer.from([0x40, 8]),
      Buffer.from('x-wanted'),
      Buffer.from([2]),
      Buffer.from('hi'),
    ])
    const first = Buffer.concat([block([...callFields, ['Upper', 'x']]), indexed])
    expect(story(peer.send(frame(HEADERS, FLAG_END_HEADERS, 1, first)))).toEqual([`reset 1 ${PROTOCOL_ERROR}`])
    const second = Buffer.concat([block(callFields), Buffer.from([0x80 | 62])])
    const said = peer.send(frame(HEADERS, FLAG_END_HEADERS, 3, second), data(3, message('wanted')))
    expect(said[1]?.payload.subarray(5).toString()).toBe('hi')
  })
})

describe('5.1 streams', () => {
  it.each([
    ['DATA', data(5, message('x'))],
    ['RST_STREAM', reset(5)],
    ['WINDOW_UPDATE', windowUpdate(5, 1)],
  ])('that are idle get no %s', (_, octets) => {
    expect(story(TestPeer.settled().send(octets))).toEqual([goaway(PROTOCOL_ERROR)])
  })
  it('have odd ids that grow', () => {
    expect(story(TestPeer.settled().send(headers(2)))).toEqual([goaway(PROTOCOL_ERROR)])
    expect(story(TestPeer.settled().send(headers(0)))).toEqual([goaway(PROTOCOL_ERROR)])
    const peer = TestPeer.settled()
    peer.send(call(5, 'x'))
    expect(story(peer.send(headers(3)))).toEqual([goaway(PROTOCOL_ERROR, 5)])
  })
  it('that have ended take no HEADERS and no DATA', () => {
    const peer = TestPeer.settled()
    peer.send(call(1, 'x'))
    expect(story(peer.send(data(1, message('x'))))).toEqual([`reset 1 ${STREAM_CLOSED}`])
    const other = TestPeer.settled()
    other.send(call(1, 'x'))
    expect(story(other.send(headers(1)))).toEqual([goaway(STREAM_CLOSED, 1)])
  })
  it('that we reset may still get what was on its way', () => {
    const peer = TestPeer.settled()
    expect(story(peer.send(headers(1, without('te').concat([['te', 'gzip']]))))).toEqual([`reset 1 ${PROTOCOL_ERROR}`])
    const late = peer.send(
      data(1, message('x'), 0),
      headers(1, [['x', 'y']], FLAG_END_HEADERS | FLAG_END_STREAM),
      reset(1),
    )
    expect(story(late)).toEqual([])
    expect(story(peer.send(call(3, 'x')))).toEqual(answered(3, 1))
  })
  it('that the peer resets are forgotten', () => {
    const peer = TestPeer.settled()
    peer.send(headers(1), data(1, message('x').subarray(0, 3), 0))
    expect(story(peer.send(reset(1), call(3, 'x')))).toEqual(answered(3, 1))
    expect(peer.connection.openStreams).toBe(0)
    expect(peer.shared.held).toBe(0)
  })
  it('end with trailers of the client as with END_STREAM', () => {
    const peer = TestPeer.settled()
    peer.send(headers(1), data(1, message('abc'), 0))
    const trailers = headers(1, [['x-checksum', '1']], FLAG_END_HEADERS | FLAG_END_STREAM)
    expect(story(peer.send(trailers))).toEqual(answered(1, 3))
  })
  it.each([
    ['go on', headers(1, [['x', 'y']])],
    ['have pseudo-headers', headers(1, [[':path', '/']], FLAG_END_HEADERS | FLAG_END_STREAM)],
  ])('get an error for trailers that %s', (_, octets) => {
    const peer = TestPeer.settled()
    peer.send(headers(1), data(1, message('abc'), 0))
    expect(story(peer.send(octets))).toEqual([`reset 1 ${PROTOCOL_ERROR}`])
  })
})

describe('6 what frames may hold', () => {
  const padded = (padding: number, payload: Buffer) =>
    Buffer.concat([Buffer.from([padding]), payload, Buffer.alloc(padding)])
  it('padding and priority are taken off', () => {
    const head = padded(7, Buffer.concat([uint32(0), Buffer.from([16]), block(callFields)]))
    const said = TestPeer.settled().send(
      frame(HEADERS, FLAG_END_HEADERS | FLAG_PADDED | FLAG_PRIORITY, 1, head),
      frame(DATA, FLAG_END_STREAM | FLAG_PADDED, 1, padded(200, message('abc'))),
    )
    expect(story(said)).toEqual(answered(1, 3))
  })
  it.each([
    ['HEADERS with too much padding', frame(HEADERS, FLAG_END_HEADERS | FLAG_PADDED, 1, Buffer.from([9, 0x82]))],
    ['HEADERS with padding and nothing', frame(HEADERS, FLAG_END_HEADERS | FLAG_PADDED, 1)],
    [
      'HEADERS that depend on themselves',
      frame(HEADERS, FLAG_END_HEADERS | FLAG_PRIORITY, 1, Buffer.concat([uint32(1), Buffer.from([0])])),
    ],
    ['DATA on no stream', data(0, message('x'))],
    ['PRIORITY on no stream', frame(PRIORITY, 0, 0, Buffer.alloc(5))],
    ['PRIORITY on itself', frame(PRIORITY, 0, 1, Buffer.concat([uint32(1), Buffer.from([0])]))],
    ['RST_STREAM on no stream', frame(RST_STREAM, 0, 0, Buffer.alloc(4))],
    ['SETTINGS on a stream', frame(SETTINGS, 0, 1)],
    ['a push that is neither on nor off', settings(setting(2, 2))],
    ['a frame size below the default', settings(setting(5, 16_383))],
    ['a frame size beyond the greatest', settings(setting(5, 2 ** 24))],
    ['PUSH_PROMISE', frame(PUSH_PROMISE, 0, 1, Buffer.alloc(4))],
    ['PING on a stream', frame(6, 0, 1, Buffer.alloc(8))],
    ['GOAWAY on a stream', frame(GOAWAY, 0, 1, Buffer.alloc(8))],
    ['WINDOW_UPDATE of nothing', windowUpdate(0, 0)],
  ])('%s is a protocol error', (_, octets) => {
    expect(story(TestPeer.settled().send(octets)).at(-1)).toBe(goaway(PROTOCOL_ERROR))
  })
  it.each([
    ['HEADERS cut off in its priority', frame(HEADERS, FLAG_END_HEADERS | FLAG_PRIORITY, 1, Buffer.alloc(3))],
    ['PRIORITY', frame(PRIORITY, 0, 1, Buffer.alloc(4))],
    ['RST_STREAM', frame(RST_STREAM, 0, 1, Buffer.alloc(3))],
    ['SETTINGS', frame(SETTINGS, 0, 0, Buffer.alloc(7))],
    ['an acknowledgement with content', frame(SETTINGS, 1, 0, Buffer.alloc(6))],
    ['PING', frame(6, 0, 0, Buffer.alloc(7))],
    ['GOAWAY', frame(GOAWAY, 0, 0, Buffer.alloc(7))],
    ['WINDOW_UPDATE', frame(WINDOW_UPDATE, 0, 0, Buffer.alloc(3))],
  ])('%s of another length is a frame size error', (_, octets) => {
    expect(story(TestPeer.settled().send(octets)).at(-1)).toBe(goaway(FRAME_SIZE_ERROR))
  })
  it('PING is given back, its answer is not', () => {
    const peer = TestPeer.settled()
    const [back] = peer.send(ping())
    expect(back?.payload.toString()).toBe('12345678')
    expect(back?.flags).toBe(1)
    expect(peer.send(ping(1))).toEqual([])
  })
  it('GOAWAY of the peer leaves what is under way', () => {
    expect(story(TestPeer.settled().send(frame(GOAWAY, 0, 0, Buffer.alloc(8)), call(1, 'x')))).toEqual(answered(1, 1))
  })
})

describe('6.9 windows', () => {
  const big = 'y'.repeat(1000)
  it('of a stream hold a reply back, piece by piece', () => {
    const peer = TestPeer.settled(setting(4, 10))
    expect(story(peer.send(call(1, big)))).toEqual(['headers 1', 'data 1 10'])
    expect(story(peer.send(windowUpdate(1, 500)))).toEqual(['data 1 500'])
    expect(story(peer.send(windowUpdate(1, 500)))).toEqual(['data 1 495', 'headers 1 grpc-status 0 end'])
    expect(peer.connection.openStreams).toBe(0)
  })
  it('of the connection hold replies back, and let others finish', () => {
    const peer = TestPeer.settled()
    const text = 'z'.repeat(16_000)
    const said = [1, 3, 5, 7, 9].flatMap(stream => peer.send(call(stream, text)))
    expect(said.filter(({ type }) => type === DATA).reduce((sum, { payload }) => sum + payload.length, 0)).toBe(65_535)
    expect(story(peer.send(windowUpdate(0, 100_000))).filter(line => line.endsWith('end'))).toHaveLength(1)
    expect(peer.connection.openStreams).toBe(0)
  })
  it('that SETTINGS make smaller go below zero, and open again', () => {
    const peer = TestPeer.settled(setting(4, 100))
    peer.send(call(1, big))
    expect(story(peer.send(settings(setting(4, 0)), windowUpdate(1, 50)))).toEqual(['settings ack'])
    expect(story(peer.send(windowUpdate(1, 60)))).toEqual(['data 1 10'])
    expect(story(peer.send(settings(setting(4, 2000))))).toContain('data 1 895')
  })
  it('never grow beyond the greatest', () => {
    expect(story(TestPeer.settled().send(windowUpdate(0, WINDOW_MAX)))).toEqual([goaway(FLOW_CONTROL_ERROR)])
    expect(story(TestPeer.settled().send(settings(setting(4, WINDOW_MAX + 1))))).toEqual([goaway(FLOW_CONTROL_ERROR)])
    const peer = TestPeer.settled()
    peer.send(headers(1))
    expect(story(peer.send(windowUpdate(1, WINDOW_MAX)))).toEqual([`reset 1 ${FLOW_CONTROL_ERROR}`])
    const other = TestPeer.settled()
    other.send(headers(1), windowUpdate(1, 1000))
    expect(story(other.send(settings(setting(4, WINDOW_MAX))))).toEqual([goaway(FLOW_CONTROL_ERROR, 1)])
  })
  it('of a stream are not opened by nothing', () => {
    const peer = TestPeer.settled()
    peer.send(headers(1))
    expect(story(peer.send(windowUpdate(1, 0)))).toEqual([`reset 1 ${PROTOCOL_ERROR}`])
  })
  it('of ours are topped up in bulk, and enforced', () => {
    const peer = TestPeer.settled(setting(4, 2 ** 30))
    peer.send(windowUpdate(0, 2 ** 30))
    const text = 'w'.repeat(16_000)
    let credited = 0
    for (let stream = 1; stream < 1001; stream += 2) {
      for (const line of story(peer.send(call(stream, text)))) {
        if (line.startsWith('window 0')) credited += Number(line.split(' ')[2])
      }
    }
    expect(credited).toBeGreaterThan(500 * 16_005 - 2 * 1024 * 1024)
    const greedy = TestPeer.settled()
    const said = []
    for (let stream = 1; said.length === 0; stream += 2) {
      said.push(
        ...greedy.send(
          headers(stream),
          ...Array.from({ length: 15 }, () =>
            data(stream, Buffer.concat([Buffer.from([0, 0, 3, 0xff, 0]), Buffer.alloc(16_000)]), 0),
          ),
        ),
      )
    }
    expect(story(said)[0]).toMatch(new RegExp(`^goaway \\d+ ${FLOW_CONTROL_ERROR}$`))
  })
  it('of ours do not run dry while consumed octets wait for their credit', () => {
    const peer = TestPeer.settled(setting(4, 2 ** 30))
    peer.send(windowUpdate(0, 2 ** 30))
    let window = CONNECTION_WINDOW
    const spend = (...octets: Buffer[]) => {
      for (const { type, stream, payload } of peer.send(...octets))
        if (type === WINDOW_UPDATE && stream === 0) window += payload.readUInt32BE(0)
    }
    const small = message(Buffer.alloc(16_000))
    let stream = 1
    for (; window > CONNECTION_WINDOW / 2 + small.length; stream += 2) {
      window -= small.length
      spend(headers(stream), data(stream, small))
    }
    // Large requests that come side by side: together more than half of the window, and less than all of it.
    const large = message(Buffer.alloc(MESSAGE_MAX))
    const ids = Array.from({ length: 12 }, (_, i) => stream + 2 * i)
    for (const id of ids) spend(headers(id))
    for (let at = 0; at < large.length; at += 16_000) {
      const piece = large.subarray(at, at + 16_000)
      for (const id of ids) {
        expect(window).toBeGreaterThanOrEqual(piece.length)
        window -= piece.length
        spend(data(id, piece, at + piece.length === large.length ? FLAG_END_STREAM : 0))
      }
    }
    expect(peer.service.calls).toBe((stream - 1) / 2 + ids.length)
    expect(peer.shared.held).toBe(0)
  })
  it('of a reset stream give their credit back', () => {
    const peer = TestPeer.settled()
    for (let stream = 1; stream < 2001; stream += 2) {
      const said = story(
        peer.send(
          headers(stream),
          data(stream, Buffer.concat([Buffer.from([0, 0, 1, 0, 0]), Buffer.alloc(16_000)]), 0),
          reset(stream),
        ),
      )
      expect(said.filter(line => !line.startsWith('window'))).toEqual([])
    }
    expect(peer.shared.held).toBe(0)
  })
})

describe('6.8 a graceful end', () => {
  it('answers what runs and what still comes, then only what runs, then closes', () => {
    const peer = TestPeer.settled()
    peer.send(headers(1))
    peer.connection.announceEnd()
    expect(story(peer.said())).toEqual([`goaway ${WINDOW_MAX} 0`, 'ping'])
    expect(story(peer.send(call(3, 'x'), ping(1)))).toEqual(answered(3, 1))
    peer.connection.settleEnd()
    expect(story(peer.said())).toEqual(['goaway 3 0'])
    expect(peer.send(call(5, 'x'))).toEqual([])
    expect(peer.connection.isClosing).toBe(false)
    expect(story(peer.send(data(1, message('abc'))))).toEqual(answered(1, 3))
    expect(peer.connection.isClosing).toBe(true)
  })
  it('is settled by the answer to a PING, behind which no call can come', () => {
    const peer = TestPeer.settled()
    peer.send(headers(1))
    peer.connection.announceEnd()
    const asked = peer.said()[1]?.payload ?? Buffer.alloc(0)
    expect(story(peer.send(call(3, 'x'), frame(6, 1, 0, asked)))).toEqual([...answered(3, 1), 'goaway 3 0'])
    expect(story(peer.send(data(1, message('abc'))))).toEqual(answered(1, 3))
    expect(peer.connection.isClosing).toBe(true)
  })
  it('never raises the last stream that it named', () => {
    const peer = TestPeer.settled()
    peer.send(headers(1))
    peer.connection.announceEnd()
    peer.connection.settleEnd()
    peer.said()
    expect(story(peer.send(call(3, 'x'), ping(), data(0, message('x'))))).toEqual([
      'ping ack',
      goaway(PROTOCOL_ERROR, 1),
    ])
  })
  it('closes at once where nothing runs', () => {
    const peer = TestPeer.settled()
    peer.connection.announceEnd()
    peer.connection.settleEnd()
    expect(peer.connection.isClosing).toBe(true)
  })
})

describe('8 requests', () => {
  it.each([
    ['no method', without(':method')],
    ['no path', without(':path')],
    ['an empty path', instead(':path', '')],
    ['no scheme', without(':scheme')],
    ['a pseudo-header twice', withField(':path', method)],
    ['a pseudo-header behind the others', [...without(':path'), [':path', method] as const]],
    ['an unknown pseudo-header', [[':extra', 'x'] as const, ...callFields]],
    ['a status', [[':status', '200'] as const, ...callFields]],
    ['upper case in a name', withField('X-Upper', 'x')],
    ['a space in a name', withField('x y', 'x')],
    ['an empty name', withField('', 'x')],
    ['connection', withField('connection', 'close')],
    ['transfer-encoding', withField('transfer-encoding', 'chunked')],
    ['te that is not trailers', instead('te', 'gzip')],
    ['a line feed in a value', withField('x', 'a\nb')],
    ['NUL in a value', withField('x', 'a\0b')],
    ['a space before a value', withField('x', ' a')],
    ['two lengths', [...withField('content-length', '6'), ['content-length', '7'] as const]],
    ['a length that is none', withField('content-length', '-1')],
  ])('with %s are malformed', (_, fields) => {
    expect(story(TestPeer.settled().send(headers(1, fields)))).toEqual([`reset 1 ${PROTOCOL_ERROR}`])
  })
  it('are as long as they say', () => {
    const right = withField('content-length', '6')
    expect(story(TestPeer.settled().send(call(1, 'x', right)))).toEqual(answered(1, 1))
    for (const text of ['', 'xy']) {
      expect(story(TestPeer.settled().send(call(1, text, right)))).toEqual([`reset 1 ${PROTOCOL_ERROR}`])
    }
  })
})

describe('gRPC', () => {
  const refused = (code: number) => [`headers 1 grpc-status ${code} end`]
  it('hands over messages of every kind of cut', () => {
    const body = message('hello world')
    for (let at = 0; at <= body.length; at++) {
      const said = TestPeer.settled().send(headers(1), data(1, body.subarray(0, at), 0), data(1, body.subarray(at)))
      expect(story(said)).toEqual(answered(1, 11))
      expect(said[1]?.payload.subarray(5).toString()).toBe('hello world')
    }
  })
  it('answers all calls of a read, and ends the batch once, before they leave', () => {
    const peer = TestPeer.settled()
    expect(story(peer.send(call(1, 'a'), call(3, 'b'), call(5, 'c')))).toEqual([1, 3, 5].flatMap(id => answered(id, 1)))
    expect(peer.service.batches).toBe(1)
    peer.send(ping())
    expect(peer.service.batches).toBe(1)
  })
  it('gives the handler the metadata that it wants', () => {
    const of = (...fields: readonly (readonly [string, string])[]) =>
      TestPeer.settled()
        .send(call(1, 'wanted', [...callFields, ...fields]))[1]
        ?.payload.subarray(5)
        .toString()
    expect(of(['x-wanted', '192.0.2.1'])).toBe('192.0.2.1')
    expect(of()).toBe('undefined')
    expect(of(['x-wanted', 'a'], ['x-wanted', 'b'])).toBe('undefined')
    expect(of(['x-wanted', 'é'])).toBe('undefined')
  })
  it('gives no call the metadata of another, in whatever order they end', () => {
    const peer = TestPeer.settled()
    peer.send(
      headers(1),
      headers(3, withField('x-wanted', 'three')),
      headers(5),
      headers(7, withField('x-wanted', 'seven')),
    )
    const told = (stream: number) =>
      peer
        .send(data(stream, message('wanted')))[1]
        ?.payload.subarray(5)
        .toString()
    expect([7, 1, 5, 3].map(told)).toEqual(['seven', 'undefined', 'undefined', 'three'])
  })
  it('says no where a call is none', () => {
    const ask = (...octets: Buffer[]) => story(TestPeer.settled().send(...octets))
    expect(ask(call(1, 'x', instead(':path', '/test.Echo/Other')))).toEqual(refused(12))
    expect(ask(call(1, 'x', withField('grpc-encoding', 'gzip')))).toEqual(refused(12))
    expect(ask(headers(1), data(1, message('x', 1)))).toEqual(refused(12))
    expect(ask(headers(1), data(1, message('x', 2)))).toEqual(refused(13))
    expect(ask(headers(1), data(1, Buffer.concat([message('x'), Buffer.from('y')])))).toEqual(refused(13))
    expect(ask(headers(1), data(1, Buffer.concat([message('x'), message('y')])))).toEqual(refused(13))
    expect(ask(headers(1), data(1, message('xyz').subarray(0, 6)))).toEqual(refused(13))
    expect(ask(headers(1), data(1, Buffer.alloc(0)))).toEqual(refused(13))
    expect(ask(headers(1, callFields, FLAG_END_HEADERS | FLAG_END_STREAM))).toEqual(refused(13))
    expect(ask(call(1, 'fail'))).toEqual(refused(14))
  })
  it('names the encodings it takes where it refuses one', () => {
    const [said] = TestPeer.settled().send(call(1, 'x', withField('grpc-encoding', 'gzip')))
    expect(said?.payload.toString('latin1')).toMatch(/grpc-accept-encoding.identity/)
  })
  it('tells a stream of messages what it is told otherwise, without waiting for its end', () => {
    const peer = TestPeer.settled()
    const unknown = instead(':path', '/test.Echo/Stream')
    expect(story(peer.send(headers(1, unknown), data(1, message('x'), 0)))).toEqual([
      'headers 1 grpc-status 12 end',
      'reset 1 0',
    ])
    expect(peer.send(headers(3, unknown))).toEqual([])
    peer.now += 1001
    expect(story(peer.wait(0))).toEqual(['headers 3 grpc-status 12 end', 'reset 3 0'])
    expect(story(peer.send(call(5, 'x')))).toEqual(answered(5, 1))
  })
  it('keeps nothing of a request that it refuses', () => {
    const peer = TestPeer.settled()
    peer.send(headers(1, without('content-type')), data(1, Buffer.alloc(16_000), 0))
    expect(peer.shared.held).toBe(0)
    expect(story(peer.send(data(1, Buffer.alloc(10)))).at(-1)).toMatch(/^data 1 \d+ end$/)
  })
  it('survives an end of batch that throws', () => {
    const peer = TestPeer.settled()
    Object.assign(peer.service, {
      endOfBatch: () => {
        throw new Error('a fault of the service')
      },
    })
    expect(story(peer.send(call(1, 'x')))).toEqual(answered(1, 1))
    expect(peer.faults).toHaveLength(1)
  })
  it('takes identity as no encoding', () => {
    expect(story(TestPeer.settled().send(call(1, 'x', withField('grpc-encoding', 'identity'))))).toEqual(answered(1, 1))
  })
  it('tells people who come by browser what this is', () => {
    for (const fields of [instead(':method', 'GET'), instead('content-type', 'text/html'), without('content-type')]) {
      const said = TestPeer.settled().send(headers(1, fields, FLAG_END_HEADERS | FLAG_END_STREAM))
      expect(said[0]?.payload.toString('latin1')).toMatch(/415|405/)
      expect(said[1]?.payload.toString()).toMatch(/^This port speaks gRPC/)
      expect((said[1]?.flags ?? 0) & 1).toBe(1)
    }
  })
  it('survives a handler that throws or says nothing', () => {
    const peer = TestPeer.settled()
    expect(story(peer.send(call(1, 'throw')))).toEqual(refused(13))
    expect(peer.faults).toHaveLength(1)
    expect(story(peer.send(call(3, 'silent')))).toEqual(['headers 3 grpc-status 13 end'])
    expect(story(peer.send(call(5, 'x')))).toEqual(answered(5, 1))
  })
})

// The limits of security.md section 7, each just inside and just beyond. What a correct Envoy can cause for its clients never ends
// the connection: fifty innocent calls on it are answered. What no correct peer does ends it, and no other.
import { describe, expect, it } from 'vitest'
import {
  BACKLOG_MAX,
  CLOSED_MAX,
  CONTINUATIONS_MAX,
  HALF_OPEN_MS,
  HELD_MAX,
  MESSAGE_MAX,
  PREFACE_MS,
  RESET_PAUSE_MS,
  SETTINGS_ACK_MS,
  STREAMS_MAX,
  WAITING_MAX,
  WRITE_STALL_MS,
} from '../../../src/transport/h2/abuse.ts'
import {
  CANCEL,
  ENHANCE_YOUR_CALM,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  HEADERS,
  PREFACE,
  PRIORITY,
  REFUSED_STREAM,
  SETTINGS_TIMEOUT,
} from '../../../src/transport/h2/frames.ts'
import { HEADER_BLOCK_MAX } from '../../../src/transport/h2/hpack.ts'
import {
  answered,
  block,
  call,
  callFields,
  continuation,
  data,
  frame,
  headers,
  integer,
  message,
  ping,
  reset,
  setting,
  settings,
  story,
  TestPeer,
  uint32,
  windowUpdate,
} from './peer.ts'

const calm = `${ENHANCE_YOUR_CALM}`

/** Fifty calls on fresh streams, all answered. */
function expectInnocent(peer: TestPeer, from: number): void {
  for (let stream = from; stream < from + 100; stream += 2) {
    expect(story(peer.send(call(stream, 'x'))).filter(line => !line.startsWith('window'))).toEqual(answered(stream, 1))
  }
}

describe('what clients of an Envoy can cause', () => {
  it('resets of streams that are answered, half-open or waiting cost nobody else a call', () => {
    const peer = TestPeer.settled(setting(4, 10))
    for (let stream = 1; stream < 3001; stream += 6) {
      peer.send(
        call(stream, 'x'.repeat(100)),
        reset(stream),
        headers(stream + 2),
        reset(stream + 2),
        call(stream + 4, 'x'),
        reset(stream + 4),
      )
    }
    expect(peer.connection.openStreams).toBe(0)
    expectInnocent(peer, 5001)
  })

  it('resets beyond the allowance slow reading down and close nothing', () => {
    const peer = TestPeer.settled()
    peer.send(call(1, 'x'))
    for (let i = 0; i < 20_000; i++) peer.send(reset(1))
    expect(peer.connection.pausedUntil).toBe(0)
    peer.send(reset(1))
    expect(peer.connection.pausedUntil).toBe(peer.now + RESET_PAUSE_MS)
    expect(peer.shared.limits.resets).toBe(1)
    expectInnocent(peer, 3)
  })

  it(`${STREAMS_MAX} streams may be open, the next is refused`, () => {
    const peer = TestPeer.settled()
    for (let i = 0; i < STREAMS_MAX; i++) expect(peer.send(headers(1 + 2 * i))).toEqual([])
    const next = 1 + 2 * STREAMS_MAX
    expect(story(peer.send(headers(next)))).toEqual([`reset ${next} ${REFUSED_STREAM}`])
    expect(story(peer.send(data(1, message('x'))))).toEqual(answered(1, 1))
    expectInnocent(peer, next + 2)
  })

  it('a request that does not end is dropped after a second, the others are not', () => {
    const peer = TestPeer.settled()
    peer.send(headers(1), data(1, message('abc').subarray(0, 6), 0))
    peer.now += HALF_OPEN_MS - 1
    peer.send(headers(3))
    expect(peer.wait(1)).toEqual([])
    expect(story(peer.wait(1))).toEqual([`reset 1 ${CANCEL}`])
    expect(peer.shared.held).toBe(0)
    expect(story(peer.send(data(1, Buffer.alloc(5), 0), data(3, message('x'))))).toEqual(answered(3, 1))
    expectInnocent(peer, 5)
  })

  it('a message beyond the limit is refused at its fifth octet, one at the limit is taken', () => {
    const peer = TestPeer.settled()
    const prefix = (length: number) => Buffer.concat([Buffer.from([0]), uint32(length)])
    expect(story(peer.send(headers(1), data(1, prefix(MESSAGE_MAX + 1).subarray(0, 4), 0)))).toEqual([])
    expect(story(peer.send(data(1, prefix(MESSAGE_MAX + 1).subarray(4), 0)))).toEqual([
      'headers 1 grpc-status 8 end',
      'reset 1 0',
    ])
    const whole = message(Buffer.alloc(MESSAGE_MAX))
    const parts = Array.from({ length: Math.ceil(whole.length / 16_384) }, (_, i) =>
      whole.subarray(i * 16_384, (i + 1) * 16_384),
    )
    peer.send(windowUpdate(0, 1_000_000), settings(setting(4, 1_000_000)), headers(3))
    const said = parts.flatMap((part, i) => peer.send(data(3, part, i === parts.length - 1 ? FLAG_END_STREAM : 0)))
    expect(story(said).at(-1)).toBe('headers 3 grpc-status 0 end')
    expectInnocent(peer, 5)
  })

  it('a header list beyond the limit is refused, one at the limit is taken', () => {
    const size = (fields: readonly (readonly [string, string])[]) =>
      fields.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0)
    const room = 16_384 - size(callFields) - 33
    const peer = TestPeer.settled()
    const fitting = [...callFields, ['x', 'y'.repeat(room)]] as const
    const send = (stream: number, fields: readonly (readonly [string, string])[]) => {
      const octets = block(fields)
      return story(
        peer.send(
          frame(HEADERS, 0, stream, octets.subarray(0, 16_000)),
          continuation(stream, octets.subarray(16_000), FLAG_END_HEADERS),
          data(stream, message('x')),
        ),
      )
    }
    expect(send(1, fitting)).toEqual(answered(1, 1))
    expect(send(3, [...callFields, ['x', 'y'.repeat(room + 1)]])).toEqual([`reset 3 ${calm}`])
    const many = (count: number) => [
      ...callFields,
      ...Array.from({ length: count - callFields.length }, (_, i) => [`x${i}`, ''] as const),
    ]
    expect(story(peer.send(call(5, 'x', many(128))))).toEqual(answered(5, 1))
    expect(story(peer.send(headers(7, many(129))))).toEqual([`reset 7 ${calm}`])
    expectInnocent(peer, 9)
  })

  it('a header list as large as an Envoy takes from a client, handed on by its tracing', () => {
    const peer = TestPeer.settled()
    const octets = block([...callFields, ['tracestate', '\u{7f}'.repeat(60 * 1024)]])
    const pieces = Array.from({ length: Math.ceil(octets.length / 16_384) }, (_, i) =>
      octets.subarray(i * 16_384, (i + 1) * 16_384),
    )
    const said = pieces.flatMap((piece, i) => {
      const flags = i === pieces.length - 1 ? FLAG_END_HEADERS : 0
      return peer.send(i === 0 ? frame(HEADERS, flags, 1, piece) : continuation(1, piece, flags))
    })
    expect(story(said)).toEqual([`reset 1 ${calm}`])
    expectInnocent(peer, 3)
  })

  it('frames that were on their way to a stream that we closed are passed over', () => {
    const peer = TestPeer.settled()
    const bad = [...callFields, ['connection', 'x']] as const
    for (let i = 0; i < CLOSED_MAX; i++) peer.send(headers(1 + 2 * i, bad))
    expect(peer.send(data(1, message('x')), windowUpdate(1, 1))).toEqual([])
    expectInnocent(peer, 3 + 2 * CLOSED_MAX)
  })

  it('a PING with every call is a client that measures its link', () => {
    const peer = TestPeer.settled()
    for (let stream = 1; stream < 2001; stream += 2) {
      expect(story(peer.send(call(stream, 'x'), ping())).at(-1)).toBe('ping ack')
    }
  })

  it('a megabyte of replies may wait for window; then calls are refused before they are decided, until it opens', () => {
    const peer = TestPeer.settled(setting(4, 0))
    const text = 'x'.repeat(10_000)
    let stream = 1
    let refused = 0
    for (; refused === 0 && stream < 1000; stream += 2) {
      const said = story(peer.send(call(stream, text)))
      if (said[0] === `reset ${stream} ${REFUSED_STREAM}`) refused = stream
      else expect(said).toEqual([`headers ${stream}`])
    }
    expect(refused).toBe(2 * Math.ceil(BACKLOG_MAX / 10_005) + 1)
    expect(peer.service.calls).toBe((refused - 1) / 2)
    expect(peer.connection.isClosing).toBe(false)
    const freed = story(peer.send(windowUpdate(0, 2 ** 30), settings(setting(4, 65_535))))
    expect(freed.filter(line => line.endsWith('end'))).toHaveLength((refused - 1) / 2)
    expectInnocent(peer, stream)
  })

  it('requests that were open before may still be answered, up to a bound', () => {
    const peer = TestPeer.settled(setting(4, 0))
    const half = message('x'.repeat(10_000))
    for (let stream = 1; stream < 2001; stream += 2) peer.send(headers(stream), data(stream, half.subarray(0, 5), 0))
    const said: string[] = []
    for (let stream = 1; stream < 2001; stream += 2) said.push(...story(peer.send(data(stream, half.subarray(5)))))
    const waiting = said.filter(line => line.startsWith('headers')).length
    expect(waiting).toBe(Math.floor(WAITING_MAX / 10_005))
    expect(peer.shared.held).toBe(0) // a reply that waits is no reason to hold the request
    expect(said.filter(line => line.startsWith('reset') && line.endsWith(` ${calm}`))).toHaveLength(1000 - waiting)
    expect(peer.connection.isClosing).toBe(false)
    peer.send(windowUpdate(0, 2 ** 30), settings(setting(4, 65_535)))
    expectInnocent(peer, 2001)
  })

  it('a reply that waits for window and gets none is dropped in the end, one that gets some is not', () => {
    const peer = TestPeer.settled(setting(4, 10))
    peer.send(call(1, 'x'.repeat(100)), call(3, 'x'.repeat(100)))
    peer.wait(WRITE_STALL_MS - 1)
    expect(story(peer.send(windowUpdate(3, 10)))).toEqual(['data 3 10'])
    expect(story(peer.wait(2))).toEqual([`reset 1 ${CANCEL}`])
    expect(story(peer.wait(WRITE_STALL_MS - 3))).toEqual([])
    expect(story(peer.wait(2))).toEqual([`reset 3 ${CANCEL}`])
    expect(peer.connection.openStreams).toBe(0)
  })

  it('a connection at its end does not wait for one who never opens a window', () => {
    const peer = TestPeer.settled(setting(4, 10))
    peer.send(call(1, 'x'.repeat(100)))
    peer.connection.announceEnd()
    peer.connection.settleEnd()
    expect(peer.connection.isClosing).toBe(false)
    peer.wait(WRITE_STALL_MS + 1)
    expect(peer.connection.isClosing).toBe(true)
  })

  it('incomplete requests of all connections hold so much and no more', () => {
    const peer = TestPeer.settled()
    peer.shared.held = HELD_MAX - 3
    const part = message('x'.repeat(100)).subarray(0, 3)
    expect(story(peer.send(headers(1), data(1, part, 0)))).toEqual([])
    expect(story(peer.send(headers(3), data(3, part, 0)))).toEqual([`reset 3 ${REFUSED_STREAM}`])
    expect(peer.shared.held).toBe(HELD_MAX)
    expect(story(peer.send(call(5, 'x')))).toEqual(answered(5, 1))
    peer.send(reset(1))
    expect(peer.shared.held).toBe(HELD_MAX - 3)
  })

  it('trailers of a stream that we reset a while ago are passed over, however many ended since', () => {
    const peer = TestPeer.settled()
    peer.send(headers(1, [...callFields, ['connection', 'x']]))
    for (let i = 1; i <= 2 * CLOSED_MAX; i++) peer.send(call(1 + 2 * i, 'x'))
    expect(story(peer.send(headers(1, [['x', 'y']], FLAG_END_HEADERS | FLAG_END_STREAM)))).toEqual([])
  })
})

describe('what no correct peer does', () => {
  const floods: [string, number, () => Buffer][] = [
    ['PING', 64, () => ping()],
    ['SETTINGS', 31, () => settings()], // one came with the preface
    ['PRIORITY', 19_999, () => frame(PRIORITY, 0, 1, Buffer.concat([uint32(0), Buffer.from([1])]))],
    ['unknown frames', 19_999, () => frame(0xfa, 0, 1)],
    ['WINDOW_UPDATE', 19_999, () => windowUpdate(0, 1)],
    ['acknowledgements', 19_999, () => frame(4, 1, 0)],
  ]
  it.each(floods)('a flood of %s ends the connection, and no other', (_, allowed, make) => {
    const peer = TestPeer.settled()
    const other = new TestPeer(peer.shared)
    other.send(PREFACE, settings())
    for (let i = 0; i < allowed; i++) peer.send(make())
    expect(peer.connection.isClosing).toBe(false)
    expect(story(peer.send(make())).at(-1)).toBe(`goaway 0 ${calm}`)
    expect(peer.connection.isClosing).toBe(true)
    expect(story(other.send(call(1, 'x')))).toEqual(answered(1, 1))
  })

  it('a flood of DATA for streams that ended long ago ends the connection', () => {
    const peer = TestPeer.settled()
    for (let i = 0; i < 2 * CLOSED_MAX; i++) peer.send(call(1 + 2 * i, 'x'))
    let sent = 0
    for (; sent < 100_000 && !peer.connection.isClosing; sent++) peer.send(data(1 + 2 * (sent % 1000), Buffer.alloc(0)))
    expect(sent).toBe(20_001)
  })

  it('a flood of empty DATA ends the connection', () => {
    const peer = TestPeer.settled()
    peer.send(headers(1))
    for (let i = 0; i < 19_999; i++) peer.send(data(1, Buffer.alloc(0), 0))
    expect(peer.connection.isClosing).toBe(false)
    expect(story(peer.send(data(1, Buffer.alloc(0), 0)))).toEqual([`goaway 1 ${calm}`])
  })

  it('allowances come back with time', () => {
    const peer = TestPeer.settled()
    for (let second = 0; second < 100; second++) {
      for (let i = 0; i < 8; i++) peer.send(ping())
      peer.wait(1000)
    }
    expect(peer.connection.isClosing).toBe(false)
  })

  it('a header block of too many pieces, or too many octets', () => {
    const peer = TestPeer.settled()
    peer.send(frame(HEADERS, 0, 1))
    for (let i = 0; i < CONTINUATIONS_MAX; i++) expect(peer.send(continuation(1, Buffer.alloc(0)))).toEqual([])
    expect(story(peer.send(continuation(1, Buffer.alloc(0))))).toEqual([`goaway 0 ${calm}`])
    const other = TestPeer.settled()
    other.send(frame(HEADERS, 0, 1, Buffer.alloc(16_384)))
    for (let i = 1; i < HEADER_BLOCK_MAX / 16_384; i++)
      expect(other.send(continuation(1, Buffer.alloc(16_384)))).toEqual([])
    expect(story(other.send(continuation(1, Buffer.alloc(1))))).toEqual([`goaway 0 ${calm}`])
  })

  it('a header block that takes its time', () => {
    const peer = TestPeer.settled()
    peer.send(frame(HEADERS, 0, 1))
    expect(peer.wait(HALF_OPEN_MS)).toEqual([])
    expect(story(peer.wait(1))).toEqual([`goaway 0 ${calm}`])
  })

  it('a few octets that stand for megabytes of header fields', () => {
    const peer = TestPeer.settled()
    const bomb = Buffer.concat([
      block(callFields),
      Buffer.concat([Buffer.from([0x40, 1]), Buffer.from('x'), integer(7, 0, 4000), Buffer.alloc(4000, 'y')]),
      Buffer.alloc(100, 0x80 | 62),
    ])
    expect(story(peer.send(frame(HEADERS, FLAG_END_HEADERS, 1, bomb)))).toEqual([`goaway 0 ${calm}`])
  })

  it('no preface, no SETTINGS, no acknowledgement', () => {
    const silent = new TestPeer()
    expect(silent.wait(PREFACE_MS)).toEqual([])
    expect(story(silent.wait(1))).toEqual([`goaway 0 ${calm}`])
    const deaf = new TestPeer()
    deaf.send(PREFACE, settings())
    expect(deaf.wait(SETTINGS_ACK_MS)).toEqual([])
    expect(story(deaf.wait(1))).toEqual([`goaway 0 ${SETTINGS_TIMEOUT}`])
  })

  it('too many parameters of one SETTINGS', () => {
    const list = (count: number) => settings(...Array.from({ length: count }, () => setting(1, 0)))
    expect(story(TestPeer.settled().send(list(32)))).toEqual(['settings ack'])
    expect(story(TestPeer.settled().send(list(33)))).toEqual([`goaway 0 ${calm}`])
  })
})

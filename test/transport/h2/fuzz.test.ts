// Whatever octets come, in whatever pieces: nothing throws, what is said is whole frames, memory stays within its bounds, and the
// pieces do not matter.
import { describe, expect, it } from 'vitest'
import { STREAMS_MAX } from '../../../src/transport/h2/abuse.ts'
import { Connection, createShared } from '../../../src/transport/h2/connection.ts'
import { PREFACE, WINDOW_UPDATE } from '../../../src/transport/h2/frames.ts'
import { below, randomFor, seed, times } from '../../fuzz/tally.ts'
import { pick, type Random } from '../../oracle/random-worlds.ts'
import {
  block,
  call,
  callFields,
  continuation,
  data,
  echo,
  type Frame,
  frame,
  framesIn,
  headers,
  message,
  ping,
  reset,
  setting,
  settings,
  settingsAck,
  windowUpdate,
} from './peer.ts'

const limitMs = 240_000

function octetsOf(random: Random, lengthMax: number): Buffer {
  return Buffer.from(Array.from({ length: below(random, lengthMax) }, () => below(random, 256)))
}

const whole = block(callFields)
const id = (random: Random) => pick(random, [1, 1, 3, 3, 5, 7, 9, 0, 2, 1000, 2 ** 31 - 1])

/** One frame: mostly sound, often out of place, sometimes anything. */
function anyFrame(random: Random): Buffer {
  const stream = id(random)
  switch (below(random, 16)) {
    case 0:
    case 1:
      return call(stream, pick(random, ['x', 'fail', 'throw', 'silent', 'wanted', '']))
    case 2:
      return headers(stream)
    case 3:
      return headers(stream, [
        ...callFields,
        [pick(random, ['x', 'x-wanted', 'Bad', ':odd', 'content-length']), pick(random, ['1', '6', 'é', ''])],
      ])
    case 4:
      return frame(1, below(random, 64), stream, random() < 0.5 ? octetsOf(random, 40) : whole)
    case 5:
      return data(stream, message('abc'), below(random, 2))
    case 6:
      return data(stream, message('abcdef').subarray(0, below(random, 12)), below(random, 16))
    case 7:
      return continuation(stream, whole.subarray(below(random, 20)), below(random, 8))
    case 8:
      return reset(stream, below(random, 16))
    case 9:
      return windowUpdate(stream, pick(random, [0, 1, 100, 2 ** 31 - 1]))
    case 10:
      return settings(setting(below(random, 8), pick(random, [0, 1, 2, 10, 16_384, 65_535, 2 ** 31 - 1, 2 ** 31])))
    case 11:
      return ping(below(random, 2))
    case 12:
      return frame(7, 0, 0, octetsOf(random, 20))
    case 13:
      return frame(2, 0, stream, octetsOf(random, 8))
    case 14:
      return frame(below(random, 12), below(random, 256), stream, octetsOf(random, 30))
    default:
      return octetsOf(random, 30)
  }
}

function anyScript(random: Random): Buffer {
  const begin =
    random() < 0.98 ? [PREFACE, settings(...(random() < 0.3 ? [setting(4, below(random, 50))] : [])), settingsAck] : []
  const script = Buffer.concat([...begin, ...Array.from({ length: 1 + below(random, 6) }, () => anyFrame(random))])
  if (script.length > 0 && random() < 0.3) {
    for (let i = below(random, 4); i >= 0; i--) script[below(random, script.length)] = below(random, 256)
  }
  return script
}

describe('the connection', () => {
  const shared = createShared([echo()], () => undefined)
  let split = false

  /** What is said to a script, cut at random or not at all. */
  function run(script: Buffer, random: Random): Frame[] {
    const connection = new Connection(shared, 0)
    if (!split) connection.receive(script, 0)
    else {
      for (let at = 0; at < script.length && !connection.isClosing; ) {
        const end = Math.min(script.length, at + 1 + below(random, pick(random, [1, 3, 20, 200])))
        connection.receive(script.subarray(at, end), 0)
        at = end
      }
    }
    const said = framesIn(connection.output.taken())
    if (connection.openStreams > STREAMS_MAX) throw new Error('too many streams')
    connection.tick(500)
    connection.tick(20_000)
    framesIn(connection.output.taken())
    connection.close()
    return said
  }

  it('survives a million scripts, and gives back all that they held', { timeout: limitMs }, () => {
    const random = randomFor('h2 scripts')
    const count = times(1_000_000)
    let answered = 0
    for (let i = 0; i < count; i++) {
      const script = anyScript(random)
      try {
        if (run(script, random).some(({ type, flags }) => type === 1 && (flags & 1) !== 0)) answered++
      } catch (error) {
        throw new Error(`seed ${seed}, script ${script.toString('hex')}`, { cause: error })
      }
    }
    process.stdout.write(`h2 scripts: ${count}, with an answer ${answered} (seed ${seed})\n`)
    expect(shared.held).toBe(0)
    expect(answered).toBeGreaterThan(count / 20)
  })

  it('says the same however the octets are cut', { timeout: limitMs }, () => {
    const random = randomFor('h2 splits')
    const count = times(50_000)
    const told = (said: readonly Frame[]) =>
      said
        .filter(({ type, stream }) => type !== WINDOW_UPDATE || stream !== 0)
        .map(({ type, flags, stream, payload }) => `${type} ${flags} ${stream} ${payload.toString('hex')}`)
    for (let i = 0; i < count; i++) {
      const script = anyScript(random)
      split = false
      const atOnce = told(run(script, random))
      split = true
      const pieces = told(run(script, random))
      if (atOnce.join('\n') !== pieces.join('\n'))
        expect(pieces, `seed ${seed}, script ${script.toString('hex')}`).toEqual(atOnce)
    }
    process.stdout.write(`h2 scripts cut at random: ${count} (seed ${seed})\n`)
  })
})

// When a stream ends: a moment behind a message once it is old, sooner at a drain, later when nothing comes.
import { describe, expect, it } from 'vitest'
import { busyMs, idleMs, quietMs, StreamAge } from '../../src/usage/stream-age.ts'
import { VirtualTime } from '../feed/support/virtual-time.ts'

const oldMs = 300_000

/** A stream on which a message comes whenever `send` is called, read as the service reads it. */
function stand() {
  const time = new VirtualTime()
  const age = new StreamAge(time, oldMs)
  let send: () => void = () => undefined
  let read = 0
  const stand = { time, age, endedAt: Number.NaN, read: () => read, send: () => send() }
  const run = async () => {
    for (;;) {
      const next = new Promise<void>(resolve => {
        send = resolve
      })
      if (await age.endsBefore(next)) break
      read += 1
      if (age.isOver) break
    }
    stand.endedAt = time.now()
    age.close()
  }
  void run()
  return stand
}

describe('a stream', () => {
  it('lives until it is old, however quiet it is', async () => {
    const stream = stand()
    await stream.time.advance(oldMs - 1)
    stream.send()
    await stream.time.advance(quietMs / 2)
    expect(stream.endedAt).toBeNaN()
  })

  it('that is old ends a moment behind the next message, not before it', async () => {
    const stream = stand()
    await stream.time.advance(oldMs + 200)
    expect(stream.endedAt).toBeNaN()
    stream.send()
    await stream.time.advance(quietMs + 5)
    expect(stream.endedAt).toBe(oldMs + 200 + quietMs + 1)
  })

  it('that is old and sends again within the moment is read on', async () => {
    const stream = stand()
    await stream.time.advance(oldMs + 1)
    for (let message = 0; message < 50; message++) {
      stream.send()
      await stream.time.advance(quietMs - 1)
    }
    expect([stream.endedAt, stream.read()]).toEqual([Number.NaN, 50])
    await stream.time.advance(quietMs)
    expect(stream.endedAt).toBeLessThan(oldMs + 1 + 51 * quietMs)
  })

  it('that is never quiet ends behind a message all the same', async () => {
    const stream = stand()
    for (let ms = 0; ms < oldMs + busyMs + 100 && Number.isNaN(stream.endedAt); ms += 10) {
      stream.send()
      await stream.time.advance(10)
    }
    expect(stream.endedAt).toBeGreaterThanOrEqual(oldMs + busyMs)
    expect(stream.endedAt).toBeLessThan(oldMs + busyMs + 20)
  })

  it('that is silent ends later', async () => {
    const stream = stand()
    await stream.time.advance(oldMs + idleMs - 1)
    expect(stream.endedAt).toBeNaN()
    await stream.time.advance(10)
    expect(stream.endedAt).toBe(oldMs + idleMs + 1)
  })

  it('ends at a drain without waiting for a message', async () => {
    for (const at of [0, 1000, oldMs + 100]) {
      const stream = stand()
      await stream.time.advance(at)
      stream.age.end()
      await stream.time.advance(quietMs + 5)
      expect(stream.endedAt).toBe(at + quietMs + 1)
    }
  })

  it('leaves no timer behind', async () => {
    const stream = stand()
    stream.age.end()
    await stream.time.advance(100)
    let ran = 0
    stream.time.afterEvent = () => {
      ran += 1
    }
    await stream.time.advance(1)
    const calm = ran
    await stream.time.advance(1)
    expect(ran - calm).toBe(calm)
  })
})

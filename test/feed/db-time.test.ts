// Database time: which samples it believes, and how wrong it can be.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { microsFromUnixMs } from '../../src/core/time.ts'
import {
  EXPIRY_ERROR_MS,
  OFFSET_REFUSE_MS,
  OFFSET_WINDOW_MS,
  READ_TIMEOUT_MS,
  SUSPEND_JUMP_MS,
} from '../../src/feed/constants.ts'
import { DbTime } from '../../src/feed/db-time.ts'

const UNIX_MS = 1_767_225_600_000

/** A sample at monotonic `sent` whose true offset is UNIX_MS + `shift`; the server read its clock at share `at` of the trip. */
function learn(time: DbTime, sent: number, rtt: number, shift = 0, at = 0.5) {
  return time.learn(UNIX_MS + shift + sent + rtt * at, sent, sent + rtt)
}

/** Error at monotonic `mono`, milliseconds. */
function errorMs(time: DbTime, mono: number, shift = 0): number {
  return (time.now(mono) - microsFromUnixMs(UNIX_MS + shift + mono)) / 1_000
}

describe('database time', () => {
  it('is past every end before anything was learned', () => {
    const time = new DbTime()
    expect(time.usable()).toBe(false)
    expect(time.now(0)).toBe(Number.POSITIVE_INFINITY)
  })

  it('takes the middle of the round trip', () => {
    const time = new DbTime()
    expect(learn(time, 1_000, 40)).toBe('learned')
    expect(errorMs(time, 5_000)).toBeCloseTo(0, 2)
  })

  it('keeps the sample of the least round trip for five minutes', () => {
    const time = new DbTime()
    learn(time, 0, 2, 0, 0.5)
    learn(time, 1_000, 150, 0, 1)
    expect(errorMs(time, 1_200)).toBeCloseTo(0, 2)
    learn(time, OFFSET_WINDOW_MS + 1_200, 100, 0, 1)
    expect(errorMs(time, OFFSET_WINDOW_MS + 1_400)).toBeCloseTo(50, 2)
  })

  it('is never learned from a 900 ms round trip while there is a better one', () => {
    const time = new DbTime()
    learn(time, 0, 5)
    expect(learn(time, 1_000, 900, 0, 1)).toBe('ignored')
    expect(errorMs(time, 2_000)).toBeCloseTo(0, 2)
    // Nor after everything better has grown old.
    expect(learn(time, 2 * OFFSET_WINDOW_MS, 900, 0, 1)).toBe('ignored')
  })

  it('stands on a slow round trip only until the first good one, within the published error', () => {
    const time = new DbTime()
    learn(time, 0, 900, 0, 1)
    expect(time.usable()).toBe(true)
    expect(Math.abs(errorMs(time, 1_000))).toBeLessThanOrEqual(450)
    expect(learn(time, 1_000, 20)).toBe('learned')
    expect(errorMs(time, 2_000)).toBeCloseTo(0, 2)
  })

  it('follows a step above 1 s only after three samples that agree', () => {
    for (const step of [-300_000, -1_500, 1_500, SUSPEND_JUMP_MS]) {
      const time = new DbTime()
      learn(time, 0, 5)
      expect(learn(time, 1_000, 5, step)).toBe('doubted')
      expect(learn(time, 2_000, 5, step)).toBe('doubted')
      expect(errorMs(time, 2_100)).toBeCloseTo(0, 2)
      expect(learn(time, 3_000, 5, step)).toBe('stepped')
      expect(errorMs(time, 3_100, step)).toBeCloseTo(0, 2)
    }
  })

  it('starts counting again when the samples of a step do not agree', () => {
    const time = new DbTime()
    learn(time, 0, 5)
    learn(time, 1_000, 5, -20_000)
    learn(time, 2_000, 5, -60_000)
    expect(learn(time, 3_000, 5, -60_000)).toBe('doubted')
    expect(learn(time, 4_000, 5)).toBe('learned')
    expect(learn(time, 5_000, 5, -60_000)).toBe('doubted')
    expect(errorMs(time, 5_100)).toBeCloseTo(0, 2)
  })

  it('says once that it ran ahead of the own clocks, which a frozen hypervisor explains', () => {
    const time = new DbTime()
    learn(time, 0, 5)
    expect(learn(time, 1_000, 5, SUSPEND_JUMP_MS + 100)).toBe('ahead')
    expect(learn(time, 2_000, 5, SUSPEND_JUMP_MS + 100)).toBe('doubted')
    expect(learn(time, 3_000, 5, SUSPEND_JUMP_MS + 100)).toBe('stepped')
  })

  it('is unusable while it stands more than ten minutes off, and usable again when that is gone', () => {
    const time = new DbTime()
    learn(time, 0, 5)
    for (let i = 1; i < 10; i++) {
      expect(learn(time, i * 1_000, 5, -OFFSET_REFUSE_MS - 100)).toBe('refused')
      expect(learn(time, i * 1_000 + 500, 900)).toBe('ignored')
      expect(time.usable()).toBe(false)
    }
    expect(learn(time, 20_000, 5)).toBe('learned')
    expect(time.usable()).toBe(true)
    expect(errorMs(time, 20_100)).toBeCloseTo(0, 2)
  })

  it('believes the first sample of another server, up to ten minutes', () => {
    const time = new DbTime()
    learn(time, 0, 5)
    time.relearn()
    expect(learn(time, 1_000, 300, 90_000)).toBe('stepped')
    expect(learn(time, 2_000, 5, 90_000)).toBe('learned')
    expect(errorMs(time, 2_100, 90_000)).toBeCloseTo(0, 2)
    time.relearn()
    expect(learn(time, 3_000, 5, 2 * OFFSET_REFUSE_MS)).toBe('refused')
  })

  it('begins anew after a suspend, in which the monotonic clock stood still for any time', () => {
    const time = new DbTime()
    learn(time, 0, 5)
    time.forget()
    expect(time.usable()).toBe(false)
    expect(time.now(1_000)).toBe(Number.POSITIVE_INFINITY)
    expect(learn(time, 1_000, 5, 10 * OFFSET_REFUSE_MS)).toBe('learned')
    expect(errorMs(time, 2_000, 10 * OFFSET_REFUSE_MS)).toBeCloseTo(0, 2)
  })

  it('ignores what is no time', () => {
    const time = new DbTime()
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) expect(time.learn(bad, 0, 5)).toBe('ignored')
    expect(time.learn(UNIX_MS, 5, 0)).toBe('ignored')
    expect(time.learn(UNIX_MS, 0, READ_TIMEOUT_MS + 1)).toBe('ignored')
    expect(time.usable()).toBe(false)
  })

  it('is wrong by at most 1 s, whatever the round trips and wherever in them the server read its clock', () => {
    const trip = fc.record({
      rtt: fc.double({ min: 0, max: READ_TIMEOUT_MS, noNaN: true }),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
    })
    fc.assert(
      fc.property(fc.array(trip, { minLength: 1, maxLength: 40 }), trips => {
        const time = new DbTime()
        trips.forEach(({ rtt, at }, i) => {
          learn(time, i * 2_000, rtt, 0, at)
        })
        expect(Math.abs(errorMs(time, trips.length * 2_000))).toBeLessThanOrEqual(EXPIRY_ERROR_MS)
      }),
    )
  })
})

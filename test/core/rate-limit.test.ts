// The arithmetic of rate limits against an exact log of events, and the promises made to clients of the figures they are told.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { LimitAlgorithm, LimitSpec } from '../../src/core/limit-spec.ts'
import { createOutcome, decideLimit, retryAfterSeconds } from '../../src/core/rate-limit.ts'

const second = 1_000_000
const hour = 3600 * second
const t0 = 200_000_000 * second

function spec(algorithm: LimitAlgorithm, limit: number, windowMicros: number, burst = limit): LimitSpec {
  return { bucket: 0, algorithm, limit, windowMicros, burst }
}

/** A bucket that stores what it is told to, as the buckets of the process do. */
function bucket() {
  const states = new Float64Array(4)
  const out = createOutcome()
  return (limit: LimitSpec, now: number, cost = 1, shares = 1) => {
    decideLimit(limit, shares, states, 2, cost, now, out)
    states[2] = out.first
    states[3] = out.second
    expect([states[0], states[1]]).toEqual([0, 0])
    return { ...out }
  }
}

/** Every admitted request with its time; a window is found by walking through all of them. */
function windowLog() {
  const admitted: { at: bigint; cost: bigint }[] = []
  return (limit: LimitSpec, now: number, cost: number) => {
    const window = BigInt(limit.windowMicros)
    let start: bigint | null = null
    let used = 0n
    for (const event of admitted) {
      if (start === null || event.at >= start + window) {
        start = event.at
        used = 0n
      }
      used += event.cost
    }
    if (start === null || BigInt(now) >= start + window) {
      start = BigInt(now)
      used = 0n
    }
    const passes = used + BigInt(cost) <= BigInt(limit.limit)
    if (passes) admitted.push({ at: BigInt(now), cost: BigInt(cost) })
    const remaining = BigInt(limit.limit) - used - (passes ? BigInt(cost) : 0n)
    return { admitted: passes, remaining: Number(remaining < 0n ? 0n : remaining), resetAt: Number(start + window) }
  }
}

/** A jar of credit that refills with time: the same contract as gcra, told the other way round. */
function creditJar() {
  let credit: bigint | null = null
  let last = 0n
  return (limit: LimitSpec, now: number, cost: number) => {
    const interval = (BigInt(limit.windowMicros) + BigInt(limit.limit) - 1n) / BigInt(limit.limit)
    const full = BigInt(limit.burst) * interval
    credit = credit === null ? full : credit + BigInt(now) - last
    if (credit > full) credit = full
    last = BigInt(now)
    const passes = credit >= BigInt(cost) * interval
    if (passes) credit -= BigInt(cost) * interval
    return { admitted: passes, remaining: Number(credit / interval), resetAt: now + Number(full - credit) }
  }
}

const limits = fc.record({
  limit: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 1_000_000 })),
  window: fc.oneof(
    fc.integer({ min: 1, max: 90 }).map(n => n * second),
    fc.constantFrom(hour, 31 * 24 * hour),
  ),
  burst: fc.double({ min: 0, max: 1, noNaN: true }),
})

/** Steps in time: none, around the window and the interval to the microsecond, or any. */
function steps(window: number, limit: number) {
  const interval = Math.ceil(window / limit)
  const edges = [0, 1, interval - 1, interval, interval + 1, window - 1, window, window + 1, second]
  return fc.array(fc.tuple(fc.oneof(fc.constantFrom(...edges), fc.nat(2 * window)), fc.integer({ min: 1, max: 3 })), {
    maxLength: 60,
  })
}

const histories = limits.chain(({ limit, window, burst }) =>
  steps(window, limit).map(events => ({ limit, window, burst: Math.max(1, Math.round(burst * limit)), events })),
)

/** Small limits and many requests, so that most are denied. */
const busyHistories = fc
  .record({ limit: fc.integer({ min: 1, max: 8 }), window: fc.integer({ min: 1, max: 90 * second }), burst: fc.nat(8) })
  .chain(({ limit, window, burst }) =>
    fc
      .array(fc.nat(Math.ceil(window / limit)), { minLength: 100, maxLength: 100 })
      .map(gaps => ({ limit, window, burst: Math.max(1, Math.min(burst, limit)), gaps })),
  )

describe('against the exact log', () => {
  test.each([
    ['window_from_first_request', windowLog],
    ['gcra', creditJar],
  ] as const)('%s admits, counts and resets as the log says', (algorithm, log) => {
    fc.assert(
      fc.property(histories, ({ limit, window, burst, events }) => {
        const decide = bucket()
        const model = log()
        const rule = spec(algorithm, limit, window, burst)
        let now = t0
        for (const [step, cost] of events) {
          now += step
          const { admitted, remaining, resetAt } = decide(rule, now, cost)
          expect({ admitted, remaining, resetAt }).toEqual(model(rule, now, cost))
        }
      }),
      { numRuns: 3000 },
    )
  })

  test('window_from_first_request agrees with the log while limits change', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(40), fc.nat(5)), { maxLength: 60 }), events => {
        const decide = bucket()
        const model = windowLog()
        let now = t0
        for (const [step, limit] of events) {
          now += step * second
          const rule = spec('window_from_first_request', limit, 60 * second)
          const { admitted, remaining, resetAt } = decide(rule, now)
          expect({ admitted, remaining, resetAt }).toEqual(model(rule, now, 1))
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('what a client is told', () => {
  test('after waiting exactly as long as told a request passes; one second less, where that is a wait at all, it does not', () => {
    let denials = 0
    fc.assert(
      fc.property(
        busyHistories,
        fc.constantFrom<LimitAlgorithm>('window_from_first_request', 'gcra'),
        (history, algorithm) => {
          const states = new Float64Array(2)
          const out = createOutcome()
          const rule = spec(algorithm, history.limit, history.window, history.burst)
          let now = t0
          for (const gap of history.gaps) {
            now += gap
            decideLimit(rule, 1, states, 0, 1, now, out)
            states.set([out.first, out.second])
            if (out.admitted) continue
            denials++
            const told = { ...out }
            const wait = retryAfterSeconds(told.retryAfterMicros)
            decideLimit(rule, 1, states, 0, 1, now + wait * second, out)
            const later = out.admitted
            decideLimit(rule, 1, states, 0, 1, now + (wait - 1) * second, out)
            const isRight = told.remaining === 0 && later && !(wait > 1 && out.admitted)
            if (!isRight) throw new Error(`told ${JSON.stringify(told)} at ${now}, then ${later} and ${out.admitted}`)
          }
        },
      ),
      { numRuns: 4000 },
    )
    expect(denials).toBeGreaterThan(100_000)
  })

  test('gcra admits at most burst + floor(span / interval) in any span', () => {
    fc.assert(
      fc.property(histories, ({ limit, window, burst, events }) => {
        const decide = bucket()
        const interval = Math.ceil(window / limit)
        const admitted: number[] = []
        let now = t0
        for (const [step] of events) {
          now += step
          if (decide(spec('gcra', limit, window, burst), now).admitted) admitted.push(now)
        }
        for (const [i, from] of admitted.entries()) {
          for (const [j, to] of admitted.entries())
            if (j >= i) expect(j - i + 1).toBeLessThanOrEqual(burst + Math.floor((to - from) / interval))
        }
      }),
      { numRuns: 500 },
    )
  })

  test('the documented contract: 1000 in an hour, then 3600 seconds at most', () => {
    const decide = bucket()
    const rule = spec('window_from_first_request', 1000, hour)
    expect(decide(rule, t0)).toMatchObject({ admitted: true, remaining: 999, resetAt: t0 + hour })
    for (let i = 1; i < 1000; i++) decide(rule, t0)
    const denied = decide(rule, t0)
    expect(denied).toMatchObject({ admitted: false, remaining: 0, resetAt: t0 + hour })
    expect(retryAfterSeconds(denied.retryAfterMicros)).toBe(3600)
    expect(retryAfterSeconds(decide(rule, t0 + hour - 1).retryAfterMicros)).toBe(1)
    expect(decide(rule, t0 + hour)).toMatchObject({ admitted: true, remaining: 999, resetAt: t0 + 2 * hour })
  })

  test.each([
    [0, 1],
    [1, 1],
    [second, 1],
    [second + 1, 2],
    [hour, 3600],
  ])('a wait of %i µs is told as %i s', (micros, seconds) => {
    expect(retryAfterSeconds(micros)).toBe(seconds)
  })
})

describe('edges', () => {
  test('a burst at the edge of a window: twice the limit around it, and not one more', () => {
    const decide = bucket()
    const rule = spec('window_from_first_request', 5, 60 * second)
    let admitted = 0
    if (decide(rule, t0).admitted) admitted++
    for (let i = 0; i < 10; i++) if (decide(rule, t0 + 60 * second - 1).admitted) admitted++
    for (let i = 0; i < 10; i++) if (decide(rule, t0 + 60 * second).admitted) admitted++
    expect(admitted).toBe(10)
  })

  test('only a request that passes opens a window', () => {
    const decide = bucket()
    const none = spec('window_from_first_request', 0, 60 * second)
    expect(decide(none, t0).admitted).toBe(false)
    const one = spec('window_from_first_request', 1, 60 * second)
    expect(decide(one, t0 + 30 * second)).toMatchObject({ admitted: true, resetAt: t0 + 90 * second })
  })

  test.each(['window_from_first_request', 'gcra'] as const)(
    '%s: a limit of 0 denies always and says one window',
    algorithm => {
      const decide = bucket()
      const denied = { admitted: false, remaining: 0, retryAfterMicros: hour, resetAt: t0 + hour }
      expect(decide(spec(algorithm, 0, hour), t0)).toMatchObject(denied)
    },
  )

  test.each(['window_from_first_request', 'gcra'] as const)(
    '%s: a limit of 0 in between does not forget what was used',
    algorithm => {
      const decide = bucket()
      for (let i = 0; i < 6; i++) decide(spec(algorithm, 10, hour), t0)
      expect(decide(spec(algorithm, 0, hour), t0).admitted).toBe(false)
      expect(decide(spec(algorithm, 10, hour), t0)).toMatchObject({ admitted: true, remaining: 3 })
    },
  )

  test.each([
    ['window_from_first_request', 3],
    ['gcra', 3],
  ] as const)('%s: a cost above the limit is denied for a window', (algorithm, limit) => {
    const decide = bucket()
    expect(decide(spec(algorithm, limit, hour), t0, 4)).toMatchObject({
      admitted: false,
      retryAfterMicros: hour,
      remaining: 3,
    })
    expect(decide(spec(algorithm, limit, hour), t0)).toMatchObject({ admitted: true, remaining: 2 })
    expect(decide(spec(algorithm, limit, hour), t0 + second, 4)).toMatchObject({
      admitted: false,
      retryAfterMicros: hour,
    })
  })

  test.each(['window_from_first_request', 'gcra'] as const)(
    '%s: a limit lowered below what is used denies at once',
    algorithm => {
      const decide = bucket()
      for (let i = 0; i < 8; i++) decide(spec(algorithm, 10, hour), t0)
      expect(decide(spec(algorithm, 5, hour), t0)).toMatchObject({ admitted: false, remaining: 0 })
    },
  )

  test.each(['window_from_first_request', 'gcra'] as const)(
    '%s: a limit raised while denied gives the difference at once',
    algorithm => {
      const decide = bucket()
      for (let i = 0; i < 10; i++) expect(decide(spec(algorithm, 10, hour), t0).admitted).toBe(true)
      expect(decide(spec(algorithm, 10, hour), t0).admitted).toBe(false)
      for (let i = 0; i < 5; i++) {
        const passed = decide(spec(algorithm, 15, hour), t0)
        expect(passed).toMatchObject({ admitted: true, remaining: 4 - i })
      }
      expect(decide(spec(algorithm, 15, hour), t0).admitted).toBe(false)
    },
  )

  test('gcra: the wait told after a change of limit is right, either way', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 50 }),
        fc.nat(60),
        fc.nat(50),
        (a, b, gap, used) => {
          const decide = bucket()
          for (let i = 0; i < Math.min(a, used); i++) decide(spec('gcra', a, 60 * second), t0)
          const denied = decide(spec('gcra', b, 60 * second, 1), t0 + gap * second)
          if (denied.admitted) return
          const at = t0 + gap * second + retryAfterSeconds(denied.retryAfterMicros) * second
          expect(decide(spec('gcra', b, 60 * second, 1), at).admitted).toBe(true)
        },
      ),
      { numRuns: 2000 },
    )
  })

  test('a state of the other algorithm counts as nothing counted', () => {
    const decide = bucket()
    for (let i = 0; i < 3; i++) decide(spec('gcra', 3, hour), t0)
    for (let i = 0; i < 3; i++) expect(decide(spec('window_from_first_request', 3, hour), t0).admitted).toBe(true)
    expect(decide(spec('window_from_first_request', 3, hour), t0).admitted).toBe(false)
    for (let i = 0; i < 3; i++) expect(decide(spec('gcra', 3, hour), t0).admitted).toBe(true)
  })

  test.each([
    [10, 3, 4],
    [10, 10, 1],
    [1, 8, 1],
    [1000, 7, 143],
  ])('a limit of %i shared by %i processes admits %i in each', (limit, shares, each) => {
    for (const algorithm of ['window_from_first_request', 'gcra'] as const) {
      const decide = bucket()
      let admitted = 0
      for (let i = 0; i < limit; i++) if (decide(spec(algorithm, limit, hour), t0, 1, shares).admitted) admitted++
      expect(admitted).toBe(each)
    }
  })
})

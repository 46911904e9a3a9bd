// The buckets of rate limits: all or nothing, one budget for a lineage whatever happens to its rows, bounded memory.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ChargeResult } from '../../src/core/key-lookup.ts'
import type { LimitAlgorithm, LimitSpec } from '../../src/core/limit-spec.ts'
import { LimitBuckets } from '../../src/keys/limit-buckets.ts'

const second = 1_000_000
const minute = 60 * second
const hour = 60 * minute
const t0 = 200_000_000 * second

/** Slot n belongs to lineage n >>> 1, profile n & 1: rotation gives a key another slot of the same lineage. */
const keys = {
  lineageWord: (slot: number, i: number) => (i === 3 ? slot >>> 1 : 7),
  profile: (slot: number) => slot & 1,
}

function limit(
  count: number,
  windowMicros = hour,
  bucket = 0,
  algorithm: LimitAlgorithm = 'window_from_first_request',
) {
  return { bucket, algorithm, limit: count, windowMicros, burst: count } satisfies LimitSpec
}

function charger(capacity?: number) {
  const buckets = new LimitBuckets(keys, capacity)
  const out: ChargeResult = { admitted: false, limit: 0, remaining: 0, resetAt: 0, retryAfterMicros: 0 }
  const charge = (slot: number, own: LimitSpec | null, route: readonly LimitSpec[] = [], now = t0) => {
    buckets.charge(slot, own, route, now, out)
    return { ...out }
  }
  return { buckets, charge, out }
}

describe('one request', () => {
  test('without any limit is admitted, without figures', () => {
    const { buckets, charge } = charger()
    expect(charge(0, null)).toEqual({ admitted: true, limit: -1, remaining: -1, resetAt: 0, retryAfterMicros: 0 })
    expect(buckets.size).toBe(0)
  })

  test('under its own limit is told that limit', () => {
    const { charge } = charger()
    expect(charge(0, limit(3))).toEqual({
      admitted: true,
      limit: 3,
      remaining: 2,
      resetAt: t0 + hour,
      retryAfterMicros: 0,
    })
  })

  test('under a route limit only has no figures of its own, and is told the route limit when refused', () => {
    const { charge } = charger()
    expect(charge(0, null, [limit(1, minute, 1)]).limit).toBe(-1)
    expect(charge(0, null, [limit(1, minute, 1)])).toEqual({
      admitted: false,
      limit: 1,
      remaining: 0,
      resetAt: t0 + minute,
      retryAfterMicros: minute,
    })
  })

  test('two limits, the second refuses, the first is not debited', () => {
    const { charge } = charger()
    const route = [limit(1, minute, 1)]
    expect(charge(0, limit(10), route)).toMatchObject({ admitted: true, remaining: 9, limit: 10 })
    for (let i = 0; i < 5; i++) expect(charge(0, limit(10), route)).toMatchObject({ admitted: false, limit: 1 })
    expect(charge(0, limit(10))).toMatchObject({ admitted: true, remaining: 8 })
  })

  test('the first of two limits refuses, the second is not debited', () => {
    const { charge } = charger()
    charge(0, limit(1))
    for (let i = 0; i < 5; i++) charge(0, limit(1), [limit(2, hour, 1)])
    expect(charge(0, null, [limit(2, hour, 1)]).admitted).toBe(true)
    expect(charge(0, null, [limit(2, hour, 1)]).admitted).toBe(true)
  })

  test('of several limits that refuse, the longest wait is told', () => {
    const { charge } = charger()
    const routes = [limit(1, minute, 1), limit(1, 2 * hour, 2), limit(1, 90 * second, 3)]
    charge(0, limit(1), routes)
    expect(charge(0, limit(1), routes)).toMatchObject({ admitted: false, retryAfterMicros: 2 * hour, limit: 1 })
  })

  test('peek tells what charge would, and consumes nothing', () => {
    const { buckets, charge, out } = charger()
    for (let i = 0; i < 5; i++) {
      buckets.peek(0, limit(1), [], t0, out)
      expect(out).toMatchObject({ admitted: true, remaining: 0 })
    }
    expect(buckets.size).toBe(0)
    charge(0, limit(1))
    buckets.peek(0, limit(1), [], t0, out)
    expect(out.admitted).toBe(false)
  })
})

describe('a budget', () => {
  test('belongs to the lineage: rotation keeps it, a reload keeps it', () => {
    const { charge } = charger()
    charge(4, limit(3))
    expect(charge(5, limit(3))).toMatchObject({ remaining: 1 })
    expect(charge(6, limit(3))).toMatchObject({ remaining: 2 })
  })

  test('survives a lowered and a raised limit', () => {
    const { charge } = charger()
    for (let i = 0; i < 5; i++) charge(0, limit(5))
    expect(charge(0, limit(3)).admitted).toBe(false)
    expect(charge(0, limit(7))).toMatchObject({ admitted: true, remaining: 1 })
    expect(charge(0, limit(0)).admitted).toBe(false)
    expect(charge(0, limit(7))).toMatchObject({ admitted: true, remaining: 0 })
  })

  test('of gcra that refused under a new limit passes after the wait it told', () => {
    const { charge } = charger()
    for (let i = 0; i < 10; i++) charge(0, limit(10, minute, 0, 'gcra'))
    const changed = { ...limit(20, minute, 0, 'gcra'), burst: 2 }
    const denied = charge(0, changed)
    expect(denied.admitted).toBe(false)
    expect(charge(0, changed, [], t0 + denied.retryAfterMicros - 1).admitted).toBe(false)
    expect(charge(0, changed, [], t0 + denied.retryAfterMicros).admitted).toBe(true)
  })

  test('a limit of 0 has no credit, not even at first use', () => {
    const { buckets, charge } = charger()
    expect(charge(0, limit(0))).toMatchObject({ admitted: false, retryAfterMicros: hour, remaining: 0, limit: 0 })
    expect(buckets.size).toBe(0)
  })

  test('time that goes back stands still', () => {
    const { charge } = charger()
    charge(0, limit(2))
    expect(charge(0, limit(2), [], t0 - hour)).toMatchObject({ admitted: true, resetAt: t0 + hour })
    expect(charge(0, limit(2), [], t0 - 2 * hour)).toMatchObject({ admitted: false, retryAfterMicros: hour })
    expect(charge(0, limit(2), [], t0 + hour).admitted).toBe(true)
  })

  test('ten parallel requests at first use pass at a limit of 100', () => {
    const { charge } = charger()
    for (let i = 0; i < 10; i++) expect(charge(0, limit(100)).admitted).toBe(true)
  })

  test('shared by processes is a part of the limit, per profile and from one moment to the next', () => {
    const { buckets, charge } = charger()
    buckets.setShare(1, 4)
    expect(charge(3, limit(10))).toMatchObject({ admitted: true, remaining: 2, limit: 10 })
    charge(3, limit(10))
    charge(3, limit(10))
    expect(charge(3, limit(10)).admitted).toBe(false)
    expect(charge(6, limit(10))).toMatchObject({ remaining: 9 })
    buckets.setShare(1, 1)
    expect(charge(3, limit(10))).toMatchObject({ admitted: true, remaining: 6 })
    for (const nonsense of [0, -1, Number.NaN]) {
      buckets.setShare(1, nonsense)
      expect(charge(3, limit(10)).admitted).toBe(true)
    }
  })
})

describe('memory', () => {
  test('at the cap the least recently used bucket is given up, and counted while it still counted', () => {
    const { buckets, charge } = charger(1024)
    for (let lineage = 0; lineage < 1024; lineage++) charge(lineage * 2, limit(1), [], t0 + lineage * second)
    charge(0, limit(1), [], t0 + 1100 * second)
    expect(buckets.evicted).toBe(0)
    charge(5000, limit(1), [], t0 + 1101 * second)
    expect(buckets.size).toBe(1024)
    expect(buckets.evicted).toBe(1)
    expect(charge(0, limit(1), [], t0 + 1102 * second).admitted).toBe(false)
    expect(charge(4, limit(1), [], t0 + 1102 * second).admitted).toBe(false)
    expect(charge(2, limit(1), [], t0 + 1102 * second).admitted).toBe(true)
    expect(buckets.evicted).toBe(2)
  })

  test('a new bucket that takes the row of another of the same request leaves both with their own counts', () => {
    const { charge } = charger(1024)
    const route = [limit(5, hour, 1)]
    charge(0, null, route)
    for (let lineage = 1; lineage < 1024; lineage++) charge(lineage * 2, limit(1), [], t0 + lineage * second)
    const now = t0 + 1100 * second
    expect(charge(0, limit(9), route, now)).toMatchObject({ admitted: true, remaining: 8 })
    expect(charge(0, limit(9), [], now)).toMatchObject({ remaining: 7 })
    for (let i = 0; i < 3; i++) expect(charge(0, null, route, now).admitted).toBe(true)
    expect(charge(0, null, route, now)).toMatchObject({ admitted: false, limit: 5 })
  })

  test('the order of use survives a sweep that moves buckets about', () => {
    const { buckets, charge, out } = charger(1024)
    // Every other bucket ends soon; the sweep moves the last ones into their rows.
    for (let i = 0; i < 1024; i++) charge(i * 2, limit(1, i % 2 === 0 ? 2000 * second : hour), [], t0 + i * second)
    let now = t0 + 3100 * second
    buckets.sweep(now, 10_000)
    expect(buckets.size).toBe(512)
    for (let i = 2000; i < 2512; i++) charge(i * 2, limit(1), [], now)
    // One more bucket at a time gives up the oldest of the others, and no other.
    for (let i = 0; i < 512; i++) {
      now += 0.1 * second
      buckets.peek((i * 2 + 1) * 2, limit(1), [], now, out)
      expect(out.admitted).toBe(false)
      charge((3000 + i) * 2, limit(1), [], now)
      buckets.peek((i * 2 + 1) * 2, limit(1), [], now, out)
      expect(out.admitted).toBe(true)
    }
    expect(buckets.size).toBe(1024)
    expect(buckets.evicted).toBe(512)
    buckets.peek(4000, limit(1), [], now, out)
    expect(out.admitted).toBe(false)
  })

  test('a bucket whose window ended makes room before the cap, uncounted', () => {
    const { buckets, charge } = charger()
    for (let i = 0; i < 10_000; i++) charge(i * 2, limit(1, second), [], t0 + i * 2 * second)
    expect(buckets.size).toBe(1)
    expect(buckets.evicted).toBe(0)
  })

  test('buckets used once are bounded, and given back after their window', () => {
    const { buckets, charge } = charger()
    const count = 100_000
    for (let i = 0; i < count; i++) charge(i * 2, limit(1, minute), [limit(5, minute, 1)], t0 + i)
    expect(buckets.size).toBe(2 * count)
    const most = buckets.bytes
    expect(most / buckets.size).toBeLessThan(72)
    buckets.sweep(t0 + 30 * second, 10 * count)
    expect(buckets.size).toBe(2 * count)
    buckets.sweep(t0 + 2 * minute, 1000)
    expect(buckets.size).toBe(2 * count - 1000)
    for (let i = 0; i < 200; i++) buckets.sweep(t0 + 2 * minute, 1000)
    expect(buckets.size).toBe(0)
    expect(buckets.bytes).toBeLessThan(most / 20)
  })

  test('a bucket that a sweep moved is found where it is now, by every slot of its lineage', () => {
    const { buckets, charge } = charger()
    charge(0, limit(6, 10 * second))
    for (let i = 0; i < 3; i++) charge(2, limit(6, hour))
    buckets.sweep(t0 + minute, 10)
    expect(buckets.size).toBe(1)
    expect(charge(2, limit(6, hour), [], t0 + minute)).toMatchObject({ remaining: 2 })
    expect(charge(3, limit(6, hour), [], t0 + minute)).toMatchObject({ remaining: 1 })
    expect(charge(2, limit(6, hour), [], t0 + minute)).toMatchObject({ remaining: 0 })
  })

  test('whatever is charged, swept and evicted, the budgets are those of a plain map', () => {
    const step = fc.record({ slot: fc.nat(5), gap: fc.nat(12), bucket: fc.nat(1), sweep: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), steps => {
        const { buckets, charge } = charger()
        const model = new Map<string, { start: number; count: number }>()
        let now = t0
        for (const { slot, gap, bucket, sweep } of steps) {
          now += gap * second
          if (sweep) buckets.sweep(now, 7)
          const name = `${slot >>> 1}/${bucket}`
          const window = bucket === 0 ? 15 * second : 2 * minute
          let state = model.get(name)
          if (state === undefined || now >= state.start + window) state = { start: now, count: 0 }
          const admitted = state.count < 6
          const remaining = admitted ? 5 - state.count : 0
          expect(charge(slot, limit(6, window, bucket), [], now)).toMatchObject({ admitted, remaining })
          if (admitted) model.set(name, { start: state.start, count: state.count + 1 })
        }
      }),
      { numRuns: 300 },
    )
  })
})

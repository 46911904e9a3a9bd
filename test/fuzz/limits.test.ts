// Rate limits of whole requests against an exact log of events: several limits at once, all or nothing, both algorithms, limits that change,
// clocks that stand still, step back and come to the very microsecond of a boundary, sweeps in between.
import { expect, it } from 'vitest'
import type { ChargeResult } from '../../src/core/key-lookup.ts'
import type { LimitAlgorithm, LimitSpec } from '../../src/core/limit-spec.ts'
import { LimitBuckets } from '../../src/keys/limit-buckets.ts'
import { pick } from '../oracle/random-worlds.ts'
import { below, randomFor, seed, times } from './tally.ts'

const second = 1_000_000n

/** What one limit would say of one request now. */
interface Verdict {
  readonly admitted: boolean
  readonly remaining: bigint
  readonly resetAt: bigint
  readonly retryAfter: bigint
}

/** The log of one bucket under `window_from_first_request`: every admitted request; windows are found by walking through all. */
class WindowLog {
  private readonly admitted: bigint[] = []
  private readonly window: bigint
  constructor(window: bigint) {
    this.window = window
  }

  ask(limit: bigint, now: bigint): Verdict {
    let start: bigint | null = null
    let used = 0n
    for (const at of this.admitted) {
      if (start === null || at >= start + this.window) {
        start = at
        used = 0n
      }
      used++
    }
    if (start === null || now >= start + this.window) {
      start = now
      used = 0n
    }
    const admitted = used < limit
    const remaining = limit - used - (admitted ? 1n : 0n)
    const end = start + this.window
    return {
      admitted,
      remaining: remaining < 0n ? 0n : remaining,
      resetAt: end,
      retryAfter: admitted ? 0n : limit === 0n ? this.window : end - now,
    }
  }

  take(now: bigint): void {
    this.admitted.push(now)
  }
}

/** The same for `gcra`, told as a jar that leaks: what is in it, in microseconds of the interval in force. A change of limit keeps the number of requests. */
class LeakyJar {
  private level = 0n
  private interval = 0n
  private last = 0n
  private readonly window: bigint
  constructor(window: bigint) {
    this.window = window
  }

  /** The level at `now` under the interval of `limit`. */
  private levelAt(limit: bigint, now: bigint): { interval: bigint; level: bigint } {
    const interval = (this.window + limit - 1n) / limit
    let level = this.level - (now - this.last)
    if (level < 0n) level = 0n
    if (this.interval !== 0n && this.interval !== interval && level > 0n)
      level = ((level + this.interval - 1n) / this.interval) * interval
    return { interval, level }
  }

  ask(limit: bigint, now: bigint, burst: bigint): Verdict {
    if (limit === 0n) return { admitted: false, remaining: 0n, resetAt: now + this.window, retryAfter: this.window }
    const { interval, level } = this.levelAt(limit, now)
    const room = burst * interval
    const admitted = level + interval <= room
    const after = admitted ? level + interval : level
    return {
      admitted,
      remaining: after > room ? 0n : (room - after) / interval,
      resetAt: now + after,
      retryAfter: admitted ? 0n : level + interval - room,
    }
  }

  /** The jar as it is reckoned from now on, with one request more or none. */
  settle(limit: bigint, now: bigint, cost: bigint): void {
    if (limit === 0n) return
    const { interval, level } = this.levelAt(limit, now)
    this.level = level + cost * interval
    this.interval = interval
    this.last = now
  }
}

interface Bucket {
  readonly algorithm: LimitAlgorithm
  readonly window: bigint
  readonly log: WindowLog
  readonly jar: LeakyJar
}

const lineages = 3
const keys = { lineageWord: (slot: number, i: number) => (i === 3 ? slot >>> 1 : 11), profile: () => 0 }

it(`${times(120_000)} requests get the figures of the exact log (seed ${seed})`, () => {
  const random = randomFor('limits')
  const counts = { admitted: 0, refused: 0, boundaries: 0, changes: 0, backwards: 0 }
  const steps = times(120_000)
  const worldSteps = 300
  for (let done = 0; done < steps; done += worldSteps) {
    const buckets = new LimitBuckets(keys)
    const out: ChargeResult = { admitted: false, limit: 0, remaining: 0, resetAt: 0, retryAfterMicros: 0 }
    // Bucket 0 is the key's own, 1 and 2 are of routes; each keeps its algorithm and window.
    const kinds = [0, 1, 2].map(() => ({
      algorithm: pick(random, ['gcra', 'window_from_first_request'] as const),
      window: pick(random, [1n, 2n, 60n, 3600n]) * second + pick(random, [0n, 1n, 7n]),
    }))
    const logs = Array.from({ length: lineages * 3 }, (_, i): Bucket => {
      const { algorithm, window } = kinds[i % 3] ?? { algorithm: 'gcra', window: second }
      return { algorithm, window, log: new WindowLog(window), jar: new LeakyJar(window) }
    })
    let limits = [0, 1, 2].map(() => 1 + below(random, 6))
    let bursts = limits.map(limit => 1 + below(random, limit))
    let clock = 200_000_000n * second
    let latest = 0n
    /** Instants at which something changes, to come to them exactly. */
    const edges: bigint[] = []
    for (let step = 0; step < worldSteps; step++) {
      if (random() < 0.04) {
        limits = limits.map(limit => (random() < 0.5 ? limit : below(random, 8)))
        bursts = limits.map(limit => Math.max(1, Math.min(limit, 1 + below(random, 6))))
        counts.changes++
      }
      const roll = random()
      if (roll < 0.35 && edges.length > 0) {
        clock = pick(random, edges) + pick(random, [-1n, 0n, 1n])
        counts.boundaries++
      } else if (roll < 0.5) clock += pick(random, [0n, 1n])
      else if (roll < 0.56) {
        clock -= pick(random, [1n, second, 3600n * second])
        counts.backwards++
      } else clock += BigInt(below(random, Number(kinds[below(random, 3)]?.window ?? second)))
      if (clock > latest) latest = clock
      const slot = below(random, lineages * 2)
      const used = [0, 1, 2].filter(() => random() < 0.7)
      const spec = (bucket: number): LimitSpec => ({
        bucket,
        algorithm: kinds[bucket]?.algorithm ?? 'gcra',
        limit: limits[bucket] ?? 1,
        windowMicros: Number(kinds[bucket]?.window ?? second),
        burst: bursts[bucket] ?? 1,
      })
      const own = used.includes(0) ? spec(0) : null
      const routes = used.filter(bucket => bucket > 0).map(spec)
      const inOrder = [...(own === null ? [] : [own]), ...routes]
      const verdicts = inOrder.map(each => {
        const bucket = logs[(slot >>> 1) * 3 + each.bucket]
        if (bucket === undefined) throw new Error('no bucket')
        const limit = BigInt(each.limit)
        const verdict =
          bucket.algorithm === 'gcra'
            ? bucket.jar.ask(limit, latest, BigInt(each.burst))
            : bucket.log.ask(limit, latest)
        return { each, bucket, limit, verdict }
      })
      const refusing = verdicts.filter(({ verdict }) => !verdict.admitted)
      // The longest wait is told; of equal ones the first.
      const told =
        refusing.length > 0
          ? refusing.reduce((longest, next) => (next.verdict.retryAfter > longest.verdict.retryAfter ? next : longest))
          : own === null
            ? undefined
            : verdicts[0]
      const wanted =
        told === undefined
          ? { admitted: true, limit: -1, remaining: -1, resetAt: 0, retryAfterMicros: 0 }
          : {
              admitted: told.verdict.admitted,
              limit: told.each.limit,
              remaining: Number(told.verdict.remaining),
              resetAt: Number(told.verdict.resetAt),
              retryAfterMicros: Number(told.verdict.retryAfter),
            }
      const tell = { seed, step, slot, clock, latest, inOrder }
      if (random() < 0.2) {
        buckets.peek(slot, own, routes, Number(clock), out)
        if (JSON.stringify(out) !== JSON.stringify(wanted)) expect({ ...tell, out }).toEqual({ ...tell, out: wanted })
      }
      buckets.charge(slot, own, routes, Number(clock), out)
      if (JSON.stringify(out) !== JSON.stringify(wanted))
        expect({ ...tell, out: { ...out } }).toEqual({ ...tell, out: wanted })
      const admitted = refusing.length === 0
      counts[admitted ? 'admitted' : 'refused']++
      for (const { bucket, limit, verdict } of verdicts) {
        if (admitted) bucket.log.take(latest)
        // A refusal reckons the limits that refused anew; the others are not touched.
        if (admitted || !verdict.admitted) bucket.jar.settle(limit, latest, admitted ? 1n : 0n)
        edges.push(verdict.resetAt, latest + verdict.retryAfter)
      }
      edges.splice(0, Math.max(0, edges.length - 12))
      if (random() < 0.02) buckets.sweep(Number(clock), 10)
    }
  }
  process.stdout.write(`rate limits: steps ${steps}, differences 0 (seed ${seed}) ${JSON.stringify(counts)}\n`)
  expect(Math.min(counts.admitted, counts.refused)).toBeGreaterThan(steps / 10)
  expect(counts.boundaries).toBeGreaterThan(steps / 10)
})

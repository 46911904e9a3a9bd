// The arithmetic of the bench: what it prints is what was measured, and what it judges it judges by the ratio.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DirectRow } from '../../bench/compare/direct.ts'
import { latencyOf, spreadOf } from '../../bench/compare/distribution.ts'
import { readOptions } from '../../bench/compare/options.ts'
import { holds, judge, quickRatios } from '../../bench/compare/quick.ts'
import { type MixName, mixNames, requestsOf } from '../../bench/compare/requests.ts'
import { directRatios } from '../../bench/compare/targets.ts'
import type { VariantName } from '../../bench/compare/variants.ts'

function row(variant: VariantName, depth: number, rounds: readonly number[]): DirectRow {
  const spread = { median: 0, min: 0, max: 0 }
  return {
    mix: 'mixed-raw',
    depth,
    variant,
    rounds,
    cpuMicros: spreadOf(rounds),
    perSecond: spread,
    wrong: 0,
    failed: 0,
  }
}

describe('percentiles', () => {
  it('are the least value that so many do not exceed', () => {
    const nanos = Float64Array.from({ length: 1000 }, (_, i) => (1000 - i) * 1000)
    expect(latencyOf(nanos)).toEqual({ p50: 500, p90: 900, p99: 990, p999: 999, max: 1000 })
  })

  it('never fall with the part', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1e9 }), { minLength: 1, maxLength: 200 }), values => {
        const { p50, p90, p99, p999, max } = latencyOf(Float64Array.from(values))
        expect([p50, p90, p99, p999, max]).toEqual([p50, p90, p99, p999, max].sort((a, b) => a - b))
        expect(max).toBe(Math.max(...values) / 1000)
      }),
    )
  })

  it('a spread is the middle of the rounds and their range; nothing measured is an error', () => {
    expect(spreadOf([5, 1, 3])).toEqual({ median: 3, min: 1, max: 5 })
    expect(spreadOf([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 })
    expect(() => spreadOf([])).toThrow('nothing was measured')
  })
})

describe('ratios', () => {
  it('are taken within a round, so that a machine that slows down changes none', () => {
    const rows = [row('gatewarden-h2', 64, [1, 2, 4]), row('grpc-go', 64, [10, 20, 40])]
    const [ratio] = directRatios(rows)
    expect(ratio?.ratio).toEqual({ median: 0.1, min: 0.1, max: 0.1 })
    expect(ratio).toMatchObject({ target: 0.15, isMet: true })
  })

  it('a target that is missed is said to be missed, one without its peer is not judged', () => {
    const rows = [row('gatewarden-h2', 1, [4]), row('grpc-go', 1, [10])]
    expect(directRatios(rows).map(({ isMet }) => isMet)).toEqual([false])
    expect(directRatios([row('gatewarden-h2', 1, [4])])).toEqual([])
  })
})

describe('--quick', () => {
  const measured = (h2: number) => quickRatios([row('gatewarden-h2', 64, [h2]), row('gatewarden-grpc-js', 64, [100])])

  it('passes within 15 % of the recorded ratio and fails beyond', () => {
    expect(judge(measured(11.4), { 64: 0.1 }).isPassed).toBe(true)
    expect(judge(measured(11.6), { 64: 0.1 }).isPassed).toBe(false)
    expect(judge(measured(2), { 64: 0.1 }).isPassed).toBe(true)
  })

  it('takes the cheapest round of each side, of all runs', () => {
    const run = (h2: number[], grpcJs: number[]) => [row('gatewarden-h2', 1, h2), row('gatewarden-grpc-js', 1, grpcJs)]
    expect(quickRatios(run([30, 90, 20], [100, 80, 300]))).toEqual({ 1: 20 / 80 })
    expect(quickRatios([...run([30, 90], [100, 80]), ...run([25], [60])])).toEqual({ 1: 25 / 60 })
  })

  describe('when a ratio is beyond the recorded one', () => {
    const run = (h2: number) => [row('gatewarden-h2', 64, [h2]), row('gatewarden-grpc-js', 64, [100])]
    const outcome = async (...costs: readonly (number | undefined)[]) => {
      const [first = 0, ...later] = costs
      let runs = 1
      const again = async () => {
        const cost = later[runs++ - 1]
        return cost === undefined ? undefined : run(cost)
      }
      return { holds: await holds({ 64: 0.1 }, run(first), again, () => undefined), runs }
    }

    it('runs again, and passes with the first run that is within', async () => {
      expect(await outcome(11)).toEqual({ holds: true, runs: 1 })
      expect(await outcome(30, 30, 11)).toEqual({ holds: true, runs: 3 })
    })

    it('fails after four runs, or with one that is no measurement', async () => {
      expect(await outcome(12, 12, 12, 12, 11)).toEqual({ holds: false, runs: 4 })
      expect(await outcome(12, undefined, 11)).toEqual({ holds: false, runs: 2 })
    })
  })

  it('fails when nothing is recorded, since nothing could fail then', () => {
    expect(judge(measured(11), undefined).isPassed).toBe(false)
  })

  it('fails when a transport that was recorded is gone', () => {
    expect(quickRatios([row('gatewarden-h2', 64, [11])])).toEqual({})
    expect(quickRatios([row('gatewarden-grpc-js', 64, [11])])).toEqual({})
    expect(judge({}, { 64: 0.1 })).toEqual({
      lines: ['64 in flight: h2 ÷ grpc-js was not measured, recorded 0.100: beyond 15 %'],
      isPassed: false,
    })
  })
})

describe('options', () => {
  it('names what it knows when it is told something else', () => {
    expect(() => readOptions(['--variants', 'grpc-go,java'])).toThrow(/--variants knows grpc-go, tonic, .*, not java/)
    expect(() => readOptions(['--rounds', '0'])).toThrow('--rounds takes a number above 0, not 0')
    expect(() => readOptions(['--fast'])).toThrow(/--fast/)
  })

  it('takes at least five rounds unless told otherwise', () => {
    expect(readOptions([]).rounds).toBeGreaterThanOrEqual(5)
    expect(readOptions(['--quick']).variants).toEqual(['gatewarden-grpc-js', 'gatewarden-h2'])
  })
})

describe('mixes', () => {
  const share = (mix: MixName, status: number) => {
    const requests = requestsOf(mix)
    return requests.filter(request => request.status === status).length / requests.length
  }

  it('hold what the table says of them', () => {
    for (const mix of ['mixed', 'mixed-raw'] as const) {
      const requests = requestsOf(mix)
      expect([share(mix, 401), share(mix, 403)]).toEqual([0.01, 0.05])
      expect(new Set(requests.map(({ secret }) => secret)).size).toBe(10_000)
      expect(new Set(requests.map(({ path }) => path)).size).toBe(10_000)
    }
    expect(share('few', 200)).toBe(1)
    expect(share('unknown', 401)).toBe(1)
    expect(mixNames).toHaveLength(4)
  })
})

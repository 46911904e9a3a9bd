// The ratios that the h2 transport is held to, taken within a round and reported as the median of the rounds. Only those whose two
// sides were measured are reported; none of them fails the bench, except in `--quick`.
import type { EnvoyRow, EnvoyVariantName } from './behind-envoy.ts'
import type { DirectRow } from './direct.ts'
import { type Spread, spreadOf } from './distribution.ts'
import type { VariantName } from './variants.ts'

export interface Ratio {
  readonly what: string
  readonly ratio: Spread
  /** At most; for percentiles: at most, or within the spread of the rounds. */
  readonly target: number
  readonly isMet: boolean
}

const ours = 'gatewarden-h2'

/** CPU of the server straight asked, by checks in flight: at most this part of another's. */
const directTargets: readonly { readonly depth: number; readonly of: VariantName; readonly target: number }[] = [
  { depth: 1, of: 'grpc-go', target: 0.3 },
  { depth: 1, of: 'tonic', target: 0.7 },
  { depth: 1, of: 'gatewarden-grpc-js', target: 0.15 },
  { depth: 64, of: 'grpc-go', target: 0.15 },
  { depth: 64, of: 'tonic', target: 0.45 },
  { depth: 64, of: 'gatewarden-grpc-js', target: 0.08 },
]

/** Behind a saturated Envoy: CPU of the authorizer, or of both together. */
const envoyTargets: readonly {
  readonly of: EnvoyVariantName
  readonly part: 'authorizer' | 'sum'
  readonly target: number
}[] = [
  { of: 'grpc-go', part: 'authorizer', target: 0.3 },
  { of: 'tonic', part: 'authorizer', target: 1 },
  { of: 'grpc-go', part: 'sum', target: 0.85 },
]

const percentileNames = ['p50', 'p99', 'p999'] as const

/** Ratio of each round of `mine` to the same round of `other`. */
export function ratioOf(mine: readonly number[], other: readonly number[]): Spread {
  return spreadOf(mine.map((value, round) => value / (other[round] ?? Number.NaN)))
}

function toRatio(what: string, ratio: Spread, target: number, isMet = ratio.median <= target): Ratio {
  return { what, ratio, target, isMet }
}

export function directRatios(rows: readonly DirectRow[]): readonly Ratio[] {
  return rows
    .filter(row => row.variant === ours)
    .flatMap(mine =>
      directTargets.flatMap(({ depth, of, target }) => {
        const other = rows.find(row => row.variant === of && row.mix === mine.mix && row.depth === mine.depth)
        if (other === undefined || mine.depth !== depth) return []
        const what = `direct, ${mine.mix}, ${depth} in flight: CPU of h2 ÷ ${of}`
        return [toRatio(what, ratioOf(mine.rounds, other.rounds), target)]
      }),
    )
}

export function envoyRatios(rows: readonly EnvoyRow[]): readonly Ratio[] {
  return rows
    .filter(row => row.variant === ours)
    .flatMap(mine => {
      const of = (variant: EnvoyVariantName) =>
        rows.find(row => row.variant === variant && row.mix === mine.mix && row.mode === mine.mode)
      return mine.mode === 'saturated' ? cpuRatios(mine, of) : latencyRatios(mine, of('grpc-go'))
    })
}

function cpuRatios(mine: EnvoyRow, find: (variant: EnvoyVariantName) => EnvoyRow | undefined): readonly Ratio[] {
  return envoyTargets.flatMap(({ of, part, target }) => {
    const other = find(of)
    if (other === undefined) return []
    const values = (row: EnvoyRow) => row.rounds.map(round => round[part])
    const whose = part === 'sum' ? 'CPU of Envoy and h2 ÷ Envoy and' : 'CPU of h2 ÷'
    return [
      toRatio(`behind Envoy, ${mine.mix}, saturated: ${whose} ${of}`, ratioOf(values(mine), values(other)), target),
    ]
  })
}

/** No worse within the spread: the median is within the range of the other's rounds, or below it. */
function latencyRatios(mine: EnvoyRow, other: EnvoyRow | undefined): readonly Ratio[] {
  return percentileNames.flatMap(name => {
    const [own, theirs] = [mine.latency?.[name], other?.latency?.[name]]
    if (own === undefined || theirs === undefined) return []
    const ratio = { median: own.median / theirs.median, min: own.min / theirs.max, max: own.max / theirs.min }
    return [
      toRatio(`behind Envoy, ${mine.mix}, fixed rate: ${name} of h2 ÷ grpc-go`, ratio, 1, own.median <= theirs.max),
    ]
  })
}

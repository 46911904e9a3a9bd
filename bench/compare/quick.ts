// The comparison that CI runs: our two transports, straight asked. It fails when the ratio of their costs has become worse than
// the recorded one by more than the tolerance; ratios travel between machines, times do not. Each side counts with its cheapest
// round, since a neighbour only ever adds to a round; a ratio beyond is measured again before it fails, since a regression stays.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../src/store/package-root.ts'
import type { DirectRow } from './direct.ts'
import type { VariantName } from './variants.ts'

/** Part by which a ratio may exceed the recorded one. */
const tolerance = 0.15
/** Runs after which a ratio that is still beyond the recorded one is taken for a regression. */
const runsMax = 4

const file = () => join(packageRoot(), 'bench/quick-ratios.json')

/** CPU of h2 ÷ CPU of grpc-js, by checks in flight. */
export type QuickRatios = Readonly<Record<string, number>>

export interface QuickVerdict {
  readonly lines: readonly string[]
  readonly isPassed: boolean
}

/** Of the rows of one run, or of several; nothing for a depth at which one of the transports was not measured. */
export function quickRatios(rows: readonly DirectRow[]): QuickRatios {
  const least = (variant: VariantName, depth: number) => {
    const rounds = rows.flatMap(row => (row.variant === variant && row.depth === depth ? row.rounds : []))
    return rounds.length === 0 ? undefined : Math.min(...rounds)
  }
  const depths = new Set(rows.map(({ depth }) => depth))
  const ratios = [...depths].flatMap(depth => {
    const [h2, grpcJs] = [least('gatewarden-h2', depth), least('gatewarden-grpc-js', depth)]
    return h2 === undefined || grpcJs === undefined ? [] : [[String(depth), h2 / grpcJs]]
  })
  return Object.fromEntries(ratios)
}

/** What was recorded; undefined: nothing yet. */
export function recordedRatios(): QuickRatios | undefined {
  return existsSync(file()) ? (JSON.parse(readFileSync(file(), 'utf8')) as QuickRatios) : undefined
}

export function record(ratios: QuickRatios): void {
  const rounded = Object.entries(ratios).map(([depth, ratio]) => [depth, Number(ratio.toFixed(4))])
  writeFileSync(file(), `${JSON.stringify(Object.fromEntries(rounded), null, 2)}\n`)
}

/** Compares with what was recorded. A transport that is gone is a regression. */
export function judge(measured: QuickRatios, recorded: QuickRatios | undefined): QuickVerdict {
  if (recorded === undefined) {
    return { lines: ['no ratio is recorded yet: run `npm run bench -- --quick --record`'], isPassed: false }
  }
  const results = Object.entries(recorded).map(([depth, before]) => {
    const now = measured[depth]
    const isPassed = now !== undefined && now <= before * (1 + tolerance)
    const found = now === undefined ? 'was not measured' : `is ${now.toFixed(3)}`
    const verdict = isPassed ? 'within' : 'beyond'
    return {
      isPassed,
      line: `${depth} in flight: h2 ÷ grpc-js ${found}, recorded ${before.toFixed(3)}: ${verdict} ${tolerance * 100} %`,
    }
  })
  return { lines: results.map(({ line }) => line), isPassed: results.every(({ isPassed }) => isPassed) }
}

/**
 * Whether a first run holds what was recorded, or that run together with those that follow it.
 * @param again runs once more; undefined: the run is no measurement
 */
export async function holds(
  recorded: QuickRatios | undefined,
  first: readonly DirectRow[],
  again: () => Promise<readonly DirectRow[] | undefined>,
  log: (line: string) => void,
): Promise<boolean> {
  const rows = [...first]
  for (let runs = 1; ; runs++) {
    const verdict = judge(quickRatios(rows), recorded)
    for (const line of verdict.lines) log(line)
    if (verdict.isPassed || recorded === undefined || runs === runsMax) return verdict.isPassed
    const more = await again()
    if (more === undefined) return false
    rows.push(...more)
  }
}

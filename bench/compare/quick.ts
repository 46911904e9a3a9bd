// The comparison that CI runs: our two transports, straight asked. It fails when the ratio of their costs has become worse than
// the recorded one by more than the tolerance; ratios travel between machines, times do not.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../src/store/package-root.ts'
import type { DirectRow } from './direct.ts'
import { ratioOf } from './targets.ts'

/** Part by which a ratio may exceed the recorded one: more than what rounds on a busy machine differ by. */
const tolerance = 0.15

const file = () => join(packageRoot(), 'bench/quick-ratios.json')

/** CPU of h2 ÷ CPU of grpc-js, by checks in flight. */
export type QuickRatios = Readonly<Record<string, number>>

export interface QuickVerdict {
  readonly lines: readonly string[]
  readonly isPassed: boolean
}

export function quickRatios(rows: readonly DirectRow[]): QuickRatios {
  const ratios = rows
    .filter(row => row.variant === 'gatewarden-h2')
    .flatMap(mine => {
      const other = rows.find(row => row.variant === 'gatewarden-grpc-js' && row.depth === mine.depth)
      return other === undefined ? [] : [[String(mine.depth), ratioOf(mine.rounds, other.rounds).median] as const]
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

/** Compares with what was recorded. An h2 transport that is gone is a regression; one that was never recorded is not. */
export function judge(measured: QuickRatios, recorded: QuickRatios | undefined): QuickVerdict {
  if (recorded === undefined) {
    return { lines: ['no ratio is recorded yet: run `npm run bench -- --quick --record`'], isPassed: true }
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

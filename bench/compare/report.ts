// What was measured, as one text for people: medians with the range of the rounds, errors where there were any, ratios beside
// their targets, and the name of every peer that this machine lacks.
import type { EnvoyRow, EnvoyVariantName } from './behind-envoy.ts'
import type { DirectRow } from './direct.ts'
import type { Spread } from './distribution.ts'
import { aloneName, apiKeyName } from './envoy-world.ts'
import type { Machine } from './machine.ts'
import { type MixName, mixes } from './requests.ts'
import type { Ratio } from './targets.ts'
import { titles, type VariantName } from './variants.ts'

/** Everything that one run of the bench brought; `--json` prints it. */
export interface Report {
  readonly machine: Machine
  /** Settings of the run. */
  readonly plan: Readonly<Record<string, number | string | boolean>>
  readonly versions: Readonly<Partial<Record<VariantName, string>>>
  readonly absent: readonly { readonly name: string; readonly reason: string }[]
  readonly direct: readonly DirectRow[]
  readonly behindEnvoy: readonly EnvoyRow[]
  readonly ratios: readonly Ratio[]
}

const envoyTitles: Readonly<Record<EnvoyVariantName, string>> = {
  ...titles,
  [aloneName]: 'Envoy alone',
  [apiKeyName]: 'Envoy api_key_auth',
}

function digits(value: number): string {
  if (value >= 100) return value.toFixed(0)
  return value.toFixed(value >= 10 ? 1 : 2)
}

const spreadText = ({ median, min, max }: Spread) => `${digits(median)} (${digits(min)}–${digits(max)})`
const thousands = ({ median }: Spread) => (median / 1000).toFixed(1)

function faults({ wrong, failed }: { readonly wrong: number; readonly failed: number }): string {
  return wrong + failed === 0 ? '0' : `${wrong} wrong, ${failed} failed`
}

/** A Markdown table whose columns line up. */
function toTable(rows: readonly (readonly string[])[]): string {
  const [head = []] = rows
  const widths = head.map((_, column) => Math.max(...rows.map(row => (row[column] ?? '').length)))
  const lines = rows.map(row => `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`)
  const rule = `|${widths.map(width => '-'.repeat(width + 2)).join('|')}|`
  return [lines[0], rule, ...lines.slice(1)].join('\n')
}

/** What part of its usage records Gatewarden stored while it was measured: the cost of the rest comes later and is not in the figures. */
function storedLines({ direct, behindEnvoy }: Report): string {
  const rows = [
    ...direct.map(({ variant, mix, depth, storedPart }) => ({
      variant,
      where: `${mix}, ${depth} in flight`,
      storedPart,
    })),
    ...behindEnvoy.map(({ variant, mix, mode, storedPart }) => ({ variant, where: `${mix}, ${mode}`, storedPart })),
  ]
  return rows
    .flatMap(({ variant, where, storedPart }) =>
      storedPart === undefined
        ? []
        : [
            `${envoyTitles[variant]}, ${where}: stored ${(storedPart.median * 100).toFixed(0)} % of its usage meanwhile\n`,
          ],
    )
    .join('')
}

function groups<Row, Key extends string>(rows: readonly Row[], keyOf: (row: Row) => Key): readonly [Key, Row[]][] {
  const found = new Map<Key, Row[]>()
  for (const row of rows) found.set(keyOf(row), [...(found.get(keyOf(row)) ?? []), row])
  return [...found]
}

function directTables(rows: readonly DirectRow[]): string {
  return groups(rows, row => row.mix)
    .map(([mix, ofMix]) => {
      const head = ['CPU of the server a check, µs', ...depthsOf(ofMix).map(depth => `${depth} in flight`)]
      const body = groups(ofMix, row => row.variant).map(([variant, cells]) => [
        titles[variant],
        ...cells.map(cell => `${spreadText(cell.cpuMicros)}, ${thousands(cell.perSecond)} k/s`),
        faults({
          wrong: cells.reduce((sum, { wrong }) => sum + wrong, 0),
          failed: cells.reduce((sum, { failed }) => sum + failed, 0),
        }),
      ])
      return `Straight at the server: ${mixes[mix]}\n\n${toTable([[...head, 'errors'], ...body])}\n`
    })
    .join('\n')
}

const depthsOf = (rows: readonly DirectRow[]) => [...new Set(rows.map(({ depth }) => depth))]

function saturatedTable(mix: MixName, rows: readonly EnvoyRow[]): string {
  const head = ['CPU a request, µs', 'Envoy', 'authorizer', 'together', 'k/s', 'errors']
  const body = rows.map(row => [
    envoyTitles[row.variant],
    spreadText(row.envoyMicros),
    row.authorizerMicros.max === 0 ? '–' : spreadText(row.authorizerMicros),
    spreadText(row.sumMicros),
    thousands(row.perSecond),
    faults(row),
  ])
  return `Behind Envoy, saturated: ${mixes[mix]}\n\n${toTable([head, ...body])}\n`
}

function fixedRateTable(mix: MixName, rows: readonly EnvoyRow[]): string {
  const head = ['latency, µs', 'p50', 'p90', 'p99', 'p99.9', 'max', 'CPU of the authorizer, µs', 'reached /s', 'errors']
  const body = rows.map(row => [
    envoyTitles[row.variant],
    ...(['p50', 'p90', 'p99', 'p999', 'max'] as const).map(name => {
      const spread = row.latency?.[name]
      return spread === undefined ? '–' : spreadText(spread)
    }),
    row.authorizerMicros.max === 0 ? '–' : spreadText(row.authorizerMicros),
    row.perSecond.median.toFixed(0),
    faults(row),
  ])
  return `Behind Envoy, at a fixed rate, from the intended send times: ${mixes[mix]}\n\n${toTable([head, ...body])}\n`
}

function envoyTables(rows: readonly EnvoyRow[]): string {
  return groups(rows, row => row.mix)
    .flatMap(([mix, ofMix]) =>
      groups(ofMix, row => row.mode).map(([mode, ofMode]) =>
        mode === 'saturated' ? saturatedTable(mix, ofMode) : fixedRateTable(mix, ofMode),
      ),
    )
    .join('\n')
}

function ratioTable(ratios: readonly Ratio[]): string {
  const body = ratios.map(({ what, ratio, target, isMet }) => [
    what,
    `${ratio.median.toFixed(3)} (${ratio.min.toFixed(3)}–${ratio.max.toFixed(3)})`,
    `≤ ${target}`,
    isMet ? 'met' : 'missed',
  ])
  return `Ratios, median and range of the rounds\n\n${toTable([['ratio', 'measured', 'target', ''], ...body])}\n`
}

/** The report as Markdown. */
export function toText(report: Report): string {
  const { machine, plan, versions, absent } = report
  const settings = Object.entries(plan).map(([name, value]) => `${name} ${value}`)
  const sections = [
    `${machine.cpu}, ${machine.cores} cores, ${machine.kernel}, Node ${machine.node}; load average at start ${machine.load.toFixed(1)}\n${settings.join(', ')}\n`,
    ...(report.direct.length > 0 ? [directTables(report.direct)] : []),
    ...(report.behindEnvoy.length > 0 ? [envoyTables(report.behindEnvoy)] : []),
    storedLines(report),
    ...(report.ratios.length > 0 ? [ratioTable(report.ratios)] : []),
    Object.entries(versions)
      .map(([name, version]) => `${titles[name as VariantName]}: ${version}\n`)
      .join(''),
    absent.map(({ name, reason }) => `absent: ${name} (${reason})\n`).join(''),
  ]
  return sections.filter(section => section !== '').join('\n')
}

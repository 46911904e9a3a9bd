// `grace`, and `type` for numbers that do not fit each other: rotation, rate limits, usage log, upstream headers.
import { formatDurationMs } from './duration.ts'
import { isReservedHeader } from './header-names.ts'
import { lintRule } from './lint-rule.ts'
import type { Report } from './parse-document.ts'
import { type ProfileDocument, WINDOW_MS_MAX, WINDOW_MS_MIN } from './schema.ts'

/** A predecessor that lives longer is a second key, not a grace period. */
const GRACE_MS_MAX = 30 * 86_400_000
/** Shortest time between two requests that the counters resolve: 100 microseconds. */
const INTERVAL_MS_MIN = 0.1

type RateLimit = ProfileDocument['rate_limit']

export const lintLifecycle = [
  lintRule(['rotation'], ({ rotation }, report) => {
    const { min, max, default: normal } = rotation.grace
    if (min > normal || normal > max) {
      const found = `${formatDurationMs(min)}, ${formatDurationMs(normal)}, ${formatDurationMs(max)}`
      report('grace', ['rotation', 'grace'], `min, default and max are ${found}; order them min ≤ default ≤ max`)
    }
    if (max > GRACE_MS_MAX) report('grace', ['rotation', 'grace', 'max'], '`max` is above 30d; set at most 30d')
  }),
  lintRule(['rate_limit'], ({ rate_limit: rate }, report) => {
    if (rate.default !== null && rate.window === null) {
      report('type', ['rate_limit', 'window'], '`window` is null although there is a default limit; set e.g. 3600s')
    }
    lintWindow(rate.default, rate.window, ['rate_limit', 'window'], report)
    for (const [index, entry] of rate.routes.entries()) {
      lintWindow(entry.limit, entry.window, ['rate_limit', 'routes', index, 'window'], report)
    }
    lintBurst(rate, report)
    for (const [index, header] of rate.headers.entries()) {
      const repeated = rate.headers.indexOf(header) < index
      if (!repeated && !isReservedHeader(header) && header !== 'content-type') continue
      const cause = repeated ? 'is named twice' : 'is not for a profile to set'
      report('type', ['rate_limit', 'headers', index], `the header \`${header}\` ${cause}; name another one`)
    }
  }),
  lintRule(['usage_log'], ({ usage_log: log }, report) => {
    for (const [index, column] of log.csv.columns.entries()) {
      if (log.fields.includes(column)) continue
      report(
        'type',
        ['usage_log', 'csv', 'columns', index],
        `\`${column}\` is not recorded; add it to \`usage_log.fields\` or remove it`,
      )
    }
  }),
  lintRule(['upstream', 'credential'], ({ upstream, credential }, report) => {
    const taken = new Map(credential.sources.map(({ header }) => [header, 'a credential source']))
    for (const [member, header] of Object.entries(upstream)) {
      if (header === null) continue
      if (isReservedHeader(header)) {
        report('type', ['upstream', member], `the header \`${header}\` is not for a profile to set; name another one`)
      }
      const other = taken.get(header)
      if (other !== undefined) {
        report('type', ['upstream', member], `the header \`${header}\` is already ${other}; name another one`)
      }
      taken.set(header, `that of \`upstream.${member}\``)
    }
  }),
  lintRule(['credential'], ({ credential }, report) => {
    const seen = new Set<string>()
    for (const [index, { header, scheme }] of credential.sources.entries()) {
      const key = `${header} ${scheme?.toLowerCase() ?? ''}`
      if (seen.has(key))
        report('type', ['credential', 'sources', index], `the source \`${header}\` is listed twice; remove one of them`)
      seen.add(key)
    }
  }),
] as const

function lintWindow(
  limit: number | null,
  windowMs: number | null,
  at: readonly (string | number)[],
  report: Report,
): void {
  if (windowMs === null) return
  if (windowMs < WINDOW_MS_MIN || windowMs > WINDOW_MS_MAX) {
    report('type', at, `a window of ${formatDurationMs(windowMs)} does not fit; set 1s to 31d`)
  } else if (limit !== null && limit > 0 && windowMs / limit < INTERVAL_MS_MIN) {
    report(
      'type',
      at,
      `${limit} requests in ${formatDurationMs(windowMs)} are closer than 100 µs; widen the window or lower the limit`,
    )
  }
}

function lintBurst(rate: RateLimit, report: Report): void {
  if (rate.burst === null) return
  if (rate.algorithm !== 'gcra') {
    report('type', ['rate_limit', 'burst'], '`burst` belongs to `algorithm: gcra`; remove it or change the algorithm')
  } else if (rate.default !== null && rate.burst > rate.default) {
    report('type', ['rate_limit', 'burst'], `\`burst\` ${rate.burst} is above the limit ${rate.default}; lower it`)
  }
}

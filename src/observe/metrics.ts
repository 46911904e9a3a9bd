// The metrics page: values are read from their owners when somebody scrapes, so that nothing is paid when something happens.
// A source that throws loses its own metric for that scrape and nothing else.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { type MetricName, type MetricRow, metricCatalogue } from './metric-catalogue.ts'

/** One value with the labels of its metric. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Reads a metric: one number where it has no labels. */
export type MetricSource = () => number | Iterable<Sample>

/** Resolution of the loop delay in milliseconds: fine enough for the 100 ms that warn. */
const loopDelayResolutionMs = 20
const nanosPerSecond = 1e9

export class Metrics {
  private readonly registry = new Registry()
  private readonly loopDelay = monitorEventLoopDelay({ resolution: loopDelayResolutionMs })

  constructor() {
    collectDefaultMetrics({ register: this.registry, prefix: 'gatewarden_' })
    this.loopDelay.enable()
    this.read('gatewarden_loop_delay_seconds', () => this.takeLoopDelay())
  }

  /** Shows a metric of the catalogue, read through `source` at each scrape. Once per name. */
  read(name: MetricName, source: MetricSource): void {
    const row: MetricRow = metricCatalogue[name]
    const metric = { name, help: row.help, labelNames: [...row.labels], registers: [this.registry] }
    if (row.kind === 'counter') {
      new Counter({
        ...metric,
        collect() {
          this.reset()
          for (const { labels, value } of samplesOf(source)) this.inc({ ...labels }, value)
        },
      })
    } else {
      new Gauge({
        ...metric,
        collect() {
          this.reset()
          for (const { labels, value } of samplesOf(source)) this.set({ ...labels }, value)
        },
      })
    }
  }

  /** The page in the Prometheus text form, and its content type. */
  async page(): Promise<{ readonly type: string; readonly text: string }> {
    return { type: this.registry.contentType, text: await this.registry.metrics() }
  }

  /** Stops what measures. */
  close(): void {
    this.loopDelay.disable()
    this.registry.clear()
  }

  private takeLoopDelay(): number {
    const longest = Math.max(0, this.loopDelay.max - loopDelayResolutionMs * 1e6) / nanosPerSecond
    this.loopDelay.reset()
    return longest
  }
}

function samplesOf(source: MetricSource): Iterable<Sample> {
  try {
    const read = source()
    return typeof read === 'number' ? [{ labels: {}, value: read }] : [...read]
  } catch {
    return []
  }
}

/** Samples of a map from label value to count. */
export function samplesOfMap(label: string, counts: ReadonlyMap<string, number>): Sample[] {
  return [...counts].map(([text, value]) => ({ labels: { [label]: text }, value }))
}

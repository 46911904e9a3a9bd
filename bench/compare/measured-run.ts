// A load and its measured part: warm up, read CPU times and counts, wait, read them again. Both load programs run through here.
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuNsOf } from './cpu-time.ts'
import { latencyOf } from './distribution.ts'
import type { LoadOrder, LoadResult } from './load-result.ts'
import { tick } from './metronome.ts'
import { monoNs, nanosOfSecond } from './rate.ts'

/** Something that sends requests and counts their answers. */
export interface Loader {
  readonly counts: { readonly answered: number; readonly wrong: number; readonly failed: number }
  /** Keeps so many requests under way; 0 lets them run out. */
  keep(atOnce: number): void
  /** Sends one request as soon as it can and tells `onEnd` the time it was meant for. */
  sendAt(intendedNs: number): void
  onEnd: (intendedNs: number) => void
  /** Requests sent or waiting and not answered. */
  readonly underWay: number
  /** Rejects when it cannot go on. */
  readonly broken: Promise<never>
}

/** What is under way when a run ends gets this long; the rest has failed. */
const endLimitMs = 5000
const pollMs = 5
/** Until the thread that keeps time runs. */
const leadNs = 100e6

/** @throws Error when the load cannot go on. */
export function measure(loader: Loader, order: LoadOrder): Promise<LoadResult> {
  return Promise.race([loader.broken, order.perSecond === undefined ? closed(loader, order) : open(loader, order)])
}

async function closed(loader: Loader, order: LoadOrder): Promise<LoadResult> {
  loader.keep(order.atOnce)
  await sleep(order.warmUpMs)
  const meter = start(loader, order)
  await sleep(order.measureMs)
  const measured = meter()
  loader.keep(0)
  return { ...measured, ...(await ended(loader)) }
}

async function open(loader: Loader, order: LoadOrder): Promise<LoadResult> {
  const perSecond = order.perSecond ?? 0
  const [warmUps, count] = [order.warmUpMs, order.measureMs].map(ms => Math.round((ms / 1000) * perSecond))
  const startNs = monoNs() + leadNs
  const firstNs = startNs + ((warmUps ?? 0) * nanosOfSecond) / perSecond
  const latencies = new Float64Array(count ?? 0)
  let taken = 0
  loader.onEnd = intendedNs => {
    if (intendedNs >= firstNs && taken < latencies.length) latencies[taken++] = monoNs() - intendedNs
  }
  let meter: (() => ReturnType<ReturnType<typeof start>>) | undefined
  await tick({ perSecond, count: (warmUps ?? 0) + latencies.length, startNs }, intendedNs => {
    if (meter === undefined && intendedNs >= firstNs) meter = start(loader, order)
    loader.sendAt(intendedNs)
  })
  const rest = await ended(loader)
  if (meter === undefined) throw new Error('nothing was sent')
  return { ...meter(), ...rest, latency: latencyOf(latencies.subarray(0, taken)) }
}

function start({ counts }: Loader, { pids }: LoadOrder) {
  const answered = counts.answered
  const cpu = pids.map(cpuNsOf)
  const at = monoNs()
  return () => ({
    answered: counts.answered - answered,
    cpuNs: pids.map((pid, i) => cpuNsOf(pid) - (cpu[i] ?? 0)),
    wallNs: monoNs() - at,
  })
}

async function ended(loader: Loader): Promise<{ readonly wrong: number; readonly failed: number }> {
  const deadline = performance.now() + endLimitMs
  while (loader.underWay > 0 && performance.now() < deadline) await sleep(pollMs)
  const { wrong, failed } = loader.counts
  return { wrong, failed: failed + loader.underWay }
}

// Preloaded into a process that is measured (`--import …/turn-watch.js?FILE`): notes once a second how long the longest turn of its
// event loop took, by the clock and by the CPU time of its own thread, which a busy neighbour does not lengthen.
import { appendFileSync, readFileSync } from 'node:fs'
import { monoNs } from '../compare/rate.ts'

/** What one line of the file says. */
export interface TurnLine {
  /** The machine's monotonic clock at the end of the second. */
  readonly atNs: number
  readonly clockMs: number
  readonly cpuMs: number
}

const everyMs = 1
const noteEveryNs = 1e9

/** Nanoseconds that this thread has run. */
function ranNs(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0])
}

const file = decodeURIComponent(new URL(import.meta.url).search.slice(1))
let lastNs = monoNs()
let lastRanNs = ranNs()
let notedNs = lastNs
let [clockMs, cpuMs] = [0, 0]
const timer = setInterval(() => {
  const [now, ran] = [monoNs(), ranNs()]
  clockMs = Math.max(clockMs, (now - lastNs) / 1e6 - everyMs)
  cpuMs = Math.max(cpuMs, (ran - lastRanNs) / 1e6)
  lastNs = now
  lastRanNs = ran
  if (now - notedNs < noteEveryNs) return
  const line: TurnLine = { atNs: now, clockMs, cpuMs }
  appendFileSync(file, `${JSON.stringify(line)}\n`)
  notedNs = now
  clockMs = 0
  cpuMs = 0
}, everyMs)
timer.unref()

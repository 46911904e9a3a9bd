// Preloaded into a process that is measured (`--import …/turn-watch.js?FILE`): notes once a second how long the longest turn of its
// event loop took: by the clock, by the CPU time of its own thread, and by that CPU time where no neighbour had kept the thread from
// running, since a thread that was kept has more to do in its next turn.
import { appendFileSync, openSync, readSync } from 'node:fs'
import { monoNs } from '../compare/rate.ts'

/** What one line of the file says. */
export interface TurnLine {
  /** The machine's monotonic clock at the end of the second. */
  readonly atNs: number
  readonly clockMs: number
  readonly cpuMs: number
  readonly undisturbedMs: number
}

const everyMs = 1
const noteEveryNs = 1e9
/** A thread that waited longer for a core than this was disturbed. */
const waitMaxNs = 500_000
/** Turns after one that was disturbed, in which it makes up for it. */
const recoveryTurns = 10

// Read into one buffer: a new one each millisecond would make the garbage collector run, which is a turn of its own.
const schedstat = openSync('/proc/thread-self/schedstat', 'r')
const octets = Buffer.alloc(128)

/** Nanoseconds that this thread has run, and has waited for a core. */
function scheduled(): readonly [number, number] {
  const length = readSync(schedstat, octets, 0, octets.length, 0)
  const [ran = 0, waited = 0] = octets.toString('latin1', 0, length).split(' ').map(Number)
  return [ran, waited]
}

const file = decodeURIComponent(new URL(import.meta.url).search.slice(1))
let lastNs = monoNs()
let [lastRan, lastWaited] = scheduled()
let notedNs = lastNs
let recovering = 0
let [clockMs, cpuMs, undisturbedMs] = [0, 0, 0]
const timer = setInterval(() => {
  const now = monoNs()
  const [ran, waited] = scheduled()
  const turnMs = (ran - lastRan) / 1e6
  if (waited - lastWaited > waitMaxNs) recovering = recoveryTurns
  else if (recovering > 0) recovering -= 1
  else undisturbedMs = Math.max(undisturbedMs, turnMs)
  clockMs = Math.max(clockMs, (now - lastNs) / 1e6 - everyMs)
  cpuMs = Math.max(cpuMs, turnMs)
  lastNs = now
  lastRan = ran
  lastWaited = waited
  if (now - notedNs < noteEveryNs) return
  const line: TurnLine = { atNs: now, clockMs, cpuMs, undisturbedMs }
  appendFileSync(file, `${JSON.stringify(line)}\n`)
  notedNs = now
  clockMs = 0
  cpuMs = 0
  undisturbedMs = 0
}, everyMs)
timer.unref()

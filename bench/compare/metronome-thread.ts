// The thread of metronome.ts: sleeps until each request is due and says so. It runs from the build only.
import { parentPort, workerData } from 'node:worker_threads'
import { monoNs, nanosOfSecond, type Rate } from './rate.ts'

const { perSecond, count, startNs } = workerData as Rate
const sleeper = new Int32Array(new SharedArrayBuffer(4))
for (let i = 0; i < count; i++) {
  const intendedNs = startNs + (i * nanosOfSecond) / perSecond
  const leftMs = (intendedNs - monoNs()) / 1e6
  if (leftMs > 0) Atomics.wait(sleeper, 0, 0, leftMs)
  parentPort?.postMessage(intendedNs)
}

// Says when the next request of a fixed rate is due, by a thread that sleeps until then: timers of the event loop know
// milliseconds only. It leaves none out: each tick carries the time that it was meant for, however late it comes.
import { Worker } from 'node:worker_threads'
import { builtFile } from './built-file.ts'
import type { Rate } from './rate.ts'

/** Calls `onTick` with the intended time of each request. Resolves after the last. */
export function tick(rate: Rate, onTick: (intendedNs: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(builtFile('compare/metronome-thread.js'), { workerData: rate })
    worker.on('message', onTick)
    worker.once('error', reject)
    worker.once('exit', code => {
      if (code === 0) resolve()
      else reject(new Error(`the metronome ended with code ${code}`))
    })
  })
}

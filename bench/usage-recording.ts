// Recording as the benchmarks of usage need it: the shipped parts on a folder of their own, with a store that keeps nothing or the real one.
import { startRecording } from '../src/usage/recording.ts'
import { realFiles } from '../src/usage/spool-files.ts'
import type { UsageStore } from '../src/usage/usage-store.ts'

const spoolBytesMax = 4 * 1_073_741_824

export const after = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

function fail(error: unknown): never {
  throw error
}

function never<T>(): Promise<T> {
  return new Promise(() => undefined)
}

/** A store that never answers: the writer does nothing beside the checks. */
export const silentStore: UsageStore = {
  position: never,
  store: never,
  forget: never,
  lose: never,
  close: async () => undefined,
}

/** @param sidecar UUID */
export function recordTo(directory: string, sidecar: string, store: UsageStore) {
  const recording = startRecording({
    directory,
    maxBytes: spoolBytesMax,
    sidecar,
    clientIpMode: 'grpc-metadata',
    files: realFiles,
    probe: { self: sidecar, namespace: 'bench', isRunning: () => true },
    store,
    observer: {
      spoolFailed: fail,
      spoolRecovered: () => undefined,
      dropped: counts => fail(new Error(`${counts.droppedTotal} records were given up`)),
      storeFailed: fail,
      storeRecovered: () => undefined,
      noticed: text => fail(new Error(text)),
    },
    timers: { pause: store === silentStore ? never : after, expire: after, random: Math.random },
    mono: () => performance.now(),
    wall: () => Date.now(),
    takeHalf: null,
  })
  recording.encoder.coverPrefixes(['bn_live_', 'gwa_', 'gwb_'])
  return recording
}

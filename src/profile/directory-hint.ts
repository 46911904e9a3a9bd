// Change events of a directory as a hint for watch.ts: may be early, late, doubled or missing, and never fails anybody.
import { watch } from 'node:fs'
import type { ChangeHint } from './watch.ts'

/** Listens with the system's watcher; where it is not to be had, nothing is told. */
export const directoryHint: ChangeHint = (directory, changed) => {
  try {
    const watcher = watch(directory, { persistent: false }, () => changed())
    // Polling goes on without the watcher.
    watcher.on('error', () => watcher.close())
    return { close: () => watcher.close() }
  } catch {
    return { close: () => undefined }
  }
}

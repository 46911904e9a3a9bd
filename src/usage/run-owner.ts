// Who writes to a folder of segments, and whether they still live. On one machine that is known exactly, by process id and
// start time within its namespace; across machines or containers that share a folder, by how long the owner's mark is untouched.
import { join } from 'node:path'
import type { SpoolFiles } from './spool-files.ts'

/** What tells processes apart. */
export interface ProcessProbe {
  /** This process in its namespace, e.g. `4711 183402`. */
  readonly self: string
  /** Within it `isRunning` knows; '': it never knows. */
  readonly namespace: string
  isRunning(process: string): boolean
}

/** The mark of a folder's owner. */
export const ownerFile = 'owner'
/** An owner touches its mark this often. */
export const touchEveryMs = 5000
/** A mark untouched for this long is that of a process that has ended, where nothing better is known. */
export const untouchedMs = 60_000

/** Marks a folder as this process's. */
export function markOwner(files: SpoolFiles, folder: string, probe: ProcessProbe): void {
  const text = Buffer.from(`${probe.self}\n${probe.namespace}\n`)
  const path = join(folder, ownerFile)
  files.removeNow(path) // of an attempt that failed
  const file = files.create(path)
  try {
    const written = files.write(file, text, 0, text.length)
    if (written < text.length) throw new Error('the mark of a spool folder could not be written whole')
  } finally {
    files.close(file)
  }
}

/** Says that the owner lives. */
export function touchOwner(files: SpoolFiles, folder: string, unixMs: number): Promise<void> {
  return files.touch(join(folder, ownerFile), unixMs)
}

/** Gives the folder up: whoever comes next may take it. */
export function unmarkOwner(files: SpoolFiles, folder: string): Promise<void> {
  return files.remove(join(folder, ownerFile))
}

/** Whether the owner of a folder lives. A folder without a mark is given up. */
export async function hasLivingOwner(
  files: SpoolFiles,
  folder: string,
  probe: ProcessProbe,
  unixMs: number,
): Promise<boolean> {
  const names = await files.list(folder)
  if (!names.includes(ownerFile)) return false
  const path = join(folder, ownerFile)
  const [owner = '', namespace = ''] = (await files.readText(path)).split('\n')
  if (namespace !== '' && namespace === probe.namespace) return probe.isRunning(owner)
  return unixMs - (await files.changed(path)) < untouchedMs
}

// A new file for a secret that is had only once: made, and filled to its length, before the call that spends what it costs.
// Never replaces a file; nothing of it is readable by others at any time.
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs'

/** A file that waits for its secret. */
export interface PrivateOutput {
  /** Writes the secret and makes sure that it is on disk. @throws Error of node:fs */
  keep(secret: string): void
  /** Closes the file; takes it away again if nothing was kept. */
  close(): void
}

/** Octets that the disk has promised: more than any secret of ours is long. */
const reservedOctets = 256

/** Makes the file. @throws Error of node:fs, `EEXIST` if there is one */
export function openPrivateOutput(file: string): PrivateOutput {
  const descriptor = openSync(file, 'wx', 0o600)
  let kept = false
  const close = () => {
    // Only the file that was made here, not one that somebody has put in its place.
    const isEmpty = !kept && fstatSync(descriptor).nlink > 0
    closeSync(descriptor)
    if (isEmpty) rmSync(file, { force: true })
  }
  try {
    writeAt(descriptor, ' '.repeat(reservedOctets))
    fsyncSync(descriptor)
  } catch (error) {
    close()
    throw error
  }
  return {
    keep(secret) {
      const length = writeAt(descriptor, `${secret}\n`)
      ftruncateSync(descriptor, length)
      fsyncSync(descriptor)
      kept = true
    },
    close,
  }
}

function writeAt(descriptor: number, text: string): number {
  const octets = Buffer.from(text)
  for (let at = 0; at < octets.length; ) at += writeSync(descriptor, octets, at, octets.length - at, at)
  return octets.length
}

// The files of a spool, as far as it needs a file system: a port, so that suites can let any call fail; and the real one.
// What is called while a check waits for its reply is synchronous and short; all else is not.
import { closeSync, ftruncateSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { open, readdir, readFile, rename, rm, rmdir, stat, utimes } from 'node:fs/promises'

export interface SpoolFiles {
  /** Makes a folder, its parents included, for this user alone; one that exists is fine. */
  makeFolder(path: string): void
  /** Opens a new file for appending. @throws when there is one already. */
  create(path: string): number
  /** Writes some of `bytes[start, end)`. @returns how many octets, maybe fewer. */
  write(file: number, bytes: Uint8Array, start: number, end: number): number
  truncate(file: number, length: number): void
  close(file: number): void
  /** Renames a folder at once. */
  renameNow(from: string, to: string): void
  writeTextNow(path: string, text: string): void
  /** Removes a file at once; one that is absent is fine. */
  removeNow(path: string): void

  /** Names in a folder; none when there is no such folder. */
  list(path: string): Promise<readonly string[]>
  /** Octets of a file. */
  size(path: string): Promise<number>
  /** Unix milliseconds of the last change. */
  changed(path: string): Promise<number>
  /** Sets the last change to now, given in Unix milliseconds. */
  touch(path: string, unixMs: number): Promise<void>
  readText(path: string): Promise<string>
  /** Reads up to `target.length` octets. @returns how many. */
  read(path: string, position: number, target: Buffer): Promise<number>
  rename(from: string, to: string): Promise<void>
  /** Removes a file; one that is absent is fine. */
  remove(path: string): Promise<void>
  /** Removes an empty folder. */
  removeFolder(path: string): Promise<void>
}

/** Records name people's addresses: for this user alone. */
const folderMode = 0o700
const fileMode = 0o600

export const realFiles: SpoolFiles = {
  makeFolder: path => void mkdirSync(path, { recursive: true, mode: folderMode }),
  create: path => openSync(path, 'ax', fileMode),
  write: (file, bytes, start, end) => writeSync(file, bytes, start, end - start),
  truncate: ftruncateSync,
  close: closeSync,
  renameNow: renameSync,
  writeTextNow: (path, text) => writeFileSync(path, text, { mode: fileMode }),
  removeNow: path => rmSync(path, { force: true }),
  list: path => readdir(path).catch((error: unknown) => (isAbsent(error) ? [] : Promise.reject(error))),
  size: async path => (await stat(path)).size,
  changed: async path => (await stat(path)).mtimeMs,
  touch: (path, unixMs) => utimes(path, unixMs / 1000, unixMs / 1000),
  readText: path => readFile(path, 'utf8'),
  async read(path, position, target) {
    const file = await open(path, 'r')
    try {
      let filled = 0
      while (filled < target.length) {
        const { bytesRead } = await file.read(target, filled, target.length - filled, position + filled)
        if (bytesRead === 0) break
        filled += bytesRead
      }
      return filled
    } finally {
      await file.close()
    }
  },
  rename,
  remove: path => rm(path, { force: true }),
  removeFolder: path => rmdir(path),
}

/** Whether a file or folder is not there. */
export function isAbsent(error: unknown): boolean {
  return codeOf(error) === 'ENOENT'
}

/** Whether the machine lacks something for a while: it says nothing of the file. */
export function isPassing(error: unknown): boolean {
  return ['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN'].includes(codeOf(error))
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

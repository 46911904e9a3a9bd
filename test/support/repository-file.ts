// Files of the repository from code that runs from source as well as from `dist`.
import { fileURLToPath } from 'node:url'

/** Absolute path of a file given from the root of the repository. */
export function repositoryFile(path: string): string {
  const here = new URL('.', import.meta.url).pathname
  return fileURLToPath(new URL(`${here.includes('/dist/test/') ? '../../../' : '../../'}${path}`, import.meta.url))
}

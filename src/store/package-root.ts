// Where the files lie that ship beside the code. The same answer from src (tests) and from dist/src (the built program).
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of this package's package.json, found by walking up from this file. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('package.json of gatewarden is missing: the installation is incomplete')
    folder = parent
  }
  return folder
}

// Programs of the bench that run as processes or threads of their own: always those of the build, since Node 20 runs no TypeScript.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../src/store/package-root.ts'

/** Absolute path of a built file below `bench/`. @throws Error when there is no build */
export function builtFile(path: string): string {
  const file = join(packageRoot(), 'dist/bench', path)
  if (!existsSync(file)) throw new Error(`${file} is not built: run \`npm run build\``)
  return file
}

// The version of this build, from package.json: what --version prints, the heartbeat reports and the metrics show.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../store/package-root.ts'

/** E.g. `0.1.0`. */
export function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'))
  if (
    typeof manifest === 'object' &&
    manifest !== null &&
    'version' in manifest &&
    typeof manifest.version === 'string'
  ) {
    return manifest.version
  }
  throw new Error('package.json of gatewarden has no version')
}

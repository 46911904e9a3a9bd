// Where the profiles are that ship with the package.
import { join } from 'node:path'
import { packageRoot } from '../store/package-root.ts'

/** The directory of the profiles that ship with the package. */
export function packagedProfiles(): string {
  return join(packageRoot(), 'profiles')
}

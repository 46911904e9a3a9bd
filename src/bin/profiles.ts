// The profiles of a process: loaded at start or the start ends with every finding; afterwards watched, the last good one stays.
// Whoever serves them subscribes; each swap reaches all subscribers before the next look.
import { existsSync } from 'node:fs'
import type { Config } from '../config/config.ts'
import type { Names } from '../core/names.ts'
import type { Log } from '../observe/log.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import { directoryHint } from '../profile/directory-hint.ts'
import { formatFinding } from '../profile/finding.ts'
import { loadDirectory } from '../profile/load-directory.ts'
import type { ProfileSet } from '../profile/profile-set.ts'
import { type ProfileStatus, watchProfiles } from '../profile/watch.ts'
import { openLintThread } from './lint-thread.ts'
import { packagedProfiles } from './packaged-profiles.ts'
import { StartError } from './start-error.ts'

/** Profiles in force. */
export interface Profiles {
  current(): ProfileSet
  status(): readonly ProfileStatus[]
  /** Names that stood in the name tables, by number. */
  readonly names: Names
  /** Calls `take` now and after each swap. A throw of `take` at a swap is logged, and its subscriber keeps what it had. */
  subscribe(take: (set: ProfileSet) => void): void
  close(): Promise<void>
}

/** Loads and watches. @throws StartError with every finding. */
export async function openProfiles(config: Config, names: Names, log: Log): Promise<Profiles> {
  const directory = config.profiles.dir ?? packagedProfiles()
  if (!existsSync(directory))
    throw new StartError(`profiles.dir is ${directory}, which does not exist; name a directory of profiles.`)
  const compile = {
    names,
    deploymentEnvironment: config.deployment.environment,
    acceptedEnvironments: config.deployment.accept,
  }
  const { set, loaded, findings } = await loadDirectory(directory, compile)
  if (set === undefined) {
    const errors = findings.filter(({ level }) => level === 'error').map(formatFinding)
    throw new StartError([`the profiles in ${directory} are not sound:`, ...errors.map(each => `  ${each}`)].join('\n'))
  }
  const takers: ((set: ProfileSet) => void)[] = []
  const failed = new Set<number>()
  const thread = openLintThread()
  const watch = watchProfiles({
    directory,
    compile,
    judge: thread.judge,
    initial: loaded,
    timers: globalThis,
    hint: directoryHint,
    onSwap: next => {
      takers.forEach((take, index) => {
        try {
          take(next)
          failed.delete(index)
        } catch (error) {
          failed.add(index)
          log.error('changed profiles cannot be served; the last good ones stay', { error })
        }
      })
    },
    onStatus: status => logStatus(log, status),
  })
  return {
    names,
    current: () => watch.current(),
    status: () => watch.status().map(status => ({ ...status, failed: status.failed || failed.size > 0 })),
    subscribe: take => {
      take(watch.current())
      takers.push(take)
    },
    close: async () => {
      await Promise.all([thread.close(), watch.close()])
    },
  }
}

function logStatus(log: Log, { file, name, version, digest, failed, lastError }: ProfileStatus): void {
  if (failed) log.error('profile refused; the last good one stays', { file, name, findings: lastError })
  else log.info('profile in force', { file, name, version, digest })
}

/** Those of a set that this process serves. @throws StartError for a name that no profile has. */
export function served(set: ProfileSet, only: readonly string[] | null): readonly CompiledProfile[] {
  if (only === null) return set.profiles
  const unknown = only.filter(name => set.byName(name) === undefined)
  if (unknown.length > 0) {
    const known = set.profiles.map(profile => profile.name).join(', ')
    throw new StartError(`check.profiles names ${unknown.join(', ')}, which no profile is called; there are ${known}.`)
  }
  return set.profiles.filter(profile => only.includes(profile.name))
}

/** Prefixes of keys: what the log must never write. */
export function keyPrefixes(set: ProfileSet): readonly string[] {
  return set.profiles.flatMap(profile => profile.management.environments.map(each => each.prefix))
}

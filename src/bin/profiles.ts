// The profiles of a process: loaded at start or the start ends with every finding; afterwards watched, the last good one stays.
// Whoever serves them subscribes; each swap reaches all subscribers before the next look.
import { existsSync } from 'node:fs'
import type { Config } from '../config/config.ts'
import { type ConfigFault, closest, quoteFound } from '../config/fault.ts'
import { settingName } from '../config/settings.ts'
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
import { refuseFaults, StartError } from './start-error.ts'

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
    refuseFaults([
      {
        name: settingName('profiles.dir'),
        found: `${directory}, which does not exist`,
        accepted: 'a directory of profiles',
      },
    ])
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
  refuseFaults(profileFaults(config, set))
  for (const profile of deaf(config, set)) {
    log.warn('deployment.accept holds no environment of a profile: all its API keys are denied', { profile })
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

/** Settings that name what no profile has: a typing mistake there would deny every key in silence. */
function profileFaults({ role, check, deployment }: Config, set: ProfileSet): ConfigFault[] {
  const environments = environmentsOf(set.profiles)
  const names = set.profiles.map(profile => profile.name)
  const labelled = (name: string) =>
    set.profiles.flatMap(({ management }) => management.environments).find(({ label }) => label === name)?.name
  return [
    ...(deployment.accept ?? [])
      .filter(name => !environments.includes(name))
      .map(name =>
        unknownName('deployment.accept', name, 'environments of the profiles', environments, labelled(name)),
      ),
    ...(role === 'admin' ? [] : (check.profiles ?? []))
      .filter(name => !names.includes(name))
      .map(name => unknownName('check.profiles', name, 'profiles', names)),
  ]
}

function unknownName(
  setting: 'deployment.accept' | 'check.profiles',
  given: string,
  what: string,
  known: readonly string[],
  meant = closest(given, known),
): ConfigFault {
  const hint = meant === undefined ? '' : `; did you mean ${meant}?`
  return { name: settingName(setting), found: quoteFound(given), accepted: `${what}: ${known.join(', ')}${hint}` }
}

function environmentsOf(profiles: readonly CompiledProfile[]): readonly string[] {
  return [...new Set(profiles.flatMap(({ management }) => management.environments.map(({ name }) => name)))]
}

/** Profiles that are served without one environment that is accepted. */
function deaf({ check, deployment: { accept } }: Config, set: ProfileSet): readonly string[] {
  if (accept === null) return []
  const without = served(set, check.profiles).filter(
    profile => !environmentsOf([profile]).some(name => accept.includes(name)),
  )
  return without.map(({ name }) => name)
}

/** Those of a set that this process serves. */
export function served(set: ProfileSet, only: readonly string[] | null): readonly CompiledProfile[] {
  return only === null ? set.profiles : set.profiles.filter(profile => only.includes(profile.name))
}

/** Prefixes of keys: what the log must never write. */
export function keyPrefixes(set: ProfileSet): readonly string[] {
  return set.profiles.flatMap(profile => profile.management.environments.map(each => each.prefix))
}

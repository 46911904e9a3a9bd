// What a rule that joins several settings looks at, and how it names a setting in a fault.
import { resolve } from 'node:path'
import type { Role } from './config.ts'
import type { ConfigFault } from './fault.ts'
import type { SetValue } from './read-yaml.ts'
import { type SettingPath, type SettingValues, settingName } from './settings.ts'

/** All settings of one role, as far as each is sound by itself. */
export interface Given {
  readonly role: Role
  readonly values: SettingValues
  readonly found: ReadonlyMap<SettingPath, SetValue>
  /** Set, but refused already. */
  readonly failed: ReadonlySet<SettingPath>
  readonly cwd: string
}

/** The name to blame: where the setting was found, or how it could be set. */
export function nameOf(path: SettingPath, { found }: Given): string {
  return found.get(path)?.origin ?? settingName(path)
}

/** A fault if a setting is missing; none if it was set and refused already. */
export function unset(path: SettingPath, accepted: string, given: Given): ConfigFault[] {
  if (given.values[path] !== undefined || given.failed.has(path)) return []
  return [{ name: nameOf(path, given), found: 'nothing', accepted }]
}

/** Whether a role is the check, or the admin service, or both. */
export function serves(role: Role, part: 'check' | 'admin'): boolean {
  return role === part || role === 'serve'
}

/** Directory under which this role finds what has no path of its own. */
export function dataDirOf({ values, cwd }: Pick<Given, 'values' | 'cwd'>): string {
  return resolve(cwd, values.data_dir ?? '.gatewarden')
}

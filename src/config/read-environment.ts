// Reads settings from environment variables: text in, values by path out, every fault at once.
// A name under our prefix that is no setting is a fault; all other variables are none of our business.
import { type ConfigFault, closest, withoutUrlCredentials } from './fault.ts'
import type { ReadSettings, SetValue } from './read-yaml.ts'
import {
  environmentNames,
  environmentPrefix,
  type SettingForm,
  type SettingPath,
  settingOf,
  settingPaths,
} from './settings.ts'

/** Reads a small text file. @throws Error with `code` as node:fs does. */
export type ReadText = (path: string) => string

export type Environment = Readonly<Record<string, string | undefined>>

/** Reads every setting in `environment`; files named by `…_FILE` are read through `readText`. */
export function readEnvironment(environment: Environment, readText: ReadText): ReadSettings {
  const values = new Map<SettingPath, SetValue>()
  const faults: ConfigFault[] = unknownNames(environment)
  for (const path of settingPaths) {
    const found = present(path, environment)
    if (found.length > 1) faults.push(setTwice(found))
    const name = found[0]
    if (name === undefined) continue
    const text = environment[name] ?? ''
    const fromFile = environmentNames(path).file.includes(name)
    const content = fromFile ? readSecretFile(text, name, readText, faults) : text
    if (content !== undefined) values.set(path, { value: fromText(content, settingOf(path).form), origin: name })
  }
  return { values, faults }
}

/** Every environment variable that is a setting, in the order of the table. */
export function knownEnvironmentNames(): string[] {
  return settingPaths.flatMap(path => [...environmentNames(path).value, ...environmentNames(path).file])
}

function unknownNames(environment: Environment): ConfigFault[] {
  const known = knownEnvironmentNames()
  const unknown = Object.keys(environment).filter(
    name => name.startsWith(environmentPrefix) && !known.includes(name) && !isServiceLink(name, environment),
  )
  return unknown.sort().map(name => {
    const near = closest(name, known)
    const accepted =
      near === undefined ? 'a variable of docs/configuration.md' : `a known variable; did you mean ${near}?`
    return { name, found: 'a name that is no setting', accepted: others[name] ?? accepted }
  })
}

/** Names that people may expect, and what to use instead. */
const others: Readonly<Record<string, string>> = {
  GATEWARDEN_CONFIG: 'a variable of docs/configuration.md; the settings file is named by --config',
}

function present(path: SettingPath, environment: Environment): string[] {
  const { value, file } = environmentNames(path)
  return [...value, ...file].filter(name => environment[name] !== undefined && environment[name] !== '')
}

function setTwice(names: readonly string[]): ConfigFault {
  return { name: names.join(' and '), found: 'the same setting more than once', accepted: 'one of them' }
}

function readSecretFile(file: string, name: string, readText: ReadText, faults: ConfigFault[]): string | undefined {
  try {
    return readText(file).trim()
  } catch (error) {
    const found = `${withoutUrlCredentials(JSON.stringify(file))}, which cannot be read (${codeOf(error)})`
    faults.push({ name, found, accepted: 'a readable file that holds the value' })
    return undefined
  }
}

/** The code of a file system error, e.g. `ENOENT`. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
}

/** The value that the text of a variable stands for. */
export function fromText(text: string, form: SettingForm): unknown {
  if (form === 'number') return /^-?\d{1,15}$/.test(text) ? Number(text) : text
  if (form === 'flag') return text === 'true' ? true : text === 'false' ? false : text
  if (form === 'list') return text.split(',').map(part => part.trim())
  if (form === 'pairs') return text.split(',').map(toPair)
  return text
}

/** `id=file` as an object; without `=` the text stays, and the schema refuses it. */
function toPair(part: string): unknown {
  const at = part.indexOf('=')
  return at < 0 ? part.trim() : { id: part.slice(0, at).trim(), file: part.slice(at + 1).trim() }
}

const serviceLink =
  /^(.+?)_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/

/** Kubernetes writes such names for every Service: for one called `gatewarden…` they fall under our prefix and mean nothing. */
function isServiceLink(name: string, environment: Environment): boolean {
  const service = serviceLink.exec(name)?.[1]
  return service !== undefined && environment[`${service}_SERVICE_HOST`] !== undefined
}

// Settings file and environment in, a whole Config or every fault out; nothing is half applied.
// Reads only the settings file and the files that `…_FILE` variables name; opens no socket, starts nothing.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { checkRules } from './check-rules.ts'
import type { ClientAddressSetting, Config, Role, TlsFiles } from './config.ts'
import { type ConfigFault, quotePart } from './fault.ts'
import { defaultListen } from './listeners.ts'
import { FileTooLong, readBounded } from './read-bounded.ts'
import { codeOf, type Environment, fromText, readEnvironment } from './read-environment.ts'
import { type ReadSettings, readYaml, type SetValue } from './read-yaml.ts'
import { dataDirOf } from './rule.ts'
import { type SettingPath, type SettingValues, settingOf, settingPaths, spoolBytesDefault } from './settings.ts'

/** What the settings are read from. */
export interface ConfigSources {
  readonly role: Role
  readonly environment: Environment
  /** Directory that relative paths start from. */
  readonly cwd: string
  /** `--config`; undefined: `gatewarden.yaml` in `cwd` if it exists. */
  readonly file?: string | undefined
  /** What flags of the command line say; they win. The text is read as that of an environment variable. */
  readonly flags?: Readonly<Partial<Record<SettingPath, { readonly text: string; readonly flag: string }>>>
}

export type ConfigResult =
  | { readonly ok: true; readonly config: Config; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly faults: readonly ConfigFault[] }

const defaultFile = 'gatewarden.yaml'
/** Octets of a settings file that are read: four for each character that may be in it. */
const fileOctetsMax = 4 * 65_536
/** Octets of a file that holds one value. */
const valueOctetsMax = 16_384

/** Reads, checks and completes the configuration of one role. */
export function loadConfig(sources: ConfigSources): ConfigResult {
  const fromFile = readFile(sources)
  const readValue = (path: string) => readBounded(resolve(sources.cwd, path), valueOctetsMax).toString('utf8')
  const fromEnvironment = readEnvironment(sources.environment, readValue)
  const found = new Map([...fromFile.values, ...fromEnvironment.values, ...fromFlags(sources)])
  const { values, faults } = validate(found)
  const all = [...fromFile.faults, ...fromEnvironment.faults, ...faults]
  const failed = new Set([...found.keys()].filter(path => !(path in values)))
  all.push(...checkRules({ role: sources.role, values, found, failed, cwd: sources.cwd }))
  if (all.length > 0) return { ok: false, faults: all }
  return { ok: true, config: complete(sources, values), warnings: unreadWarnings(found) }
}

function readFile({ cwd, file }: ConfigSources): ReadSettings {
  const name = file ?? defaultFile
  const path = resolve(cwd, name)
  const refuse = (found: string) => ({
    values: new Map(),
    faults: [{ name: name === '' ? '--config' : name, found, accepted: 'a readable YAML file of settings' }],
  })
  if (name === '') return refuse('nothing')
  if (file === undefined && !existsSync(path)) return { values: new Map(), faults: [] }
  try {
    return readYaml(readBounded(path, fileOctetsMax).toString('utf8'), name)
  } catch (error) {
    if (error instanceof FileTooLong) return refuse(`more than ${fileOctetsMax} octets`)
    return refuse(`a file that cannot be read (${codeOf(error)})`)
  }
}

function fromFlags({ flags }: ConfigSources): [SettingPath, SetValue][] {
  return settingPaths.flatMap((path): [SettingPath, SetValue][] => {
    const given = flags?.[path]
    return given === undefined
      ? []
      : [[path, { value: fromText(given.text, settingOf(path).form), origin: given.flag }]]
  })
}

function validate(found: ReadonlyMap<SettingPath, SetValue>): { values: SettingValues; faults: ConfigFault[] } {
  const values: Record<string, unknown> = {}
  const faults: ConfigFault[] = []
  for (const path of settingPaths) {
    const set = found.get(path)
    if (set === undefined) continue
    const { schema, accepts, secret } = settingOf(path)
    const parsed = schema.safeParse(set.value)
    if (parsed.success) values[path] = parsed.data
    else
      faults.push({
        name: set.origin,
        found: secret ? 'a value not shown here' : quotePart(set.value, parsed.error.issues[0]?.path ?? []),
        accepted: accepts,
      })
  }
  return { values: values as SettingValues, faults }
}

function unreadWarnings(found: ReadonlyMap<SettingPath, SetValue>): string[] {
  const unread = [...found].filter(([path]) => settingOf(path).unread === true)
  return unread.map(([path, { origin }]) => `${origin} is set, but this version does not use ${path} yet`)
}

function complete({ role, cwd }: ConfigSources, values: SettingValues): Config {
  const dataDir = dataDirOf({ values, cwd })
  const absolute = (path: string) => resolve(cwd, path)
  const ownProfiles = resolve(cwd, 'profiles')
  const profilesDir =
    values['profiles.dir'] === undefined
      ? existsSync(ownProfiles)
        ? ownProfiles
        : null
      : absolute(values['profiles.dir'])
  const adminPepperFile = values['admin.pepper.file']
  const listen = defaultListen(dataDir)
  return freeze({
    role,
    database: { url: values['database.url'] ?? null },
    dataDir,
    profiles: { dir: profilesDir },
    peppers: values.peppers?.map(({ id, file }) => ({ id, file: absolute(file) })) ?? null,
    deployment: {
      environment: values['deployment.environment'] ?? 'production',
      accept: values['deployment.accept'] ?? null,
    },
    check: {
      listen: values['check.listen'] ?? listen['check.listen'],
      tls: tlsFiles(values['check.tls.cert'], values['check.tls.key'], values['check.tls.client_ca'], absolute),
      profiles: values['check.profiles'] ?? null,
      ownFailure: values['check.own_failure'] ?? 'denied-503',
      transport: values['check.transport'] ?? 'h2',
      workers: values['check.workers'] ?? 1,
    },
    als: { listen: values['als.listen'] ?? listen['als.listen'] },
    clientAddress: clientAddress(role, values),
    feed: { proof: values['feed.proof'] ?? 'write' },
    admin: {
      listen: values['admin.listen'] ?? listen['admin.listen'][0],
      tls: tlsFiles(values['admin.tls.cert'], values['admin.tls.key'], values['admin.tls.client_ca'], absolute),
      reflection: values['admin.reflection'] ?? false,
      pepper:
        adminPepperFile === undefined
          ? null
          : { id: values['admin.pepper.id'] ?? 'a1', file: absolute(adminPepperFile) },
    },
    facade: {
      listen: values['facade.listen'] ?? listen['facade.listen'][0],
      trustedPeers: values['facade.trusted_peers'] ?? [],
    },
    metrics: { listen: values['metrics.listen'] ?? listen['metrics.listen'][0] },
    cli: {
      server: values['cli.server'] ?? listen['admin.listen'][0],
      keyFile: absolute(values['cli.key_file'] ?? `${dataDir}/admin.key`),
    },
    usage: {
      spoolDir: absolute(values['usage.spool_dir'] ?? `${dataDir}/spool`),
      spoolMaxBytes: values['usage.spool_max_bytes'] ?? spoolBytesDefault,
    },
    log: { level: values['log.level'] ?? 'info' },
  })
}

function tlsFiles(
  cert: string | undefined,
  key: string | undefined,
  clientCa: string | undefined,
  absolute: (path: string) => string,
): TlsFiles | null {
  if (cert === undefined || key === undefined) return null
  return { cert: absolute(cert), key: absolute(key), clientCa: clientCa === undefined ? null : absolute(clientCa) }
}

function clientAddress(role: Role, values: SettingValues): ClientAddressSetting | null {
  const appended = values['client_address.appended']
  switch (values['client_address.mode'] ?? (role === 'serve' ? 'grpc-metadata' : undefined)) {
    case 'grpc-metadata':
      return { mode: 'grpc-metadata' }
    case 'trusted-header':
      return { mode: 'trusted-header', header: values['client_address.header'] ?? '' }
    case 'xff-hops':
      return { mode: 'xff-hops', hops: values['client_address.hops'] ?? 0, appended: appended ?? true }
    case 'xff-trusted-cidrs':
      return {
        mode: 'xff-trusted-cidrs',
        trustedCidrs: values['client_address.trusted_cidrs'] ?? [],
        appended: appended ?? true,
      }
    case 'source-address':
      return { mode: 'source-address' }
    case undefined:
      return null
  }
}

function freeze<Value extends object>(value: Value): Value {
  for (const member of Object.values(value)) if (typeof member === 'object' && member !== null) freeze(member)
  return Object.freeze(value)
}

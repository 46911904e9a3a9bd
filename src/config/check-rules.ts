// Rules that join several settings or depend on the role: what must be set together, what a listener may be open to.
// Judges only what passed its own check, so that one mistake gives one fault.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Role } from './config.ts'
import { type ConfigFault, withoutUrlCredentials } from './fault.ts'
import { isLocal, unixPathLengthMax } from './listen-address.ts'
import type { SetValue } from './read-yaml.ts'
import { environmentNames, type SettingPath, type SettingValues } from './settings.ts'

/** The five modes and when to take which: ends the start of a check without one. */
const modeGuide = [
  'one of five modes, by how Envoy is told the client address:',
  '    grpc-metadata      Envoy sends it with each check, as envoy/envoy.yaml does (recommended)',
  '    trusted-header     Envoy writes it to a header of client_address.header, overwriting what clients send',
  '    xff-hops           behind client_address.hops trusted proxies; counts x-forwarded-for from the right',
  '    xff-trusted-cidrs  behind proxies in client_address.trusted_cidrs; walks x-forwarded-for from the right',
  '    source-address     Envoy is the first hop, or gets the PROXY protocol',
].join('\n')

/** Longest file name that is made in the data directory for a socket, with its separator. */
const socketNameLengthMax = '/.s.PGSQL.5432.lock'.length

interface Given {
  readonly role: Role
  readonly values: SettingValues
  readonly found: ReadonlyMap<SettingPath, SetValue>
  /** Set, but refused already. */
  readonly failed: ReadonlySet<SettingPath>
  readonly cwd: string
}

/** Every broken rule. */
export function checkRules(
  role: Role,
  values: SettingValues,
  found: ReadonlyMap<SettingPath, SetValue>,
  failed: ReadonlySet<SettingPath>,
  cwd: string,
): ConfigFault[] {
  const given = { role, values, found, failed, cwd }
  return [
    ...tlsRules('check', given),
    ...tlsRules('admin', given),
    ...listenerRules(given),
    ...alsRules(given),
    ...facadeRules(given),
    ...clientAddressRules(given),
    ...workerRules(given),
    ...storeRules(given),
    ...dataDirRules(given),
  ]
}

function nameOf(path: SettingPath, { found }: Given): string {
  return found.get(path)?.origin ?? `${path} (${environmentNames(path).value[0]})`
}

function unset(path: SettingPath, accepted: string, given: Given): ConfigFault[] {
  if (given.values[path] !== undefined || given.failed.has(path)) return []
  return [{ name: nameOf(path, given), found: 'nothing', accepted }]
}

function tlsRules(listener: 'check' | 'admin', given: Given): ConfigFault[] {
  const paths = [`${listener}.tls.cert`, `${listener}.tls.key`, `${listener}.tls.client_ca`] as const
  if (!serves(given.role, listener) || !paths.some(path => given.found.has(path))) return []
  const needed = paths.slice(0, 2).flatMap(path => unset(path, `a PEM file: ${listener}.tls needs cert and key`, given))
  const missing = paths.flatMap(path => {
    const file = given.values[path]
    if (file === undefined || existsSync(resolve(given.cwd, file))) return []
    return [
      {
        name: nameOf(path, given),
        found: `${withoutUrlCredentials(JSON.stringify(file))}, which does not exist`,
        accepted: 'a readable PEM file',
      },
    ]
  })
  return [...needed, ...missing]
}

function listenerRules(given: Given): ConfigFault[] {
  const { role, values } = given
  const faults: ConfigFault[] = []
  const adminListen = values['admin.listen']
  if (
    serves(role, 'admin') &&
    adminListen !== undefined &&
    !isLocal(adminListen) &&
    !given.found.has('admin.tls.cert')
  ) {
    const accepted = 'a loopback or unix address, or admin.tls: admin keys must not travel in clear text'
    faults.push({ name: nameOf('admin.listen', given), found: `${adminListen} without TLS`, accepted })
  }
  for (const address of serves(role, 'check') ? (values['check.listen'] ?? []) : []) {
    if (isLocal(address)) continue
    const fault = openCheckListener(address, given)
    if (fault !== undefined) faults.push(fault)
  }
  return faults
}

/** Whoever speaks to the facade names the caller: on TCP that takes a certificate whose name is listed. */
function facadeRules(given: Given): ConfigFault[] {
  const { role, values, found } = given
  const listen = values['facade.listen']
  if (!serves(role, 'admin') || listen === undefined || listen.startsWith('unix:')) return []
  const needs = (['admin.tls.cert', 'admin.tls.key', 'admin.tls.client_ca', 'facade.trusted_peers'] as const).filter(
    path => !found.has(path),
  )
  if (needs.length === 0) return []
  const accepted = `a unix address, or also ${needs.join(', ')}: callers are believed only of peers with a known certificate`
  return [{ name: nameOf('facade.listen', given), found: listen, accepted }]
}

/** Whoever speaks to it completes rows of the usage log: beyond this machine that takes a certificate. */
function alsRules(given: Given): ConfigFault[] {
  if (!serves(given.role, 'check') || given.found.has('check.tls.client_ca')) return []
  const open = given.values['als.listen']?.find(address => !isLocal(address))
  if (open === undefined) return []
  const accepted = 'a loopback or unix address, or check.tls with client_ca: whoever may connect writes the usage log'
  return [{ name: nameOf('als.listen', given), found: `${open}, open to callers without a certificate`, accepted }]
}

function openCheckListener(address: string, given: Given): ConfigFault | undefined {
  const name = nameOf('check.listen', given)
  if (!given.found.has('check.tls.cert')) {
    const accepted = 'a loopback or unix address, or check.tls: secrets must not travel in clear text'
    return { name, found: `${address} without TLS`, accepted }
  }
  if (given.values['client_address.mode'] === 'grpc-metadata' && !given.found.has('check.tls.client_ca')) {
    const accepted =
      'check.tls.client_ca with client_address.mode grpc-metadata: whoever may connect names the client address'
    return { name, found: `${address}, open to callers without a certificate`, accepted }
  }
  return undefined
}

function clientAddressRules(given: Given): ConfigFault[] {
  if (!serves(given.role, 'check')) return []
  const mode = given.values['client_address.mode']
  if (mode === undefined) return given.role === 'serve' ? [] : unset('client_address.mode', modeGuide, given)
  const with_ = `with client_address.mode ${mode}`
  switch (mode) {
    case 'trusted-header':
      return unset('client_address.header', `the header that Envoy overwrites, ${with_}`, given)
    case 'xff-hops':
      return [
        ...unset('client_address.hops', `the number of trusted proxies in front of Envoy, ${with_}`, given),
        ...unset('client_address.appended', `whether Envoy appends the peer to x-forwarded-for, ${with_}`, given),
      ]
    case 'xff-trusted-cidrs':
      return unset('client_address.trusted_cidrs', `the CIDR blocks of trusted proxies, ${with_}`, given)
    default:
      return []
  }
}

/** `serve` is one process with everything in it. */
function workerRules(given: Given): ConfigFault[] {
  const workers = given.values['check.workers'] ?? 1
  if (given.role !== 'serve' || workers === 1) return []
  const accepted = '1 with `serve`; several with `gatewarden check`, beside `gatewarden admin`'
  return [{ name: nameOf('check.workers', given), found: String(workers), accepted }]
}

function storeRules(given: Given): ConfigFault[] {
  if (given.role !== 'check' && given.role !== 'admin') return []
  const url = unset('database.url', 'the URL of PostgreSQL: only `serve` has a database of its own', given)
  const peppers = unset('peppers', 'the peppers of this deployment, the same in every process', given)
  const pepper = given.role === 'admin' ? unset('admin.pepper.file', 'the file of the pepper of admin keys', given) : []
  return [...url, ...peppers, ...pepper]
}

function dataDirRules(given: Given): ConfigFault[] {
  if (given.role === 'client') return []
  const dataDir = resolve(given.cwd, given.values.data_dir ?? '.gatewarden')
  const lengthMax = unixPathLengthMax - '/pg'.length - socketNameLengthMax
  if (Buffer.byteLength(dataDir) <= lengthMax) return []
  const accepted = `a directory whose absolute path has at most ${lengthMax} octets, because unix sockets are made in it`
  return [{ name: nameOf('data_dir', given), found: withoutUrlCredentials(JSON.stringify(dataDir)), accepted }]
}

function serves(role: Role, part: 'check' | 'admin'): boolean {
  return role === part || role === 'serve'
}

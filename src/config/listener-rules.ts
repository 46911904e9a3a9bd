// What listeners may be open to, and that no two of them want one address.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { type ConfigFault, withoutUrlCredentials } from './fault.ts'
import { isLocal } from './listen-address.ts'
import { collisions, defaultListen, type ListenAddresses, type Listener } from './listeners.ts'
import { dataDirOf, type Given, nameOf, serves, unset } from './rule.ts'

/** Every broken rule of listeners. */
export function listenerFaults(given: Given): ConfigFault[] {
  return [
    ...tlsRules('check', given),
    ...tlsRules('admin', given),
    ...listenerRules(given),
    ...collisionRules(given),
    ...alsRules(given),
    ...facadeRules(given),
    ...workerRules(given),
  ]
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

/** Two settings that want one address: only one of them would get it. */
function collisionRules(given: Given): ConfigFault[] {
  const { role, values, failed } = given
  const standard = defaultListen(dataDirOf(given))
  const addresses: ListenAddresses = {
    'check.listen': values['check.listen'] ?? standard['check.listen'],
    'als.listen': values['als.listen'] ?? standard['als.listen'],
    'admin.listen': listOf(values['admin.listen'], standard['admin.listen']),
    'facade.listen': listOf(values['facade.listen'], standard['facade.listen']),
    'metrics.listen': listOf(values['metrics.listen'], standard['metrics.listen']),
  }
  const workers = role === 'check' ? (values['check.workers'] ?? 1) : 1
  const sound = collisions(role, addresses, workers).filter(pair => pair.every(({ path }) => !failed.has(path)))
  return sound.map(([earlier, later]) => {
    // A default gives way to nobody: the one that was set is at fault.
    const isDefault = !given.found.has(later.path) && given.found.has(earlier.path)
    return isDefault ? collision(earlier, later, workers, given) : collision(later, earlier, workers, given)
  })
}

function collision(blamed: Listener, other: Listener, workers: number, given: Given): ConfigFault {
  const isAlone = workers === 1
  const told = ({ address, worker }: Listener) => (isAlone ? address : `${address} for worker ${worker}`)
  const taker = blamed.path === other.path ? 'the same setting' : nameOf(other.path, given)
  const counted = isAlone ? '' : '; ports are counted up, one a worker: leave room, or listen on unix sockets'
  return {
    name: nameOf(blamed.path, given),
    found: `${told(blamed)}, where ${taker} listens as well (${told(other)})`,
    accepted: `an address that nothing else has${counted}`,
  }
}

function listOf(value: string | undefined, otherwise: readonly string[]): readonly string[] {
  return value === undefined ? otherwise : [value]
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

/** `serve` is one process with everything in it. */
function workerRules(given: Given): ConfigFault[] {
  const workers = given.values['check.workers'] ?? 1
  if (given.role !== 'serve' || workers === 1) return []
  const accepted = '1 with `serve`; several with `gatewarden check`, beside `gatewarden admin`'
  return [{ name: nameOf('check.workers', given), found: String(workers), accepted }]
}

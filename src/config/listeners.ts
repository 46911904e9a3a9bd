// Everything that a process listens on, with the setting it comes from, so that two settings which want one address are found
// before anything is opened. Total; resolves no names.
import { resolve } from 'node:path'
import type { Role } from './config.ts'
import { parseListen } from './listen-address.ts'
import { endpointOf } from './worker-endpoints.ts'

/** The settings that say where a process listens. */
export const listenPaths = ['check.listen', 'als.listen', 'admin.listen', 'facade.listen', 'metrics.listen'] as const

export type ListenPath = (typeof listenPaths)[number]

/** Addresses by setting. */
export type ListenAddresses = Readonly<Record<ListenPath, readonly string[]>>

/** Where a process listens unless it is told otherwise. */
export function defaultListen(dataDir: string) {
  return {
    'check.listen': [`unix:${dataDir}/check.sock`, '127.0.0.1:9001'],
    'als.listen': [`unix:${dataDir}/als.sock`, '127.0.0.1:9003'],
    'admin.listen': ['127.0.0.1:9002'],
    'facade.listen': [`unix:${dataDir}/facade.sock`],
    'metrics.listen': ['127.0.0.1:9090'],
  } as const satisfies ListenAddresses
}

/** The settings of a role that open something. */
function listenPathsOf(role: Role): readonly ListenPath[] {
  if (role === 'serve') return listenPaths
  if (role === 'check') return ['check.listen', 'als.listen', 'metrics.listen']
  return role === 'admin' ? ['admin.listen', 'facade.listen', 'metrics.listen'] : []
}

/** One listener; `worker` counts from 1. */
export interface Listener {
  readonly path: ListenPath
  readonly address: string
  readonly worker: number
}

/** Listeners that cannot both be opened, at most one pair for any two settings. The later one is at fault. */
export function collisions(
  role: Role,
  addresses: ListenAddresses,
  workers: number,
): readonly (readonly [earlier: Listener, later: Listener])[] {
  const taken = new Map<string, Listener[]>()
  const pairs = new Map<string, readonly [Listener, Listener]>()
  for (let worker = 1; worker <= workers; worker += 1) {
    for (const path of listenPathsOf(role)) {
      for (const given of addresses[path]) {
        const listener = { path, address: workers === 1 ? given : endpointOf(given, worker), worker }
        const place = placeOf(listener.address)
        if (place === undefined) continue
        const others = taken.get(place.name) ?? []
        const other = others.find(({ address }) => overlap(place.hosts, placeOf(address)?.hosts ?? []))
        const pair = [path, other?.path].sort().join(' ')
        if (other !== undefined && !pairs.has(pair)) pairs.set(pair, [other, listener])
        taken.set(place.name, [...others, listener])
      }
    }
  }
  return [...pairs.values()]
}

interface Place {
  /** A port, or the path of a socket. */
  readonly name: string
  readonly hosts: readonly string[]
}

/** Undefined: it takes no place of its own, such as any free port. */
function placeOf(address: string): Place | undefined {
  const listen = parseListen(address)
  if (listen === undefined) return undefined
  if (listen.kind === 'unix') return { name: resolve(listen.path), hosts: ['unix'] }
  if (listen.port === 0) return undefined
  const host = listen.host.toLowerCase()
  return { name: String(listen.port), hosts: host === 'localhost' ? ['127.0.0.1', '::1'] : [host] }
}

const everything = ['0.0.0.0', '::']

function overlap(some: readonly string[], others: readonly string[]): boolean {
  return (
    [some, others].some(hosts => hosts.some(host => everything.includes(host))) ||
    some.some(host => others.includes(host))
  )
}

// Where a process listens, as people write it: `host:port`, `[v6]:port` or `unix:/path`.
// Total: text that is none of these has no parse; nothing here resolves names or opens sockets.
import { isIPv4, isIPv6 } from 'node:net'

/** A parsed listen address. `port` 0 asks for any free port. */
export type Listen =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

/** Octets of a socket path that every supported kernel takes (`sun_path` less its end). */
export const unixPathLengthMax = 107

/** Greatest port of TCP. */
const portMax = 65_535

const tcpForm = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/

/** Parses one address; undefined when it is none. */
export function parseListen(text: string): Listen | undefined {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    return path.startsWith('/') && Buffer.byteLength(path) <= unixPathLengthMax ? { kind: 'unix', path } : undefined
  }
  const match = tcpForm.exec(text)
  const [, v6, name, digits] = match ?? []
  const host = v6 ?? name
  const port = Number(digits)
  if (host === undefined || port > portMax) return undefined
  // What looks like an address must be one: 300.1.1.1 is no name either.
  const isSound = v6 === undefined ? !/^[\d.]+$/.test(host) || isIPv4(host) : isIPv6(host)
  return isSound ? { kind: 'tcp', host, port } : undefined
}

/** Whether only this machine can reach the address. A name other than `localhost` is taken as reachable by others. */
export function isLocal(text: string): boolean {
  const listen = parseListen(text)
  if (listen === undefined) return false
  if (listen.kind === 'unix') return true
  return listen.host === 'localhost' || listen.host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(listen.host)
}

// Where a process listens, as people write it: `host:port`, `[v6]:port` or `unix:/path`.
// Total: text that is none of these has no parse; nothing here resolves names or opens sockets.

/** A parsed listen address. `port` 0 asks for any free port. */
export type Listen =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

/** Octets of a socket path that every supported kernel takes (`sun_path` less its end). */
export const unixPathLengthMax = 107

const tcpForm = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/

/** Parses one address; undefined when it is none. */
export function parseListen(text: string): Listen | undefined {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    return path.startsWith('/') && Buffer.byteLength(path) <= unixPathLengthMax ? { kind: 'unix', path } : undefined
  }
  const match = tcpForm.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  return host === undefined || port > 65_535 ? undefined : { kind: 'tcp', host, port }
}

/** Whether only this machine can reach the address. A name other than `localhost` is taken as reachable by others. */
export function isLocal(text: string): boolean {
  const listen = parseListen(text)
  if (listen === undefined) return false
  if (listen.kind === 'unix') return true
  return listen.host === 'localhost' || listen.host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(listen.host)
}

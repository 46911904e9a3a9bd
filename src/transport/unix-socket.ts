// The file of a unix socket: who may connect, and what is done about one that is there already.
// A socket somebody answers on, and a file that is no socket, are never touched.
import { chmod, lstat, unlink } from 'node:fs/promises'
import { connect } from 'node:net'

/** Owner and group may connect, nobody else (security.md S6). */
const socketMode = 0o660

/** How long a process that owns the socket may take to accept before it is taken for dead. */
const probeMs = 1000

const scheme = 'unix:'

/** Path of a `unix:` address; undefined: it is another kind of address. */
export function socketPath(address: string): string | undefined {
  return address.startsWith(scheme) ? address.slice(scheme.length) : undefined
}

/** Removes the socket file of a process that died. @throws Error when the path is in use or is no socket. */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (found === undefined) return
  if (!found.isSocket()) throw new Error(`${path} exists and is no socket: remove it or listen elsewhere`)
  if (await isAnswered(path)) throw new Error(`another process listens on ${path}: stop it or listen elsewhere`)
  await unlink(path)
}

/** Lets the group in and everybody else out. */
export async function restrictSocket(path: string): Promise<void> {
  await chmod(path, socketMode)
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    const settle = (answered: boolean) => {
      socket.destroy()
      resolve(answered)
    }
    // Neither accepted nor refused in time: somebody holds it and is only slow, so it is not ours to take.
    socket.setTimeout(probeMs, () => settle(true))
    socket.once('connect', () => settle(true))
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') settle(false)
      else reject(error)
    })
  })
}

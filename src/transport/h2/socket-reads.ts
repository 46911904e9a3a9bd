// Reads of a socket into one buffer that all sockets share. Node makes a buffer of 64 KiB for every read of a server's socket; only a
// socket that is made with `onread` can do without, and servers make none such. So its handle is given to one that we make.
// Where Node has no such handle, the socket is read in the usual way.
import { Socket } from 'node:net'

/** Octets of one read. */
const READ_MAX = 64 * 1024

/** What a read brought, until the next read of any socket: reading is synchronous, so all share it. */
const shared = Buffer.allocUnsafeSlow(READ_MAX)

/**
 * Begins to read a socket of a server with `pauseOnConnect`. Returns the one to use from now on, in its place.
 * @param take gets what each read brought, and must not keep it
 */
export function readSocket(accepted: Socket, take: (octets: Buffer) => void): Socket {
  const handle: unknown = Reflect.get(accepted, '_handle')
  if (typeof handle !== 'object' || handle === null || typeof Reflect.get(handle, 'useUserBuffer') !== 'function') {
    return accepted.on('data', take).resume()
  }
  Reflect.set(accepted, '_handle', null)
  const onread = {
    buffer: shared,
    callback: (length: number) => {
      take(shared.subarray(0, length))
      return true
    },
  }
  // Beyond what the types say: `onread` is documented for clients, `handle` is what Node's own servers use.
  const options = { allowHalfOpen: false, onread, handle }
  const socket = new Socket(options)
  accepted.destroy() // without its handle it closes nothing
  // For the end of the stream, which comes as an event.
  return socket.resume()
}

// A TCP port of the loopback interface that was free a moment ago. Prefer port 0 where the program can tell what it got.
import { createServer } from 'node:net'

/** Asks the system for a port and gives it back at once. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('no TCP address'))
        else resolve(address.port)
      })
    })
  })
}

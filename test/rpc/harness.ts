// A server of this API on a random loopback port, and clients that read our schemas independently of the generated code.
import { fileURLToPath } from 'node:url'
import { credentials, loadPackageDefinition, type Server, type ServiceClientConstructor } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { listen } from '../../src/rpc/listen.ts'
import type { RpcLog } from '../../src/rpc/server.ts'

/** The folder of our schemas. Tests run from the sources or from `dist`. */
export const protoFolder = fileURLToPath(
  new URL(import.meta.url.includes('/dist/') ? '../../../proto' : '../../proto', import.meta.url),
)

const loaderOptions = { includeDirs: [protoFolder], keepCase: true, longs: String, enums: String, oneofs: true }

const loaded = new Map<string, ReturnType<typeof loadSync>>()

/** The schema objects of one of our files, read by proto-loader. */
export function loadSchema(file: string) {
  const schema = loaded.get(file) ?? loadSync(file, loaderOptions)
  loaded.set(file, schema)
  return schema
}

/** A client made from the .proto text alone; methods take callbacks. */
export function independentClient(file: string, service: string, address: string) {
  let found: unknown = loadPackageDefinition(loadSchema(file))
  for (const part of service.split('.')) found = (found as Record<string, unknown>)[part]
  return new (found as ServiceClientConstructor)(address, credentials.createInsecure())
}

export interface Logged {
  readonly message: string
  readonly fields: Parameters<RpcLog['error']>[1]
}

/** A log that keeps its lines. */
export function keepLog(): RpcLog & { readonly lines: Logged[] } {
  const lines: Logged[] = []
  return { lines, error: (message, fields) => void lines.push({ message, fields }) }
}

/** Binds to a free loopback port. */
export function listenAnywhere(server: Server): Promise<string> {
  return listen(server, { kind: 'tcp', host: '127.0.0.1', port: 0 })
}

/** Resolves when the condition holds; fails after the deadline. */
export async function until(what: string, holds: () => boolean, deadlineMs = 5000): Promise<void> {
  const end = Date.now() + deadlineMs
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

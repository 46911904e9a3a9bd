// Clients of other families at both transports, over TCP and a unix socket: every message comes back whole, and every refusal
// has the code that gRPC gives it.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { unaryHealth } from '../../src/bin/unary-health.ts'
import { createHealth } from '../../src/rpc/health.ts'
import { startGrpcJsServer } from '../../src/transport/grpc-js-server.ts'
import { startH2Server } from '../../src/transport/h2/server.ts'
import type { UnaryServer } from '../../src/transport/unary-server.ts'
import { echoMethod, reversingEcho } from './echo.ts'
import { foreignClients } from './foreign-clients.ts'

const limitMs = 400_000
const isCi = process.env['CI'] === 'true'

afterAll(() => rmSync(folder, { recursive: true, force: true }))

const folder = mkdtempSync(join(tmpdir(), 'gw-clients-'))
const health = createHealth([])
const transports = {
  'grpc-js': () =>
    startGrpcJsServer({
      listen: ['127.0.0.1:0', `unix:${join(folder, 'grpc-js.sock')}`],
      services: [reversingEcho()],
      register: health.addTo,
    }),
  h2: () =>
    startH2Server({
      listen: ['127.0.0.1:0', `unix:${join(folder, 'h2.sock')}`],
      services: [reversingEcho(), unaryHealth(health)],
      report: error => {
        throw error
      },
    }),
}

describe.each(Object.entries(transports))('the transport %s', (name, start) => {
  let server: UnaryServer | undefined
  beforeAll(async () => {
    server = await start()
    health.set('', 'SERVING')
  })
  afterAll(async () => {
    await server?.drain(0)
  })

  for (const client of foreignClients) {
    if (client.absent !== undefined && !isCi) process.stderr.write(`skipped: ${client.name}: ${client.absent}\n`)
    it.skipIf(client.absent !== undefined && !isCi)(`serves ${client.name}`, { timeout: limitMs }, async () => {
      if (client.absent !== undefined) throw new Error(client.absent)
      for (const address of server?.addresses ?? []) {
        const found = await client.ask(address, echoMethod)
        expect(found.lengths, address).toEqual([0, 1, 2, 1000, 16383, 16384, 16385, 65535, 65536, 200000, 262144])
        expect(found.health).toBe('0801')
        const { unknown, oversize, compressed, failed } = found
        expect({
          unknown: plain(unknown),
          oversize: plain(oversize),
          compressed: plain(compressed),
          failed: [plain(failed[0]), failed[1]],
        }).toEqual({
          unknown: 'unimplemented',
          oversize: 'resourceexhausted',
          compressed: name === 'grpc-js' ? 'ok' : 'unimplemented', // the library unpacks by itself
          failed: ['unavailable', '50% full\\'],
        })
        expect(found.concurrent).toBe(client.name === 'grpc-go' ? 6400 : 4000)
      }
    })
  }
})

/** Families spell codes as UNAVAILABLE or Unavailable, RESOURCE_EXHAUSTED or ResourceExhausted. */
function plain(code: string): string {
  return code.replaceAll('_', '').toLowerCase()
}

// The servers of one part of the bench: started together, verified, warmed up, and left to finish what they owe before the next
// one is measured.
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../test/support/free-port.ts'
import type { BenchProcess } from './bench-process.ts'
import { cpuNsOf } from './cpu-time.ts'
import { runLoad } from './load-program.ts'
import type { LoadResult } from './load-result.ts'
import type { MixName } from './requests.ts'
import type { Variant } from './variants.ts'
import { verifyServer } from './verify.ts'

export interface Server {
  readonly variant: Variant
  readonly address: string
  readonly process: BenchProcess
}

/** So many checks that a compiler at run time has done its work; a few thousand requests through Envoy would not do. */
const warmUp = { atOnce: 64, warmUpMs: 0, measureMs: 3000 }
/** A server that runs less than this part of a core owes nothing any more. */
const idlePart = 0.03
const idlePollMs = 250
/** Records of usage rest this long before they are stored; a server that keeps some is quiet meanwhile and owes them. */
const restMs = 3500
/** Gatewarden stores what its spool holds in about this time; what takes longer is not waited for. */
const settleLimitMs = 20_000

async function nextAddress(name: string, socketFolder: string | null): Promise<string> {
  return socketFolder === null ? `127.0.0.1:${await freePort()}` : `unix:${join(socketFolder, `${name}.sock`)}`
}

/** Starts all, hands them over, stops all. */
export async function withServers<T>(
  variants: readonly Variant[],
  core: number | null,
  socketFolder: string | null,
  use: (servers: readonly Server[]) => Promise<T>,
): Promise<T> {
  const servers: Server[] = []
  try {
    for (const variant of variants) {
      const address = await nextAddress(variant.name, socketFolder)
      servers.push({ variant, address, process: await variant.start(address, core) })
    }
    return await use(servers)
  } finally {
    for (const server of servers) await server.process.stop()
  }
}

/** Asks every server for every mix through a real client. @throws Error naming the server that answers wrongly */
export async function verifyAll(servers: readonly Server[], mixes: readonly MixName[]): Promise<void> {
  for (const { variant, address } of servers) {
    for (const mix of mixes) {
      try {
        await verifyServer(address, mix)
      } catch (error) {
        throw new Error(`${variant.name} answers wrongly: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        })
      }
    }
  }
}

/** Straight asked, each in turn, whatever is measured afterwards. */
export async function warmAll(servers: readonly Server[], mix: MixName, clientCore: number | null): Promise<void> {
  for (const server of servers) {
    await runLoad('check-load', { ...warmUp, address: server.address, mix, pids: [] }, clientCore)
    await settle(server)
  }
}

/** A load, and what part of the records of it were stored before it ended; undefined for a server that records nothing. */
export interface Measured {
  readonly result: LoadResult
  readonly storedPart?: number
}

/** Runs a load on a server and lets the server finish what it owes. */
export async function measureServer(server: Server, run: () => Promise<LoadResult>): Promise<Measured> {
  const { variant } = server
  const before = await variant.usage?.()
  const result = await run()
  const after = await variant.usage?.()
  await settle(server)
  if (before === undefined || after === undefined) return { result }
  return { result, storedPart: (after.stored - before.stored) / (after.recorded - before.recorded) }
}

/** Waits until the server is idle: usage that waits to be stored would run beside whoever is next. */
async function settle({ variant, process: { pid } }: Server): Promise<void> {
  const deadline = performance.now() + settleLimitMs
  const idleNeededMs = variant.usage === undefined ? idlePollMs : restMs
  for (let idleMs = 0; idleMs < idleNeededMs && performance.now() < deadline; ) {
    const before = cpuNsOf(pid)
    await sleep(idlePollMs)
    idleMs = cpuNsOf(pid) - before < idlePart * idlePollMs * 1e6 ? idleMs + idlePollMs : 0
  }
}

// The direct bench: a client and one server over one connection, 1 and 64 checks in flight, the variants in turn.
// Every server is verified before and after; a wrong or missing answer is counted and named.
import { join } from 'node:path'
import { freePort } from '../../test/support/free-port.ts'
import type { BenchProcess } from './bench-process.ts'
import type { Cores } from './cores.ts'
import { type Spread, spreadOf } from './distribution.ts'
import { runLoad } from './load-program.ts'
import type { LoadResult } from './load-result.ts'
import type { MixName } from './requests.ts'
import type { Variant, VariantName } from './variants.ts'
import { verifyServer } from './verify.ts'

export interface DirectPlan {
  readonly variants: readonly Variant[]
  readonly mixes: readonly MixName[]
  /** Checks in flight. */
  readonly depths: readonly number[]
  readonly rounds: number
  readonly warmUpMs: number
  readonly measureMs: number
  readonly cores: Cores
  /** Unix sockets in this folder instead of TCP on loopback. */
  readonly socketFolder: string | null
  readonly log: (line: string) => void
}

/** One variant at one mix and depth. */
export interface DirectRow {
  readonly mix: MixName
  readonly depth: number
  readonly variant: VariantName
  /** Microseconds of CPU time of the server a check. */
  readonly cpuMicros: Spread
  /** Of each round in its order, for ratios within a round. */
  readonly rounds: readonly number[]
  /** Checks a second; reported, never compared. */
  readonly perSecond: Spread
  readonly wrong: number
  readonly failed: number
}

interface Server {
  readonly variant: Variant
  readonly address: string
  readonly process: BenchProcess
}

/** Address for a server of this run. */
export async function nextAddress(name: string, socketFolder: string | null): Promise<string> {
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

export function runDirect(plan: DirectPlan): Promise<readonly DirectRow[]> {
  const { variants, cores, socketFolder } = plan
  return withServers(variants, cores.server, socketFolder, async servers => {
    await verifyAll(servers, plan.mixes)
    const rows: DirectRow[] = []
    for (const mix of plan.mixes)
      for (const depth of plan.depths) rows.push(...(await measureAll(servers, mix, depth, plan)))
    await verifyAll(servers, plan.mixes)
    return rows
  })
}

async function verifyAll(servers: readonly Server[], mixes: readonly MixName[]): Promise<void> {
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

async function measureAll(
  servers: readonly Server[],
  mix: MixName,
  depth: number,
  plan: DirectPlan,
): Promise<readonly DirectRow[]> {
  const results = new Map<VariantName, LoadResult[]>(servers.map(({ variant }) => [variant.name, []]))
  for (let round = 0; round < plan.rounds; round++) {
    plan.log(`direct, ${mix}, ${depth} in flight: round ${round + 1} of ${plan.rounds}`)
    for (const { variant, address, process } of servers) {
      const order = {
        address,
        mix,
        atOnce: depth,
        warmUpMs: plan.warmUpMs,
        measureMs: plan.measureMs,
        pids: [process.pid],
      }
      results.get(variant.name)?.push(await runLoad('check-load', order, plan.cores.client))
    }
  }
  return servers.map(({ variant }) => toRow(variant.name, mix, depth, results.get(variant.name) ?? []))
}

function toRow(variant: VariantName, mix: MixName, depth: number, results: readonly LoadResult[]): DirectRow {
  const rounds = results.map(({ cpuNs, answered }) => (cpuNs[0] ?? Number.NaN) / answered / 1000)
  return {
    mix,
    depth,
    variant,
    rounds,
    cpuMicros: spreadOf(rounds),
    perSecond: spreadOf(results.map(({ answered, wallNs }) => answered / (wallNs / 1e9))),
    wrong: results.reduce((sum, { wrong }) => sum + wrong, 0),
    failed: results.reduce((sum, { failed }) => sum + failed, 0),
  }
}

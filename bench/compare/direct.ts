// The direct bench: a client and one server over one connection, 1 and 64 checks in flight, the variants in turn.
// Every server is verified before and after; a wrong or missing answer is counted and named.
import type { Cores } from './cores.ts'
import { type Spread, spreadOf } from './distribution.ts'
import { runLoad } from './load-program.ts'
import type { MixName } from './requests.ts'
import { type Measured, measureServer, type Server, verifyAll, warmAll, withServers } from './servers.ts'
import type { Variant, VariantName } from './variants.ts'

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
  /** Part of its records that Gatewarden stored in the database while it was measured; absent for the peers, which record nothing. */
  readonly storedPart?: Spread
  readonly wrong: number
  readonly failed: number
}

export function runDirect(plan: DirectPlan): Promise<readonly DirectRow[]> {
  const { variants, cores, socketFolder } = plan
  return withServers(variants, cores.server, socketFolder, async servers => {
    await verifyAll(servers, plan.mixes)
    const [firstMix] = plan.mixes
    if (firstMix !== undefined) await warmAll(servers, firstMix, cores.client)
    const rows: DirectRow[] = []
    for (const mix of plan.mixes)
      for (const depth of plan.depths) rows.push(...(await measureAll(servers, mix, depth, plan)))
    await verifyAll(servers, plan.mixes)
    return rows
  })
}

async function measureAll(
  servers: readonly Server[],
  mix: MixName,
  depth: number,
  plan: DirectPlan,
): Promise<readonly DirectRow[]> {
  const results = new Map<VariantName, Measured[]>(servers.map(({ variant }) => [variant.name, []]))
  for (let round = 0; round < plan.rounds; round++) {
    plan.log(`direct, ${mix}, ${depth} in flight: round ${round + 1} of ${plan.rounds}`)
    for (const server of servers) {
      const { address, process } = server
      const times = { warmUpMs: plan.warmUpMs, measureMs: plan.measureMs }
      const order = { ...times, address, mix, atOnce: depth, pids: [process.pid] }
      const measured = await measureServer(server, () => runLoad('check-load', order, plan.cores.client))
      results.get(server.variant.name)?.push(measured)
    }
  }
  return servers.map(({ variant }) => toRow(variant.name, mix, depth, results.get(variant.name) ?? []))
}

function toRow(variant: VariantName, mix: MixName, depth: number, measured: readonly Measured[]): DirectRow {
  const results = measured.map(({ result }) => result)
  const rounds = results.map(({ cpuNs, answered }) => (cpuNs[0] ?? Number.NaN) / answered / 1000)
  return {
    ...{ mix, depth, variant, rounds },
    cpuMicros: spreadOf(rounds),
    perSecond: spreadOf(results.map(({ answered, wallNs }) => answered / (wallNs / 1e9))),
    ...storedPartOf(measured),
    wrong: results.reduce((sum, { wrong }) => sum + wrong, 0),
    failed: results.reduce((sum, { failed }) => sum + failed, 0),
  }
}

/** Of all rounds; nothing for a server that records nothing. */
export function storedPartOf(measured: readonly Measured[]): { readonly storedPart?: Spread } {
  const parts = measured.flatMap(({ storedPart }) => (storedPart === undefined ? [] : [storedPart]))
  return parts.length === 0 ? {} : { storedPart: spreadOf(parts) }
}

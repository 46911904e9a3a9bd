// The bench behind a real Envoy with one worker: 32 connections as fast as they go, then a fixed rate of which latencies are
// taken, the variants in turn. Each request's status is compared with the one it must have.
import { type EnvoyProcess, startEnvoy } from '../../test/support/envoy-process.ts'
import { type Cores, pin } from './cores.ts'
import { storedPartOf } from './direct.ts'
import { type Latency, type Spread, spreadOf } from './distribution.ts'
import { aloneName, apiKeyName, envoyConfig } from './envoy-world.ts'
import { runLoad } from './load-program.ts'
import type { LoadOrder } from './load-result.ts'
import { isRaw, type MixName } from './requests.ts'
import { type Measured, measureServer, type Server, verifyAll, warmAll, withServers } from './servers.ts'
import type { Variant, VariantName } from './variants.ts'

export type EnvoyVariantName = VariantName | typeof aloneName | typeof apiKeyName

export interface EnvoyPlan {
  readonly variants: readonly Variant[]
  readonly mixes: readonly MixName[]
  readonly connections: number
  /** Requests a second of the open loop; below the knee of the slowest variant. */
  readonly perSecond: number
  readonly rounds: number
  readonly warmUpMs: number
  readonly saturatedMs: number
  readonly openMs: number
  readonly cores: Cores
  readonly socketFolder: string | null
  readonly log: (line: string) => void
}

/** One variant in one mode. */
export interface EnvoyRow {
  readonly mix: MixName
  readonly mode: 'saturated' | 'fixed rate'
  readonly variant: EnvoyVariantName
  /** Microseconds of CPU time a request: of Envoy, of the authorizer (0 where there is none), of both. */
  readonly envoyMicros: Spread
  readonly authorizerMicros: Spread
  readonly sumMicros: Spread
  /** Of each round in its order, for ratios within a round. */
  readonly rounds: readonly { readonly authorizer: number; readonly sum: number }[]
  readonly perSecond: Spread
  /** As in the direct bench. */
  readonly storedPart?: Spread
  /** Microseconds, of the rounds at the fixed rate. */
  readonly latency?: Readonly<Record<keyof Latency, Spread>>
  readonly wrong: number
  readonly failed: number
}

/** Where a variant is asked. */
interface Target {
  readonly name: EnvoyVariantName
  readonly address: string
  /** Envoy, and the authorizer where there is one. */
  readonly pids: readonly number[]
  readonly server?: Server
  readonly expected: NonNullable<LoadOrder['expected']>
}

const percentiles = ['p50', 'p90', 'p99', 'p999', 'max'] as const

export function runBehindEnvoy(plan: EnvoyPlan): Promise<readonly EnvoyRow[]> {
  return withServers(plan.variants, plan.cores.server, plan.socketFolder, async servers => {
    await verifyAll(servers, plan.mixes)
    const [firstMix] = plan.mixes
    if (firstMix !== undefined) await warmAll(servers, firstMix, plan.cores.client)
    const config = envoyConfig(servers.map(({ variant, address }) => ({ name: variant.name, address })))
    const envoy = await startEnvoy(config)
    try {
      pin(envoy.pid, plan.cores.envoy)
      const rows: EnvoyRow[] = []
      for (const mix of plan.mixes) rows.push(...(await measureMix(targetsOf(servers, envoy, mix), mix, plan)))
      await verifyAll(servers, plan.mixes)
      return rows
    } finally {
      await envoy.stop()
    }
  })
}

function targetsOf(servers: readonly Server[], envoy: EnvoyProcess, mix: MixName): readonly Target[] {
  const address = (listener: string) => `127.0.0.1:${envoy.port(listener)}`
  const suffix = isRaw(mix) ? '-raw' : ''
  return [
    { name: aloneName, address: address(aloneName), pids: [envoy.pid], expected: 'none' },
    { name: apiKeyName, address: address(apiKeyName), pids: [envoy.pid], expected: 'key' },
    ...servers.map(
      (server): Target => ({
        name: server.variant.name,
        address: address(`${server.variant.name}${suffix}`),
        pids: [envoy.pid, server.process.pid],
        server,
        expected: 'mix',
      }),
    ),
  ]
}

async function measureMix(targets: readonly Target[], mix: MixName, plan: EnvoyPlan): Promise<readonly EnvoyRow[]> {
  const rows: EnvoyRow[] = []
  for (const mode of ['saturated', 'fixed rate'] as const) {
    const results = new Map<EnvoyVariantName, Measured[]>(targets.map(({ name }) => [name, []]))
    for (let round = 0; round < plan.rounds; round++) {
      plan.log(`behind Envoy, ${mix}, ${mode}: round ${round + 1} of ${plan.rounds}`)
      for (const { name, address, pids, server, expected } of targets) {
        const order: LoadOrder = {
          ...{ address, mix, pids, expected, atOnce: plan.connections, warmUpMs: plan.warmUpMs },
          measureMs: mode === 'saturated' ? plan.saturatedMs : plan.openMs,
          ...(mode === 'saturated' ? {} : { perSecond: plan.perSecond }),
        }
        const run = () => runLoad('http-load', order, plan.cores.client)
        results.get(name)?.push(server === undefined ? { result: await run() } : await measureServer(server, run))
      }
    }
    rows.push(...targets.map(({ name }) => toRow(name, mix, mode, results.get(name) ?? [])))
  }
  return rows
}

function toRow(
  variant: EnvoyVariantName,
  mix: MixName,
  mode: EnvoyRow['mode'],
  measured: readonly Measured[],
): EnvoyRow {
  const results = measured.map(({ result }) => result)
  const rounds = results.map(({ cpuNs: [envoy = 0, authorizer = 0], answered }) => ({
    envoy: envoy / answered / 1000,
    authorizer: authorizer / answered / 1000,
    sum: (envoy + authorizer) / answered / 1000,
  }))
  const latencies = results.flatMap(({ latency }) => (latency === undefined ? [] : [latency]))
  const spread = (name: keyof Latency) => spreadOf(latencies.map(latency => latency[name]))
  return {
    ...{ mix, mode, variant, rounds },
    envoyMicros: spreadOf(rounds.map(({ envoy }) => envoy)),
    authorizerMicros: spreadOf(rounds.map(({ authorizer }) => authorizer)),
    sumMicros: spreadOf(rounds.map(({ sum }) => sum)),
    perSecond: spreadOf(results.map(({ answered, wallNs }) => answered / (wallNs / 1e9))),
    ...(latencies.length === 0
      ? {}
      : {
          latency: Object.fromEntries(percentiles.map(name => [name, spread(name)])) as Record<keyof Latency, Spread>,
        }),
    ...storedPartOf(measured),
    wrong: results.reduce((sum, { wrong }) => sum + wrong, 0),
    failed: results.reduce((sum, { failed }) => sum + failed, 0),
  }
}

// 50 000 changes while checks are asked at a fixed rate, the growth of the key table included: how long the longest check and the
// longest turn of the event loop took, beside the same load without changes. `node dist/bench/scale/changes.js [TRANSPORT] [KEYS]`
// after a build. Gatewarden is the built command; its usage recording is on.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { freePort } from '../../test/support/free-port.ts'
import { until } from '../../test/support/until.ts'
import { builtFile } from '../compare/built-file.ts'
import { pin, planCores } from '../compare/cores.ts'
import { startDatabase } from '../compare/database-world.ts'
import { metricsOf, startGatewardenServer, type Transport } from '../compare/gatewarden-server.ts'
import { runLoad } from '../compare/load-program.ts'
import type { LoadResult } from '../compare/load-result.ts'
import { monoNs } from '../compare/rate.ts'
import { verifyServer } from '../compare/verify.ts'
import type { TurnLine } from './turn-watch.ts'
import { makeOrganizations, writeChanges } from './write-changes.ts'

/** A little below the number at which the segments of the table's index double; the made keys take it beyond. */
const keysDefault = 330_000
const changes = { altered: 10_000, made: 40_000 }
const perSecond = 2000
const warmUpMs = 3000
const quietMs = 20_000
/** Longer than the changes take to be written and applied; what is left of it is quiet again. */
const changesMs = 40_000
const appliedLimitMs = 60_000
/** At most, of a check while changes are applied. */
const stallTargetMs = 5

interface Phase {
  readonly load: LoadResult
  readonly turns: Omit<TurnLine, 'atNs'>
}

const print = (line: string) => process.stdout.write(`${line}\n`)

function longestTurns(file: string, fromNs: number, toNs: number): Phase['turns'] {
  const lines = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as TurnLine)
    .filter(({ atNs }) => atNs >= fromNs && atNs <= toNs)
  const longest = (name: keyof Phase['turns']) => Math.max(0, ...lines.map(line => line[name]))
  return { clockMs: longest('clockMs'), cpuMs: longest('cpuMs'), undisturbedMs: longest('undisturbedMs') }
}

function tell(name: string, { load, turns }: Phase): void {
  const { p50 = Number.NaN, p99 = Number.NaN, p999 = Number.NaN, max = Number.NaN } = load.latency ?? {}
  const latency = [p50, p99, p999, max].map(micros => (micros / 1000).toFixed(2)).join(' / ')
  print(
    `${name.padEnd(16)} check p50 / p99 / p99.9 / max ${latency} ms; longest turn ${turns.undisturbedMs.toFixed(2)} ms of CPU ` +
      `(${turns.cpuMs.toFixed(2)} after neighbours had the core), ${turns.clockMs.toFixed(2)} ms by the clock; ${load.answered} right, ${load.wrong} wrong, ${load.failed} failed`,
  )
}

const tableKeys = async (folder: string) =>
  Number(/^gatewarden_table_keys (\d+)/m.exec(await metricsOf(folder))?.[1] ?? 0)

async function run(transport: Transport, keys: number): Promise<void> {
  const cores = planCores().direct
  pin(process.pid, cores.client)
  const folder = mkdtempSync(join(tmpdir(), 'gwc-'))
  const turnFile = join(folder, 'turns')
  const database = await startDatabase(keys)
  const writer = database.database.client()
  try {
    await writer.connect()
    const address = `127.0.0.1:${await freePort()}`
    const watch = `${pathToFileURL(builtFile('scale/turn-watch.js')).href}?${encodeURIComponent(turnFile)}`
    const server = await startGatewardenServer({
      ...{ transport, databaseUrl: database.url, address, folder, core: cores.server },
      nodeFlags: ['--import', watch],
    })
    try {
      await verifyServer(address, 'mixed-raw')
      const phase = async (measureMs: number): Promise<Phase> => {
        const order = { address, mix: 'mixed-raw', atOnce: 0, perSecond, warmUpMs, measureMs, pids: [server.pid] }
        const load = await runLoad('check-load', order, cores.client)
        const endNs = monoNs()
        return { load, turns: longestTurns(turnFile, endNs - measureMs * 1e6, endNs) }
      }
      await phase(warmUpMs)
      tell('without changes', await phase(quietMs))
      const made = { from: keys, to: keys + changes.made }
      await makeOrganizations(writer, made.from, made.to)
      const loaded = phase(changesMs)
      await sleep(2 * warmUpMs)
      const startNs = monoNs()
      const count = await writeChanges(writer, { altered: { from: 0, to: changes.altered }, made })
      const writtenNs = monoNs()
      const wanted = keys + changes.made
      await until('the changes are in the table', async () => (await tableKeys(folder)) === wanted, appliedLimitMs)
      const appliedNs = monoNs()
      const phaseOf = await loaded
      tell('with changes', phaseOf)
      await verifyServer(address, 'mixed-raw')
      print(
        `${transport}, ${keys} keys before, ${perSecond} checks/s: ${count} changes written in ${((writtenNs - startNs) / 1e9).toFixed(1)} s, ` +
          `applied ${((appliedNs - writtenNs) / 1e9).toFixed(1)} s after the last`,
      )
      const longestMs = longestTurns(turnFile, startNs, appliedNs + 1e9).undisturbedMs
      const verdict = longestMs <= stallTargetMs ? 'met' : 'missed'
      print(`longest_turn_cpu_ms=${longestMs.toFixed(2)} target_ms=${stallTargetMs} ${verdict}`)
    } finally {
      await server.stop()
    }
  } finally {
    await writer.end()
    await database.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

await run(process.argv[2] === 'grpc-js' ? 'grpc-js' : 'h2', Number(process.argv[3] ?? keysDefault))

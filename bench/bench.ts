// `npm run bench`: builds or finds the peers, runs them beside Gatewarden in turn, prints one report. See bench/README.md.
// Everything it starts listens on loopback or a unix socket, is stopped by pid, and ends in a bounded time.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runBehindEnvoy } from './compare/behind-envoy.ts'
import { pin, planCores } from './compare/cores.ts'
import { startDatabase } from './compare/database-world.ts'
import { runDirect } from './compare/direct.ts'
import { describeMachine } from './compare/machine.ts'
import { help, type Options, readOptions } from './compare/options.ts'
import { holds, quickRatios, record, recordedRatios } from './compare/quick.ts'
import { type Report, toText } from './compare/report.ts'
import { keyCount } from './compare/requests.ts'
import { directRatios, envoyRatios } from './compare/targets.ts'
import { findVariant, isPresent, type Variant } from './compare/variants.ts'

/** Checks in flight of the direct bench: what nothing batches, and what a busy Envoy does. */
const depths = [1, 64]
/** Connections of the bench behind Envoy. */
const connections = 32

const log = (line: string) => process.stderr.write(`${line}\n`)

async function run(options: Options): Promise<Report> {
  const machine = describeMachine()
  const cores = planCores()
  // Database and load programs follow; what is measured is started on its own core.
  pin(process.pid, cores.direct.client)
  const folder = mkdtempSync(join(tmpdir(), 'gwb-'))
  log(`filling a database with ${keyCount} API keys`)
  const database = await startDatabase()
  try {
    const variants: Variant[] = []
    const absent: { name: string; reason: string }[] = []
    for (const name of options.variants) {
      const found = await findVariant(name, { folder, databaseUrl: database.url, log })
      if (isPresent(found)) variants.push(found)
      else absent.push({ name, reason: found.absent })
    }
    for (const { name, reason } of absent) log(`absent: ${name} (${reason})`)
    const shared = {
      ...{ variants, log, rounds: options.rounds, warmUpMs: options.warmUpMs },
      socketFolder: options.isUnix ? folder : null,
    }
    const direct = options.parts.includes('direct')
      ? await runDirect({
          ...{ ...shared, depths, mixes: options.directMixes, measureMs: options.directMs, cores: cores.direct },
        })
      : []
    const behindEnvoy = options.parts.includes('envoy')
      ? await runBehindEnvoy({
          ...{ ...shared, connections, mixes: options.envoyMixes, perSecond: options.perSecond },
          ...{
            warmUpMs: options.envoyWarmUpMs,
            saturatedMs: options.saturatedMs,
            openMs: options.openMs,
            cores: cores.behindEnvoy,
          },
        })
      : []
    const { rounds, perSecond, isUnix } = options
    return {
      machine,
      plan: { keys: keyCount, rounds, rate: perSecond, unix: isUnix, pinned: cores.direct.server !== null },
      versions: Object.fromEntries(variants.map(({ name, versions }) => [name, versions])),
      ...{ absent, direct, behindEnvoy, ratios: [...directRatios(direct), ...envoyRatios(behindEnvoy)] },
    }
  } finally {
    await database.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Errors are never hidden in an average. */
function errorsOf({ direct, behindEnvoy }: Report): number {
  return [...direct, ...behindEnvoy].reduce((sum, { wrong, failed }) => sum + wrong + failed, 0)
}

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  if (options.isHelp) {
    process.stdout.write(help)
    return 0
  }
  const report = await run(options)
  process.stdout.write(options.isJson ? `${JSON.stringify(report)}\n` : `${toText(report)}\n`)
  if (!isRight(report)) return 1
  if (!options.isQuick) return 0
  if (options.isRecording) record(quickRatios(report.direct))
  const again = async () => {
    const repeated = await run(options)
    return isRight(repeated) ? repeated.direct : undefined
  }
  return (await holds(recordedRatios(), report.direct, again, log)) ? 0 : 1
}

/** A run with a wrong answer is no measurement. */
function isRight(report: Report): boolean {
  const errors = errorsOf(report)
  if (errors > 0) log(`${errors} answers were wrong or missing`)
  return errors === 0
}

// What was started is killed by pid when this process exits, however it is told to.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
try {
  process.exitCode = await main()
} catch (error) {
  log(error instanceof Error ? error.message : String(error))
  process.exitCode = 2
}

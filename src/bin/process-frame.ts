// What every process of ours does around its role: settings, log, warnings, metrics listener, the end. Errors of a start become
// one sentence and an exit code here.

import { compileCheckProfiles } from '../check/check-profiles.ts'
import type { ExitCode, Invocation, Io } from '../cli/command.ts'
import { CommandFailure, exitConfig, exitOk } from '../cli/command.ts'
import type { Config, Role } from '../config/config.ts'
import { type ConfigFault, renderFaults } from '../config/fault.ts'
import { parseListen } from '../config/listen-address.ts'
import { type ConfigSources, loadConfig } from '../config/load-config.ts'
import { createNames } from '../core/names.ts'
import { type HttpServer, startHttpServer } from '../observe/http-server.ts'
import { createLog, type ProcessLog } from '../observe/log.ts'
import { type LogFile, openLogFile } from '../observe/log-file.ts'
import { Metrics } from '../observe/metrics.ts'
import type { ProfileSet } from '../profile/profile-set.ts'
import { removeStaleSocket, restrictSocket } from '../transport/unix-socket.ts'
import { toClientAddressMode, trustedBlockFaults } from './client-address-mode.ts'
import { openPeppers } from './data-dir.ts'
import { awaitEnding, type Ending } from './lifecycle.ts'
import { openProfiles, served } from './profiles.ts'
import { facadeListen } from './run-facade.ts'
import { FaultyConfig, refuseFaults, StartError, toStartError } from './start-error.ts'
import { tlsFaults } from './tls-files.ts'

/** A process that may start: settings are sound, the log is open. */
export interface Frame {
  readonly config: Config
  readonly log: ProcessLog
  readonly metrics: Metrics
  readonly ending: Ending
  readonly hardExit: (code: ExitCode) => void
  readonly version: string
}

/** Standard error. */
const logDescriptor = 2
/** The oldest Node that honours the limits on HTTP/2 resets that we set. */
const nodeWithResetLimits = 22

/** Runs one process of a role: `work` starts it and returns when it has ended. */
export async function runFramed(
  role: Role,
  invocation: Invocation,
  io: Io,
  version: string,
  work: (frame: Frame) => Promise<ExitCode>,
): Promise<ExitCode> {
  const { environment, cwd } = io
  const flags = settingFlags(role, invocation)
  const result = loadConfig({ role, environment, cwd, file: invocation.text('config'), flags })
  if (!result.ok) throw new CommandFailure(renderFaults(result.faults), exitConfig)
  const { config, warnings } = result
  const file = openLogFile(logDescriptor)
  const log = createLog(config.log.level, file)
  const metrics = new Metrics()
  try {
    if (invocation.flag('check-config')) return await checkConfig(config, warnings, log, io)
    const hardExit = (code: ExitCode) => {
      file.flush()
      process.exit(code)
    }
    // Before the first line of the log: whoever reads it may take the process for started and stop it.
    const ending = awaitEnding(log, hardExit)
    for (const warning of warnings) log.warn(warning)
    refuseFaults(fileFaults(config))
    warnOfNode(log)
    showProcess(metrics, { file, version, role })
    return await work({ config, log, metrics, ending, hardExit, version })
  } catch (error) {
    throw asFailure(error, config)
  } finally {
    metrics.close()
    file.flush()
  }
}

/** Flags that are settings. */
function settingFlags(role: Role, invocation: Invocation): NonNullable<ConfigSources['flags']> {
  const workers = role === 'check' ? invocation.text('workers') : undefined
  return workers === undefined ? {} : { 'check.workers': { text: workers, flag: '--workers' } }
}

function asFailure(error: unknown, config: Config): unknown {
  const known = toStartError(error, config)
  return known instanceof StartError ? new CommandFailure(known.message, known.code) : error
}

/** What is wrong with settings that more is needed for than the settings: before a start opens anything. */
function fileFaults(config: Config): ConfigFault[] {
  return [...trustedBlockFaults(config), ...tlsFaults(config)]
}

/** Everything that can be judged without starting: settings were; now the files they name. All faults at once. */
async function checkConfig(config: Config, warnings: readonly string[], log: ProcessLog, io: Io): Promise<ExitCode> {
  const faults: ConfigFault[] = []
  const refusals: string[] = []
  const judge = async (work: () => unknown) => {
    try {
      await work()
    } catch (error) {
      const known = toStartError(error, config)
      if (known instanceof FaultyConfig) faults.push(...known.faults)
      else if (known instanceof StartError) refusals.push(known.message)
      else throw error
    }
  }
  let set: ProfileSet | undefined
  await judge(() => refuseFaults(fileFaults(config)))
  await judge(() => openPeppers(config, false))
  await judge(async () => {
    const profiles = await openProfiles(config, createNames(), log)
    set = profiles.current()
    await profiles.close()
  })
  if (faults.length > 0) refusals.unshift(renderFaults(faults))
  if (refusals.length > 0 || set === undefined) throw new StartError(refusals.join('\n'))
  const { role, clientAddress } = config
  if (clientAddress !== null && (role === 'serve' || role === 'check')) {
    compileCheckProfiles(served(set, config.check.profiles), toClientAddressMode(clientAddress).mode)
  }
  if (role === 'serve' || role === 'admin') facadeListen(config)
  const names = set.profiles.map(profile => profile.name)
  for (const warning of warnings) io.err(`warning: ${warning}\n`)
  io.out(`The configuration of ${role} is sound; profiles: ${names.join(', ')}.\n`)
  return exitOk
}

/** Starts the listener for watchers. */
export async function startMetrics({ config, metrics }: Frame, ready: () => boolean): Promise<HttpServer> {
  const listen = parseListen(config.metrics.listen)
  if (listen === undefined) throw new StartError(`metrics.listen is ${config.metrics.listen}, which is no address.`)
  metrics.read('gatewarden_ready', () => (ready() ? 1 : 0))
  const observed = { page: () => metrics.page(), ready }
  if (listen.kind === 'tcp') return startHttpServer({ host: listen.host, port: listen.port }, observed)
  await removeStaleSocket(listen.path)
  const server = await startHttpServer({ path: listen.path }, observed)
  await restrictSocket(listen.path)
  return server
}

function showProcess(metrics: Metrics, { file, version, role }: { file: LogFile; version: string; role: Role }): void {
  metrics.read('gatewarden_log_dropped_total', file.dropped)
  metrics.read('gatewarden_build_info', () => [{ labels: { version, node: process.version, role }, value: 1 }])
}

function warnOfNode(log: ProcessLog): void {
  const major = Number(process.versions.node.split('.')[0])
  if (major < nodeWithResetLimits) {
    log.warn('this Node.js ignores the limits on HTTP/2 resets; run 22.22.2 or later in production', {
      node: process.version,
    })
  }
}

// What `serve`, `check`, `admin`, `migrate` and `bootstrap` do, in the order of faults.md section 5: everything is judged before
// anything is opened, what is opened is closed in the opposite order, and a port is taken before a table is loaded.
import { existsSync } from 'node:fs'
import { type ExitCode, exitOk, type Invocation, type Io, OutputFailure } from '../cli/command.ts'
import type { RoleHandlers } from '../cli/commands.ts'
import { deliver } from '../cli/deliver.ts'
import { createNames } from '../core/names.ts'
import type { Metrics } from '../observe/metrics.ts'
import { RpcError } from '../rpc/errors.ts'
import { explainConnect } from '../store/connect-failure.ts'
import { makeBootstrapToken, makeOwnAdminKey } from './bootstrap.ts'
import { adminKeyFile, keepAdminKey, openPeppers, type Peppers, prepareDataDir, prepareSocketDir } from './data-dir.ts'
import { runUntilEnded } from './lifecycle.ts'
import {
  migrateWhenReachable,
  type OpenedDatabase,
  openDatabase,
  refuseNewerSchema,
  requireReady,
} from './open-database.ts'
import { type Frame, runFramed, startMetrics } from './process-frame.ts'
import { keyPrefixes, openProfiles, type Profiles } from './profiles.ts'
import { wrongPepper } from './prove-peppers.ts'
import { startAdmin } from './run-admin.ts'
import { type RunningCheck, startCheck } from './run-check.ts'
import { runWorkers } from './run-workers.ts'
import { safetyOptOutFields } from './safety-opt-outs.ts'
import { adminKeyText, servingText } from './serve-text.ts'
import { StartError } from './start-error.ts'
import { systemClock, systemTimers } from './system-clock.ts'

/** The handlers of all processes for this build. */
export function roleHandlers(version: string): RoleHandlers {
  const framed =
    (role: keyof RoleHandlers, work: (frame: Frame, io: Io, invocation: Invocation) => Promise<ExitCode>) =>
    (invocation: Invocation, io: Io) =>
      runFramed(role, invocation, io, version, frame => work(frame, io, invocation))
  return {
    serve: framed('serve', serve),
    check: framed('check', check),
    admin: framed('admin', admin),
    migrate: framed('migrate', migrateOnly),
    bootstrap: framed('bootstrap', bootstrap),
  }
}

async function serve(frame: Frame, io: Io): Promise<ExitCode> {
  const { config, log } = frame
  return closing(async close => {
    const profiles = close(await openFor(frame))
    prepareDataDir(config)
    const opened = close(await openDatabase(config, { exclusive: true, log, onFailure: frame.ending.fail }))
    const peppers = openPeppers(config, true)
    await migrateWhenReachable(opened.database, log)
    const running = close(await startAdmin(config, adminPorts(frame, opened, peppers, profiles)))
    const secret = await makeOwnAdminKey(running.access, Date.now())
    if (secret !== undefined) keepOrPrint(frame, io, secret)
    const serving = close(
      await startCheck(config, { ...checkPorts(frame, opened, peppers, profiles), loadJitterMs: 0 }),
    )
    const http = close(await observed(frame, profiles, [serving, running], () => serving.ready() && running.ready()))
    await settled(serving, frame)
    const ports = {
      check: serving.addresses,
      als: serving.alsAddresses,
      admin: running.address,
      facade: running.facade,
      metrics: http.address,
    }
    show(frame, io, servingText(frame, profiles, ports))
    if (secret !== undefined) show(frame, io, adminKeyText(secret, adminKeyFile(config)))
    else if (!existsSync(adminKeyFile(config))) io.err(lostKeyText)
    log.info('serving', { ...ports, version: frame.version, ...safetyOptOutFields(config) })
    return runUntilEnded(frame.ending, [serving, running], log, frame.hardExit)
  })
}

async function check(frame: Frame, io: Io, invocation: Invocation): Promise<ExitCode> {
  const { config, log } = frame
  if (config.check.workers > 1) {
    return runWorkers(frame, { environment: io.environment, configFile: invocation.text('config') })
  }
  return closing(async close => {
    const profiles = close(await openFor(frame))
    const peppers = openPeppers(config, false)
    const opened = close(await openDatabase(config, { exclusive: false, log, onFailure: frame.ending.fail }))
    await refuseNewerSchema(opened.database, log)
    prepareSocketDir(config, [...config.check.listen, ...config.als.listen])
    const running = close(await startCheck(config, checkPorts(frame, opened, peppers, profiles)))
    const http = close(await observed(frame, profiles, [running], running.ready))
    const ports = { check: running.addresses, als: running.alsAddresses, metrics: http.address }
    log.info('listening', { ...ports, version: frame.version, ...safetyOptOutFields(config) })
    return runUntilEnded(frame.ending, [running], log, frame.hardExit)
  })
}

async function admin(frame: Frame, _io: Io, invocation: Invocation): Promise<ExitCode> {
  const { config, log } = frame
  return closing(async close => {
    const profiles = close(await openFor(frame))
    const peppers = openPeppers(config, false)
    const opened = close(await openDatabase(config, { exclusive: false, log, onFailure: frame.ending.fail }))
    if (invocation.flag('migrate')) logMigrations(frame, await migrateWhenReachable(opened.database, log))
    else await refuseNewerSchema(opened.database, log)
    const running = close(await startAdmin(config, adminPorts(frame, opened, peppers, profiles)))
    const http = close(await observed(frame, profiles, [running], running.ready))
    log.info('listening', {
      admin: running.address,
      facade: running.facade,
      metrics: http.address,
      version: frame.version,
    })
    return runUntilEnded(frame.ending, [running], log, frame.hardExit)
  })
}

/** How long the command waits for the database: a job that hangs for ever tells nobody. */
const migrateWaitMs = 60_000

async function migrateOnly(frame: Frame, io: Io): Promise<ExitCode> {
  const { config, log } = frame
  if (config.database.url === null) prepareDataDir(config)
  return closing(async close => {
    const opened = close(await openDatabase(config, { exclusive: false, log, onFailure: frame.ending.fail }))
    const applied = await migrateWhenReachable(opened.database, log, migrateWaitMs)
    const text = applied.length === 0 ? 'The schema is up to date.\n' : `Applied ${applied.join(', ')}.\n`
    deliver(io, text, text.trim())
    return exitOk
  })
}

async function bootstrap(frame: Frame, io: Io, invocation: Invocation): Promise<ExitCode> {
  const { config, log } = frame
  const { admin: adminPepper } = openPeppers(config, false)
  if (adminPepper === null) {
    throw new StartError(
      'admin.pepper is not set, and the data directory has none; name the pepper that the admin service uses.',
    )
  }
  return closing(async close => {
    const opened = close(await openDatabase(config, { exclusive: false, log, onFailure: frame.ending.fail }))
    await requireReady(opened.database)
    const token = await makeBootstrapToken(opened.database, adminPepper, invocation.flag('break-glass')).catch(
      error => {
        const isWrong = error instanceof RpcError && error.reason === 'PEPPER_MISMATCH'
        throw isWrong
          ? wrongPepper(config, { purpose: 'admin_keys', pepperId: adminPepper.id })
          : explainConnect(error, 'gw_admin')
      },
    )
    deliver(io, `${token}\n`, 'The token is lost and nobody can use it: run the command again.')
    io.err('Good for 15 minutes and one use: gatewarden bootstrap complete TOKEN --save admin.key\n')
    return exitOk
  })
}

const lostKeyText =
  'There is an admin key already, but not in this data directory; `gatewarden bootstrap --break-glass` makes another.\n'

async function openFor({ config, log }: Frame): Promise<Profiles> {
  const profiles = await openProfiles(config, createNames(), log)
  profiles.subscribe(set => log.redactPrefixes(keyPrefixes(set)))
  return profiles
}

function checkPorts(
  { log, version, ending }: Frame,
  { database }: OpenedDatabase,
  peppers: Peppers,
  profiles: Profiles,
) {
  return {
    database,
    peppers: peppers.apiKeys,
    profiles,
    log,
    clock: systemClock,
    timers: systemTimers,
    version,
    onFatal: ending.fail,
  }
}

function adminPorts(
  { log, ending }: Frame,
  { database }: OpenedDatabase,
  { apiKeys, admin: adminPepper }: Peppers,
  profiles: Profiles,
) {
  if (adminPepper === null) throw new StartError('admin.pepper is not set; name the file of the pepper of admin keys.')
  const { mono, wall } = systemClock
  return {
    database,
    peppers: apiKeys,
    adminPepper,
    profiles,
    log,
    timers: systemTimers,
    mono,
    wall,
    onFatal: ending.fail,
  }
}

/** A part with metrics of its own. */
interface Observed {
  observe(metrics: Metrics): void
}

function observed(frame: Frame, profiles: Profiles, parts: readonly Observed[], ready: () => boolean) {
  for (const each of parts) each.observe(frame.metrics)
  frame.metrics.read('gatewarden_config_reload_failed', () => (profiles.status().some(({ failed }) => failed) ? 1 : 0))
  return startMetrics(frame, ready)
}

function logMigrations({ log }: Frame, applied: readonly string[]): void {
  if (applied.length > 0) log.info('migrated', { applied })
}

/** The key exists from here on: if it cannot be kept, it is at least shown. */
function keepOrPrint({ config, log }: Frame, io: Io, secret: string): void {
  try {
    keepAdminKey(config, secret)
  } catch (error) {
    log.error('the admin key could not be kept', { error })
    deliver(
      io,
      adminKeyText(secret, null),
      'The admin key is lost: `gatewarden bootstrap --break-glass` makes another.',
    )
    throw error
  }
}

/** Nobody need read it: `serve | head` goes on serving. */
function show({ log }: Frame, io: Io, text: string): void {
  try {
    io.out(text)
  } catch (error) {
    if (!(error instanceof OutputFailure)) throw error
    log.warn('standard output cannot be written; serving goes on', { reason: error.reason })
  }
}

/** How long `serve` waits for its first confirm before it says that it serves. */
const settleMs = 10_000
const settlePollMs = 10

async function settled(serving: RunningCheck, { log }: Frame): Promise<void> {
  const deadline = systemClock.mono() + settleMs
  while (!serving.ready()) {
    if (systemClock.mono() > deadline) {
      log.warn('not ready yet; the log says why')
      return
    }
    await new Promise(resolve => setTimeout(resolve, settlePollMs))
  }
}

interface Closable {
  close(): Promise<void>
}

/** Runs `work`; whatever it passed to `close` is closed afterwards, in the opposite order, however it ended. */
async function closing<Result>(
  work: (close: <Opened extends Closable>(opened: Opened) => Opened) => Promise<Result>,
): Promise<Result> {
  const opened: Closable[] = []
  try {
    return await work(each => {
      opened.push(each)
      return each
    })
  } finally {
    // One that cannot close must not keep the next from closing; its own log says why.
    for (const each of opened.reverse()) await each.close().catch(() => undefined)
  }
}

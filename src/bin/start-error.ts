// A start that ends before anything serves: one sentence, or all faults, and the exit code.
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { type ExitCode, exitConfig, exitFailed } from '../cli/command.ts'
import type { Config } from '../config/config.ts'
import { type ConfigFault, renderFaults } from '../config/fault.ts'
import { ListenError } from '../rpc/listen.ts'
import { StoreSetupError } from '../store/store-error.ts'

/** Thrown by the wiring; `message` is for people and names the mend. */
export class StartError extends Error {
  override readonly name: string = 'StartError'
  readonly code: ExitCode

  constructor(message: string, code: ExitCode = exitConfig, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The same for faults of settings, and of the files that settings name: all that one judge found. */
export class FaultyConfig extends StartError {
  override readonly name = 'FaultyConfig'
  readonly faults: readonly ConfigFault[]

  constructor(faults: readonly ConfigFault[]) {
    super(renderFaults(faults))
    this.faults = faults
  }
}

/** Ends the start if there is a fault. @throws FaultyConfig */
export function refuseFaults(faults: readonly ConfigFault[]): void {
  if (faults.length > 0) throw new FaultyConfig(faults)
}

/** The settings that say where a process listens. */
export type Listening = Pick<Config, 'check' | 'als' | 'admin' | 'facade' | 'metrics'>

/**
 * The same for what the rooms throw; anything that nobody foresaw passes unchanged. `listening` tells which setting an
 * address came from.
 */
export function toStartError(error: unknown, listening?: Listening): unknown {
  if (error instanceof StartError || !(error instanceof Error)) return error
  const sentence = sentenceOf(error, listening)
  return sentence === undefined ? error : new StartError(sentence, exitFailed, { cause: error })
}

function takenMend(address: string, listening: Listening | undefined): string {
  const setting = settingOf(address, listening)
  const other = setting === undefined ? 'set another address' : `set ${setting} to another address`
  return `the port is taken; stop the other process, or ${other}.`
}

/** Binding says "permission denied" of a directory that is not there. */
function missingDirectory(address: string, listening: Listening | undefined): string | undefined {
  if (!address.startsWith('unix:')) return undefined
  const directory = dirname(address.slice('unix:'.length))
  if (existsSync(directory)) return undefined
  const setting = settingOf(address, listening)
  const other = setting === undefined ? 'set another path' : `set ${setting} to another path`
  return `the directory ${directory} does not exist; make it, or ${other}.`
}

function settingOf(address: string, listening: Listening | undefined): string | undefined {
  const settings = [
    ['check.listen', listening?.check.listen],
    ['als.listen', listening?.als.listen],
    ['admin.listen', [listening?.admin.listen]],
    ['facade.listen', [listening?.facade.listen]],
    ['metrics.listen', [listening?.metrics.listen]],
  ] as const
  const [setting] = settings.find(([, addresses]) => addresses?.includes(address)) ?? []
  return setting
}

const listenForm = /^cannot listen on (unix:\S+?|\S+?)(?=: )/

function sentenceOf(error: Error, from: Listening | undefined): string | undefined {
  const { message } = error
  if (error instanceof StoreSetupError) return message
  const listening = listenForm.exec(message)
  if (listening !== null && /EADDRINUSE/.test(message)) return `${listening[0]}: ${takenMend(listening[1] ?? '', from)}`
  const missing = listening === null ? undefined : missingDirectory(listening[1] ?? '', from)
  if (listening !== null && missing !== undefined) return `${listening[0]}: ${missing}`
  if (error instanceof ListenError || listening !== null) return withStop(message)
  if (/another process listens on|is no socket/.test(message)) return withStop(message)
  return systemSentence('code' in error ? String(error.code) : '', message, from)
}

function withStop(message: string): string {
  return message.endsWith('.') ? message : `${message}.`
}

/** Sentences for errors of the operating system that a person can mend. */
function systemSentence(code: string, message: string, from: Listening | undefined): string | undefined {
  switch (code) {
    case 'EADDRINUSE': {
      const address = message.replace(/^.*address already in use:? /, '')
      return `cannot listen on ${address}: ${takenMend(address, from)}`
    }
    case 'EACCES':
    case 'EPERM':
      return `${message}: this user may not; start as another user, or set another path or port.`
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
    case '53100':
      return `the disk is full (${message}); free some space, then start again. Nothing that was acknowledged is lost.`
    case 'EROFS':
      return `${message}: the file system is read-only; set another data_dir.`
    default:
      return undefined
  }
}

// A start that ends before anything serves: one sentence, or all faults, and the exit code.
import { type ExitCode, exitConfig, exitFailed } from '../cli/command.ts'
import { ListenError } from '../rpc/listen.ts'
import { StoreSetupError } from '../store/store-error.ts'

/** Thrown by the wiring; `message` is for people and names the mend. */
export class StartError extends Error {
  override readonly name = 'StartError'
  readonly code: ExitCode

  constructor(message: string, code: ExitCode = exitConfig, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The same for what the rooms throw; anything that nobody foresaw passes unchanged. */
export function toStartError(error: unknown): unknown {
  if (error instanceof StartError || !(error instanceof Error)) return error
  const sentence = sentenceOf(error)
  return sentence === undefined ? error : new StartError(sentence, exitFailed, { cause: error })
}

const takenMend = 'the port is taken; stop the other process, or set another address.'
const listenForm = /^cannot listen on (unix:\S+?|\S+?)(?=: )/

function sentenceOf(error: Error): string | undefined {
  const { message } = error
  if (error instanceof StoreSetupError) return message
  const listening = listenForm.exec(message)
  if (listening !== null && /EADDRINUSE/.test(message)) return `${listening[0]}: ${takenMend}`
  if (error instanceof ListenError || listening !== null) return withStop(message)
  if (/another process listens on|is no socket/.test(message)) return withStop(message)
  return systemSentence('code' in error ? String(error.code) : '', message)
}

function withStop(message: string): string {
  return message.endsWith('.') ? message : `${message}.`
}

/** Sentences for errors of the operating system that a person can mend. */
function systemSentence(code: string, message: string): string | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return `cannot listen on ${message.replace(/^.*address already in use:? /, '')}: ${takenMend}`
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

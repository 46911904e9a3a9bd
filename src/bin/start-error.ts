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
  if (error instanceof StartError) return error
  if (error instanceof StoreSetupError) return new StartError(error.message, exitFailed, { cause: error })
  if (error instanceof ListenError) return new StartError(listenSentence(error), exitFailed, { cause: error })
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const message = error instanceof Error ? error.message : ''
  const sentence = systemSentence(code, message)
  return sentence === undefined ? error : new StartError(sentence, exitFailed, { cause: error })
}

function listenSentence(error: ListenError): string {
  const { message } = error
  if (/EADDRINUSE|address already in use|No address added/i.test(message)) {
    return `${message.split(':')[0] === 'cannot listen on unix' ? message : firstClause(message)}: the port is taken; stop the other process, or set another address.`
  }
  return `${message}.`.replace(/\.\.$/, '.')
}

function firstClause(message: string): string {
  return /^cannot listen on \S+(?=:)/.exec(message)?.[0] ?? message
}

/** Sentences for errors of the operating system that a person can mend. */
function systemSentence(code: string, message: string): string | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return `${message.replace(/^.*?EADDRINUSE: /, '')}: the port is taken; stop the other process, or set another address.`
    case 'EACCES':
    case 'EPERM':
      return `${message}: this user may not; start as another user, or set another path or port.`
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return `the disk is full (${message}); free some space, then start again. Nothing that was acknowledged is lost.`
    case 'EROFS':
      return `${message}: the file system is read-only; set another data_dir.`
    default:
      return undefined
  }
}

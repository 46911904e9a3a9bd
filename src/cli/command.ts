// What a command of `gatewarden` is: its words, its flags, its help and what it does. Parsing, help and documentation read the same table.
// Commands talk to the world through `Io` only: they never read the process, the environment or the clock by themselves.

/** Exit codes of every command. */
export const exitOk = 0 as const
/** The command was understood and failed, or an answer is "no". */
export const exitFailed = 1 as const
/** The command line is wrong. */
export const exitUsage = 2 as const
/** What was to be printed or saved could not be written (EX_IOERR of sysexits). */
export const exitOutput = 74 as const
/** The configuration is wrong (EX_CONFIG of sysexits). */
export const exitConfig = 78 as const

export type ExitCode = typeof exitOk | typeof exitFailed | typeof exitUsage | typeof exitOutput | typeof exitConfig

/** The outside of a command. */
export interface Io {
  /** For results. `text` has its line ends, and is written when this returns. @throws OutputFailure */
  readonly out: (text: string) => void
  /** For what people should know beside the result; never throws. */
  readonly err: (text: string) => void
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** Unix milliseconds. */
  readonly now: () => number
  /** A new UUID. */
  readonly uuid: () => string
}

/** One flag. */
export interface Flag {
  readonly type: 'string' | 'boolean'
  readonly multiple?: true
  /** Name of the value in help, e.g. `FILE`. */
  readonly value?: string
  readonly help: string
}

export type Flags = Readonly<Record<string, Flag>>

/** One word after the command's own. */
export interface Positional {
  readonly name: string
  readonly help: string
  readonly optional?: true
  readonly many?: true
}

/** What was given on the command line. */
export interface Invocation {
  readonly positionals: readonly string[]
  /** The value of a string flag. */
  text(flag: string): string | undefined
  /** All values of a flag that may be given several times. */
  list(flag: string): readonly string[]
  /** Whether a boolean flag was given. */
  flag(name: string): boolean
}

export interface Command {
  /** The words, e.g. `keys create`. */
  readonly words: string
  readonly summary: string
  /** Further lines of help; each already wrapped. */
  readonly details?: readonly string[]
  readonly positionals: readonly Positional[]
  readonly flags: Flags
  readonly run: (invocation: Invocation, io: Io) => Promise<ExitCode>
}

/** The command line is wrong; the message is one sentence with the mend. Ends the command with `exitUsage`. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The command cannot go on; the message is one sentence with the mend. Ends the command with `code`. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure'
  readonly code: ExitCode

  constructor(message: string, code: ExitCode = exitFailed) {
    super(message)
    this.code = code
  }
}

/** Standard output takes no more: the disk is full, the reader is gone. Ends the command with `exitOutput`. */
export class OutputFailure extends Error {
  override readonly name = 'OutputFailure'
  /** Of the system, such as `ENOSPC`; `EPIPE`: the reader is gone, which is no fault of a listing. */
  readonly reason: string

  constructor(reason: string) {
    super(`standard output cannot be written (${reason})`)
    this.reason = reason
  }
}

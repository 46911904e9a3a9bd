// The command line as a whole: finds the command, parses its words, runs it, and says what went wrong in one way.
// Returns an exit code; it never ends the process and never reads it.
import { closest } from '../config/fault.ts'
import { RpcFailure } from '../rpc/client.ts'
import {
  type Command,
  CommandFailure,
  type ExitCode,
  exitFailed,
  exitOk,
  exitOutput,
  exitUsage,
  type Io,
  OutputFailure,
  UsageError,
} from './command.ts'
import { CallFailure, failureJson, failureText } from './failure.ts'
import { commandHelp, overview, usageLine } from './help.ts'
import { parseArguments } from './parse-arguments.ts'

/** Runs one command line (without the program's own name). */
export async function runCommandLine(
  args: readonly string[],
  commands: readonly Command[],
  version: string,
  io: Io,
): Promise<ExitCode> {
  try {
    return await answer(args, commands, version, io)
  } catch (error) {
    if (!(error instanceof OutputFailure)) throw error
    // Whoever reads no further (`keys list | head`) knows it.
    if (error.reason !== 'EPIPE')
      io.err(`gatewarden: ${error.message}; the result is not complete. Free some space, or write elsewhere.\n`)
    return exitOutput
  }
}

async function answer(
  args: readonly string[],
  commands: readonly Command[],
  version: string,
  io: Io,
): Promise<ExitCode> {
  if (args[0] === '--version') {
    io.out(`gatewarden ${version}\n`)
    return exitOk
  }
  const command = findCommand(args, commands)
  if (command === undefined) return unknownCommand(args, commands, io)
  const rest = args.slice(command.words.split(' ').length)
  if (asksHelp(rest)) {
    io.out(commandHelp(command))
    return exitOk
  }
  return runCommand(command, rest, io)
}

async function runCommand(command: Command, rest: readonly string[], io: Io): Promise<ExitCode> {
  try {
    return await command.run(parseArguments(command, rest), io)
  } catch (error) {
    if (error instanceof UsageError) {
      io.err(`gatewarden ${command.words}: ${error.message}\n${usageLine(command)}\n`)
      return exitUsage
    }
    if (error instanceof CommandFailure) {
      io.err(`gatewarden ${command.words}: ${error.message}\n`)
      return error.code
    }
    const failure = error instanceof RpcFailure ? new CallFailure(error) : error
    if (!(failure instanceof CallFailure)) throw error
    io.err(`gatewarden ${command.words}: ${failureText(failure)}`)
    if (rest.includes('--json')) io.out(`${JSON.stringify(failureJson(failure), null, 2)}\n`)
    return exitFailed
  }
}

/** The command with the most words that the arguments begin with. */
function findCommand(args: readonly string[], commands: readonly Command[]): Command | undefined {
  const fits = commands.filter(({ words }) => words.split(' ').every((word, at) => args[at] === word))
  return fits.toSorted((a, b) => b.words.length - a.words.length)[0]
}

function unknownCommand(args: readonly string[], commands: readonly Command[], io: Io): ExitCode {
  const [first = ''] = args
  const isGroup = commands.some(({ words }) => words.startsWith(`${first} `))
  if (
    first === '' ||
    first === 'help' ||
    first === '--help' ||
    first === '-h' ||
    (isGroup && asksHelp(args.slice(1)))
  ) {
    io.out(overview(commands, isGroup ? first : ''))
    return exitOk
  }
  const words = args.filter(arg => !arg.startsWith('-')).slice(0, 2)
  const known = commands.map(command => command.words)
  const meant = closest(words.join(' '), known) ?? closest(words[0] ?? first, known)
  const hint = meant === undefined ? '' : ` Did you mean \`gatewarden ${meant}\`?`
  const all = `\`gatewarden ${isGroup ? `${first} ` : ''}--help\` lists what there is.`
  io.err(`gatewarden: there is no command ${JSON.stringify(words.join(' ') || first)}.${hint} ${all}\n`)
  return exitUsage
}

function asksHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--')
  const flags = end < 0 ? args : args.slice(0, end)
  return flags.includes('--help') || flags.includes('-h')
}

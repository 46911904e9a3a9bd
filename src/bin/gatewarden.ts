#!/usr/bin/env node
// The command. The only file that reads arguments, environment and clock of the process and ends it; all else gets them as values.
import { randomUUID } from 'node:crypto'
import { exitFailed, type Io } from '../cli/command.ts'
import { allCommands, type RoleHandlers, type RoleName, roleNames } from '../cli/commands.ts'
import { runCommandLine } from '../cli/main.ts'
import { packagedProfiles } from './packaged-profiles.ts'
import { readVersion } from './version.ts'

const version = readVersion()

/** Where a pipe is closed (`gatewarden keys list | head`) nobody reads on: the command ends quietly. */
function endOnBrokenPipe(stream: NodeJS.WriteStream): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') process.exit(exitFailed)
    if (!isProcessRole()) process.exit(process.exitCode ?? exitFailed)
  })
}

/** The processes, loaded when one of them is started: a client command needs neither the database nor the check. */
const roles = Object.fromEntries(
  roleNames.map(role => [
    role,
    async (...given: Parameters<RoleHandlers[RoleName]>) => {
      const { roleHandlers } = await import('./roles.ts')
      return roleHandlers(version)[role](...given)
    },
  ]),
) as RoleHandlers

/** `serve | head` must go on serving. */
function isProcessRole(): boolean {
  return ['serve', 'check', 'admin'].includes(process.argv[2] ?? '')
}

const io: Io = {
  out: text => void process.stdout.write(text),
  err: text => void process.stderr.write(text),
  environment: process.env,
  cwd: process.cwd(),
  now: () => Date.now(),
  uuid: () => randomUUID(),
}

endOnBrokenPipe(process.stdout)
endOnBrokenPipe(process.stderr)

try {
  process.exitCode = await runCommandLine(process.argv.slice(2), allCommands(roles, packagedProfiles()), version, io)
} catch (error) {
  io.err(`gatewarden: an unexpected error, please report it\n${error instanceof Error ? error.stack : String(error)}\n`)
  process.exitCode = exitFailed
}
// A timer or socket that somebody forgot must not keep an ended command alive; what was written leaves first.
process.stdout.write('', () => process.stderr.write('', () => process.exit()))

#!/usr/bin/env node
// The command. The only file that reads arguments, environment and clock of the process and ends it; all else gets them as values.
import { randomUUID } from 'node:crypto'
import { exitFailed, type Io } from '../cli/command.ts'
import { allCommands, type RoleHandlers, type RoleName, roleNames } from '../cli/commands.ts'
import { runCommandLine } from '../cli/main.ts'
import { packagedProfiles } from './packaged-profiles.ts'
import { writeError, writeOut } from './standard-streams.ts'
import { readVersion } from './version.ts'

const version = readVersion()

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

const io: Io = {
  out: writeOut,
  err: writeError,
  environment: process.env,
  cwd: process.cwd(),
  now: () => Date.now(),
  uuid: () => randomUUID(),
}

try {
  process.exitCode = await runCommandLine(process.argv.slice(2), allCommands(roles, packagedProfiles()), version, io)
} catch (error) {
  io.err(`gatewarden: an unexpected error, please report it\n${error instanceof Error ? error.stack : String(error)}\n`)
  process.exitCode = exitFailed
}
// A timer or socket that somebody forgot must not keep an ended command alive; what was written has left already.
process.exit()

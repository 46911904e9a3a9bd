// The table of all commands. What a process of ours does (`serve`, `check`, …) is handed in by the wiring; the words are here.

import { allowlistCommands } from './allowlists.ts'
import { importCommand } from './api-key-import.ts'
import { apiKeyStateCommands } from './api-key-states.ts'
import { apiKeyCommands } from './api-keys.ts'
import { bootstrapCompleteCommand } from './bootstrap-complete.ts'
import type { Command, ExitCode, Flags, Invocation, Io } from './command.ts'
import { configFlag } from './connect.ts'
import { organizationCommands } from './organizations.ts'
import { profileCommands } from './profile-commands.ts'
import { usageCommands } from './usage.ts'
import { usageExportCommand } from './usage-export.ts'
import { waitCommand } from './wait.ts'

export const roleFlags = {
  ...configFlag,
  'check-config': { type: 'boolean', help: 'check settings, files and profiles, then exit' },
} as const satisfies Flags

const roleTable = {
  serve: {
    summary: 'Check and admin in one process, with a database of its own; needs no configuration.',
    flags: roleFlags,
  },
  check: {
    summary: 'The sidecar that answers Envoy; reads API keys, writes none.',
    flags: {
      ...roleFlags,
      workers: { type: 'string', value: 'N', help: 'processes that answer, as check.workers; 1 unless set' },
    },
  },
  admin: {
    summary: 'The admin service, the only writer of API keys.',
    flags: {
      ...roleFlags,
      migrate: { type: 'boolean', help: 'bring the database to the schema of this version first' },
    },
  },
  migrate: { summary: 'Bring the database to the schema of this version, then exit.', flags: roleFlags },
  bootstrap: {
    summary: 'Print a token, good for 15 minutes, that makes the first admin key.',
    flags: {
      ...roleFlags,
      'break-glass': { type: 'boolean', help: 'although there is an admin key with all rights already; audited' },
    },
  },
} as const satisfies Readonly<Record<string, { readonly summary: string; readonly flags: Flags }>>

/** The names of all processes. */
export const roleNames = Object.keys(roleTable) as readonly RoleName[]

export type RoleName = keyof typeof roleTable

/** What each process does. */
export type RoleHandlers = Readonly<Record<RoleName, (invocation: Invocation, io: Io) => Promise<ExitCode>>>

/** All commands. `packagedProfiles` is the directory of the shipped profiles. */
export function allCommands(roles: RoleHandlers, packagedProfiles: string): readonly Command[] {
  const roleCommands = Object.entries(roleTable).map(
    ([words, { summary, flags }]): Command => ({
      words,
      summary,
      positionals: [],
      flags,
      run: roles[words as RoleName],
    }),
  )
  return [
    ...roleCommands,
    bootstrapCompleteCommand,
    ...profileCommands(packagedProfiles),
    ...organizationCommands,
    ...apiKeyCommands,
    ...apiKeyStateCommands,
    importCommand,
    ...allowlistCommands,
    ...usageCommands,
    usageExportCommand,
    waitCommand,
  ]
}

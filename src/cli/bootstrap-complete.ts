// `gatewarden bootstrap complete`: turns a bootstrap token into the first admin key.
// The token is read from standard input or an argument; it works once, for 15 minutes.

import { resolve } from 'node:path'
import { writePrivateFile } from '../config/pepper-file.ts'
import { codeOf } from '../config/read-environment.ts'
import { AccessAdminService, AdminKey } from '../gen/gatewarden/admin/v1/access_admin.ts'
import { type Command, CommandFailure, exitOk, type Flags, type Invocation, type Io } from './command.ts'
import { clientFlags, configFlag, withConnection } from './connect.ts'
import { secretText } from './render.ts'
import { toJson } from './to-json.ts'
import { parseInstant } from './values.ts'

const { 'key-file': _keyFile, ...withoutKey } = clientFlags

const flags = {
  name: { type: 'string', value: 'TEXT', help: 'name of the admin key; default `root`' },
  expires: { type: 'string', value: 'WHEN', help: 'instant or duration from now; default 90d, at most 365d' },
  save: {
    type: 'string',
    value: 'FILE',
    help: 'write the admin key to a new file with mode 0600 instead of printing it',
  },
  ...withoutKey,
  ...configFlag,
} as const satisfies Flags

async function run(invocation: Invocation, io: Io) {
  const expires = invocation.text('expires')
  const value: AdminKey = {
    ...AdminKey.create({}),
    displayName: invocation.text('name') ?? 'root',
    expireTime: expires === undefined ? undefined : parseInstant(expires, 'expires', io.now()),
  }
  const token = invocation.positionals[0] ?? ''
  return withConnection(
    invocation,
    io,
    async ({ channel }) => {
      const reply = await channel
        .client(AccessAdminService)
        .completeBootstrap({ token, root: { $case: 'adminKey', value } })
      const file = invocation.text('save')
      if (file !== undefined) save(resolve(io.cwd, file), reply.secret, io)
      else if (invocation.flag('json')) io.out(`${JSON.stringify(toJson(reply), null, 2)}\n`)
      else io.out(secretText(reply.secret, false))
      return exitOk
    },
    false,
  )
}

function save(file: string, secret: string, io: Io): void {
  try {
    writePrivateFile(file, `${secret}\n`)
    io.err(`The admin key is in ${file}.\n`)
  } catch (error) {
    // The key exists and is shown only now: losing it would need --break-glass.
    io.out(secretText(secret, false))
    throw new CommandFailure(`${file} could not be written (${codeOf(error)}); the admin key is printed above instead.`)
  }
}

export const bootstrapCompleteCommand: Command = {
  words: 'bootstrap complete',
  summary: 'Turn a bootstrap token into the first admin key.',
  positionals: [{ name: 'TOKEN', help: 'what `gatewarden bootstrap` printed' }],
  flags,
  run,
}

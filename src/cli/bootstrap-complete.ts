// `gatewarden bootstrap complete`: turns a bootstrap token into the first admin key.
// The token works once, for 15 minutes: whatever can be refused is refused before it is sent. With --save the key is never printed.
import { resolve } from 'node:path'
import { codeOf } from '../config/read-environment.ts'
import {
  AccessAdminService,
  AdminKey,
  type CompleteBootstrapResponse,
} from '../gen/gatewarden/admin/v1/access_admin.ts'
import { RpcFailure } from '../rpc/client.ts'
import { type Command, CommandFailure, exitOk, exitOutput, type Flags, type Invocation, type Io } from './command.ts'
import { clientFlags, configFlag, withConnection } from './connect.ts'
import { deliver } from './deliver.ts'
import { isUnsure } from './failure.ts'
import { openPrivateOutput, type PrivateOutput } from './private-output.ts'
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

/** What helps where the token is spent and nobody has the key. */
const another = '`gatewarden bootstrap --break-glass` makes a token for another.'

async function run(invocation: Invocation, io: Io) {
  const expires = invocation.text('expires')
  const value: AdminKey = {
    ...AdminKey.create({}),
    displayName: invocation.text('name') ?? 'root',
    expireTime: expires === undefined ? undefined : parseInstant(expires, 'expires', io.now()),
  }
  const token = invocation.positionals[0] ?? ''
  const file = invocation.text('save')
  const path = file === undefined ? undefined : resolve(io.cwd, file)
  return withConnection(
    invocation,
    io,
    async ({ channel }) => {
      const output = path === undefined ? undefined : openOutput(path)
      try {
        const call = channel.client(AccessAdminService).completeBootstrap
        const reply = await call({ token, root: { $case: 'adminKey', value } }).catch(refuse)
        if (output === undefined || path === undefined) print(reply, invocation, io)
        else {
          save(output, path, reply.secret)
          if (invocation.flag('json')) io.out(`${JSON.stringify(toJson({ ...reply, secret: '' }), null, 2)}\n`)
          io.err(`The admin key is in ${path}.\n`)
        }
        return exitOk
      } finally {
        output?.close()
      }
    },
    false,
  )
}

/** @throws CommandFailure before anything is spent */
function openOutput(path: string): PrivateOutput {
  try {
    return openPrivateOutput(path)
  } catch (error) {
    const code = codeOf(error)
    const found = code === 'EEXIST' ? `${path} exists already` : `${path} cannot be written (${code})`
    throw new CommandFailure(`--save: ${found}; name a new file in a directory of yours. The token was not used.`)
  }
}

function refuse(error: unknown): never {
  if (!(error instanceof RpcFailure) || !isUnsure(error)) throw error
  throw new CommandFailure(
    `${error.codeName}: ${error.message}. Whether the token was used is not known: run the same command again; if the token is refused then, ${another}`,
  )
}

function print(reply: CompleteBootstrapResponse, invocation: Invocation, io: Io): void {
  const json = invocation.flag('json')
  const text = json ? `${JSON.stringify(toJson(reply), null, 2)}\n` : secretText(reply.secret, false)
  deliver(io, text, `The token is used and the admin key is lost: ${another}`)
}

function save(output: PrivateOutput, path: string, secret: string): void {
  try {
    output.keep(secret)
  } catch (error) {
    throw new CommandFailure(
      `${path} could not be written (${codeOf(error)}). The token is used and the admin key is lost: ${another}`,
      exitOutput,
    )
  }
}

export const bootstrapCompleteCommand: Command = {
  words: 'bootstrap complete',
  summary: 'Turn a bootstrap token into the first admin key.',
  positionals: [{ name: 'TOKEN', help: 'what `gatewarden bootstrap` printed' }],
  flags,
  run,
}

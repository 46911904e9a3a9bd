// From flags and configuration to a channel to the admin service, with the caller's key.
// The key is read from a file that only its owner may read; it is never taken from the command line, where everybody sees it.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Config, Role } from '../config/config.ts'
import { renderFaults } from '../config/fault.ts'
import { isLocal, parseListen } from '../config/listen-address.ts'
import { loadConfig } from '../config/load-config.ts'
import { readCertificates } from '../config/pem-file.ts'
import { readPrivateFile } from '../config/pepper-file.ts'
import { openChannel, type RpcChannel } from '../rpc/client.ts'
import { CommandFailure, exitConfig, type Flags, type Invocation, type Io, UsageError } from './command.ts'
import { unreachableText } from './failure.ts'

export const configFlag = {
  config: { type: 'string', value: 'FILE', help: 'settings file; default gatewarden.yaml if there is one' },
} as const satisfies Flags

/** Flags of every command that calls the admin service. */
export const clientFlags = {
  server: {
    type: 'string',
    value: 'ADDRESS',
    help: 'admin service, host:port or unix:/path; default the setting cli.server',
  },
  'key-file': { type: 'string', value: 'FILE', help: 'file with the admin key; default the setting cli.key_file' },
  ca: { type: 'string', value: 'FILE', help: 'PEM file of the authority of the service; without it no TLS is spoken' },
  ...configFlag,
  json: { type: 'boolean', help: 'print JSON for scripts' },
} as const satisfies Flags

/** The configuration of a role, or the end of the command with every fault. @throws CommandFailure */
export function configOf(invocation: Invocation, io: Io, role: Role): Config {
  const file = invocation.text('config')
  const result = loadConfig({ role, environment: io.environment, cwd: io.cwd, file })
  if (!result.ok) throw new CommandFailure(renderFaults(result.faults), exitConfig)
  return result.config
}

/** An open channel and the address it leads to. */
export interface Connection {
  readonly channel: RpcChannel
  readonly address: string
}

/** Opens the channel that flags and settings name. `keyed` false: the one call that needs no key. @throws CommandFailure */
export function connect(invocation: Invocation, io: Io, keyed = true): Connection {
  const config = configOf(invocation, io, 'client')
  const address = invocation.text('server') ?? config.cli.server
  if (parseListen(address) === undefined) {
    throw new UsageError(`--server is ${JSON.stringify(address)}; write host:port, [v6]:port or unix:/path.`)
  }
  const adminKey = keyed ? readKey(resolve(io.cwd, invocation.text('key-file') ?? config.cli.keyFile)) : undefined
  const ca = readCa(invocation.text('ca'), io.cwd)
  if (ca === undefined && !isLocal(address)) {
    throw new UsageError(`${address} is not on this machine; name the authority of its certificate with --ca FILE.`)
  }
  const options = { address, ...(adminKey === undefined ? {} : { adminKey }), ...(ca === undefined ? {} : { ca }) }
  return { channel: openChannel(options), address }
}

/** Runs `work` with a connection and closes it. */
export async function withConnection<Result>(
  invocation: Invocation,
  io: Io,
  work: (connection: Connection) => Promise<Result>,
  keyed = true,
): Promise<Result> {
  const connection = connect(invocation, io, keyed)
  try {
    return await work(connection)
  } catch (error) {
    const unreachable = unreachableText(error, connection.address)
    throw unreachable === undefined ? error : new CommandFailure(unreachable)
  } finally {
    connection.channel.close()
  }
}

/** What an admin key may look like: it goes into a header, and a file of something else must not. */
const keyForm = /^[\x21-\x7e]{1,512}$/

function readKey(file: string): string {
  if (!existsSync(file)) {
    throw new CommandFailure(
      `no admin key: ${file} does not exist; start \`gatewarden serve\` once in this directory, make one with \`gatewarden bootstrap\`, or name the file with --key-file or GATEWARDEN_CLI_KEY_FILE.`,
      exitConfig,
    )
  }
  const read = readPrivateFile(file)
  if (!read.ok) {
    throw new CommandFailure(
      `the admin key is not usable: found ${read.found}; accepted: a file with the admin key alone, mode 0400 or 0600.`,
      exitConfig,
    )
  }
  const key = read.content.trim()
  if (keyForm.test(key)) return key
  throw new CommandFailure(
    `the admin key is not usable: found ${file}, which is ${key === '' ? 'empty' : 'no admin key'}; accepted: a file with the admin key alone.`,
    exitConfig,
  )
}

function readCa(file: string | undefined, cwd: string): Buffer | undefined {
  if (file === undefined) return undefined
  const read = readCertificates(resolve(cwd, file))
  if (read.ok) return read.pem
  throw new CommandFailure(
    `--ca is ${JSON.stringify(file)}, which ${read.found}; accepted: a PEM file of the authority that signed the certificate of the service.`,
    exitConfig,
  )
}

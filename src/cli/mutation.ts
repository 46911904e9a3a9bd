// What all changing commands share: flags for idempotency, precondition and trial, and what is said after the change: never
// less than what was done, also where the reply, the output or the wait was lost.
import { PropagationAdminService } from '../gen/gatewarden/admin/v1/propagation_admin.ts'
import { RpcFailure } from '../rpc/client.ts'
import { CommandFailure, type ExitCode, exitFailed, exitOk, type Flags, type Invocation, type Io } from './command.ts'
import { type Connection, clientFlags, withConnection } from './connect.ts'
import { deliver, lostSecretText } from './deliver.ts'
import { CallFailure, failureText, isUnsure } from './failure.ts'
import { harmless } from './render.ts'
import { formatInstant, toJson } from './to-json.ts'
import { isDuration, type TimestampValue } from './values.ts'

export const mutationFlags = {
  ...clientFlags,
  'request-id': {
    type: 'string',
    value: 'UUID',
    help: 'repeat a call safely: the same id gives the same answer for 24 h',
  },
  etag: { type: 'string', value: 'ETAG', help: 'refuse if the resource is no longer the one with this etag' },
  'validate-only': { type: 'boolean', help: 'judge the call, change nothing' },
  wait: { type: 'boolean', help: 'return when every sidecar uses the change; exit 1 if that takes over 30 s' },
} as const satisfies Flags

/** The flags of a call that creates: there is nothing an etag could belong to. */
const { etag: _etag, ...withoutEtag } = mutationFlags
export const creationFlags = withoutEtag

/** Fields of a request that the shared flags fill. */
export function mutationFields(invocation: Invocation, io: Io) {
  return { ...creationFields(invocation, io), etag: invocation.text('etag') ?? '' }
}

/** The same for a call that creates. */
export function creationFields(invocation: Invocation, io: Io) {
  return { requestId: invocation.text('request-id') ?? io.uuid(), validateOnly: invocation.flag('validate-only') }
}

/** What makes a call the same call when it is repeated. */
interface Repeatable {
  readonly requestId: string
  readonly validateOnly: boolean
}

/**
 * Runs the call of a changing command. Where its outcome is not known, the failure says how to repeat it safely; `pinned` are
 * flags that would mean something else the next time.
 */
export function withChange(
  invocation: Invocation,
  io: Io,
  { requestId, validateOnly }: Repeatable,
  work: (connection: Connection) => Promise<ExitCode>,
  pinned = '',
): Promise<ExitCode> {
  return withConnection(invocation, io, async connection => {
    try {
      return await work(connection)
    } catch (error) {
      if (!(error instanceof RpcFailure) || validateOnly || !isUnsure(error)) throw error
      throw new CallFailure(error, `--request-id ${requestId}${pinned}`)
    }
  })
}

/** A flag with the instant that its duration stood for; nothing for a flag that was no duration. */
export function pinnedInstant(invocation: Invocation, flag: string, instant: TimestampValue | undefined): string {
  const text = invocation.text(flag)
  return text === undefined || instant === undefined || !isDuration(text) ? '' : ` --${flag} ${formatInstant(instant)}`
}

/** Longest time that `--wait` waits: the promise is 10 s, and a late sidecar is worth knowing of. */
const waitSeconds = 30n

interface Changed {
  readonly revision: bigint
  readonly revisionToken: string
  /** Of a call that hands one out. */
  readonly secret?: string
  /** What the secret belongs to. */
  readonly apiKey?: { readonly name: string } | undefined
}

/** Prints the result of a change, and waits for it where asked. @returns `exitFailed` if it was waited for in vain */
export async function finish(
  reply: Changed,
  text: string,
  invocation: Invocation,
  io: Io,
  connection: Connection,
): Promise<ExitCode> {
  const [json, validateOnly] = [invocation.flag('json'), invocation.flag('validate-only')]
  const changed = reply.revisionToken !== ''
  const result = json ? `${JSON.stringify(toJson(reply), null, 2)}\n` : text
  if (validateOnly || !changed) io.out(result)
  else deliver(io, result, lostText(reply))
  if (validateOnly) io.err('Nothing was changed: --validate-only.\n')
  else if (!json)
    io.err(changed ? `revision ${reply.revision}, token ${reply.revisionToken}\n` : 'Nothing was changed.\n')
  return invocation.flag('wait') && !validateOnly && changed
    ? await waited(reply.revisionToken, io, connection)
    : exitOk
}

function lostText({ secret, apiKey, revision, revisionToken }: Changed): string {
  const done = `The change was made: revision ${revision}, token ${revisionToken}.`
  return secret === undefined || secret === '' ? done : `${done}\n${lostSecretText(harmless(apiKey?.name ?? 'NAME'))}`
}

async function waited(revisionToken: string, io: Io, { channel }: Connection): Promise<ExitCode> {
  const again = `\`gatewarden wait ${revisionToken}\` goes on waiting.`
  const call = channel.client(PropagationAdminService).waitForRevision
  const reply = await call({ revisionToken, timeout: { seconds: waitSeconds, nanos: 0 } }).catch((error: unknown) => {
    if (!(error instanceof RpcFailure)) throw error
    const text = failureText(new CallFailure(error)).trimEnd()
    throw new CommandFailure(`the change was made, but waiting for it failed; ${again}\n${text}`)
  })
  io.err(waitText(reply.governing, reply.confirmed, reply.total))
  if (reply.governing) return exitOk
  io.err(`${again}\n`)
  return exitFailed
}

/** One sentence on how far a revision has come. */
export function waitText(governing: boolean, confirmed: number, total: number): string {
  const where = `at ${confirmed} of ${total} live sidecars.\n`
  return governing ? `In force ${where}` : `Not in force everywhere yet: ${where}`
}

/** Prints warnings, one a line. */
export function warn(warnings: readonly { readonly code: string; readonly message: string }[], io: Io): void {
  for (const { code, message } of warnings) io.err(`warning ${code}: ${harmless(message)}\n`)
}

// What all changing commands share: flags for idempotency, precondition and trial, and what is said after the change.
import { PropagationAdminService } from '../gen/gatewarden/admin/v1/propagation_admin.ts'
import type { Flags, Invocation, Io } from './command.ts'
import type { Connection } from './connect.ts'
import { clientFlags } from './connect.ts'
import { toJson } from './to-json.ts'

export const mutationFlags = {
  ...clientFlags,
  'request-id': {
    type: 'string',
    value: 'UUID',
    help: 'repeat a call safely: the same id gives the same answer for 24 h',
  },
  etag: { type: 'string', value: 'ETAG', help: 'refuse if the resource is no longer the one with this etag' },
  'validate-only': { type: 'boolean', help: 'judge the call, change nothing' },
  wait: { type: 'boolean', help: 'return when every sidecar uses the change' },
} as const satisfies Flags

/** The flags of a call that creates: there is nothing an etag could belong to. */
const { etag: _etag, ...withoutEtag } = mutationFlags
export const creationFlags = withoutEtag

/** Fields of a request that the shared flags fill. */
export function mutationFields(invocation: Invocation, io: Io) {
  return {
    requestId: invocation.text('request-id') ?? io.uuid(),
    validateOnly: invocation.flag('validate-only'),
    etag: invocation.text('etag') ?? '',
  }
}

/** The same for a call that creates. */
export function creationFields(invocation: Invocation, io: Io) {
  return { requestId: invocation.text('request-id') ?? io.uuid(), validateOnly: invocation.flag('validate-only') }
}

/** Longest time that `--wait` waits: the promise is 10 s, and a late sidecar is worth knowing of. */
const waitSeconds = 30n

interface Changed {
  readonly revision: bigint
  readonly revisionToken: string
}

/** Prints the result of a change, and waits for it where asked. */
export async function finish(
  reply: Changed,
  text: string,
  invocation: Invocation,
  io: Io,
  { channel }: Connection,
): Promise<void> {
  if (invocation.flag('json')) io.out(`${JSON.stringify(toJson(reply), null, 2)}\n`)
  else io.out(text)
  if (invocation.flag('validate-only')) io.err('Nothing was changed: --validate-only.\n')
  else if (!invocation.flag('json')) io.err(`revision ${reply.revision}, token ${reply.revisionToken}\n`)
  if (!invocation.flag('wait') || invocation.flag('validate-only') || reply.revisionToken === '') return
  const timeout = { seconds: waitSeconds, nanos: 0 }
  const waited = await channel
    .client(PropagationAdminService)
    .waitForRevision({ revisionToken: reply.revisionToken, timeout })
  io.err(waitText(waited.governing, waited.confirmed, waited.total))
}

/** One sentence on how far a revision has come. */
export function waitText(governing: boolean, confirmed: number, total: number): string {
  const where = `at ${confirmed} of ${total} live sidecars.\n`
  return governing ? `In force ${where}` : `Not in force everywhere yet: ${where}`
}

/** Prints warnings, one a line. */
export function warn(warnings: readonly { readonly code: string; readonly message: string }[], io: Io): void {
  for (const { code, message } of warnings) io.err(`warning ${code}: ${message}\n`)
}

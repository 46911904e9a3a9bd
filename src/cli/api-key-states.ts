// `gatewarden keys finish|extend|suspend|resume|revoke|expire|delete|undelete`: commands that change what state a key is in.
import { Cascade, RevokeReason } from '../gen/gatewarden/admin/v1/resources.ts'
import { keyPositional, keysOf, shownKey } from './api-keys.ts'
import type { Command, Flags, Invocation, Io } from './command.ts'
import type { Connection } from './connect.ts'
import { finish, mutationFields, mutationFlags, pinnedInstant, withChange } from './mutation.ts'
import { required } from './organizations.ts'
import { apiKeyName, parseChoice, parseInstant } from './values.ts'

const noteFlag = { reason: { type: 'string', value: 'TEXT', help: 'why, kept with the key' } } as const satisfies Flags

const revokeFlags = {
  reason: { type: 'string', value: 'REASON', help: 'leaked, superseded, cessation, policy or owner-request' },
  comment: { type: 'string', value: 'TEXT', help: 'more on why' },
  cascade: {
    type: 'string',
    value: 'WHICH',
    help: 'predecessors (default: those in grace as well), key-only, or lineage (successors as well)',
  },
  ...mutationFlags,
} as const satisfies Flags

type Client = ReturnType<typeof keysOf>
type Changed = Awaited<ReturnType<Client['expireApiKey']>>
type Base = { readonly name: string } & ReturnType<typeof mutationFields>

interface Prepared {
  readonly call: (client: Client, request: Base) => Promise<Changed>
  /** Flags that mean the same when the command is repeated. */
  readonly pinned?: string
}

/** A command that sends the name and the shared fields, and perhaps one more, which `prepare` reads before anything is sent. */
function simple(
  verb: string,
  summary: string,
  flags: Flags,
  prepare: (invocation: Invocation, io: Io) => Prepared,
): Command {
  return {
    words: `keys ${verb}`,
    summary,
    positionals: [keyPositional],
    flags: { ...flags, ...mutationFlags },
    run: async (invocation, io) => {
      const request = { name: apiKeyName(invocation.positionals[0] ?? ''), ...mutationFields(invocation, io) }
      const { call, pinned = '' } = prepare(invocation, io)
      const run = async (connection: Connection) => {
        const reply = await call(keysOf(connection), request)
        return finish(reply, shownKey(reply.apiKey), invocation, io, connection)
      }
      return withChange(invocation, io, request, run, pinned)
    },
  }
}

function reasonOf(invocation: Invocation) {
  return { reason: invocation.text('reason') ?? '' }
}

async function revoke(invocation: Invocation, io: Io) {
  const cascade = invocation.text('cascade')
  const request = {
    name: apiKeyName(invocation.positionals[0] ?? ''),
    revokeReason: parseChoice(required(invocation, 'reason'), 'reason', RevokeReason),
    comment: invocation.text('comment') ?? '',
    cascade: cascade === undefined ? Cascade.CASCADE_UNSPECIFIED : parseChoice(cascade, 'cascade', Cascade),
    ...mutationFields(invocation, io),
  }
  return withChange(invocation, io, request, async connection => {
    const reply = await keysOf(connection).revokeApiKey(request)
    return finish(reply, reply.apiKeys.map(shownKey).join('\n'), invocation, io, connection)
  })
}

export const apiKeyStateCommands: readonly Command[] = [
  simple('finish', 'End the grace period of a rotated key now.', {}, () => ({
    call: (client, request) => client.finishRotation(request),
  })),
  simple(
    'extend',
    'Move the end of the grace period of a rotated key.',
    { until: { type: 'string', value: 'WHEN', help: 'new end: an instant, or a duration from now such as 12h' } },
    (invocation, io) => {
      const graceEndTime = parseInstant(required(invocation, 'until'), 'until', io.now())
      return {
        call: (client, request) => client.extendRotation({ ...request, graceEndTime }),
        pinned: pinnedInstant(invocation, 'until', graceEndTime),
      }
    },
  ),
  simple('suspend', 'Deny a key until it is resumed.', noteFlag, invocation => ({
    call: (client, request) => client.suspendApiKey({ ...request, ...reasonOf(invocation) }),
  })),
  simple('resume', 'End the suspension of a key.', noteFlag, invocation => ({
    call: (client, request) => client.resumeApiKey({ ...request, ...reasonOf(invocation) }),
  })),
  {
    words: 'keys revoke',
    summary: 'End a key for good.',
    positionals: [keyPositional],
    flags: revokeFlags,
    run: revoke,
  },
  simple('expire', 'Let a key expire now; final.', {}, () => ({
    call: (client, request) => client.expireApiKey(request),
  })),
  simple('delete', 'Delete a key; it can be brought back for 30 days.', {}, () => ({
    call: (client, request) => client.deleteApiKey(request),
  })),
  simple('undelete', 'Bring back a deleted key.', {}, () => ({
    call: (client, request) => client.undeleteApiKey(request),
  })),
]

// `gatewarden keys finish|extend|suspend|resume|revoke|expire|delete|undelete`: commands that change what state a key is in.
import { Cascade, RevokeReason } from '../gen/gatewarden/admin/v1/resources.ts'
import { keyPositional, keysOf, shownKey } from './api-keys.ts'
import { type Command, exitOk, type Flags, type Invocation, type Io } from './command.ts'
import { withConnection } from './connect.ts'
import { finish, mutationFields, mutationFlags } from './mutation.ts'
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

/** A command that sends the name and the shared fields, and perhaps one more, which `prepare` reads before anything is sent. */
function simple(
  verb: string,
  summary: string,
  flags: Flags,
  prepare: (invocation: Invocation, io: Io) => (client: Client, request: Base) => Promise<Changed>,
): Command {
  return {
    words: `keys ${verb}`,
    summary,
    positionals: [keyPositional],
    flags: { ...flags, ...mutationFlags },
    run: async (invocation, io) => {
      const request = { name: apiKeyName(invocation.positionals[0] ?? ''), ...mutationFields(invocation, io) }
      const call = prepare(invocation, io)
      return withConnection(invocation, io, async connection => {
        const reply = await call(keysOf(connection), request)
        await finish(reply, shownKey(reply.apiKey), invocation, io, connection)
        return exitOk
      })
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
  return withConnection(invocation, io, async connection => {
    const reply = await keysOf(connection).revokeApiKey(request)
    await finish(reply, reply.apiKeys.map(shownKey).join('\n'), invocation, io, connection)
    return exitOk
  })
}

export const apiKeyStateCommands: readonly Command[] = [
  simple(
    'finish',
    'End the grace period of a rotated key now.',
    {},
    () => (client, request) => client.finishRotation(request),
  ),
  simple(
    'extend',
    'Move the end of the grace period of a rotated key.',
    { until: { type: 'string', value: 'WHEN', help: 'new end: an instant, or a duration from now such as 12h' } },
    (invocation, io) => {
      const graceEndTime = parseInstant(required(invocation, 'until'), 'until', io.now())
      return (client, request) => client.extendRotation({ ...request, graceEndTime })
    },
  ),
  simple(
    'suspend',
    'Deny a key until it is resumed.',
    noteFlag,
    invocation => (client, request) => client.suspendApiKey({ ...request, ...reasonOf(invocation) }),
  ),
  simple(
    'resume',
    'End the suspension of a key.',
    noteFlag,
    invocation => (client, request) => client.resumeApiKey({ ...request, ...reasonOf(invocation) }),
  ),
  {
    words: 'keys revoke',
    summary: 'End a key for good.',
    positionals: [keyPositional],
    flags: revokeFlags,
    run: revoke,
  },
  simple('expire', 'Let a key expire now; final.', {}, () => (client, request) => client.expireApiKey(request)),
  simple(
    'delete',
    'Delete a key; it can be brought back for 30 days.',
    {},
    () => (client, request) => client.deleteApiKey(request),
  ),
  simple('undelete', 'Bring back a deleted key.', {}, () => (client, request) => client.undeleteApiKey(request)),
]

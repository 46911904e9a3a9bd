// `gatewarden wait`: returns when every live sidecar uses a change, or says who lags.
import { PropagationAdminService } from '../gen/gatewarden/admin/v1/propagation_admin.ts'
import { type Command, exitFailed, exitOk, type Flags, type Invocation, type Io } from './command.ts'
import { clientFlags, withConnection } from './connect.ts'
import { waitText } from './mutation.ts'
import { table } from './render.ts'
import { formatDuration, toJson } from './to-json.ts'
import { parseDuration } from './values.ts'

const flags = {
  timeout: { type: 'string', value: 'DURATION', help: 'how long to wait, at most 30s; default 10s' },
  ...clientFlags,
} as const satisfies Flags

async function run(invocation: Invocation, io: Io) {
  const timeout = parseDuration(invocation.text('timeout') ?? '10s', 'timeout')
  return withConnection(invocation, io, async ({ channel }) => {
    const revisionToken = invocation.positionals[0] ?? ''
    const reply = await channel.client(PropagationAdminService).waitForRevision({ revisionToken, timeout })
    if (invocation.flag('json')) {
      io.out(
        `${JSON.stringify({ governing: reply.governing, confirmed: reply.confirmed, total: reply.total, lagging: toJson(reply.lagging) ?? [] }, null, 2)}\n`,
      )
    } else {
      io.out(waitText(reply.governing, reply.confirmed, reply.total))
      if (reply.lagging.length > 0) {
        const rows = reply.lagging.map(({ sidecar, appliedRevision, age }) => [
          sidecar,
          String(appliedRevision),
          age === undefined ? '' : formatDuration(age),
        ])
        io.out(table(['SIDECAR', 'APPLIED REVISION', 'LAST SEEN'], rows))
      }
    }
    return reply.governing ? exitOk : exitFailed
  })
}

export const waitCommand: Command = {
  words: 'wait',
  summary: 'Wait until every live sidecar uses a change; exit 1 if that takes too long.',
  positionals: [{ name: 'TOKEN', help: 'revision token, as changing commands print it' }],
  flags,
  run,
}

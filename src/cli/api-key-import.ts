// `gatewarden keys import`: rows with digests, streamed to the service. Secrets are never read or sent.
import {
  ImportApiKeysRequest,
  ImportApiKeysRequest_OnConflict,
  type ImportApiKeysResponse,
} from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { statusDetails } from '../rpc/client.ts'
import { keysOf, organizationPositional } from './api-keys.ts'
import { type Command, exitFailed, type Flags, type Invocation, type Io } from './command.ts'
import { type FileRow, readImportFile } from './import-file.ts'
import { creationFields, creationFlags, finish, withChange } from './mutation.ts'
import { harmless } from './render.ts'
import { organizationName, parseChoice } from './values.ts'

const flags = {
  'on-conflict': {
    type: 'string',
    value: 'fail|skip',
    help: 'what a digest that is known already does to its row; default fail',
  },
  atomic: { type: 'boolean', help: 'all rows or none; at most 1000' },
  ...creationFlags,
} as const satisfies Flags

async function run(invocation: Invocation, io: Io) {
  const [organization = '', file = ''] = invocation.positionals
  const conflict = invocation.text('on-conflict')
  const header = {
    parent: organizationName(organization),
    onConflict:
      conflict === undefined
        ? ImportApiKeysRequest_OnConflict.FAIL
        : parseChoice(conflict, 'on-conflict', ImportApiKeysRequest_OnConflict),
    atomic: invocation.flag('atomic'),
    ...creationFields(invocation, io),
  }
  const rows = readImportFile(file, header.atomic, io)
  const requests = [
    ImportApiKeysRequest.create({ part: { $case: 'header', value: header } }),
    ...rows.map(({ row }): ImportApiKeysRequest => ({ part: { $case: 'row', value: row } })),
  ]
  return withChange(invocation, io, header, async connection => {
    const reply = await keysOf(connection).importApiKeys(requests)
    const code = await finish(reply, resultText(reply, file, rows), invocation, io, connection)
    tellKnown(reply, io)
    return reply.failed > 0 ? exitFailed : code
  })
}

function resultText(reply: ImportApiKeysResponse, file: string, rows: readonly FileRow[]): string {
  const failures = reply.results.flatMap(({ row, outcome }) => {
    if (outcome?.$case !== 'error') return []
    const { violations } = statusDetails(outcome.value)
    const parts = violations.length > 1 ? violations.map(each => `${each.field}: ${each.description}`) : []
    const text = parts.length > 0 ? parts.join('; ') : outcome.value.message
    return [`  ${file}:${rows[row]?.line ?? row + 1}: ${harmless(text)}\n`]
  })
  return `imported ${reply.imported}, skipped ${reply.skipped}, failed ${reply.failed}\n${failures.join('')}`
}

/** Whoever runs an import again meets what the first run brought in. */
function tellKnown(reply: ImportApiKeysResponse, io: Io): void {
  const known = reply.results.filter(
    ({ outcome }) => outcome?.$case === 'error' && statusDetails(outcome.value).reason === 'DIGEST_EXISTS',
  ).length
  if (known === 0) return
  const [have, them] =
    known === 1 ? ['has a digest of a key that exists', 'it'] : ['have digests of keys that exist', 'them']
  io.err(
    `${known} of the failed rows ${have} already: if an earlier run imported ${them}, --on-conflict skip passes over ${them} and changes nothing.\n`,
  )
}

export const importCommand: Command = {
  words: 'keys import',
  summary: 'Import API keys by the SHA-256 of their secrets.',
  details: [
    'FILE holds one JSON object a line: display_name, environment, digest (64 hex digits), key_hint;',
    'optional scopes, scope_mode, allowlist, expire_time, create_time (instants), labels, description.',
    'An import that broke off goes on where it was when it is run again with the --request-id that it named.',
  ],
  positionals: [organizationPositional, { name: 'FILE', help: 'JSON Lines' }],
  flags,
  run,
}

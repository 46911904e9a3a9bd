// `gatewarden keys import`: JSON Lines of rows with digests, streamed to the service. Secrets are never read or sent.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import { codeOf } from '../config/read-environment.ts'
import {
  ImportApiKeysRequest,
  ImportApiKeysRequest_OnConflict,
  type ImportApiKeysRequest_Row,
  type ImportApiKeysResponse,
} from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { ScopeMode } from '../gen/gatewarden/admin/v1/resources.ts'
import { keysOf, organizationPositional } from './api-keys.ts'
import { type Command, exitFailed, exitOk, type Flags, type Invocation, type Io, UsageError } from './command.ts'
import { withConnection } from './connect.ts'
import { creationFields, creationFlags, finish } from './mutation.ts'
import { harmless } from './render.ts'
import { organizationName, parseChoice, parseInstant } from './values.ts'

/** Most rows of one stream, by admin-api.md section 6; the file is refused before anything is sent. */
const rowsMax = 10_000
/** Faulty lines that are listed. */
const faultsShownMax = 20

const flags = {
  'on-conflict': {
    type: 'string',
    value: 'fail|skip',
    help: 'what a digest that is known already does to its row; default fail',
  },
  atomic: { type: 'boolean', help: 'all rows or none; at most 1000' },
  ...creationFlags,
} as const satisfies Flags

const row = z.strictObject({
  display_name: z.string(),
  environment: z.string(),
  digest: z.string().regex(/^[0-9a-fA-F]{64}$/, 'must be the SHA-256 of the secret as 64 hex digits'),
  key_hint: z.string(),
  scopes: z.array(z.string()).optional(),
  scope_mode: z.enum(['LISTED', 'ALL']).optional(),
  allowlist: z.array(z.strictObject({ cidr: z.string(), label: z.string().optional() })).optional(),
  expire_time: z.string().optional(),
  create_time: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  description: z.string().optional(),
})

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
  const rows = readRows(readText(file, io), file, io)
  const requests = [
    ImportApiKeysRequest.create({ part: { $case: 'header', value: header } }),
    ...rows.map((value): ImportApiKeysRequest => ({ part: { $case: 'row', value } })),
  ]
  return withConnection(invocation, io, async connection => {
    const reply = await keysOf(connection).importApiKeys(requests)
    await finish(reply, resultText(reply), invocation, io, connection)
    return reply.failed > 0 ? exitFailed : exitOk
  })
}

function readText(file: string, io: Io): string {
  try {
    return readFileSync(resolve(io.cwd, file), 'utf8')
  } catch (error) {
    throw new UsageError(`${file} cannot be read (${codeOf(error)}).`)
  }
}

/** All rows of the file, or every faulty line at once. @throws UsageError */
export function readRows(text: string, file: string, io: Io): ImportApiKeysRequest_Row[] {
  const lines = text.split('\n').map((line, index) => ({ line: line.trim(), number: index + 1 }))
  const filled = lines.filter(({ line }) => line !== '')
  if (filled.length === 0) throw new UsageError(`${file} has no row; write one JSON object a line.`)
  if (filled.length > rowsMax)
    throw new UsageError(`${file} has ${filled.length} rows; import at most ${rowsMax} at a time.`)
  const faults: string[] = []
  const rows = filled.flatMap(({ line, number }) => {
    try {
      return [toRow(line, io)]
    } catch (error) {
      faults.push(`  ${file}:${number}: ${error instanceof Error ? error.message : 'not readable'}`)
      return []
    }
  })
  if (faults.length > 0) {
    const more = faults.length > faultsShownMax ? [`  and ${faults.length - faultsShownMax} more`] : []
    throw new UsageError(['rows that cannot be sent:', ...faults.slice(0, faultsShownMax), ...more].join('\n'))
  }
  return rows
}

function toRow(line: string, io: Io): ImportApiKeysRequest_Row {
  const parsed = row.safeParse(parseJson(line))
  if (!parsed.success)
    throw new Error(parsed.error.issues.map(issue => `${issue.path.join('.')}: ${issue.message}`).join('; '))
  const { data } = parsed
  const instant = (text: string | undefined, name: string) =>
    text === undefined ? undefined : parseInstant(text, name, io.now())
  return {
    displayName: data.display_name,
    environment: data.environment,
    digest: Buffer.from(data.digest, 'hex'),
    keyHint: data.key_hint,
    scopes: data.scopes ?? [],
    scopeMode: data.scope_mode === undefined ? ScopeMode.SCOPE_MODE_UNSPECIFIED : ScopeMode[data.scope_mode],
    allowlist: (data.allowlist ?? []).map(({ cidr, label }) => ({ cidr, label: label ?? '' })),
    expireTime: instant(data.expire_time, 'expire_time'),
    createTime: instant(data.create_time, 'create_time'),
    labels: new Map(Object.entries(data.labels ?? {})),
    description: data.description ?? '',
  }
}

/** JSON.parse quotes what it read; a line may hold what must not be shown. */
function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    throw new Error('is no JSON object')
  }
}

function resultText(reply: ImportApiKeysResponse): string {
  const failures = reply.results.flatMap(({ row: number, outcome }) =>
    outcome?.$case === 'error' ? [`  row ${number + 1}: ${harmless(outcome.value.message)}\n`] : [],
  )
  return `imported ${reply.imported}, skipped ${reply.skipped}, failed ${reply.failed}\n${failures.join('')}`
}

export const importCommand: Command = {
  words: 'keys import',
  summary: 'Import API keys by the SHA-256 of their secrets.',
  details: [
    'FILE holds one JSON object a line: display_name, environment, digest (64 hex digits), key_hint;',
    'optional scopes, scope_mode, allowlist, expire_time, create_time, labels, description.',
  ],
  positionals: [organizationPositional, { name: 'FILE', help: 'JSON Lines' }],
  flags,
  run,
}

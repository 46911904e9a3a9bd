// The file of `gatewarden keys import`: JSON Lines of rows with digests, taken whole or refused with every faulty line at once.
// A row may hold by mistake what must not be shown: what is said of it never repeats a value.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import { codeOf } from '../config/read-environment.ts'
import type { ImportApiKeysRequest_Row } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { ScopeMode } from '../gen/gatewarden/admin/v1/resources.ts'
import { type Io, UsageError } from './command.ts'
import { isInstant, parseInstant } from './values.ts'

/** Most rows of one stream, by admin-api.md section 6; the file is refused before anything is sent. */
const rowsMax = 10_000
/** Most rows that go in together: what one revision can carry. */
const atomicRowsMax = 1000
/** Faulty lines that are listed. */
const faultsShownMax = 20

const text = z.string()
/** Not a duration: the same file must be the same import whenever it is read. */
const instant = z.string().refine(isInstant)

const schema = z.strictObject({
  display_name: text,
  environment: text,
  digest: z.string().regex(/^[0-9a-fA-F]{64}$/),
  key_hint: text,
  scopes: z.array(text).optional(),
  scope_mode: z.enum(['LISTED', 'ALL']).optional(),
  allowlist: z.array(z.strictObject({ cidr: text, label: text.optional() })).optional(),
  expire_time: instant.optional(),
  create_time: instant.optional(),
  labels: z.record(z.string(), text).optional(),
  description: text.optional(),
})

const anInstant = 'an instant such as 2027-01-31T12:00:00Z'
const accepted: Readonly<Record<keyof z.output<typeof schema>, string>> = {
  display_name: 'a text',
  environment: 'a text',
  digest: 'the SHA-256 of the secret as 64 hex digits',
  key_hint: 'a text',
  scopes: 'a list of texts',
  scope_mode: 'LISTED or ALL',
  allowlist: 'a list of objects with cidr, and label if it has one',
  expire_time: anInstant,
  create_time: anInstant,
  labels: 'an object of texts',
  description: 'a text',
}

/** One row and the line of the file that it stands on. */
export interface FileRow {
  readonly line: number
  readonly row: ImportApiKeysRequest_Row
}

/** All rows of the file. @throws UsageError with every faulty line */
export function readImportFile(file: string, atomic: boolean, io: Io): readonly FileRow[] {
  const lines = readText(file, io)
    .replace(/^\uFEFF/, '')
    .split('\n')
  const filled = lines.flatMap((each, index) => (each.trim() === '' ? [] : [{ text: each, line: index + 1 }]))
  const max = atomic ? atomicRowsMax : rowsMax
  if (filled.length === 0) throw new UsageError(`${file} has no row; write one JSON object a line.`)
  if (filled.length > max) {
    const mend = atomic ? `leave out --atomic, or import at most ${max} at a time` : `import at most ${max} at a time`
    throw new UsageError(`${file} has ${filled.length} rows; ${mend}.`)
  }
  const faults: string[] = []
  const rows: FileRow[] = []
  for (const { text, line } of filled) {
    const read = readRow(text, io)
    if (Array.isArray(read)) faults.push(...read.map(fault => `  ${file}:${line}: ${fault}`))
    else rows.push({ line, row: read })
  }
  if (faults.length === 0) return rows
  const more = faults.length > faultsShownMax ? [`  and ${faults.length - faultsShownMax} more`] : []
  throw new UsageError(['rows that cannot be sent:', ...faults.slice(0, faultsShownMax), ...more].join('\n'))
}

function readText(file: string, io: Io): string {
  try {
    return readFileSync(resolve(io.cwd, file), 'utf8')
  } catch (error) {
    throw new UsageError(`${file} cannot be read (${codeOf(error)}); name a file of JSON Lines.`)
  }
}

/** A row, or everything that is wrong with it. */
function readRow(line: string, io: Io): ImportApiKeysRequest_Row | string[] {
  const value = parseJson(line)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return ['it is no JSON object; write one a line']
  const parsed = schema.safeParse(value)
  return parsed.success ? toRow(parsed.data, io) : faultsOf(parsed.error.issues, value)
}

/** What JSON.parse throws quotes what it read. */
function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

function faultsOf(issues: readonly z.core.$ZodIssue[], value: object): string[] {
  const members = new Map<string, string>()
  const unknown = issues.flatMap(issue =>
    issue.code === 'unrecognized_keys' && issue.path.length === 0 ? issue.keys : [],
  )
  for (const { path } of issues) {
    const [member] = path
    if (typeof member !== 'string' || !(member in accepted)) continue
    const found = kindOf(Object.entries(value).find(([name]) => name === member)?.[1])
    members.set(member, `${member}: found ${found}; accepted: ${accepted[member as keyof typeof accepted]}`)
  }
  if (unknown.length === 0) return [...members.values()]
  const named = unknown.map(name => (/^[A-Za-z_]{1,32}$/.test(name) ? name : 'one that is not shown here'))
  return [...members.values(), `unknown members: ${named.join(', ')}; accepted: ${Object.keys(accepted).join(', ')}`]
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value === 'string') return `a text of ${value.length} characters`
  if (typeof value === 'number') return 'a number'
  return Array.isArray(value) ? 'a list' : 'an object'
}

function toRow(data: z.output<typeof schema>, io: Io): ImportApiKeysRequest_Row {
  const time = (text: string | undefined, name: string) =>
    text === undefined ? undefined : parseInstant(text, name, io.now())
  return {
    displayName: data.display_name,
    environment: data.environment,
    digest: Buffer.from(data.digest, 'hex'),
    keyHint: data.key_hint,
    scopes: data.scopes ?? [],
    scopeMode: data.scope_mode === undefined ? ScopeMode.SCOPE_MODE_UNSPECIFIED : ScopeMode[data.scope_mode],
    allowlist: (data.allowlist ?? []).map(({ cidr, label }) => ({ cidr, label: label ?? '' })),
    expireTime: time(data.expire_time, 'expire_time'),
    createTime: time(data.create_time, 'create_time'),
    labels: new Map(Object.entries(data.labels ?? {})),
    description: data.description ?? '',
  }
}

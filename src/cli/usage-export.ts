// `gatewarden usage export`: the log as CSV, to standard output or to a file. A file is written beside its name until it is
// whole, with a note of how far it goes: the same command goes on where it, or the connection, broke off.
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { z } from 'zod'
import { codeOf } from '../config/read-environment.ts'
import type { ExportUsageLogsResponse } from '../gen/gatewarden/admin/v1/usage_admin.ts'
import { RpcFailure } from '../rpc/client.ts'
import { organizationPositional } from './api-keys.ts'
import {
  type Command,
  CommandFailure,
  type ExitCode,
  exitFailed,
  exitOk,
  type Flags,
  type Invocation,
  type Io,
} from './command.ts'
import { clientFlags, withConnection } from './connect.ts'
import { usageOf } from './usage.ts'
import { usageFilter, usageFilterFlags } from './usage-flags.ts'
import { organizationName } from './values.ts'

const { json: _json, ...exportClientFlags } = clientFlags
const flags = {
  ...usageFilterFlags,
  'oldest-first': { type: 'boolean', help: 'oldest first; default newest first' },
  column: {
    type: 'string',
    multiple: true,
    value: 'NAME',
    help: 'column; repeat for more. Default those of the profile',
  },
  out: {
    type: 'string',
    value: 'FILE',
    help: 'file, or directory for a file of a telling name; default standard output',
  },
  restart: { type: 'boolean', help: 'begin anew although an unfinished export is there' },
  ...exportClientFlags,
} as const satisfies Flags

/** What is asked; kept beside an unfinished file. */
const asked = z.strictObject({
  parent: z.string(),
  filter: z.string(),
  orderBy: z.string(),
  columns: z.array(z.string()),
})
const note = z.strictObject({
  /** The flags as they were given: durations in them are those of the first time. */
  given: z.string(),
  asked,
  resumeToken: z.string(),
  bytes: z.int(),
  rows: z.int(),
})
type Note = z.output<typeof note>

/** Where chunks go. */
interface Target {
  /** How far an earlier run came. */
  readonly begun: Note | undefined
  take(chunk: ExportUsageLogsResponse, rows: number): void
  finish(): string
  close(): void
}

async function run(invocation: Invocation, io: Io) {
  const request = {
    parent: organizationName(invocation.positionals[0] ?? ''),
    filter: usageFilter(invocation, io),
    orderBy: invocation.flag('oldest-first') ? 'time' : '',
    columns: [...invocation.list('column')],
  }
  return withConnection(invocation, io, async connection => {
    const target = targetOf(invocation, io, request)
    try {
      return await transfer(usageOf(connection), target.begun?.asked ?? request, target, io)
    } finally {
      target.close()
    }
  })
}

/** Attempts in a row that bring nothing, before the command gives up. */
const attemptsMax = 5
/** Pause between attempts. */
const retryMs = 1000
/** Progress is told this often. */
const progressMs = 1000

async function transfer(
  client: ReturnType<typeof usageOf>,
  request: z.output<typeof asked>,
  target: Target,
  io: Io,
): Promise<ExitCode> {
  let resumeToken = target.begun?.resumeToken ?? ''
  let rows = target.begun?.rows ?? 0
  let toldMs = io.now()
  if (rows > 0) io.err(`going on after ${rows} rows\n`)
  for (let attempt = 1; ; attempt++) {
    try {
      for await (const chunk of client.exportUsageLogs({ ...request, resumeToken })) {
        attempt = 1
        rows += chunk.rows
        target.take(chunk, rows)
        resumeToken = chunk.resumeToken
        if (chunk.last) return told(target.finish(), rows, chunk.truncated, io)
        if (io.now() - toldMs < progressMs) continue
        toldMs = io.now()
        io.err(`${rows} rows\n`)
      }
      throw new CommandFailure('the service ended the export before its last chunk; run the command again.')
    } catch (error) {
      if (!isPassing(error) || attempt >= attemptsMax || resumeToken === '') throw error
      io.err('the connection broke; going on\n')
      await pause(retryMs)
    }
  }
}

/** A failure that another attempt may not meet. */
function isPassing(error: unknown): boolean {
  return error instanceof RpcFailure && [status.UNAVAILABLE, status.DEADLINE_EXCEEDED].includes(error.code)
}

function told(place: string, rows: number, truncated: boolean, io: Io): ExitCode {
  io.err(`${rows} ${rows === 1 ? 'row' : 'rows'}${place === '' ? '' : ` in ${place}`}\n`)
  if (!truncated) return exitOk
  io.err('There are more than one export may hold: export the rest with --until or --since.\n')
  return exitFailed
}

function targetOf(invocation: Invocation, io: Io, request: z.output<typeof asked>): Target {
  const out = invocation.text('out')
  if (out === undefined) {
    return {
      begun: undefined,
      take: chunk => io.out(chunk.data.toString('utf8')),
      finish: () => '',
      close: () => undefined,
    }
  }
  const given = JSON.stringify([request.parent, request.orderBy, request.columns, ...givenFlags(invocation)])
  try {
    return fileTarget(fileOf(resolve(io.cwd, out), request, io), { given, request }, invocation.flag('restart'))
  } catch (error) {
    if (error instanceof CommandFailure) throw error
    throw new CommandFailure(`${out} cannot be written (${codeOf(error)}).`)
  }
}

function givenFlags(invocation: Invocation): readonly (string | boolean | undefined)[] {
  return Object.entries(usageFilterFlags).map(([name, flag]) =>
    flag.type === 'boolean' ? invocation.flag(name) : invocation.text(name),
  )
}

/** `ORG-usage-FROM-TO.csv` in a directory. */
function fileOf(path: string, request: z.output<typeof asked>, io: Io): string {
  if (!existsSync(path) || !statSync(path).isDirectory()) return path
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10)
  const named = (pattern: RegExp) => pattern.exec(request.filter)?.[1]
  const from = named(/time >= (\d{4}-\d{2}-\d{2})/) ?? day(io.now() - 31 * 86_400_000)
  const to = named(/time < (\d{4}-\d{2}-\d{2})/) ?? day(io.now())
  const organization = (request.parent.split('/')[1] ?? '').replace(/^-$/, 'all')
  return join(path, `${organization}-usage-${from}-${to}.csv`)
}

function fileTarget(
  file: string,
  { given, request }: { readonly given: string; readonly request: z.output<typeof asked> },
  restart: boolean,
): Target {
  const [part, noteFile] = [`${file}.part`, `${file}.part.json`]
  const begun = restart || !existsSync(part) ? undefined : readNote(noteFile)
  if (begun !== undefined && begun.given !== given) {
    throw new CommandFailure(`${part} is of another export; finish that one, or give --restart.`)
  }
  const handle = openSync(part, begun === undefined ? 'w' : 'r+', 0o600)
  // What was written after the note is written again.
  ftruncateSync(handle, begun?.bytes ?? 0)
  let bytes = begun?.bytes ?? 0
  return {
    begun,
    take(chunk, rows) {
      for (let from = 0; from < chunk.data.length; )
        from += writeSync(handle, chunk.data, from, chunk.data.length - from, bytes + from)
      bytes += chunk.data.length
      if (chunk.resumeToken === '') return
      const state: Note = { given, asked: begun?.asked ?? request, resumeToken: chunk.resumeToken, bytes, rows }
      writeFileSync(`${noteFile}.new`, JSON.stringify(state), { mode: 0o600 })
      renameSync(`${noteFile}.new`, noteFile)
    },
    finish() {
      fsyncSync(handle)
      renameSync(part, file)
      rmSync(noteFile, { force: true })
      return file
    },
    close: () => closeSync(handle),
  }
}

/** The note of an unfinished file; undefined where none can be read: the file begins anew. */
function readNote(file: string): Note | undefined {
  if (!existsSync(file)) return undefined
  try {
    return note.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    return undefined
  }
}

export const usageExportCommand: Command = {
  words: 'usage export',
  summary: 'Export requests as CSV.',
  details: [
    'An export that broke off goes on when the same command is run again. At most 1000000 rows; exit 1 if there are more.',
  ],
  positionals: [{ ...organizationPositional, help: 'organizations/ID or ID; - for all that you may see' }],
  flags,
  run,
}

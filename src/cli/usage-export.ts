// `gatewarden usage export`: the log as CSV, to standard output or to a file. The same command goes on where it, or the
// connection, broke off.
import { resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
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
import { type Asked, openExportFile, type Target } from './export-file.ts'
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
  force: { type: 'boolean', help: 'replace the file if there is one' },
  ...exportClientFlags,
} as const satisfies Flags

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

async function transfer(client: ReturnType<typeof usageOf>, request: Asked, target: Target, io: Io): Promise<ExitCode> {
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

function targetOf(invocation: Invocation, io: Io, request: Asked): Target {
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
  const replacing = { restart: invocation.flag('restart'), force: invocation.flag('force') }
  const place = { path: resolve(io.cwd, out), name: fileName(request, io) }
  return openExportFile(place, { given, asked: request }, replacing, io)
}

function givenFlags(invocation: Invocation): readonly (string | boolean | undefined)[] {
  return Object.entries(usageFilterFlags).map(([name, flag]) =>
    flag.type === 'boolean' ? invocation.flag(name) : invocation.text(name),
  )
}

/** `ORG-usage-FROM-TO.csv`. */
function fileName(request: Asked, io: Io): string {
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10)
  const named = (pattern: RegExp) => pattern.exec(request.filter)?.[1]
  const from = named(/time >= (\d{4}-\d{2}-\d{2})/) ?? day(io.now() - 31 * 86_400_000)
  const to = named(/time < (\d{4}-\d{2}-\d{2})/) ?? day(io.now())
  const organization = (request.parent.split('/')[1] ?? '').replace(/^-$/, 'all')
  return `${organization}-usage-${from}-${to}.csv`
}

export const usageExportCommand: Command = {
  words: 'usage export',
  summary: 'Export requests as CSV.',
  details: [
    'An export that broke off goes on when the same command is run again. At most 1000000 rows; exit 1 if there are more.',
    '--out follows a symbolic link and leaves it; what it leads to counts. A device or pipe is written to as it is, without going on.',
  ],
  positionals: [{ ...organizationPositional, help: 'organizations/ID or ID; - for all that you may see' }],
  flags,
  run,
}

// `gatewarden usage list|tail|metrics`: the requests of an organization, of a key or of all, and their counts.
import { setTimeout as pause } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { UsageAdminService, type UsageLog } from '../gen/gatewarden/admin/v1/usage_admin.ts'
import { RpcFailure } from '../rpc/client.ts'
import { type Command, exitOk, type Flags, type Invocation, type Io, UsageError } from './command.ts'
import { type Connection, clientFlags, withConnection } from './connect.ts'
import { listAll, listFlags } from './paging.ts'
import { toJson } from './to-json.ts'
import { conditionFlags, conditions, intervalOf, sinceFlags, usageFilter, usageFilterFlags } from './usage-flags.ts'
import { Follower, unixMs } from './usage-follow.ts'
import { metricsText, seriesTable, usageLine, usageTable } from './usage-text.ts'
import { apiKeyName, organizationName, parseDurationMs } from './values.ts'

const organizationOrAll = {
  name: 'ORGANIZATION',
  help: 'organizations/ID or ID; default all that you may see',
  optional: true,
} as const

const listOptions = {
  ...usageFilterFlags,
  'oldest-first': { type: 'boolean', help: 'oldest first; default newest first' },
  max: listFlags.max,
  ...clientFlags,
} as const satisfies Flags

const tailOptions = {
  ...conditionFlags,
  last: { type: 'string', value: 'NUMBER', help: 'begin with so many that are there already; default 10' },
  for: { type: 'string', value: 'DURATION', help: 'end after so long; default never' },
  ...clientFlags,
} as const satisfies Flags

const metricsOptions = {
  ...sinceFlags,
  by: { type: 'string', multiple: true, value: 'WHAT', help: 'a row for each day, status, reason or api_key' },
  lineage: {
    type: 'boolean',
    help: 'with the keys that it replaced and that replaced it; says if they can be finished',
  },
  ...clientFlags,
} as const satisfies Flags

/** The client of the service of usage. */
export function usageOf({ channel }: Connection) {
  return channel.client(UsageAdminService)
}

async function list(invocation: Invocation, io: Io) {
  const request = {
    parent: organizationName(invocation.positionals[0] ?? '-'),
    filter: usageFilter(invocation, io),
    orderBy: invocation.flag('oldest-first') ? 'time' : '',
  }
  return withConnection(invocation, io, async connection => {
    const client = usageOf(connection)
    await listAll(invocation, io, usageTable, async (pageSize, pageToken) => {
      const page = await client.listUsageLogs({ ...request, pageSize, pageToken })
      return { items: page.usageLogs, nextPageToken: page.nextPageToken }
    })
    return exitOk
  })
}

async function metrics(invocation: Invocation, io: Io) {
  const [subject = ''] = invocation.positionals
  const groupBy = invocation.list('by')
  const lineage = invocation.flag('lineage')
  const request = { subject: subjectOf(subject), interval: intervalOf(invocation, io), groupBy, lineage }
  return withConnection(invocation, io, async connection => {
    const reply = await usageOf(connection).getUsageMetrics(request)
    if (invocation.flag('json')) io.out(`${JSON.stringify(toJson(reply) ?? {}, null, 2)}\n`)
    else {
      io.out(metricsText(reply, lineage))
      if (groupBy.length > 0) io.out(`\n${seriesTable(groupBy, reply.series)}`)
    }
    return exitOk
  })
}

/** `ORG/KEY` and `organizations/ORG/apiKeys/KEY` are keys, everything else is an organization. */
function subjectOf(text: string) {
  const isKey = text.includes('/') && !/^organizations\/[^/]+$/.test(text)
  return isKey
    ? ({ $case: 'name', value: apiKeyName(text) } as const)
    : ({ $case: 'parent', value: organizationName(text) } as const)
}

/** How often the log is looked at. */
const pollMs = 1000
const pageSizeMax = 1000

async function tail(invocation: Invocation, io: Io) {
  const parent = organizationName(invocation.positionals[0] ?? '-')
  const filter = conditions(invocation)
  const last = wholeNumber(invocation.text('last') ?? '10', 'last')
  const lasting = invocation.text('for')
  const endMs = lasting === undefined ? Number.POSITIVE_INFINITY : io.now() + parseDurationMs(lasting, 'for')
  const print = (log: UsageLog) =>
    io.out(invocation.flag('json') ? `${JSON.stringify(toJson(log) ?? {})}\n` : usageLine(log))
  return withConnection(invocation, io, async connection => {
    const client = usageOf(connection)
    const request = { parent, pageToken: '', pageSize: last, filter: filter.join(' AND '), orderBy: '' }
    const begun = last === 0 ? [] : (await client.listUsageLogs(request)).usageLogs.toReversed()
    const follow = new Follower(begun, begun.length < last, io.now())
    for (const log of begun) print(log)
    let silent = false
    while (io.now() < endMs) {
      await pause(Math.max(0, Math.min(pollMs, endMs - io.now())))
      try {
        for await (const log of look(client, { parent, filter }, follow, endMs, io)) print(log)
        silent = false
      } catch (error) {
        if (!(error instanceof RpcFailure) || error.code !== status.UNAVAILABLE) throw error
        if (!silent) io.err('the service does not answer; trying again\n')
        silent = true
      }
    }
    return exitOk
  })
}

/**
 * What one look brings that was not shown yet: everything up to the end of the log, or to `endMs`, however many pages that
 * takes. Whoever cannot keep up sees rows later, not fewer of them.
 */
async function* look(
  client: ReturnType<typeof usageOf>,
  { parent, filter }: { readonly parent: string; readonly filter: readonly string[] },
  follow: Follower,
  endMs: number,
  io: Io,
): AsyncGenerator<UsageLog> {
  const asked = { parent, filter: [...filter, `time >= ${follow.begin(io.now())}`].join(' AND '), orderBy: 'time' }
  let pageToken = ''
  let told = false
  do {
    const page = await client.listUsageLogs({ ...asked, pageSize: pageSizeMax, pageToken })
    for (const log of page.usageLogs) if (follow.take(log)) yield log
    pageToken = page.nextPageToken
    const last = page.usageLogs.at(-1)
    if (last === undefined || unixMs(last) >= endMs) break
    if (follow.keepUp(last) || told) continue
    io.err('too many requests at once: some that are stored late may be missing here\n')
    told = true
  } while (pageToken !== '')
  follow.settle()
}

function wholeNumber(text: string, flag: string): number {
  if (!/^(0|[1-9]\d{0,2}|1000)$/.test(text))
    throw new UsageError(`--${flag} is ${JSON.stringify(text)}; write a whole number from 0 to 1000.`)
  return Number(text)
}

export const usageCommands: readonly Command[] = [
  {
    words: 'usage list',
    summary: 'List requests, blocked ones included.',
    details: ['Without times the last 31 days are meant; one question reaches over 31 days at most.'],
    positionals: [organizationOrAll],
    flags: listOptions,
    run: list,
  },
  {
    words: 'usage tail',
    summary: 'Show requests as they come.',
    positionals: [organizationOrAll],
    flags: tailOptions,
    run: tail,
  },
  {
    words: 'usage metrics',
    summary: 'Count the requests of a key or an organization.',
    details: ['Without times the last 30 days are counted.'],
    positionals: [{ name: 'SUBJECT', help: 'KEY as organizations/ORG/apiKeys/KEY or ORG/KEY, or ORGANIZATION' }],
    flags: metricsOptions,
    run: metrics,
  },
]

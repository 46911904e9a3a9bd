// What `usage tail` shows of a log that grows faster than it looks: every row, once. The service is a script of rows; when
// they are stored, and what the clock shows, is up to the test.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { runCommandLine } from '../../src/cli/main.ts'
import { Follower } from '../../src/cli/usage-follow.ts'
import {
  type ListUsageLogsRequest,
  UsageAdminService,
  UsageLog,
} from '../../src/gen/gatewarden/admin/v1/usage_admin.ts'
import { RpcError } from '../../src/rpc/errors.ts'
import { listen } from '../../src/rpc/listen.ts'
import { addService, createServer } from '../../src/rpc/server.ts'
import { commands } from '../house/generated-tables.ts'
import { keepLog } from '../rpc/harness.ts'
import { until } from '../support/until.ts'

interface Row {
  readonly id: number
  /** Unix milliseconds. */
  readonly at: number
}

const startMs = Date.parse('2026-03-04T12:00:00Z')
let directory = ''
let close = () => {}
let now = startMs
let stored: Row[] = []
/** Is called before each page of what follows, with the number of pages before it. */
let beforePage: (pages: number) => void = () => undefined
let pages = 0

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'gwl-'))
  now = startMs
  stored = []
  beforePage = () => undefined
  pages = 0
  const server = createServer()
  const { listUsageLogs } = UsageAdminService
  addService(server, { listUsageLogs }, { listUsageLogs: async request => serve(request) }, keepLog())
  await listen(server, { kind: 'unix', path: join(directory, 'admin.sock') })
  close = () => server.forceShutdown()
  writeFileSync(join(directory, 'admin.key'), 'gwa_test', { mode: 0o600 })
})
afterEach(() => {
  close()
  rmSync(directory, { recursive: true, force: true })
})

/** Rows in the order of the log; a token is the row that a page goes on behind. */
function serve({ filter, orderBy, pageSize, pageToken }: ListUsageLogsRequest) {
  if (orderBy === 'time') beforePage(pages++)
  const from = Date.parse(/time >= (\S+)/.exec(filter)?.[1] ?? '1970-01-01T00:00:00Z')
  const [afterAt = 0, afterId = -1] = pageToken.split('/').map(Number)
  const found = stored
    .filter(({ id, at }) => at >= from && (at > afterAt || (at === afterAt && id > afterId)))
    .sort((a, b) => a.at - b.at || a.id - b.id)
  const page = orderBy === 'time' ? found.slice(0, pageSize) : found.slice(-pageSize).reverse()
  const last = page.at(-1)
  const usageLogs = page.map(({ id, at }) => {
    const time = { seconds: BigInt(Math.floor(at / 1000)), nanos: (at % 1000) * 1e6 }
    return UsageLog.fromPartial({ time, decisionId: String(id) })
  })
  return { usageLogs, nextPageToken: last !== undefined && page.length < found.length ? `${last.at}/${last.id}` : '' }
}

function store(count: number, at: number): Row[] {
  const rows = Array.from({ length: count }, (_, n) => ({ id: stored.length + n, at }))
  stored.push(...rows)
  return rows
}

/** Follows the log until so many rows are shown, and a whole look more. The clock ends it: nothing depends on its pace. */
async function tailed(count: number) {
  const shown: number[] = []
  let err = ''
  const io = {
    out: (line: string) => {
      shown.push(Number((JSON.parse(line) as { decisionId: string }).decisionId))
    },
    err: (text: string) => {
      err += text
    },
    environment: {
      GATEWARDEN_CLI_SERVER: `unix:${join(directory, 'admin.sock')}`,
      GATEWARDEN_CLI_KEY_FILE: join(directory, 'admin.key'),
    },
    cwd: directory,
    now: () => now,
    uuid: () => '',
  }
  const running = runCommandLine(['usage', 'tail', 'org_1', '--for', '1h', '--json'], commands, 'test', io)
  try {
    await until(`${count} rows are shown`, () => shown.length >= count, 20_000)
  } finally {
    now = startMs + 3_600_000
    await running
  }
  return { code: await running, shown: shown.toSorted((a, b) => a - b), err }
}

const ids = (rows: readonly Row[]) => rows.map(({ id }) => id)

describe('usage tail', () => {
  test('shows every row once where more of them have one time than a page, or many pages, hold', async () => {
    const rows = store(1, startMs)
    beforePage = page => {
      if (page === 0) rows.push(...store(12_000, startMs + 5))
      if (page === 20) rows.push(...store(1, startMs + 900))
    }
    expect(await tailed(12_002)).toEqual({ code: 0, shown: ids(rows), err: '' })
  }, 30_000)

  test('shows a row that came late, however many are of the time before it', async () => {
    const rows = store(1, startMs)
    beforePage = page => {
      if (page === 0) rows.push(...store(6000, startMs + 5))
      if (page !== 8) return
      now += 10_000
      rows.push(...store(1, startMs + 1), ...store(1, startMs + 10_000))
    }
    expect(await tailed(6003)).toEqual({ code: 0, shown: ids(rows), err: '' })
  }, 30_000)

  test('shows a row that is stored behind a look that takes longer than rows are late', async () => {
    const rows = store(1, startMs)
    beforePage = page => {
      if (page === 0) rows.push(...store(1500, startMs + 5))
      if (page !== 1) return
      rows.push(...store(1, startMs + 1))
      now += 20_000
      rows.push(...store(1, now))
    }
    expect(await tailed(1503)).toEqual({ code: 0, shown: ids(rows), err: '' })
  }, 30_000)

  test('shows every row once where the service goes away amid a look', async () => {
    const rows = store(1, startMs)
    beforePage = page => {
      if (page === 0) rows.push(...store(3000, startMs + 5))
      if (page === 2) throw new RpcError('STORE_UNAVAILABLE', 'no more for now')
    }
    const told = 'the service does not answer; trying again\n'
    expect(await tailed(3001)).toEqual({ code: 0, shown: ids(rows), err: told })
  }, 30_000)

  test('shows what came before its end, although it takes many pages', async () => {
    const rows = store(1, startMs)
    beforePage = page => {
      if (page !== 0) return
      rows.push(...store(7000, startMs + 5))
      now = startMs + 3_600_000
    }
    expect(await tailed(7001)).toEqual({ code: 0, shown: ids(rows), err: '' })
  }, 30_000)
})

describe('what a look asks for, and what is remembered of rows that were shown', () => {
  const log = (id: string, at: number) =>
    UsageLog.fromPartial({
      time: { seconds: BigInt(Math.floor(at / 1000)), nanos: (at % 1000) * 1e6 },
      decisionId: id,
    })
  const instant = (ms: number) => new Date(startMs + ms).toISOString()

  test('reaches over less than the 31 days of one question, however long the log is silent', () => {
    const dayMs = 86_400_000
    const follow = new Follower([log('a', startMs - 30.9 * dayMs)], true, startMs)
    expect(follow.begin(startMs)).toBe(instant(-30 * dayMs))
    follow.settle()
    expect(follow.begin(startMs + 100 * dayMs)).toBe(instant(70 * dayMs))
  })

  test('has a bound; where late rows are given up for it, that is told, and none is shown twice', () => {
    const follow = new Follower([], true, startMs, 2)
    expect(follow.begin(startMs)).toBe(instant(-15_000))
    const [a, b, c] = [log('a', startMs + 1), log('b', startMs + 2), log('c', startMs + 3)]
    expect([follow.take(a), follow.take(b), follow.keepUp(b)]).toEqual([true, true, true])
    expect([follow.take(c), follow.keepUp(c)]).toEqual([true, false])
    follow.settle()
    expect(follow.begin(startMs + 10)).toBe(instant(3))
    expect([a, b, c].map(each => follow.take(each))).toEqual([false, false, false])
  })

  test('holds more than that of one time rather than forget one that it will see again', () => {
    const follow = new Follower([], true, startMs, 2)
    follow.begin(startMs)
    const rows = ['a', 'b', 'c', 'd'].map(id => log(id, startMs + 1))
    expect(rows.map(row => follow.take(row))).toEqual([true, true, true, true])
    follow.keepUp(log('d', startMs + 1))
    follow.settle()
    expect(rows.map(row => follow.take(row))).toEqual([false, false, false, false])
  })
})

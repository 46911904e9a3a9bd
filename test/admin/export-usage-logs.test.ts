// ExportUsageLogs through gRPC on a real database: columns of the profile, hostile cells, resumption at any chunk, the cap.
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { type ExportBounds, exportBounds, exportUsageLogs } from '../../src/admin/export-usage-logs.ts'
import { csvLine } from '../../src/admin/usage-csv.ts'
import type { ExportUsageLogsResponse } from '../../src/gen/gatewarden/admin/v1/usage_admin.ts'
import { usageConnectionsMax } from '../../src/store/usage-queries.ts'
import { isLive, readCsv } from '../oracle/csv.ts'
import { storeUsage, type UsageRowValues } from '../support/usage-rows.ts'
import { callWith } from './admin-world.ts'
import { failure, fieldsOf, useKeyClient } from './key-client.ts'

const client = useKeyClient()

interface ChunkJson {
  readonly data: Buffer
  readonly rows: number
  readonly resumeToken: string
  readonly last: boolean
  readonly truncated: boolean
}

const idOf = (name: string) => name.split('/').at(-1) ?? ''
const store = (rows: readonly UsageRowValues[]) => storeUsage(client().world.client, rows)
const download = (request: object) => client().download<ChunkJson>('exportUsageLogs', request)
const today = new Date().toISOString().slice(0, 10)
const instant = (micros: number) => `${today}T00:00:00.${String(micros).padStart(6, '0')}Z`

async function csvOf(request: object): Promise<string[][]> {
  const chunks = await download(request)
  expect(chunks.filter(({ last }) => last)).toHaveLength(1)
  expect(chunks.at(-1)?.last).toBe(true)
  return readCsv(Buffer.concat(chunks.map(({ data }) => data)))
}

/** An export with bounds of its own, in process. */
async function bounded(
  request: object,
  bounds: ExportBounds,
  stopAfter = Number.POSITIVE_INFINITY,
): Promise<ExportUsageLogsResponse[]> {
  const { context, rootKey } = client().world
  const whole = { parent: '', filter: '', orderBy: '', columns: [], resumeToken: '', ...request }
  const chunks: ExportUsageLogsResponse[] = []
  for await (const chunk of exportUsageLogs(context, bounds)(whole, callWith(rootKey))) {
    chunks.push(chunk)
    if (chunks.length >= stopAfter) break
  }
  return chunks
}

describe('a file', () => {
  test('has the columns of the profile in its order, UTC, CRLF, no mark', async () => {
    const parent = await client().organization()
    const { apiKey } = await client().key(parent)
    await store([
      {
        organization: idOf(parent),
        apiKey: idOf(apiKey.name),
        time: instant(1),
        reason: 'ip_not_allowed',
        method: 'POST',
        path: '/é',
        userAgent: 'a "b", c',
        requestId: 'r1',
        clientIp: '::1234:5678',
      },
      { organization: idOf(parent), apiKey: idOf(apiKey.name), time: instant(2), finalStatus: 204 },
    ])
    const [chunk] = await download({ parent })
    const header = 'time,api_key_id,key_hint,method,path,status,decision,reason,client_ip,user_agent,request_id'
    const key = `${idOf(apiKey.name)},${apiKey.keyHint}`
    expect(chunk?.data.toString()).toBe(
      `${header}\r\n` +
        `${instant(2)},${key},GET,/customers,204,allow,,203.0.113.7,curl/8.0,\r\n` +
        `${instant(1)},${key},POST,/é,403,deny,ip_not_allowed,::1234:5678,"a ""b"", c",r1\r\n`,
    )
    expect(chunk).toMatchObject({ rows: 2, last: true, truncated: false, resumeToken: '' })
  })

  test('without rows is its header', async () => {
    const parent = await client().organization()
    expect(await csvOf({ parent })).toHaveLength(1)
  })

  test('has the columns that are asked for, and the filter and order of a listing', async () => {
    const parent = await client().organization()
    const organization = idOf(parent)
    await store([
      { organization, time: instant(1), durationUs: 1_234_567, requestBytes: 1, responseBytes: 0 },
      { organization, time: instant(2), method: 'POST' },
    ])
    const columns = ['duration_ms', 'bytes_in', 'bytes_out', 'method', 'organization_id', 'direct_ip', 'status']
    expect(await csvOf({ parent, columns, orderBy: 'time', filter: 'time:*' })).toEqual([
      columns,
      ['1234.567', '1', '0', 'GET', organization, '127.0.0.1', ''],
      ['', '', '', 'POST', organization, '127.0.0.1', ''],
    ])
    expect(await csvOf({ parent, columns: ['method'], filter: 'method = POST' })).toEqual([['method'], ['POST']])
  })

  test('names no column that there is not, none twice', async () => {
    const parent = await client().organization()
    for (const columns of [['secret'], ['__proto__'], ['time', 'time'], ['=1+1']]) {
      const refused = await failure(download({ parent, columns }))
      expect(fieldsOf(refused)).toEqual([`columns[${columns.length - 1}] FIELD_INVALID`])
    }
  })
})

describe('hostile cells', () => {
  const isFormula = (text: string) => /^[=+\-@＝＋－＠]/.test(text)
  /** What was before a formula behind a separator of any locale was marked. */
  const withoutMarks = (text: string) => text.replace(/([;|\t\r\n][ "]*)'(?=[=+\-@＝＋－＠])/g, '$1')
  const starts = [
    '=',
    '+',
    '-',
    '@',
    '\t',
    '\r',
    '\n',
    '＝',
    '＋',
    '－',
    '＠',
    '"',
    "'",
    ',',
    ';',
    ' ',
    '|',
    '\u{feff}',
    '\u200b',
  ]
  const payloads = [
    "cmd|'/C calc'!A0",
    'SUM(1+1)*cmd',
    'HYPERLINK("http://x","y")',
    '1',
    '',
    '"',
    '"",=1',
    '\r\n=1+1',
    'ünï\u{1f600}',
  ]
  const corpus = starts.flatMap(start =>
    payloads.flatMap(payload => [start + payload, start + start + payload, `x${start}${payload}`]),
  )

  test('survive an RFC 4180 reader, and none is a live formula', async () => {
    const parent = await client().organization()
    const organization = idOf(parent)
    await store(
      corpus.map((cell, n) => ({
        organization,
        time: instant(n),
        userAgent: cell,
        path: cell,
        requestId: cell,
        apiKey: cell,
        method: cell,
      })),
    )
    const [, ...rows] = await csvOf({ parent, orderBy: 'time' })
    expect(rows).toHaveLength(corpus.length)
    for (const [n, cell] of corpus.entries()) {
      const read = [1, 3, 4, 9, 10].map(at => rows[n]?.[at] ?? '')
      expect(read.map(text => text.startsWith("'") && !cell.startsWith("'"))).toEqual(Array(5).fill(isLive(cell)))
      const unmarked = cell.startsWith("'") ? read : read.map(text => text.replace(/^'/, ''))
      expect(unmarked.map(withoutMarks)).toEqual(Array(5).fill(withoutMarks(cell)))
    }
    expect(rows.flat().filter(isLive)).toEqual([])
  })

  test('are no live formula where a locale separates cells by another character and quotes hold nothing together', () => {
    for (const cell of [...corpus, ...corpus.map(each => `"${each}`), 'a;=1', 'a;  "=1', 'a|@x', 'a\t\t-1', 'a\n＝1']) {
      const cells = csvLine(['x', cell, 'y']).split(/[;|\t\r\n]/)
      expect(cells.map(each => each.replace(/^[ "]*/, '')).filter(isFormula), cell).toEqual([])
    }
    expect(csvLine(['a;b', 'a\tb', 'a|b', 'a;=b', 'x=1'])).toBe(`"a;b","a\tb","a|b","a;'=b",x=1\r\n`)
  })

  test('a hint of a key is made harmless as well', async () => {
    const parent = await client().organization()
    const { apiKey } = await client().key(parent)
    const { client: sql } = client().world
    await sql.query("SET session_replication_role = 'replica'")
    await sql.query('UPDATE api_keys SET key_hint = $1 WHERE id = $2', ['=1+1', idOf(apiKey.name)])
    await sql.query("SET session_replication_role = 'origin'")
    await store([{ organization: idOf(parent), apiKey: idOf(apiKey.name) }])
    expect((await csvOf({ parent, columns: ['key_hint'] }))[1]).toEqual(["'=1+1"])
  })

  test('any cells, NUL included, come back as they were but for the mark', () => {
    const cell = fc.string({
      unit: fc.oneof(fc.constantFrom(...'=+-@\t\r\n\0",\'；;＝'), fc.string({ unit: 'grapheme', maxLength: 1 })),
      maxLength: 8,
    })
    fc.assert(
      fc.property(fc.array(cell, { minLength: 1, maxLength: 5 }), cells => {
        const read = readCsv(Buffer.from(csvLine(cells), 'utf8'))
        const wanted = cells.map(text => (isLive(text) ? "'" : '') + text.replaceAll('\0', ''))
        expect(read.map(row => row.map(withoutMarks))).toEqual([wanted.map(withoutMarks)])
        expect(read.flat().some(isLive)).toBe(false)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('exports at the same time', () => {
  const begin = (parent: string, exporting: ReturnType<typeof exportUsageLogs>) => {
    const whole = { parent, filter: '', orderBy: '', columns: ['time'], resumeToken: '' }
    return exporting(whole, callWith(client().world.rootKey))[Symbol.asyncIterator]()
  }

  test('are refused beyond their number, with the mend, and no longer once one has ended or was left', async () => {
    const parent = await client().organization()
    await store(Array.from({ length: 5 }, (_, n) => ({ organization: idOf(parent), time: instant(n) })))
    const { context } = client().world
    const exporting = exportUsageLogs(context, { ...exportBounds, exportsMax: 2, batchRows: 2, chunkOctets: 10 })
    const [left, read] = [begin(parent, exporting), begin(parent, exporting)]
    expect([(await left.next()).done, (await read.next()).done]).toEqual([false, false])
    const refused = begin(parent, exporting).next()
    await expect(refused).rejects.toMatchObject({
      reason: 'RATE_LIMITED',
      message: expect.stringContaining('ask again'),
    })
    await left.return?.(undefined)
    const third = begin(parent, exporting)
    expect((await third.next()).done).toBe(false)
    while ((await read.next()).done !== true);
    expect((await begin(parent, exporting).next()).done).toBe(false)
  })

  test('leave connections to other questions', async () => {
    const parent = await client().organization()
    const { context } = client().world
    let [reading, most] = [0, 0]
    const cells: typeof context.usage.cells = async (query, columns) => {
      most = Math.max(most, ++reading)
      return context.usage.cells(query, columns).finally(() => {
        reading -= 1
      })
    }
    const exporting = exportUsageLogs({ ...context, usage: { ...context.usage, cells } })
    const all = Array.from({ length: exportBounds.exportsMax }, () => begin(parent, exporting).next())
    expect((await Promise.all(all)).map(({ done }) => done)).not.toContain(true)
    expect(most).toBe(exportBounds.readsMax)
    expect(exportBounds.readsMax).toBeLessThan(usageConnectionsMax)
  })
})

describe('an export that is cut', () => {
  let parent = ''
  let whole: string[][] = []
  const columns = ['decision_id', 'time']
  const small = { ...exportBounds, rowsMax: 1000, batchRows: 7, chunkOctets: 200 }
  const text = (chunks: readonly ExportUsageLogsResponse[]) => Buffer.concat(chunks.map(({ data }) => data))

  beforeAll(async () => {
    parent = await client().organization()
    const organization = idOf(parent)
    // 25 rows of one microsecond in the middle.
    await store(Array.from({ length: 60 }, (_, n) => ({ organization, time: instant(n < 15 ? 1 : n < 40 ? 2 : n) })))
    whole = await csvOf({ parent, columns })
    expect(new Set(whole.map(([id]) => id)).size).toBe(61)
  })

  test('goes on from any chunk, also within one microsecond', async () => {
    const chunks = await bounded({ parent, columns }, small)
    expect(chunks.length).toBeGreaterThan(10)
    expect(readCsv(text(chunks))).toEqual(whole)
    for (const [index, { resumeToken }] of chunks.slice(0, -1).entries()) {
      const rest = await bounded({ parent, columns, resumeToken }, small)
      const joined = Buffer.concat([text(chunks.slice(0, index + 1)), text(rest)])
      expect(readCsv(joined)).toEqual(whole)
    }
  })

  test('ends at its cap, all parts together, and says so', async () => {
    const bounds = { ...small, rowsMax: 33 }
    const chunks = await bounded({ parent, columns }, bounds)
    expect(readCsv(text(chunks))).toEqual(whole.slice(0, 34))
    expect(chunks.at(-1)).toMatchObject({ last: true, truncated: true })
    expect(chunks.slice(0, -1).some(({ truncated }) => truncated)).toBe(false)
    const rest = await bounded({ parent, columns, resumeToken: chunks[1]?.resumeToken }, bounds)
    expect(readCsv(Buffer.concat([text(chunks.slice(0, 2)), text(rest)]))).toEqual(whole.slice(0, 34))
    expect(rest.at(-1)).toMatchObject({ last: true, truncated: true })
  })

  test('with exactly as many rows as the cap is whole', async () => {
    for (const batchRows of [7, 60, 61, 100]) {
      const chunks = await bounded({ parent, columns }, { ...small, batchRows, rowsMax: 60 })
      expect(chunks.at(-1)).toMatchObject({ last: true, truncated: false })
      expect(chunks.reduce((sum, { rows }) => sum + rows, 0)).toBe(60)
    }
  })

  test('takes no token of another export', async () => {
    const [chunk] = await bounded({ parent, columns }, small, 1)
    const resumeToken = chunk?.resumeToken ?? ''
    for (const other of [{ columns: ['time'] }, { columns, filter: 'method = GET' }, { columns: [] }]) {
      const refused = await failure(download({ parent, ...other, resumeToken }))
      expect(fieldsOf(refused)).toEqual(['resume_token PAGE_TOKEN_INVALID'])
    }
    const page = await client().call('listUsageLogs', { parent, pageSize: 1 })
    expect((await failure(download({ parent, resumeToken: page.nextPageToken }))).reason).toBe('PAGE_TOKEN_INVALID')
  })

  test('stops reading when the caller leaves', async () => {
    const chunks = await bounded({ parent, columns }, small, 2)
    expect(chunks).toHaveLength(2)
  })
})

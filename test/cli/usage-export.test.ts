// Where `usage export` writes: what is there is never lost, what is unfinished goes on, what cannot be written is said.
// The service is a script of chunks: which one is missing and where the connection ends is up to the test.
import fs, { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { UsageAdminService } from '../../src/gen/gatewarden/admin/v1/usage_admin.ts'
import { RpcError } from '../../src/rpc/errors.ts'
import { listen } from '../../src/rpc/listen.ts'
import { addService, createServer } from '../../src/rpc/server.ts'
import { runClient } from '../bin/serving.ts'
import { keepLog } from '../rpc/harness.ts'

let directory = ''
let environment: Record<string, string> = {}
let close = () => {}
/** The chunks of the export. */
let chunks: readonly string[] = []
/** Chunks that are sent before the call is refused. */
let sentMax = Number.POSITIVE_INFINITY
/** The tokens that calls began with. */
let tokens: string[] = []

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'gwx-'))
  chunks = ['a\r\n', 'first\r\n', 'second\r\n', 'third\r\n']
  sentMax = Number.POSITIVE_INFINITY
  tokens = []
  const server = createServer()
  const { exportUsageLogs } = UsageAdminService
  addService(server, { exportUsageLogs }, { exportUsageLogs: serve }, keepLog())
  const path = join(directory, 'admin.sock')
  await listen(server, { kind: 'unix', path })
  close = () => server.forceShutdown()
  writeFileSync(join(directory, 'admin.key'), 'gwa_test', { mode: 0o600 })
  environment = { GATEWARDEN_CLI_SERVER: `unix:${path}`, GATEWARDEN_CLI_KEY_FILE: join(directory, 'admin.key') }
})
afterEach(() => {
  close()
  vi.restoreAllMocks()
  syncBuiltinESMExports()
  rmSync(directory, { recursive: true, force: true })
})

async function* serve({ resumeToken }: { readonly resumeToken: string }) {
  tokens.push(resumeToken)
  const from = Number(resumeToken)
  for (const [sent, text] of chunks.slice(from).entries()) {
    if (sent === sentMax) throw new RpcError('EXPORT_LIMIT', 'no more for now')
    const next = from + sent + 1
    const last = next === chunks.length
    yield { data: Buffer.from(text), rows: 1, resumeToken: last ? '' : String(next), last, truncated: false }
  }
}

const at = (name: string) => join(directory, name)
const run = (...more: string[]) => runClient(environment, directory, ['usage', 'export', 'org_1', ...more])
const whole = () => chunks.join('')

/** Leaves an export that ended after so many chunks. */
async function breakOff(name: string, sent: number): Promise<void> {
  sentMax = sent
  expect((await run('--out', name)).code).toBe(1)
  expect(existsSync(at(name))).toBe(false)
  sentMax = Number.POSITIVE_INFINITY
}

describe('an unfinished file', () => {
  test('goes on where its note says', async () => {
    await breakOff('x.csv', 2)
    const { code, err } = await run('--out', 'x.csv')
    expect([code, err]).toEqual([0, `going on after 2 rows\n4 rows in ${at('x.csv')}\n`])
    expect(tokens).toEqual(['', '2'])
    expect(readFileSync(at('x.csv'), 'utf8')).toBe(whole())
  })

  test('that is shorter than its note says begins anew, and says so', async () => {
    await breakOff('x.csv', 2)
    truncateSync(at('x.csv.part'), 4)
    const { code, err } = await run('--out', 'x.csv')
    const why = `it has 4 of the 10 octets that ${at('x.csv.part.json')} tells of`
    expect([code, err]).toEqual([
      0,
      `${at('x.csv.part')} cannot be gone on with: ${why}; beginning anew\n4 rows in ${at('x.csv')}\n`,
    ])
    expect(tokens).toEqual(['', ''])
    expect(readFileSync(at('x.csv'), 'utf8')).toBe(whole())
  })

  test.each([
    ['is not there', (note: string) => rmSync(note)],
    ['is torn', (note: string) => truncateSync(note, 9)],
  ])('whose note %s begins anew, and says so', async (_, spoil) => {
    await breakOff('x.csv', 2)
    spoil(at('x.csv.part.json'))
    const { code, err } = await run('--out', 'x.csv')
    expect(err).toContain(
      `cannot be gone on with: ${at('x.csv.part.json')} does not tell how far it is; beginning anew\n`,
    )
    expect(code).toBe(0)
    expect(readFileSync(at('x.csv'), 'utf8')).toBe(whole())
  })

  test('that begins anew has no note of what was there before', async () => {
    await breakOff('x.csv', 2)
    sentMax = 0
    expect((await run('--out', 'x.csv', '--restart')).code).toBe(1)
    expect(existsSync(at('x.csv.part.json'))).toBe(false)
  })

  test('is on disk as far as its note says', async () => {
    let synced = 0
    const told: [unknown, number][] = []
    const { fdatasyncSync, renameSync } = fs
    vi.spyOn(fs, 'fdatasyncSync').mockImplementation(descriptor => {
      fdatasyncSync(descriptor)
      synced = fs.fstatSync(descriptor).size
    })
    vi.spyOn(fs, 'renameSync').mockImplementation((from, to) => {
      renameSync(from, to)
      if (String(to).endsWith('.json')) told.push([JSON.parse(readFileSync(to, 'utf8')).bytes, synced])
    })
    syncBuiltinESMExports()
    sentMax = 3
    expect((await run('--out', 'x.csv')).code).toBe(1)
    expect(told).toEqual([3, 10, 18].map(bytes => [bytes, bytes]))
  })
})

// Where `usage export` writes: what is there is never lost, what is unfinished goes on, what cannot be written is said.
// The service is a script of chunks: which one is missing and where the connection ends is up to the test.
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs, {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type ExportUsageLogsRequest, UsageAdminService } from '../../src/gen/gatewarden/admin/v1/usage_admin.ts'
import { RpcError } from '../../src/rpc/errors.ts'
import { listen } from '../../src/rpc/listen.ts'
import { addService, createServer } from '../../src/rpc/server.ts'
import { runClient } from '../bin/serving.ts'
import { keepLog } from '../rpc/harness.ts'
import { commandFile, startGatewarden } from '../support/gatewarden-process.ts'

let directory = ''
let environment: Record<string, string> = {}
let close = () => {}
/** The chunks of the export. */
let chunks: readonly string[] = []
/** Chunks that are sent before the call is refused. */
let sentMax = Number.POSITIVE_INFINITY
/** The clock of the command. */
let now = Date.now
/** Is called before each chunk. */
let meanwhile: () => unknown = () => undefined
/** The tokens that calls began with. */
let tokens: string[] = []
/** What they asked for. */
let filters: string[] = []

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'gwx-'))
  chunks = ['a\r\n', 'first\r\n', 'second\r\n', 'third\r\n']
  sentMax = Number.POSITIVE_INFINITY
  now = Date.now
  meanwhile = () => undefined
  tokens = []
  filters = []
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

async function* serve({ resumeToken, filter }: ExportUsageLogsRequest) {
  tokens.push(resumeToken)
  filters.push(filter)
  const from = Number(resumeToken)
  for (const [sent, text] of chunks.slice(from).entries()) {
    if (sent === sentMax) throw new RpcError('EXPORT_LIMIT', 'no more for now')
    meanwhile()
    const next = from + sent + 1
    const last = next === chunks.length
    yield { data: Buffer.from(text), rows: 1, resumeToken: last ? '' : String(next), last, truncated: false }
  }
}

const at = (name: string) => join(directory, name)
/** What is told apart from progress, which a slow machine tells in between. */
const withoutProgress = (err: string) => err.replace(/^\d+ rows\n/gm, '')
async function run(...more: string[]) {
  const ran = await runClient(environment, directory, ['usage', 'export', 'org_1', ...more], now)
  return { ...ran, err: withoutProgress(ran.err) }
}
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

describe('in a directory', () => {
  const day = (text: string) => () => Date.parse(text)
  const names = () => readdirSync(at('out')).sort()
  const today = 'org_1-usage-2026-02-01-2026-03-04.csv'
  const tomorrow = 'org_1-usage-2026-02-02-2026-03-05.csv'
  beforeEach(() => {
    mkdirSync(at('out'))
    now = day('2026-03-04T23:59:59Z')
  })
  async function breakOffToday(...more: string[]) {
    sentMax = 2
    expect((await run('--out', 'out', ...more)).code).toBe(1)
    sentMax = Number.POSITIVE_INFINITY
    now = day('2026-03-05T00:00:01Z')
  }

  test.each([[[]], [['--since', '24h']]])(
    '%j: the file keeps its name when the export goes on after midnight',
    async more => {
      await breakOffToday(...more)
      const [part = ''] = names()
      const { code, err } = await run('--out', 'out', ...more)
      const file = part.replace(/\.part$/, '')
      expect([code, err]).toEqual([0, `going on after 2 rows\n4 rows in ${at(join('out', file))}\n`])
      expect([names(), tokens]).toEqual([[file], ['', '2']])
      expect(readFileSync(at(join('out', file)), 'utf8')).toBe(whole())
    },
  )

  test('a file that begins anew keeps its name, and holds the time that its name says', async () => {
    await breakOffToday('--since', '24h')
    const [part = ''] = names()
    truncateSync(at(join('out', part)), 4)
    sentMax = 2
    expect((await run('--out', 'out', '--since', '24h')).err).toContain('; beginning anew\n')
    sentMax = Number.POSITIVE_INFINITY
    expect((await run('--out', 'out', '--since', '24h')).err).toContain('going on after 2 rows\n')
    expect([names(), tokens]).toEqual([[part.replace(/\.part$/, '')], ['', '', '2']])
    expect(filters).toEqual(filters.map(() => 'time >= 2026-03-03T23:59:59Z'))
  })

  test('a file of another name is not taken for the one that the directory was given for', async () => {
    sentMax = 2
    expect((await run('--out', 'out/mine.csv')).code).toBe(1)
    sentMax = Number.POSITIVE_INFINITY
    expect((await run('--out', 'out', '--restart')).code).toBe(0)
    expect(names()).toEqual(['mine.csv.part', 'mine.csv.part.json', today])
  })

  test('another export has a file of its own', async () => {
    await breakOffToday()
    expect((await run('--out', 'out', '--oldest-first')).code).toBe(0)
    expect(names()).toEqual([`${today}.part`, `${today}.part.json`, tomorrow])
  })

  test('a whole file of the day before is no reason to go on', async () => {
    expect((await run('--out', 'out')).code).toBe(0)
    now = day('2026-03-05T00:00:01Z')
    expect((await run('--out', 'out')).code).toBe(0)
    expect([names(), tokens]).toEqual([
      [today, tomorrow],
      ['', ''],
    ])
  })

  test('a file of the day before that is there by now is kept', async () => {
    await breakOffToday()
    writeFileSync(at(join('out', today)), 'of value')
    const { code, err } = await run('--out', 'out')
    expect([code, err]).toEqual([1, expect.stringContaining(`${today} exists already; `)])
    expect(readFileSync(at(join('out', today)), 'utf8')).toBe('of value')
  })

  test('--restart leaves nothing of what was begun before', async () => {
    await breakOffToday()
    expect((await run('--out', 'out', '--restart')).code).toBe(0)
    expect([names(), tokens]).toEqual([[tomorrow], ['', '']])
  })
})

describe('what is there already', () => {
  const names = () => readdirSync(directory).filter(name => !name.startsWith('admin.'))

  test('a file is refused before anything is asked, and kept', async () => {
    writeFileSync(at('x.csv'), 'of value')
    const { code, err } = await run('--out', 'x.csv')
    const told = `${at('x.csv')} exists already; give --force to replace it, or name another`
    expect([code, err]).toEqual([1, `gatewarden usage export: ${told}.\n`])
    expect([readFileSync(at('x.csv'), 'utf8'), tokens, names()]).toEqual(['of value', [], ['x.csv']])
  })

  test('a file is replaced with --force, at once and only by a whole one', async () => {
    writeFileSync(at('x.csv'), 'of value')
    sentMax = 2
    expect((await run('--out', 'x.csv', '--force')).code).toBe(1)
    sentMax = Number.POSITIVE_INFINITY
    const seen = new Set<string>()
    meanwhile = () => seen.add(readFileSync(at('x.csv'), 'utf8'))
    expect(await run('--out', 'x.csv', '--force')).toMatchObject({ code: 0 })
    expect([tokens, [...seen]]).toEqual([['', '2'], ['of value']])
    expect([readFileSync(at('x.csv'), 'utf8'), names()]).toEqual([whole(), ['x.csv']])
  })

  test('a file that comes while the export runs is kept, and so is the export', async () => {
    meanwhile = () => writeFileSync(at('x.csv'), 'of value')
    const { code, err } = await run('--out', 'x.csv')
    expect([code, err]).toEqual([1, expect.stringContaining('x.csv exists already; give --force to replace it')])
    expect(readFileSync(at('x.csv'), 'utf8')).toBe('of value')
    expect(await run('--out', 'x.csv', '--force')).toMatchObject({ code: 0 })
    expect([readFileSync(at('x.csv'), 'utf8'), tokens, names()]).toEqual([whole(), ['', '3'], ['x.csv']])
  })

  test('a file in a directory likewise', async () => {
    const out = join('..', basename(directory))
    expect((await run('--out', out)).code).toBe(0)
    expect(await run('--out', out)).toMatchObject({ code: 1, err: expect.stringContaining('.csv exists already; ') })
  })

  test('a symbolic link is followed and stays: what it leads to counts', async () => {
    mkdirSync(at('far'))
    writeFileSync(at('far/x.csv'), 'of value')
    symlinkSync(join('far', 'x.csv'), at('link.csv'))
    const refused = await run('--out', 'link.csv')
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining(`${at('far/x.csv')} exists already; `)])
    sentMax = 2
    expect((await run('--out', 'link.csv', '--force')).code).toBe(1)
    expect(readdirSync(at('far')).sort()).toEqual(['x.csv', 'x.csv.part', 'x.csv.part.json'])
    sentMax = Number.POSITIVE_INFINITY
    expect((await run('--out', 'link.csv', '--force')).code).toBe(0)
    expect(readFileSync(at('far/x.csv'), 'utf8')).toBe(whole())
    expect([readlinkSync(at('link.csv')), names().sort()]).toEqual([join('far', 'x.csv'), ['far', 'link.csv']])
  })

  test('a symbolic link that leads nowhere is refused', async () => {
    symlinkSync('nowhere.csv', at('link.csv'))
    const { code, err } = await run('--out', 'link.csv', '--force')
    expect([code, err]).toEqual([
      1,
      expect.stringContaining('link.csv is a symbolic link that leads nowhere; name a file'),
    ])
    expect([readlinkSync(at('link.csv')), names()]).toEqual(['nowhere.csv', ['link.csv']])
  })

  test('a pipe is written to as it is', async () => {
    execFileSync('mkfifo', [at('pipe')])
    // Gets its end from us as well, should nobody else open the pipe.
    const reader = execFile('cat', [at('pipe')])
    let read = ''
    reader.stdout?.on('data', text => {
      read += text
    })
    const { code } = await run('--out', 'pipe')
    if (lstatSync(at('pipe'), { throwIfNoEntry: false })?.isFIFO() !== true) reader.kill()
    await once(reader, 'close')
    expect([code, read, names()]).toEqual([0, whole(), ['pipe']])
    expect(lstatSync(at('pipe')).isFIFO()).toBe(true)
  })

  test('standard output by a name of the system is written to as it is', async () => {
    // Through a link of ours: whatever might be replaced is not of the system.
    symlinkSync('/dev/stdout', at('stdout'))
    const script = '"$@" | cat'
    const command = [process.execPath, commandFile(), 'usage', 'export', 'org_1', '--out', 'stdout']
    const ran = execFile('/bin/sh', ['-c', script, 'sh', ...command], { cwd: directory, env: environment })
    let read = ''
    ran.stdout?.on('data', text => {
      read += text
    })
    await once(ran, 'close')
    expect([read, readlinkSync(at('stdout')), names()]).toEqual([whole(), '/dev/stdout', ['stdout']])
  })

  test('anything else is refused and stays', async () => {
    const { code, err } = await run('--out', 'admin.sock', '--force')
    expect([code, err]).toEqual([
      1,
      expect.stringContaining('admin.sock is neither a file nor a directory, device or pipe'),
    ])
    expect(lstatSync(at('admin.sock')).isSocket()).toBe(true)
  })

  test('a part that is no file is refused and stays', async () => {
    writeFileSync(at('other'), 'of value')
    symlinkSync('other', at('x.csv.part'))
    const { code, err } = await run('--out', 'x.csv', '--restart')
    expect([code, err]).toEqual([1, expect.stringContaining('x.csv.part is no regular file; move it away')])
    expect(readFileSync(at('other'), 'utf8')).toBe('of value')
  })
})

describe('a file that cannot be written', () => {
  const cannot = (name: string, reason: string) => `gatewarden usage export: ${at(name)} cannot be written (${reason})`
  const goesOn = 'What is there stays: mend that and run the same command again, it goes on from there.'

  /** Runs the built command, no file of which may be longer than so many blocks of 512 octets. */
  async function bounded(fileBlocks: number, ...more: string[]) {
    const args = ['usage', 'export', 'org_1', ...more]
    const running = startGatewarden(args, environment, directory, { fileBlocks })
    return { code: await running.exited, output: withoutProgress(running.output()) }
  }

  test('is named with its cause, and the same command goes on when there is room', async () => {
    chunks = ['a\r\n', ...['1', '2', '3'].map(text => `${text.repeat(998)}\r\n`)]
    const { code, output } = await bounded(3, '--out', 'x.csv')
    expect([code, output]).toEqual([74, `${cannot('x.csv.part', 'EFBIG')}. ${goesOn}\n`])
    expect(existsSync(at('x.csv'))).toBe(false)
    const again = await run('--out', 'x.csv')
    expect([again.code, again.err]).toEqual([0, `going on after 2 rows\n4 rows in ${at('x.csv')}\n`])
    expect(readFileSync(at('x.csv'), 'utf8')).toBe(whole())
  })

  test.each(['fdatasyncSync', 'fsyncSync', 'linkSync', 'renameSync'] as const)('because of %s likewise', async call => {
    const fail = () => {
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC', syscall: call })
    }
    vi.spyOn(fs, call).mockImplementation(fail)
    // A file system that takes no second name is met by renaming.
    if (call === 'linkSync')
      vi.spyOn(fs, 'renameSync').mockImplementation((_, to) => void (to === at('x.csv') && fail()))
    syncBuiltinESMExports()
    const { code, err } = await run('--out', 'x.csv')
    vi.restoreAllMocks()
    syncBuiltinESMExports()
    expect([code, err]).toEqual([74, `${cannot('x.csv.part', 'ENOSPC')}. ${goesOn}\n`])
    expect((await run('--out', 'x.csv')).code).toBe(0)
    expect(readFileSync(at('x.csv'), 'utf8')).toBe(whole())
  })

  test('a device that is full is named with its cause', async () => {
    symlinkSync('/dev/full', at('full'))
    const { code, err } = await run('--out', 'full')
    expect([code, err]).toEqual([74, `${cannot('full', 'ENOSPC')}. Free some space, or write elsewhere.\n`])
    expect(readlinkSync(at('full'))).toBe('/dev/full')
  })

  test('a pipe whose reader has gone ends the command quietly', async () => {
    execFileSync('mkfifo', [at('pipe')])
    chunks = Array.from({ length: 100 }, () => 'x'.repeat(100_000))
    const reader = execFile('head', ['-c', '1', at('pipe')])
    const { code, err } = await run('--out', 'pipe')
    await once(reader, 'close')
    expect([code, err]).toEqual([74, ''])
  })

  test('a directory that is not there is named at once', async () => {
    const { code, err } = await run('--out', 'nowhere/x.csv')
    const said = `gatewarden usage export: There is no directory ${at('nowhere')}; make it, or name another file.\n`
    expect([code, err, tokens]).toEqual([1, said, []])
  })
})

describe('standard output', () => {
  const chunkOctets = 512 * 1024
  /** What service, transport and client may hold together: some chunks each, whatever the length of the export. */
  const aheadMax = 32 * chunkOctets
  let made = 0
  beforeEach(() => {
    chunks = Array.from({ length: 128 }, () => 'x'.repeat(chunkOctets))
    made = 0
    meanwhile = () => {
      made += chunkOctets
    }
  })

  function start() {
    const command = [commandFile(), 'usage', 'export', 'org_1']
    const child = spawn(process.execPath, command, { cwd: directory, env: environment })
    let err = ''
    child.stderr.on('data', text => {
      err += text
    })
    const closed = once(child, 'close').then(([code]) => ({ code, err: withoutProgress(err) }))
    return { stdout: child.stdout, closed }
  }

  test('holds the export back where its reader is slow', async () => {
    const { stdout, closed } = start()
    let [read, ahead] = [0, 0]
    for await (const data of stdout) {
      ahead = Math.max(ahead, made - read)
      read += data.length
      // The service has every occasion to go on.
      for (let turn = 0; turn < 10; turn++) await setImmediate()
    }
    expect(await closed).toEqual({ code: 0, err: '' })
    expect(read).toBe(chunks.length * chunkOctets)
    expect(ahead).toBeLessThan(aheadMax)
  })

  test('ends the export quietly where its reader has gone', async () => {
    const { stdout, closed } = start()
    await once(stdout, 'data')
    stdout.destroy()
    expect(await closed).toEqual({ code: 74, err: '' })
    expect(made).toBeLessThan(chunks.length * chunkOctets)
  })
})

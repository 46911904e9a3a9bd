// `usage …` and `keys allowlist …` against a real admin server: what they ask, what they print, how an export goes on.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createAdminServer } from '../../src/bin/admin-server.ts'
import { runCommandLine } from '../../src/cli/main.ts'
import { listen } from '../../src/rpc/listen.ts'
import { useWorld } from '../admin/admin-world.ts'
import { type Ran, runClient } from '../bin/serving.ts'
import { commands } from '../house/generated-tables.ts'
import { readCsv } from '../oracle/csv.ts'
import { keepLog } from '../rpc/harness.ts'
import { until } from '../support/until.ts'
import { storeUsage, type UsageRowValues } from '../support/usage-rows.ts'

const world = useWorld()
let directory = ''
let environment: Record<string, string> = {}
let organization = ''
let key = ''
let close = () => {}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'gwu-'))
  const { server, health } = createAdminServer(world().context, keepLog(), { reflection: false })
  const path = join(directory, 'admin.sock')
  await listen(server, { kind: 'unix', path })
  health.set('', 'SERVING')
  close = () => server.forceShutdown()
  writeFileSync(join(directory, 'admin.key'), world().rootKey, { mode: 0o600 })
  environment = {
    GATEWARDEN_CLI_SERVER: `unix:${path}`,
    GATEWARDEN_CLI_KEY_FILE: join(directory, 'admin.key'),
    GATEWARDEN_DATA_DIR: join(directory, 'd'),
  }
  const made = await json('orgs', 'create', '--profile', 'bitbybit', '--name', 'Example', '--json')
  organization = (made as { organization: { name: string } }).organization.name.split('/')[1] ?? ''
  const created = await json('keys', 'create', organization, '--name', 'k', '--scope', 'orders:READ', '--json')
  key = (created as { apiKey: { name: string } }).apiKey.name
  const of = { organization, apiKey: key.split('/').at(-1) ?? '' }
  const minutesAgo = (n: number) => new Date(Date.now() - n * 60_000).toISOString()
  await store([
    { ...of, time: minutesAgo(50), path: '/orders', finalStatus: 200 },
    { ...of, time: minutesAgo(40), path: '/orders/1', method: 'POST', finalStatus: 201 },
    { ...of, time: minutesAgo(30), path: '/a*b', reason: 'ip_not_allowed', clientIp: '198.51.100.9' },
    { ...of, time: minutesAgo(20), path: '/a"b\\', userAgent: '\u001b[31mred', finalStatus: 500 },
    { organization, time: minutesAgo(10), path: '/none', reason: 'rate_limited', status: 429, clientIp: null },
  ])
})
afterAll(() => {
  close()
  rmSync(directory, { recursive: true, force: true })
})

const store = (rows: readonly UsageRowValues[]) => storeUsage(world().client, rows)
const run = (...args: string[]): Promise<Ran> => runClient(environment, directory, args)

async function json(...args: string[]): Promise<unknown> {
  const ran = await run(...args)
  if (ran.code !== 0) throw new Error(ran.err)
  return JSON.parse(ran.out)
}

async function paths(...flags: string[]): Promise<string[]> {
  return ((await json('usage', 'list', organization, ...flags, '--json')) as { path: string }[]).map(({ path }) => path)
}

/** Hands on what comes to one socket to another. @returns what ends it, with every connection */
async function relay(path: string, to: string): Promise<() => void> {
  rmSync(path, { force: true })
  const open = new Set<Socket>()
  const server = createServer(client => {
    const upstream = connect(to)
    for (const each of [client, upstream]) {
      open.add(each)
      each.on('error', () => undefined)
      each.on('close', () => {
        open.delete(each)
        client.destroy()
        upstream.destroy()
      })
    }
    client.pipe(upstream).pipe(client)
  })
  await new Promise<void>(resolve => server.listen(path, resolve))
  return () => {
    server.close()
    for (const each of open) each.destroy()
  }
}

describe('usage list', () => {
  test('shows blocked requests with the address that was seen', async () => {
    const { out, code } = await run('usage', 'list', organization)
    expect(code).toBe(0)
    const [head, ...lines] = out.trimEnd().split('\n')
    expect(head).toMatch(/^TIME +METHOD +PATH +STATUS +OUTCOME +CLIENT IP +API KEY$/)
    expect(lines).toHaveLength(5)
    expect(lines[0]).toMatch(/GET +\/none +429 +rate_limited +- +-$/)
    expect(lines[2]).toMatch(/GET +\/a\*b +403 +ip_not_allowed +198\.51\.100\.9 +key_/)
  })

  test.each([
    [['--denied'], ['/none', '/a*b']],
    [['--reason', 'ip_not_allowed'], ['/a*b']],
    [
      ['--status', '4xx'],
      ['/none', '/a*b'],
    ],
    [['--status', '201'], ['/orders/1']],
    [['--method', 'POST'], ['/orders/1']],
    [
      ['--path', '/orders'],
      ['/orders/1', '/orders'],
    ],
    [['--path', '/a*'], ['/a*b']],
    [['--path', '/a"b\\'], ['/a"b\\']],
    [['--client-ip', '198.51.100.0/24'], ['/a*b']],
    [
      ['--since', '25m'],
      ['/none', '/a"b\\'],
    ],
    [
      ['--since', '45m', '--until', '25m'],
      ['/a*b', '/orders/1'],
    ],
    [['--filter', 'status = 500 OR status = 429', '--denied'], ['/none']],
    [
      ['--oldest-first', '--max', '2'],
      ['/orders', '/orders/1'],
    ],
  ])('%j', async (flags, wanted) => {
    expect(await paths(...flags)).toEqual(wanted)
  })

  test('takes a key by name, by ORG/KEY and by id', async () => {
    const id = key.split('/').at(-1) ?? ''
    for (const text of [key, `${organization}/${id}`, id]) {
      expect(await paths('--key', text)).toEqual(['/a"b\\', '/a*b', '/orders/1', '/orders'])
    }
  })

  test('says what is wrong with its flags', async () => {
    expect((await run('usage', 'list', '--status', '4x')).err).toContain('--status is "4x"')
    const refused = await run('usage', 'list', organization, '--reason', 'blocked')
    expect(refused.code).toBe(1)
    expect(refused.err).toMatch(/filter \(--filter\): FILTER_INVALID: At character 9: reason is never "blocked"/)
  })

  test('over all organizations', async () => {
    expect((await run('usage', 'list')).out).toContain('/orders/1')
  })
})

describe('usage tail', () => {
  test('begins with what is there and shows each row that comes once, late ones too', async () => {
    const of = { organization, apiKey: 'key_tail' }
    await store([{ ...of, path: '/1' }])
    let out = ''
    const io = {
      out: (text: string) => {
        out += text
      },
      err: () => undefined,
      environment,
      cwd: directory,
      now: () => Date.now(),
      uuid: () => '',
    }
    const args = ['usage', 'tail', organization, '--key', 'key_tail', '--for', '6s', '--json']
    const running = runCommandLine(args, commands, 'test', io)
    await until('the first row is shown', () => out.includes('/1'), 5000)
    await store([
      { ...of, path: '/2' },
      { ...of, path: '/late', time: new Date(Date.now() - 2000).toISOString() },
    ])
    await until('the others are shown', () => out.includes('/2') && out.includes('/late'), 5000)
    expect(await running).toBe(0)
    const seen = out
      .trimEnd()
      .split('\n')
      .map(line => (JSON.parse(line) as { path: string }).path)
    expect(seen.sort()).toEqual(['/1', '/2', '/late'])
  })

  test('shows one line a request, harmless', async () => {
    const { out } = await run('usage', 'tail', organization, '--filter', 'status = 500', '--last', '1', '--for', '0s')
    expect(out).toMatch(/^\S+Z {2,}GET +500 +allow +203\.0\.113\.7 +key_\S+ +\/a"b\\\n$/)
  })
})

describe('usage metrics', () => {
  test('of a key, for people and for scripts', async () => {
    const { out } = await run('usage', 'metrics', key, '--by', 'status')
    expect(out).toMatch(/^requests +4\nallowed +3\ndenied +1\n/)
    expect(out).toMatch(/by reason +allow 3, ip_not_allowed 1\n/)
    expect(out).toMatch(/\nSTATUS +REQUESTS +ALLOWED +DENIED\n200 +1 +1 +0\n/)
    expect(await json('usage', 'metrics', key, '--json')).toMatchObject({
      totalRequests: '4',
      byReason: { allow: '3', ip_not_allowed: '1' },
    })
  })

  test('of an organization and of a lineage', async () => {
    expect((await run('usage', 'metrics', organization, '--filter', 'x')).code).toBe(2)
    expect((await run('usage', 'metrics', organization, '--since', '35m', '--until', '5m')).out).toMatch(
      /^requests +3\n/,
    )
    expect((await run('usage', 'metrics', key, '--lineage')).out).toMatch(/safe to finish +no\n/)
  })
})

describe('usage export', () => {
  test('to standard output', async () => {
    const { out, err, code } = await run(
      'usage',
      'export',
      organization,
      '--column',
      'path',
      '--column',
      'status',
      '--status',
      '4xx',
    )
    expect([code, err]).toEqual([0, '2 rows\n'])
    expect(out).toBe('path,status\r\n/none,429\r\n/a*b,403\r\n')
  })

  test('to a file of a telling name, with nothing left beside it', async () => {
    const folder = join(directory, 'files')
    mkdirSync(folder)
    const { code, err } = await run('usage', 'export', organization, '--out', folder)
    const today = new Date().toISOString().slice(0, 10)
    const from = new Date(Date.now() - 31 * 86_400_000).toISOString().slice(0, 10)
    const file = join(folder, `${organization}-usage-${from}-${today}.csv`)
    expect([code, err]).toEqual([0, expect.stringContaining(`rows in ${file}\n`)])
    expect(readCsv(readFileSync(file))).toHaveLength((await paths()).length + 1)
    expect(existsSync(`${file}.part`) || existsSync(`${file}.part.json`)).toBe(false)
  })

  describe('of several parts', () => {
    const args = () =>
      ['usage', 'export', organization, '--key', 'key_many', '--since', '24h', '--out', 'many.csv'] as const
    let many = ''
    let expected = Buffer.alloc(0)
    /** Reads of the log that are answered before the next one waits for ever. */
    let readsLeft = Number.POSITIVE_INFINITY
    let servers = 0

    beforeAll(async () => {
      many = join(directory, 'many.csv')
      await store(
        Array.from({ length: 12_000 }, (_, n) => ({
          organization,
          apiKey: 'key_many',
          path: `/${n}`,
          userAgent: 'x'.repeat(100),
        })),
      )
      expect((await run(...args())).code).toBe(0)
      expected = readFileSync(many)
      expect(readCsv(expected)).toHaveLength(12_001)
    })
    beforeEach(() => rmSync(many, { force: true }))

    /** Another server in the place of the one that is there, behind a relay that can be cut: the server keeps its connections. */
    async function reopen(reads: number): Promise<void> {
      close()
      readsLeft = reads
      const { usage } = world().context
      const cells: typeof usage.cells = (query, columns) => {
        readsLeft -= 1
        return readsLeft < 0 ? new Promise(() => undefined) : usage.cells(query, columns)
      }
      const context = { ...world().context, usage: { ...usage, cells } }
      const { server, health } = createAdminServer(context, keepLog(), { reflection: false })
      servers += 1
      const inner = join(directory, `admin-${servers}.sock`)
      await listen(server, { kind: 'unix', path: inner })
      health.set('', 'SERVING')
      const cut = await relay(join(directory, 'admin.sock'), inner)
      close = () => {
        cut()
        server.forceShutdown()
      }
    }

    /** Until a part of the file is there and the service has nothing more to say. */
    const halfway = () => until('a part is there', () => existsSync(`${many}.part.json`) && readsLeft < 0, 10_000)

    test('goes on by itself where the service is back soon', async () => {
      await reopen(2)
      const running = run(...args())
      await halfway()
      await reopen(Number.POSITIVE_INFINITY)
      const { code, err } = await running
      // Progress may be told in between.
      const told = err.replace(/^\d+ rows\n/gm, '')
      expect([code, told]).toEqual([0, `the connection broke; going on\n12000 rows in ${many}\n`])
      expect(readFileSync(many).equals(expected)).toBe(true)
    })

    test('goes on where it broke off when it is asked again, and only with the same question', async () => {
      await reopen(2)
      const running = run(...args())
      await halfway()
      close()
      const broken = await running
      expect(broken.code).not.toBe(0)
      expect(existsSync(many)).toBe(false)
      await reopen(Number.POSITIVE_INFINITY)
      // As a killed process leaves it: more in the file than the note tells.
      writeFileSync(`${many}.part`, Buffer.concat([readFileSync(`${many}.part`), Buffer.from('torn,"')]))
      const other = await run('usage', 'export', organization, '--out', 'many.csv')
      expect([other.code, other.err]).toEqual([1, expect.stringContaining('is of another export')])
      const again = await run(...args())
      expect([again.code, again.err]).toEqual([0, expect.stringMatching(/^going on after [1-9]\d* rows\n/)])
      expect(readFileSync(many).equals(expected)).toBe(true)
      expect(existsSync(`${many}.part`) || existsSync(`${many}.part.json`)).toBe(false)
    }, 30_000)

    test('shows how far it is while it goes on', async () => {
      let err = ''
      let now = Date.now()
      const io = {
        out: () => undefined,
        err: (text: string) => {
          err += text
        },
        environment,
        cwd: directory,
        // A second passes between any two looks at the clock.
        now: () => {
          now += 1000
          return now
        },
        uuid: () => '',
      }
      expect(await runCommandLine([...args()], commands, 'test', io)).toBe(0)
      const told = [...err.matchAll(/^(\d+) rows$/gm)].map(match => Number(match[1]))
      expect(told.length).toBeGreaterThan(1)
      expect(told).toEqual(told.toSorted((a, b) => a - b))
      expect(err.endsWith(`\n12000 rows in ${many}\n`)).toBe(true)
    })
  })

  test('says what is wrong with a column', async () => {
    const { code, err } = await run('usage', 'export', organization, '--column', 'secret')
    expect(code).toBe(1)
    expect(err).toMatch(/columns\[0\] \(--column\): FIELD_INVALID: "secret" is not kept/)
  })
})

describe('keys allowlist', () => {
  test('validate: what would be stored, or what is wrong and what was meant', async () => {
    const good = await run('keys', 'allowlist', 'validate', organization, '203.0.113.7', '203.0.113.0/24=Office')
    expect([good.code, good.out]).toEqual([0, '203.0.113.7/32\n203.0.113.0/24 (Office)\n'])
    const bad = await run('keys', 'allowlist', 'validate', 'profiles/bitbybit', '203.0.113.7/24', '10.0.0.1')
    expect(bad.code).toBe(1)
    expect(bad.out).toMatch(
      /^203\.0\.113\.7\/24: HOST_BITS_SET: .* Did you mean 203\.0\.113\.0\/24\?\n10\.0\.0\.1: PRIVATE_RANGE: /,
    )
  })

  test('simulate: who would have been kept out', async () => {
    const { out, code } = await run('keys', 'allowlist', 'simulate', key, '203.0.113.0/24')
    expect(code).toBe(0)
    expect(out).toMatch(/^requests +4\ndenied +1\nof unknown address +0\n/)
    expect(out).toMatch(/\n198\.51\.100\.9 +1 +\S+Z\n$/)
  })

  test('suggest: entries, and the command that stores them', async () => {
    const { out, err, code } = await run('keys', 'allowlist', 'suggest', key)
    expect(code).toBe(0)
    expect(out).toMatch(/\n203\.0\.113\.7\/32 +1 +3 /)
    expect(err).toBe(
      `They cover 100 % of the allowed requests; 0 lie outside.\ngatewarden keys update ${key} --allow 203.0.113.7/32\n`,
    )
    expect(await json('keys', 'allowlist', 'suggest', key, '--max-entries', '1', '--json')).toMatchObject({
      suggestions: [{ cidr: '203.0.113.7/32', requests: '3' }],
    })
  })

  test('an update that locks out says so', async () => {
    const { code, err } = await run('keys', 'update', key, '--allow', '192.0.2.0/24', '--validate-only')
    expect(code).toBe(0)
    expect(err).toContain(
      'warning EXCLUDES_RECENT_TRAFFIC: 3 of 3 allowed requests of the last 7 days came from 1 address',
    )
  })
})

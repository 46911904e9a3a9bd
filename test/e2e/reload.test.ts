// Profiles replaced under load in every way that people and mounts do it (field report 4), on a real check process: no Check is
// dropped or answered with 5xx, a sound change governs each time, and whatever is not sound leaves the last good profile.
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { goldenHosts, goldenKey } from '../core/cases.ts'
import { compileText } from '../profile/documents.ts'
import { hostileTexts } from '../profile/hostile-texts.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'
import { insertGoldenRows } from './golden-rows.ts'
import { type Load, startLoad } from './load.ts'
import { type CheckProcess, killProcesses, startCheckProcess, untilReady } from './processes.ts'

const checksPerSecond = 300
const swapsOfEachWay = 10
/** Polled twice a second, seen twice. */
const governsWithinMs = 5000
const suiteLimitMs = 90_000
const products = ['bitbybit', 'billoget', 'bitgpt'] as const

const database = useTestDatabase()
const directory = mkdtempSync(join(tmpdir(), 'gw-rel-'))
const profilesDir = join(directory, 'profiles')
const file = join(profilesDir, 'bitbybit.yaml')
const whole = readFileSync(repositoryFile('profiles/bitbybit.yaml'), 'utf8')
/** Without the rule for /messages. */
const dropped = whole
  .split('\n')
  .filter(line => !line.includes('path: /messages,'))
  .join('\n')

let check: CheckProcess
let load: Load

const messages = {
  path: '/customer/open/v1/messages',
  host: goldenHosts.bitbybit,
  headers: [['x-api-key', goldenKey('B2').secret]],
} as const

beforeAll(async () => {
  expect(dropped).not.toBe(whole)
  mkdirSync(profilesDir)
  for (const name of products) {
    writeFileSync(join(profilesDir, `${name}.yaml`), readFileSync(repositoryFile(`profiles/${name}.yaml`)))
  }
  const client = database().client()
  await client.connect()
  await insertGoldenRows(client).finally(() => client.end())
  check = await startCheckProcess({ directory, database: database().database, profilesDir }, 'check')
  await untilReady(check)
  load = startLoad(checksPerSecond, () => check.outcome(messages))
})
afterAll(async () => {
  await load?.stop()
  check?.close()
  await killProcesses()
  rmSync(directory, { recursive: true, force: true })
})

const failed = () => check.metric('gatewarden_config_reload_failed')
let version = 1
/** Every text is new, as it is when a version is raised. */
function next(text: string): string {
  version += 1
  return text.replace('version: 1', `version: ${version}`)
}

/** Replaces the file ten times, alternating between with and without the rule, and waits for each to govern. */
async function swaps(replace: (text: string) => void | Promise<void>): Promise<void> {
  for (let round = 0; round < swapsOfEachWay; round += 1) {
    const isDropped = round % 2 === 0
    await replace(next(isDropped ? dropped : whole))
    const expected = isDropped ? 'route_unmapped' : 'allow'
    await until(
      `change ${round + 1} governs`,
      async () => (await check.outcome(messages)) === expected,
      governsWithinMs,
    )
  }
  expect(await failed()).toBe(0)
  expectNothingElse()
}

/** Every answer of the load so far is one of the two policies'. */
function expectNothingElse(): void {
  const others = [...load.answers].filter(([answer]) => answer !== 'allow' && answer !== 'route_unmapped')
  expect(others).toEqual([])
}

it(
  'a new file under the old name: written beside and renamed',
  () =>
    swaps(text => {
      writeFileSync(`${file}.new`, text)
      renameSync(`${file}.new`, file)
    }),
  suiteLimitMs,
)

it(
  'the same file deleted and created again',
  () =>
    swaps(text => {
      rmSync(file)
      writeFileSync(file, text)
    }),
  suiteLimitMs,
)

it(
  'the same file truncated, left empty for 300 ms, and written',
  () =>
    swaps(async text => {
      writeFileSync(file, '')
      await sleep(300) // the writer pauses: longer than two looks
      writeFileSync(file, text)
    }),
  suiteLimitMs,
)

it(
  'a mounted volume: its `..data` link swapped',
  async () => {
    const mount = (name: string, text: string) => {
      mkdirSync(join(profilesDir, name))
      writeFileSync(join(profilesDir, name, 'bitbybit.yaml'), text)
      symlinkSync(name, join(profilesDir, '..data_tmp'))
      renameSync(join(profilesDir, '..data_tmp'), join(profilesDir, '..data'))
    }
    mount('..version_0', whole)
    symlinkSync('..data/bitbybit.yaml', `${file}.link`)
    renameSync(`${file}.link`, file)
    let mounted = 0
    await swaps(text => {
      mounted += 1
      mount(`..version_${mounted}`, text)
      rmSync(join(profilesDir, `..version_${mounted - 1}`), { recursive: true })
    })
    rmSync(file)
    writeFileSync(file, whole)
    rmSync(join(profilesDir, '..data'))
    rmSync(join(profilesDir, `..version_${mounted}`), { recursive: true })
  },
  suiteLimitMs,
)

/** What the heartbeat says of the profile, and when it said so. */
async function reported(): Promise<{ readonly digest: string; readonly at: number }> {
  const client = database().client()
  await client.connect()
  try {
    const { rows } = await client.query<{ digest: string; at: number }>(
      `SELECT profiles->'bitbybit'->>'digest' AS digest, extract(epoch FROM seen_at)::float8 AS at FROM sidecars`,
    )
    const [row] = rows
    if (row === undefined) throw new Error('no heartbeat')
    return row
  } finally {
    await client.end()
  }
}

/** Ways to make the file unusable, on a policy that allows. */
const unsound: readonly (readonly [what: string, spoil: () => void])[] = [
  ['a syntax error', () => writeFileSync(file, `${whole}\n  - ]`)],
  ['an empty file', () => writeFileSync(file, '')],
  ['half a file', () => writeFileSync(file, whole.slice(0, whole.length / 2))],
  ['a rule removed and an unknown member', () => writeFileSync(file, dropped.replace('checks:', 'chekcs:'))],
  [
    'a directory of that name',
    () => {
      rmSync(file)
      mkdirSync(file)
    },
  ],
  ['no file', () => rmSync(file)],
  [
    'a link to nowhere',
    () => {
      rmSync(file)
      symlinkSync('nowhere', file)
    },
  ],
]

it(
  'what is not sound leaves the last good profile in service and raises the metric, until it is mended',
  async () => {
    await until('the whole profile governs', async () => (await check.outcome(messages)) === 'allow', governsWithinMs)
    const served = compileText(whole).digest
    const allowedBefore = load.answers.get('route_unmapped')
    for (const [what, spoil] of unsound) {
      spoil()
      await until(`${what} is refused`, async () => (await failed()) === 1, governsWithinMs)
      expect(await check.outcome(messages), what).toBe('allow')
      expect(await check.ready(), what).toBe(true)
      // What other people are shown is what is served, not what lies on disk.
      if (what.startsWith('a rule removed')) {
        const { at } = await reported()
        await until('it reports again', async () => (await reported()).at > at)
        expect((await reported()).digest).toBe(served)
      }
      rmSync(file, { recursive: true, force: true })
      writeFileSync(file, whole)
      await until(`${what} is mended`, async () => (await failed()) === 0, governsWithinMs)
    }
    expect(load.answers.get('route_unmapped')).toBe(allowedBefore)
    expectNothingElse()
  },
  suiteLimitMs,
)

/** A Check meanwhile waits for its turn behind others, on a machine that judges a text beside it; it takes some milliseconds. */
const stallMs = 1500

it(
  'a text made to keep its reader busy is refused with its place, and no Check waits for that',
  async () => {
    let longest = 0
    for (const name of ['commas in brackets', 'an open quote a line', 'a star a line', 'aliases of aliases']) {
      writeFileSync(file, hostileTexts[name] ?? '')
      await until(
        `${name} is refused`,
        async () => {
          const began = performance.now()
          expect(await check.outcome(messages)).toBe('allow')
          longest = Math.max(longest, performance.now() - began)
          return (await failed()) === 1
        },
        governsWithinMs,
      )
      await until(`${name} is told`, async () => {
        const line = check.running.output().trim().split('\n').at(-1) ?? ''
        return /"findings":"bitbybit\.yaml:\d+:\d+: error .*"profile refused/.test(line)
      })
      writeFileSync(file, whole)
      await until(`${name} is mended`, async () => (await failed()) === 0, governsWithinMs)
    }
    expect(longest).toBeLessThan(stallMs)
    expectNothingElse()
  },
  suiteLimitMs,
)

it(
  'a change of mode alone changes nothing, and a file that may be read again is served',
  async () => {
    const { mode } = statSync(file)
    for (let round = 0; round < swapsOfEachWay; round += 1) chmodSync(file, round % 2 === 0 ? 0o400 : mode)
    writeFileSync(file, next(dropped))
    await until('the change governs', async () => (await check.outcome(messages)) === 'route_unmapped', governsWithinMs)
    expect(await failed()).toBe(0)
    await load.stop()
    expectNothingElse()
    const answered = [...load.answers.values()].reduce((sum, count) => sum + count, 0)
    expect(answered).toBe(load.sent())
    expect(answered).toBeGreaterThan(1000)
    process.stdout.write(`reload: ${answered} Checks under ${4 * swapsOfEachWay} swaps, none dropped, none 5xx\n`)
  },
  suiteLimitMs,
)

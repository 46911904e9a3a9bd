// Watching profile files, in every way that files change under a running service (field report: reload misses a mounted file,
// or serves what was removed). After a good change the new profile is served, on the tenth change as on the first; after a bad
// one the last good profile stays, the status says so, and names the digest of what is served.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createNames } from '../../src/core/names.ts'
import { directoryHint } from '../../src/profile/directory-hint.ts'
import { lintProfile } from '../../src/profile/lint.ts'
import type { JudgeText, LintOutcome } from '../../src/profile/lint-job.ts'
import { createLintThread, type LintThread } from '../../src/profile/lint-thread.ts'
import { loadDirectory } from '../../src/profile/load-directory.ts'
import type { ProfileSet } from '../../src/profile/profile-set.ts'
import {
  FINDINGS_TOLD_MAX,
  type ProfileStatus,
  type ProfileWatch,
  type WatchOptions,
  watchProfiles,
} from '../../src/profile/watch.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { exampleText, judgeHere, products, profileText } from './documents.ts'
import { hostileTexts, largestProfile } from './hostile-texts.ts'

const full = profileText('bitbybit')
const file = 'bitbybit.yaml'

/** The nth version: without the rules of messages in odd ones. */
function version(n: number): string {
  const text = full.replace('version: 1,', `version: ${n},`)
  return n % 2 === 0 ? text : text.replace(/^.*path: "?\/messages.*\n/gm, '')
}

const hasMessages = (set: ProfileSet) =>
  set.byName('bitbybit')?.policy.routes.rules.some(({ path }) => path === '/messages') ?? false

/** Timers that run only when told, so that no test waits. */
function manualTimers() {
  const pending = new Map<number, () => void>()
  let last = 0
  return {
    setTimeout(run: () => void): number {
      pending.set(++last, run)
      return last
    },
    clearTimeout(handle: unknown): void {
      pending.delete(handle as number)
    },
    get size(): number {
      return pending.size
    },
  }
}

let directory = ''
let watch: ProfileWatch | undefined
let swaps: ProfileSet[] = []
let told: ProfileStatus[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'gw-watch-'))
  swaps = []
  told = []
})

afterEach(async () => {
  await watch?.close()
  watch = undefined
  rmSync(directory, { recursive: true, force: true })
})

async function start(extra: Partial<WatchOptions> = {}): Promise<ProfileWatch> {
  const compile = { names: createNames(), deploymentEnvironment: 'production', acceptedEnvironments: null }
  const { loaded, set } = await loadDirectory(directory, compile)
  if (set === undefined) throw new Error('the test starts from sound files')
  const started = watchProfiles({
    directory,
    compile,
    initial: loaded,
    onSwap: swapped => swaps.push(swapped),
    onStatus: status => told.push(status),
    timers: manualTimers(),
    judge: judgeHere,
    ...extra,
  })
  watch = started
  return started
}

function statusOf(watched: ProfileWatch, name = file): ProfileStatus | undefined {
  return watched.status().find(status => status.file === name)
}

async function startWithThree(): Promise<ProfileWatch> {
  for (const name of products) writeFileSync(join(directory, `${name}.yaml`), profileText(name))
  return start()
}

/** Ways to bring a text into place. */
const ways: Readonly<Record<string, (text: string, n: number) => void>> = {
  'written over': text => writeFileSync(join(directory, file), text),
  'renamed into place': text => {
    writeFileSync(join(directory, '.new'), text)
    renameSync(join(directory, '.new'), join(directory, file))
  },
  'deleted and created again': text => {
    rmSync(join(directory, file))
    writeFileSync(join(directory, file), text)
  },
}

describe('a good change is served', () => {
  for (const [way, bring] of Object.entries(ways)) {
    it(`ten times in a row: ${way}`, async () => {
      const watched = await startWithThree()
      for (let n = 2; n <= 11; n++) {
        bring(version(n), n)
        await watched.refresh()
        expect(watched.current().byName('bitbybit')?.version).toBe(n)
        expect(hasMessages(watched.current())).toBe(n % 2 === 0)
        expect(statusOf(watched)).toMatchObject({ version: n, failed: false, lastError: null })
      }
      expect(swaps.length).toBe(10)
      expect(watched.current().profiles.length).toBe(3)
    })
  }

  it('ten times in a row: swap of the ..data link of a mounted volume', async () => {
    const mount = (n: number) => {
      const data = join(directory, `..v${n}`)
      mkdirSync(data)
      writeFileSync(join(data, file), version(n))
      symlinkSync(`..v${n}`, join(directory, '..data_tmp'))
      renameSync(join(directory, '..data_tmp'), join(directory, '..data'))
      if (n > 1) rmSync(join(directory, `..v${n - 1}`), { recursive: true })
    }
    mount(1)
    symlinkSync(`..data/${file}`, join(directory, file))
    const watched = await start()
    for (let n = 2; n <= 11; n++) {
      mount(n)
      await watched.refresh()
      expect(watched.current().byName('bitbybit')?.version).toBe(n)
      expect(hasMessages(watched.current())).toBe(n % 2 === 0)
    }
  })

  it('a content that changed between loading and the first look is found', async () => {
    writeFileSync(join(directory, file), version(1))
    const watched = await start()
    writeFileSync(join(directory, file), version(2))
    await watched.refresh()
    expect(watched.current().byName('bitbybit')?.version).toBe(2)
  })

  it('truncated, left empty for a while, then written: the last good one serves in between', async () => {
    const watched = await startWithThree()
    truncateSync(join(directory, file), 0)
    await watched.refresh()
    expect(statusOf(watched)).toMatchObject({ version: 1, failed: true })
    expect(hasMessages(watched.current())).toBe(true)
    writeFileSync(join(directory, file), version(3))
    await watched.refresh()
    expect(statusOf(watched)).toMatchObject({ version: 3, failed: false })
    expect(hasMessages(watched.current())).toBe(false)
  })

  it('a change of mode alone swaps nothing and tells nothing', async () => {
    const watched = await startWithThree()
    chmodSync(join(directory, file), 0o600)
    await watched.refresh()
    expect(swaps).toEqual([])
    expect(told).toEqual([])
  })

  it('a new file joins, and the others are the same objects as before', async () => {
    const watched = await startWithThree()
    const before = watched.current()
    writeFileSync(join(directory, 'example.yaml'), exampleText())
    await watched.refresh()
    expect(watched.current().byHost('api.example.test')?.name).toBe('example')
    for (const name of products) expect(watched.current().byName(name)).toBe(before.byName(name))
  })

  it('a set handed out before is never changed', async () => {
    const watched = await startWithThree()
    const before = watched.current()
    writeFileSync(join(directory, file), version(3))
    await watched.refresh()
    expect(hasMessages(before)).toBe(true)
    expect(hasMessages(watched.current())).toBe(false)
  })

  it('a host may move from one file to another in one change', async () => {
    writeFileSync(join(directory, 'a.yaml'), exampleText().replace('name: example', 'name: a'))
    writeFileSync(
      join(directory, 'b.yaml'),
      exampleText()
        .replace('name: example', 'name: b')
        .replace(/api\.example|files\.example/g, 'b$&'),
    )
    const watched = await start()
    writeFileSync(
      join(directory, 'a.yaml'),
      exampleText()
        .replace('name: example', 'name: a')
        .replace(/api\.example|files\.example/g, 'c$&'),
    )
    writeFileSync(join(directory, 'b.yaml'), exampleText().replace('name: example', 'name: b'))
    await watched.refresh()
    expect(watched.current().byHost('api.example.test')?.name).toBe('b')
    expect(watched.current().byHost('capi.example.test')?.name).toBe('a')
    expect(watched.status().every(({ failed }) => !failed)).toBe(true)
  })
})

describe('a bad change leaves the last good profile in service', () => {
  const spoil: Readonly<Record<string, () => void>> = {
    'a syntax error': () => writeFileSync(join(directory, file), full.replace('kind: Profile', 'kind: [')),
    'half a file': () => writeFileSync(join(directory, file), full.slice(0, full.length / 2)),
    'an empty file': () => writeFileSync(join(directory, file), ''),
    'a file that is gone': () => rmSync(join(directory, file)),
    'a directory of that name': () => {
      rmSync(join(directory, file))
      mkdirSync(join(directory, file))
    },
    'a link to nothing': () => {
      rmSync(join(directory, file))
      symlinkSync('nowhere', join(directory, file))
    },
    'a pipe': () => {
      rmSync(join(directory, file))
      execFileSync('mkfifo', [join(directory, file)])
    },
    'octets that are no text': () => writeFileSync(join(directory, file), Buffer.from([0xc3, 0x28])),
    'a file too long': () => writeFileSync(join(directory, file), '#'.repeat(300_000)),
    'the host of another profile': () =>
      writeFileSync(join(directory, file), version(2).replace('[api.bitbybit.studio]', '[api.billoget.com]')),
    'another name': () => writeFileSync(join(directory, file), version(2).replace('name: bitbybit', 'name: renamed')),
    'a directory that cannot be read': () => renameSync(directory, `${directory}.away`),
  }

  it.each(Object.keys(spoil))('%s', async kind => {
    const watched = await startWithThree()
    const served = watched.current()
    const digest = statusOf(watched)?.digest
    spoil[kind]?.()
    await watched.refresh()
    expect(watched.current()).toBe(served)
    expect(swaps).toEqual([])
    expect(statusOf(watched)).toMatchObject({ name: 'bitbybit', version: 1, digest, failed: true })
    expect(statusOf(watched)?.lastError).toMatch(/\S/)
    expect(told.filter(status => status.file === file).length).toBe(1)

    if (kind === 'a directory that cannot be read') renameSync(`${directory}.away`, directory)
    rmSync(join(directory, file), { recursive: true, force: true })
    writeFileSync(join(directory, file), version(4))
    await watched.refresh()
    expect(statusOf(watched)).toMatchObject({ version: 4, failed: false, lastError: null })
  })

  it('and the same good content again clears the failure without a swap', async () => {
    const watched = await startWithThree()
    rmSync(join(directory, file))
    await watched.refresh()
    expect(statusOf(watched)?.failed).toBe(true)
    writeFileSync(join(directory, file), full)
    await watched.refresh()
    expect(statusOf(watched)?.failed).toBe(false)
    expect(swaps).toEqual([])
  })

  it('a new bad file is told and forgotten once it is gone', async () => {
    const watched = await startWithThree()
    writeFileSync(join(directory, 'new.yaml'), 'kind: Profile')
    await watched.refresh()
    expect(statusOf(watched, 'new.yaml')).toMatchObject({ name: null, digest: null, failed: true })
    rmSync(join(directory, 'new.yaml'))
    await watched.refresh()
    expect(statusOf(watched, 'new.yaml')).toBeUndefined()
    expect(watched.current().profiles.length).toBe(3)
  })

  it('a conflict ends when the other file gives way, without another write', async () => {
    const watched = await startWithThree()
    writeFileSync(join(directory, file), version(2).replace('[api.bitbybit.studio]', '[api.billoget.com]'))
    await watched.refresh()
    expect(statusOf(watched)?.failed).toBe(true)
    writeFileSync(
      join(directory, 'billoget.yaml'),
      profileText('billoget').replace('[api.billoget.com]', '[b.billoget.com]'),
    )
    await watched.refresh()
    expect(watched.current().byHost('api.billoget.com')?.name).toBe('bitbybit')
    expect(watched.status().every(({ failed }) => !failed)).toBe(true)
  })
})

describe('what is told of a file', () => {
  it('a new one is told once it is judged, once, with the name and version in force', async () => {
    const watched = await startWithThree()
    writeFileSync(join(directory, 'example.yaml'), exampleText())
    await watched.refresh()
    expect(told).toEqual([
      {
        file: 'example.yaml',
        name: 'example',
        version: 3,
        digest: watched.current().byName('example')?.digest,
        findingsCount: expect.any(Number),
        failed: false,
        lastError: null,
      },
    ])
  })

  it('the count of its warnings and infos is that of what is served', async () => {
    const watched = await startWithThree()
    const served = statusOf(watched)?.findingsCount
    expect(served).toBe(lintProfile(full, { file }).findings.length)
    writeFileSync(join(directory, file), version(2).replace('documented: partial, source', 'documented: false, source'))
    await watched.refresh()
    expect(statusOf(watched)).toMatchObject({ version: 2, findingsCount: (served ?? 0) + 1 })
    writeFileSync(join(directory, file), 'kind: Profile')
    await watched.refresh()
    expect(statusOf(watched)).toMatchObject({ failed: true, findingsCount: (served ?? 0) + 1 })
  })

  it('a thousand errors are told in a few lines that say how many there are', async () => {
    const watched = await startWithThree()
    writeFileSync(join(directory, file), `${full}${Array.from({ length: 900 }, (_, i) => `x${i}: 1\n`).join('')}`)
    await watched.refresh()
    const lines = statusOf(watched)?.lastError?.split('\n') ?? []
    expect(lines.length).toBe(FINDINGS_TOLD_MAX + 1)
    expect(lines[0]).toMatch(/^bitbybit\.yaml:\d+:1: error unknown_field x0: /)
    expect(lines.at(-1)).toBe(`and ${900 - FINDINGS_TOLD_MAX} more; \`gatewarden profile lint\` shows all`)
  })

  it('an earlier refusal stands while a new content is being judged, and the look waits for the verdict', async () => {
    let release: () => void = () => undefined
    const gate = new Promise<void>(resolve => {
      release = resolve
    })
    let gated = false
    let asked = false
    const judge: JudgeText = async job => {
      asked = gated
      if (gated) await gate
      return await judgeHere(job)
    }
    writeFileSync(join(directory, file), version(1))
    const watched = await start({ judge })
    writeFileSync(join(directory, file), 'kind: Profile')
    await watched.refresh()
    const refused = statusOf(watched)
    expect(refused?.failed).toBe(true)
    gated = true
    writeFileSync(join(directory, file), version(2))
    const looking = watched.refresh()
    await expect.poll(() => asked).toBe(true)
    expect(statusOf(watched)).toEqual(refused)
    release()
    await looking
    expect(statusOf(watched)).toMatchObject({ version: 2, failed: false })
  })
})

describe('a content that cannot be judged', () => {
  const costly: LintOutcome = { kind: 'unfinished', reason: 'costly', cause: 'it took longer than 10000 ms' }

  it('leaves the last good profile, is told with file, cause and mend, and is judged again after a minute of looks', async () => {
    let judged = 0
    let isCostly = true
    const judge: JudgeText = async job => {
      judged++
      return isCostly ? costly : await judgeHere(job)
    }
    writeFileSync(join(directory, file), version(1))
    const watched = await start({ judge })
    const served = watched.current()
    writeFileSync(join(directory, file), version(2))
    await watched.refresh()
    expect(watched.current()).toBe(served)
    expect(statusOf(watched)).toMatchObject({ version: 1, failed: true })
    expect(statusOf(watched)?.lastError).toMatch(/^bitbybit\.yaml: .*longer than 10000 ms; shorten or simplify it/)
    isCostly = false
    for (let look = 1; look < 120; look++) await watched.refresh()
    expect(judged).toBe(1)
    await watched.refresh()
    expect(judged).toBe(2)
    expect(statusOf(watched)).toMatchObject({ version: 2, failed: false, lastError: null })
    for (let look = 0; look < 130; look++) await watched.refresh()
    expect(judged).toBe(2)
  })

  it('and one that is sound elsewhere but not here is refused, not thrown', async () => {
    writeFileSync(join(directory, file), version(1))
    const judge: JudgeText = async job => {
      const outcome = await judgeHere(job)
      if (outcome.kind !== 'judged' || outcome.verdict.sound === null) return outcome
      const { sound } = outcome.verdict
      const errors = { ...sound.document.errors, renderings: {} }
      return {
        kind: 'judged',
        verdict: { ...outcome.verdict, sound: { ...sound, document: { ...sound.document, errors } } },
      }
    }
    const watched = await start({ judge })
    writeFileSync(join(directory, file), version(2))
    await watched.refresh()
    expect(statusOf(watched)).toMatchObject({ version: 1, failed: true })
    expect(statusOf(watched)?.lastError).toContain('cannot be compiled')
  })
})

describe('with the thread of the built program', () => {
  let thread: LintThread
  beforeEach(() => {
    thread = createLintThread({ script: pathToFileURL(repositoryFile('dist/src/profile/lint-worker.js')) })
  })
  afterEach(() => thread.close())

  it('no hostile text replaces a good profile, and the event loop turns while it is judged', async () => {
    writeFileSync(join(directory, file), version(1))
    let turns = 0
    const judge: JudgeText = async job => {
      let isJudged = false
      const turn = () => {
        if (isJudged) return
        turns++
        setImmediate(turn)
      }
      setImmediate(turn)
      return thread.judge(job).finally(() => {
        isJudged = true
      })
    }
    const watched = await start({ judge })
    const served = watched.current()
    for (const name of ['commas in brackets', 'an open quote and commas', 'aliases of aliases', 'open brackets']) {
      writeFileSync(join(directory, file), hostileTexts[name] ?? '')
      turns = 0
      await watched.refresh()
      // A judgement in the loop itself leaves it none.
      expect(turns, name).toBeGreaterThan(10)
      expect(statusOf(watched), name).toMatchObject({ version: 1, failed: true })
      expect(statusOf(watched)?.lastError, name).toMatch(/^bitbybit\.yaml:\d+:\d+: error /)
    }
    expect(watched.current()).toBe(served)
  })

  it('the largest profile is served', async () => {
    writeFileSync(join(directory, file), version(1))
    const watched = await start({ judge: thread.judge })
    writeFileSync(join(directory, 'example.yaml'), largestProfile())
    await watched.refresh()
    expect(watched.current().byName('example')?.policy.routes.rules.length).toBe(5000)
    expect(hasMessages(watched.current())).toBe(false)
  })
})

describe('looking', () => {
  it('a content that changes between two looks is not judged', async () => {
    const timers = manualTimers()
    for (const name of products) writeFileSync(join(directory, `${name}.yaml`), profileText(name))
    const runs: (() => void)[] = []
    const watched = await start({ timers: { ...timers, setTimeout: run => runs.push(run) } })
    writeFileSync(join(directory, file), full.slice(0, 400))
    runs.pop()?.()
    await expect.poll(() => runs.length).toBe(1)
    expect(statusOf(watched)?.failed).toBe(false)
    writeFileSync(join(directory, file), version(2))
    runs.pop()?.()
    await expect.poll(() => runs.length).toBe(1)
    expect(statusOf(watched)).toMatchObject({ version: 1, failed: false })
    runs.pop()?.()
    await expect.poll(() => runs.length).toBe(1)
    expect(statusOf(watched)).toMatchObject({ version: 2, failed: false })
  })

  it('goes on by itself with real timers, and a hint brings it forward', async () => {
    writeFileSync(join(directory, file), version(1))
    const timers = {
      setTimeout: (run: () => void, ms: number) => setTimeout(run, ms),
      clearTimeout: (handle: unknown) => clearTimeout(handle as NodeJS.Timeout),
    }
    const watched = await start({ timers, pollMs: 60_000, settleMs: 20, hint: directoryHint })
    writeFileSync(join(directory, file), version(2))
    await expect.poll(() => statusOf(watched)?.version, { timeout: 10_000 }).toBe(2)
    await watched.close()
    const polled = await start({ timers, pollMs: 20, settleMs: 20 })
    writeFileSync(join(directory, file), version(3))
    await expect.poll(() => statusOf(polled)?.version, { timeout: 10_000 }).toBe(3)
  })

  it('ends with close: no timer is left', async () => {
    writeFileSync(join(directory, file), version(1))
    const timers = manualTimers()
    const watched = await start({ timers })
    await watched.refresh()
    expect(timers.size).toBe(1)
    await watched.close()
    await watched.refresh()
    expect(timers.size).toBe(0)
  })
})

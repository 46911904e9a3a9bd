// The thread that judges: the one that asks goes on meanwhile, and whatever a text does to the thread, the next text is judged.
// The built script, as processes run it, and scripts that misbehave.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { createNames } from '../../src/core/names.ts'
import { compileProfile } from '../../src/profile/compile.ts'
import type { LintJob, LintOutcome } from '../../src/profile/lint-job.ts'
import { createLintThread, type LintThread, type LintThreadOptions } from '../../src/profile/lint-thread.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { compileText, exampleText, judgeHere, products, profileText } from './documents.ts'
import { hostileTexts, largestProfile } from './hostile-texts.ts'

const built = pathToFileURL(repositoryFile('dist/src/profile/lint-worker.js'))
const directory = mkdtempSync(join(tmpdir(), 'gw-lint-'))
const threads: LintThread[] = []

function open(options: Partial<LintThreadOptions> = {}): LintThread {
  const thread = createLintThread({ script: built, ...options })
  threads.push(thread)
  return thread
}

/** A script that does as the text of the job says. */
const obedient = join(directory, 'obedient.mjs')
writeFileSync(
  obedient,
  `import { parentPort, threadId } from 'node:worker_threads'
  parentPort.on('message', ({ text }) => {
    if (text === 'spin') for (;;);
    if (text === 'grow') for (const all = []; ; ) all.push(new Array(10_000).fill(all.length))
    if (text === 'throw') throw new Error('a fault of ours')
    if (text === 'exit') process.exit(0)
    if (text !== 'silent') parentPort.postMessage({ findings: [], digest: text === 'who' ? String(threadId) : text, sound: null })
  })`,
)

const job = (text: string, more: Partial<LintJob> = {}): LintJob => ({
  text,
  file: 'x.yaml',
  inventory: '',
  deploymentEnvironment: 'production',
  acceptedEnvironments: null,
  ...more,
})
const digestOf = (outcome: LintOutcome) => (outcome.kind === 'judged' ? outcome.verdict.digest : outcome.reason)

afterEach(async () => {
  for (const thread of threads.splice(0)) await thread.close()
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe('while a text is judged', () => {
  it.each(['commas in brackets', 'an open quote a line', '30,000 names in one mapping', 'aliases of aliases'])(
    'the event loop turns: %s',
    async name => {
      const text = hostileTexts[name] ?? ''
      const thread = open()
      await thread.judge(job(exampleText())) // the thread is there
      let turns = 0
      let judging = true
      const turn = () => {
        turns++
        if (judging) setImmediate(turn)
      }
      setImmediate(turn)
      const outcome = await thread.judge(job(text))
      judging = false
      expect(outcome.kind).toBe('judged')
      expect(outcome.kind === 'judged' && outcome.verdict.sound).toBeNull()
      // A loop that stood still meanwhile would have turned once or twice.
      expect(turns).toBeGreaterThan(20)
    },
  )
})

describe('a verdict', () => {
  it('is the one that this thread would give, findings, digest and document', async () => {
    const thread = open()
    for (const text of [...products.map(profileText), exampleText(), `${exampleText()}extra: 1\n`, 'a: [']) {
      const given = job(text, { inventory: 'GET /nowhere\n', acceptedEnvironments: ['live'] })
      expect(await thread.judge(given)).toEqual(await judgeHere(given))
    }
  })

  it('of a sound text compiles to what the text compiles to, 5000 routes included', async () => {
    const thread = open()
    for (const text of [...products.map(profileText), exampleText(), largestProfile()]) {
      const outcome = await thread.judge(job(text))
      if (outcome.kind !== 'judged' || outcome.verdict.sound === null) throw new Error(JSON.stringify(outcome))
      const { sound, digest } = outcome.verdict
      const options = { names: createNames(), deploymentEnvironment: 'production', acceptedEnvironments: null }
      expect(compileProfile(sound.document, { yaml: text, digest: digest ?? '' }, options)).toEqual(compileText(text))
    }
  })

  it('comes in the order of the jobs', async () => {
    const thread = open({ script: pathToFileURL(obedient) })
    const order: string[] = []
    await Promise.all(
      ['a', 'b', 'c'].map(text => thread.judge(job(text)).then(each => order.push(String(digestOf(each))))),
    )
    expect(order).toEqual(['a', 'b', 'c'])
  })
})

describe('a text that the thread does not survive', () => {
  it.each([
    ['spin', 'costly', /longer than 1000 ms/],
    ['silent', 'costly', /longer than 1000 ms/],
    ['grow', 'costly', /more than 24 MiB/],
    ['throw', 'failed', /a fault of ours/],
    ['exit', 'failed', /ended/],
  ] as const)('%s: ends as %s, and the next is judged', async (text, reason, cause) => {
    const limits = text === 'grow' ? { heapMibMax: 24 } : { timeMsMax: 1000 }
    const thread = open({ script: pathToFileURL(obedient), ...limits })
    const [outcome, next] = await Promise.all([thread.judge(job(text)), thread.judge(job('next'))])
    expect(outcome).toMatchObject({ kind: 'unfinished', reason })
    expect(outcome.kind === 'unfinished' ? outcome.cause : '').toMatch(cause)
    expect(digestOf(next)).toBe('next')
  })

  it('a script that is not there fails every text, and rejects none', async () => {
    const thread = open({ script: pathToFileURL(join(directory, 'nowhere.mjs')) })
    expect(digestOf(await thread.judge(job('a')))).toBe('failed')
    expect(digestOf(await thread.judge(job('b')))).toBe('failed')
  })
})

describe('the queue', () => {
  it('is bounded: whoever comes when it is full is told at once', async () => {
    const thread = open({ script: pathToFileURL(obedient), waitingMax: 2, timeMsMax: 1000 })
    const running = thread.judge(job('spin'))
    const waiting = [thread.judge(job('a')), thread.judge(job('b'))]
    expect(digestOf(await thread.judge(job('c')))).toBe('busy')
    expect(digestOf(await running)).toBe('costly')
    expect((await Promise.all(waiting)).map(digestOf)).toEqual(['a', 'b'])
  })

  it('ends with close: what runs and what waits ends as closed, and so does what comes', async () => {
    const thread = open({ script: pathToFileURL(obedient) })
    const all = [thread.judge(job('spin')), thread.judge(job('a'))]
    await thread.close()
    expect((await Promise.all(all)).map(digestOf)).toEqual(['closed', 'closed'])
    expect(digestOf(await thread.judge(job('b')))).toBe('closed')
  })

  it('without a job ends its thread after a while, and the next job starts another', async () => {
    const thread = open({ script: pathToFileURL(obedient), idleMsMax: 1 })
    const first = digestOf(await thread.judge(job('who')))
    await expect.poll(async () => digestOf(await thread.judge(job('who')))).not.toBe(first)
  })
})

// When admin compares its pepper files with the database: before it serves, and again for as long as it runs; a database that
// does not answer, or is not migrated yet, keeps it from nothing but the comparison.
import { describe, expect, it } from 'vitest'
import type { AdminStore } from '../../src/admin/admin-store.ts'
import type { PepperProof, ProofVerdict } from '../../src/admin/pepper-proofs.ts'
import { startProving } from '../../src/bin/prove-peppers.ts'
import { StartError } from '../../src/bin/start-error.ts'
import type { Config } from '../../src/config/config.ts'

const config = {
  dataDir: '/data',
  peppers: [{ id: 'p1', file: '/etc/p1' }],
  admin: { pepper: { id: 'a1', file: '/etc/a1' } },
} as unknown as Config

type Answer = (proofs: readonly PepperProof[]) => ProofVerdict

const isRight: Answer = () => ({ isKept: true, contradicted: [], written: [] })
const isWrong =
  (purpose: string): Answer =>
  proofs => ({ isKept: true, contradicted: proofs.filter(proof => proof.purpose === purpose), written: [] })
const hasNoTable: Answer = () => ({ isKept: false, contradicted: [], written: [] })
const isAway: Answer = () => {
  throw new Error('no answer')
}

/** A database that answers in turn as told, the last way for ever, and timers that fire when told. */
function stand(...answers: [Answer, ...Answer[]]) {
  const asked: (readonly PepperProof[])[] = []
  const lines: string[] = []
  const wrong: StartError[] = []
  const timers: { readonly delayMs: number; readonly task: () => void; isOn: boolean }[] = []
  const transact = async (work: (tx: unknown) => Promise<{ readonly value: unknown }>) => {
    const prove = async (proofs: readonly PepperProof[]) => {
      const answer = answers[Math.min(asked.push(proofs), answers.length) - 1] ?? isRight
      return answer(proofs)
    }
    return { value: (await work({ peppers: { prove } })).value, point: { revision: 0n, nonce: 0n } }
  }
  const line = (level: string) => (message: string) => {
    lines.push(`${level} ${message}`)
  }
  const start = (attempts = 1) =>
    startProving(
      config,
      {
        store: { transact } as unknown as AdminStore,
        apiKeys: [{ id: 'p1', bytes: new Uint8Array(32).fill(1) }],
        adminKeys: { id: 'a1', bytes: new Uint8Array(32).fill(2) },
        log: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
        timers: {
          after(delayMs, task) {
            const timer = { delayMs, task, isOn: true }
            timers.push(timer)
            return () => {
              timer.isOn = false
            }
          },
        },
        onWrong: error => wrong.push(error),
      },
      attempts,
    )
  /** Lets the pending timer fire and everything of it happen. @returns its delay */
  const pass = async () => {
    const pending = timers.find(timer => timer.isOn)
    if (pending === undefined) return undefined
    pending.isOn = false
    pending.task()
    for (let turn = 0; turn < 10; turn++) await Promise.resolve()
    return pending.delayMs
  }
  return { start, pass, asked, lines, wrong, timers }
}

describe('at the start', () => {
  it('every pepper is compared before it resolves, those of either kind', async () => {
    const { start, asked } = stand(isRight)
    await start()
    expect(asked).toHaveLength(1)
    expect(asked[0]?.map(({ purpose, pepperId }) => `${purpose} ${pepperId}`)).toEqual(['api_keys p1', 'admin_keys a1'])
  })

  it.each([
    ['api_keys', "/etc/p1 is not pepper p1 of this database's API keys (setting peppers)"],
    ['admin_keys', "/etc/a1 is not pepper a1 of this database's admin keys (setting admin.pepper)"],
  ])('a wrong file of %s ends it with the configuration exit code and a sentence that names it', async (kind, text) => {
    const { start, timers } = stand(isWrong(kind))
    const error = await start().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(StartError)
    expect(error).toMatchObject({ code: 78, message: expect.stringContaining(text) })
    expect(timers).toEqual([])
  })

  it('a wrong file is found when only a later server of the database answers', async () => {
    const { start } = stand(isAway, isWrong('api_keys'))
    await expect(start(2)).rejects.toBeInstanceOf(StartError)
  })

  it('a proof that is written is told once', async () => {
    const { start, pass, lines } = stand(proofs => ({ isKept: true, contradicted: [], written: proofs }), isRight)
    await start()
    await pass()
    expect(lines).toEqual(['info the database knows these peppers from now on'])
  })
})

describe('later', () => {
  it('a database that is away, then old, then right is asked until it has answered, and then now and then', async () => {
    const { start, pass, lines, asked } = stand(isAway, isAway, hasNoTable, isRight)
    await start()
    expect([await pass(), await pass(), await pass(), await pass(), await pass()]).toEqual([
      5_000, 5_000, 5_000, 60_000, 60_000,
    ])
    expect(asked).toHaveLength(6)
    expect(lines).toEqual(['warn the peppers could not be compared with the database; it is tried again'])
  })

  it('a file that turns out to be wrong is told once, and nothing is asked any more', async () => {
    const { start, pass, wrong } = stand(isAway, isWrong('api_keys'))
    await start()
    await pass()
    expect(wrong.map(error => error.code)).toEqual([78])
    expect(await pass()).toBeUndefined()
  })

  it('nothing is asked after a stop, also not when it comes during a round', async () => {
    for (const answer of [isRight, isAway, isWrong('api_keys')]) {
      const { start, pass, timers, asked } = stand(isRight, answer)
      const proving = await start()
      const round = pass()
      await proving.stop()
      await round
      expect(timers.filter(timer => timer.isOn)).toEqual([])
      expect(asked).toHaveLength(2)
    }
  })
})

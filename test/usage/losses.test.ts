// What is given up is told to the database: how much, and a time within which all of it was. Whoever judges by the log can know
// then that it has gaps.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Losses } from '../../src/usage/losses.ts'
import { segmentHeaderLength } from '../../src/usage/record-format.ts'
import { until } from '../support/until.ts'
import { MemoryStore, start, temporaryFolder } from './recording-stand.ts'

describe('losses', () => {
  it('grow while one is told, are told once each, and cover everything that was lost', () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('lose' as const),
        lane: fc.constantFrom(1 as const, 2 as const),
        records: fc.nat(50),
        from: fc.integer({ min: -10_000, max: 10_000 }),
        length: fc.integer({ min: -100, max: 100 }),
      }),
      fc.record({ kind: fc.constant('tell' as const), isKept: fc.boolean() }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        const losses = new Losses()
        const kept = new Map<number, ReturnType<Losses['next']>>()
        const lost: { at: number; allowed: number; denied: number }[] = []
        const tell = (isKept: boolean) => {
          const loss = losses.next()
          if (loss === null) return
          const before = kept.get(loss.number)
          // An answer may be lost after the row was kept: the same number says the same again.
          if (before !== undefined) expect(loss).toEqual(before)
          kept.set(loss.number, loss)
          if (isKept) losses.settle()
        }
        for (const each of steps) {
          if (each.kind === 'tell') tell(each.isKept)
          else {
            const { lane, records, from, length } = each
            losses.add(lane, records, { from, to: from + length })
            for (const at of [from, from + length])
              lost.push({ at: Math.max(0, at), allowed: lane === 1 ? records : 0, denied: lane === 2 ? records : 0 })
          }
        }
        while (losses.isUntold) tell(true)
        const told = [...kept.values()].filter(loss => loss !== null)
        const sum = (of: 'allowed' | 'denied') => told.reduce((total, loss) => total + loss[of], 0)
        expect(sum('allowed') * 2).toBe(lost.reduce((total, each) => total + each.allowed, 0))
        expect(sum('denied') * 2).toBe(lost.reduce((total, each) => total + each.denied, 0))
        for (const { at } of lost) expect(told.some(({ span }) => span.from <= at && at <= span.to)).toBe(true)
        for (const { span } of told) expect(span.from).toBeLessThanOrEqual(span.to)
      }),
    )
  })

  it('of clocks that are wrong are instants that the database has room for', () => {
    const losses = new Losses()
    losses.add(1, 1, { from: -1e15, to: 1e18 })
    losses.add(1, 1, { from: 0.5, to: 0.5 })
    expect(losses.next()?.span).toEqual({ from: 0, to: Date.UTC(2300) })
  })
})

describe('a record', () => {
  let folder: ReturnType<typeof temporaryFolder>
  beforeEach(() => {
    folder = temporaryFolder()
  })
  afterEach(() => folder.remove())
  const away = () => Object.assign(new MemoryStore(), { isAway: true })

  it('that the disk damaged before it was stored is counted and told', async () => {
    const store = away()
    const began = Date.now()
    const recording = start(folder.path, store)
    for (const id of ['a', 'b', 'c']) recording.batch(1, id)
    const run = join(folder.path, recording.sidecar)
    const file = join(run, readdirSync(run).find(name => name.endsWith('.seg')) ?? '')
    const octets = readFileSync(file)
    const frame = (octets.length - segmentHeaderLength) / 3
    octets[segmentHeaderLength + frame + frame / 2] = 255 - (octets[segmentHeaderLength + frame + frame / 2] ?? 0)
    writeFileSync(file, octets)
    store.isAway = false
    await until('the others are stored', () => store.rows.length === 2)
    await recording.end(2000)
    expect(store.ids()).toEqual(['a', 'c'])
    expect(recording.counts.drops()).toEqual([{ decision: 'allow', cause: 'corrupt', records: 1 }])
    const [loss] = [...store.losses.values()]
    expect(loss).toMatchObject({ allowed: 1, denied: 0 })
    expect(loss?.span.from).toBeGreaterThanOrEqual(began)
    expect(loss?.span.to).toBeLessThanOrEqual(Date.now())
  })

  it('in a segment over which starts die is told with its time, and counted where that can be known', async () => {
    const dead = start(folder.path, away())
    dead.batch(2, 'a', 'b', 'c')
    dead.spool.closeAll()
    dead.batch(2, 'd')
    writeFileSync(join(folder.path, dead.sidecar, 'replaying'), 'd-00000001.seg 32 1')
    const store = new MemoryStore()
    const next = start(folder.path, store)
    await until('the other segment is stored', () => store.rows.length === 1)
    await until('the loss is told', () => store.losses.size === 1)
    expect(next.counts.drops()).toEqual([{ decision: 'deny', cause: 'set_aside', records: 3 }])
    expect([...store.losses.values()]).toMatchObject([{ number: 1, allowed: 0, denied: 3 }])
    await next.end(1000)

    // Nothing lies behind it: nobody can tell how much is in it.
    const other = start(folder.path, away())
    other.batch(2, 'e')
    writeFileSync(join(folder.path, other.sidecar, 'replaying'), 'd-00000001.seg 32 1')
    const last = start(folder.path, store)
    await until('it is told as well', () => store.losses.has(`${last.sidecar} 1`))
    expect(store.losses.get(`${last.sidecar} 1`)).toMatchObject({ allowed: 0, denied: 0 })
    await last.end(1000)
  })

  it('in a file that has no sound header is told with a time in which it can have been', async () => {
    const dead = start(folder.path, away())
    dead.batch(1, 'a', 'b')
    const run = join(folder.path, dead.sidecar)
    const file = join(run, readdirSync(run).find(name => name.endsWith('.seg')) ?? '')
    const octets = readFileSync(file)
    octets.fill(0, 0, segmentHeaderLength)
    writeFileSync(file, octets)
    const store = new MemoryStore()
    const next = start(folder.path, store)
    await until('it is told', () => store.losses.size === 1)
    const [loss] = [...store.losses.values()]
    expect(loss?.span.to).toBeLessThanOrEqual(Date.now() + 1)
    expect(loss?.span.from).toBeLessThan(Date.now() - 1_800_000)
    expect(next.counts.setAside).toBe(1)
    await next.end(1000)
  })

  it('that is given up while the database is away is told once when it is back, before an end in good order', async () => {
    const store = away()
    const recording = start(folder.path, store, { maxBytes: 1 })
    recording.batch(1, 'a')
    recording.batch(2, 'b')
    expect(recording.counts.droppedTotal).toBe(2)
    store.isAway = false
    await recording.end(2000)
    expect([...store.losses.values()]).toMatchObject([{ number: 1, allowed: 1, denied: 1 }])
  })
})

// The join: every half finds its decision in whatever order the two come, once; what finds none is bounded and counted.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AccessJoin } from '../../src/usage/als-join.ts'
import { VirtualTime } from '../feed/support/virtual-time.ts'
import { FakeHalfStore, halfOf, uuid7 } from './halves.ts'

function stand(bounds?: { newMax: number; orphansMax: number }) {
  const time = new VirtualTime()
  const store = new FakeHalfStore()
  const told: string[] = []
  const join = new AccessJoin({
    store,
    mono: () => time.mono(),
    wall: () => time.wall(),
    timers: time,
    onStore: error => told.push(error === undefined ? 'recovered' : String(error)),
    ...(bounds === undefined ? {} : { bounds }),
  })
  return { time, store, join, told, id: () => uuid7(time.wall()) }
}

const minute = 60_000

describe('a half', () => {
  it('that came before its decision is stored is stored with it', () => {
    const { join, store, id } = stand()
    const half = halfOf(id())
    join.add(half)
    expect(join.take(half.decisionId)).toEqual(half)
    join.settle(true)
    expect([join.joinedAtOnce, join.newHalves, store.calls.length]).toEqual([1, 0, 0])
  })

  it('that comes after its decision was stored is filled in', async () => {
    const { join, store, time, id } = stand()
    const half = halfOf(id())
    expect(join.take(half.decisionId)).toBeUndefined()
    join.settle(true)
    store.rows.set(half.decisionId, null)
    join.add(half)
    await time.advance(5000)
    expect(store.rows.get(half.decisionId)).toEqual(half)
    expect([join.joinedLater, join.newHalves, join.orphans]).toEqual([1, 0, 0])
  })

  it('whose decision another process stores minutes later is filled in then', async () => {
    const { join, store, time, id } = stand()
    const half = halfOf(id())
    join.add(half)
    await time.advance(2 * minute)
    expect(join.orphans).toBe(1)
    store.rows.set(half.decisionId, null)
    await time.advance(8 * minute)
    expect(store.rows.get(half.decisionId)).toEqual(half)
    expect([join.joinedLater, join.givenUp]).toEqual([1, 0])
  })

  it('of no decision is given up after some looks, and counted', async () => {
    const { join, store, time, id } = stand()
    join.add(halfOf(id()))
    await time.advance(9 * minute)
    expect([join.givenUp, join.orphans, join.newHalves]).toEqual([1, 0, 0])
    const looks = store.calls.length
    expect(looks).toBeLessThan(10)
    await time.advance(60 * minute)
    expect(store.calls.length).toBe(looks)
  })

  it('that comes twice counts once, wherever the first one is by then', async () => {
    const { join, store, time, id } = stand()
    const [first, second] = [halfOf(id()), halfOf(id())]
    expect([join.add(first), join.add(first)]).toEqual([true, false])
    join.take(first.decisionId)
    join.settle(true)
    store.rows.set(second.decisionId, null)
    join.add(second)
    await time.advance(5000)
    expect([join.add(first), join.add(second)]).toEqual([false, false])
    expect([join.joinedAtOnce, join.joinedLater, join.newHalves]).toEqual([1, 1, 0])
  })

  it('that the writer takes while the store is asked for it stays taken', async () => {
    const { join, store, time, id } = stand()
    const half = halfOf(id())
    join.add(half)
    store.during = () => {
      join.take(half.decisionId)
      join.settle(true)
    }
    await time.advance(5000)
    expect([join.joinedAtOnce, join.newHalves, join.orphans]).toEqual([1, 0, 0])
  })
})

describe('a batch that is not stored', () => {
  it('gives its halves back, for the next attempt', async () => {
    const { join, store, time, id } = stand()
    const half = halfOf(id())
    join.add(half)
    expect(join.take(half.decisionId)).toEqual(half)
    join.settle(false)
    expect(join.take(half.decisionId)).toEqual(half)
    join.settle(false)
    // It had been stored after all, by a commit without an answer.
    store.rows.set(half.decisionId, half)
    await time.advance(5000)
    expect([join.joinedAtOnce, join.joinedLater, join.newHalves, join.orphans]).toEqual([0, 0, 0, 0])
  })

  it('counts no decision as unjoined that was not stored', async () => {
    const { join, time, id } = stand()
    const decision = id()
    join.take(decision)
    join.settle(false)
    join.take(decision)
    join.settle(false)
    await time.advance(20 * minute)
    expect(join.unjoined).toBe(0)
    join.take(decision)
    join.settle(true)
    expect(join.unjoined).toBe(1)
  })
})

describe('decisions without a half', () => {
  it('are counted once no half is on its way any more, and no longer when it comes late', async () => {
    const { join, store, time, id } = stand()
    const [late, never] = [id(), id()]
    for (const decision of [late, never]) {
      join.take(decision)
      store.rows.set(decision, null)
    }
    join.settle(true)
    await time.advance(9 * minute)
    expect(join.unjoined).toBe(0)
    await time.advance(3 * minute)
    expect(join.unjoined).toBe(2)
    join.add(halfOf(late))
    await time.advance(minute)
    expect(join.unjoined).toBe(1)
    await time.advance(600 * minute)
    expect(join.unjoined).toBe(1)
  })

  it('are counted whatever the clocks say', async () => {
    const { join, time } = stand()
    for (const decision of [uuid7(0), uuid7(time.wall() + 1e9), uuid7(2 ** 48 - 1)]) join.take(decision)
    join.settle(true)
    await time.advance(12 * minute)
    expect(join.unjoined).toBe(3)
  })
})

describe('while the database is down', () => {
  it('halves wait, the store is asked seldom, and nothing is given up', async () => {
    const { join, store, time, told, id } = stand()
    store.failure = new Error('no database')
    const halves = Array.from({ length: 50 }, () => halfOf(id()))
    for (const half of halves) join.add(half)
    await time.advance(60 * minute)
    expect(store.calls.length).toBeLessThan(400)
    expect(told).toEqual(['Error: no database'])
    expect([join.newHalves, join.givenUp, join.pushedOut]).toEqual([50, 0, 0])
    store.failure = undefined
    for (const { decisionId } of halves) store.rows.set(decisionId, null)
    await time.advance(minute)
    expect(join.joinedLater).toBe(50)
    expect(told).toEqual(['Error: no database', 'recovered'])
  })

  it('there is no more room at the bound, and room again once halves have gone', async () => {
    const { join, store, time, id } = stand({ newMax: 10, orphansMax: 10 })
    store.failure = new Error('no database')
    for (let i = 0; i < 10; i++) join.add(halfOf(id()))
    expect(join.hasRoom).toBe(false)
    let resumed = false
    void join.room().then(() => {
      resumed = true
    })
    await time.advance(minute)
    expect(resumed).toBe(false)
    store.failure = undefined
    await time.advance(minute)
    expect([resumed, join.hasRoom]).toEqual([true, true])
  })
})

describe('orphans', () => {
  it('never exceed their bound; the oldest go first, and are counted', async () => {
    const { join, store, time, id } = stand({ newMax: 1000, orphansMax: 100 })
    const old = Array.from({ length: 60 }, () => halfOf(id()))
    for (const half of old) join.add(half)
    await time.advance(10_000)
    const young = Array.from({ length: 60 }, () => halfOf(id()))
    for (const half of young) join.add(half)
    await time.advance(5000)
    expect([join.orphans, join.pushedOut]).toEqual([100, 20])
    for (const { decisionId } of [...old, ...young]) store.rows.set(decisionId, null)
    await time.advance(minute)
    const joined = (halves: typeof old) => halves.filter(({ decisionId }) => store.rows.get(decisionId) !== null).length
    expect([joined(old), joined(young)]).toEqual([40, 60])
  })
})

describe('the stop', () => {
  it('looks once for everything that was not looked for, then closes the store', async () => {
    const { join, store, id } = stand()
    const halves = Array.from({ length: 2500 }, () => halfOf(id()))
    for (const half of halves) {
      join.add(half)
      store.rows.set(half.decisionId, null)
    }
    await join.stop(1000)
    expect(join.joinedLater).toBe(2500)
    expect(store.closed).toBe(true)
  })

  it('does not wait for a database that is down', async () => {
    const { join, store, id } = stand()
    store.failure = new Error('no database')
    join.add(halfOf(id()))
    await join.stop(1000)
    expect(store.closed).toBe(true)
    expect(store.calls).toEqual([1])
  })

  it('lets go of readers that wait for room', async () => {
    const { join, id } = stand({ newMax: 1, orphansMax: 1 })
    join.add(halfOf(id()))
    const waiting = join.room()
    await join.stop(1000)
    await waiting
  })
})

it('in any order of events every stored decision whose half came has it, exactly once', async () => {
  const step = fc.record({
    decision: fc.nat(19),
    act: fc.constantFrom('half', 'half', 'store', 'store', 'fail store', 'wait', 'outage'),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 80 }), async steps => {
      const { join, store, time } = stand()
      const ids = Array.from({ length: 20 }, () => uuid7(time.wall()))
      const came = new Set<string>()
      for (const { decision, act } of steps) {
        const id = ids[decision] ?? ''
        if (act === 'half') {
          came.add(id)
          join.add(halfOf(id))
        } else if (act === 'store' || act === 'fail store') {
          if (store.rows.has(id)) continue
          const half = join.take(id)
          if (act === 'store') store.rows.set(id, half ?? null)
          join.settle(act === 'store')
        } else if (act === 'wait') await time.advance(3000)
        else store.failure = store.failure === undefined ? new Error('down') : undefined
      }
      store.failure = undefined
      for (const id of ids) if (!store.rows.has(id)) store.rows.set(id, null)
      await time.advance(10 * minute)
      for (const id of ids) expect(store.rows.get(id) !== null).toBe(came.has(id))
      expect(join.joinedAtOnce + join.joinedLater).toBe(came.size)
    }),
    { numRuns: 60 },
  )
})

// Memory of the join: however many halves find no decision, what is kept is bounded in entries and in octets.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { AccessJoin, newMax, orphansMax } from '../../src/usage/als-join.ts'
import { VirtualTime } from '../feed/support/virtual-time.ts'
import { FakeHalfStore, halfOf, uuid7 } from './halves.ts'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

function heapMegabytes(): number {
  collect()
  return process.memoryUsage().heapUsed / 2 ** 20
}

/** Texts of its own for each half, as a decoder makes them. */
const half = (unixMs: number, number: number) =>
  halfOf(uuid7(unixMs), { upstream: `api 10.0.0.7:${number}`, responseFlags: number % 2 === 0 ? 'UF,URX' : 'DC' })

it(`keeps ${orphansMax} of 160,000 orphans, and lets go of all of them in the end`, async () => {
  const time = new VirtualTime()
  const store = new FakeHalfStore()
  const join = new AccessJoin({
    store,
    mono: () => time.mono(),
    wall: () => time.wall(),
    timers: time,
    onStore: () => undefined,
  })
  const before = heapMegabytes()
  let most = 0
  for (let round = 0; round < 4; round++) {
    for (let number = 0; number < 40_000; number++) join.add(half(time.wall(), number))
    await time.advance(6000)
    expect(join.orphans).toBeLessThanOrEqual(orphansMax)
    expect(join.newHalves).toBeLessThanOrEqual(newMax)
    most = Math.max(most, heapMegabytes() - before)
  }
  expect(join.pushedOut).toBe(60_000)
  process.stdout.write(`${orphansMax} orphans: ${most.toFixed(0)} MiB\n`)
  expect(most).toBeLessThan(90)
  await time.advance(900_000)
  expect([join.orphans, join.givenUp]).toEqual([0, 100_000])
  // The ids of what came lately are all that is left.
  expect(heapMegabytes() - before).toBeLessThan(40)
}, 60_000)

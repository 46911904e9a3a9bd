// A load is a boot: all of one snapshot or nothing, in its turn, and never served before a cycle confirmed it.
import { describe, expect, it } from 'vitest'
import { LOAD_LIMIT_MS, LOAD_STALL_MS } from '../../src/feed/constants.ts'
import { organizationRow } from './support/rows.ts'
import { Sidecar } from './support/sidecar.ts'

function sidecarWithKeys(count: number, options: ConstructorParameters<typeof Sidecar>[1] = {}, seed = 1): Sidecar {
  const sidecar = new Sidecar(seed, options)
  sidecar.server.commitOrganization('org_1', organizationRow('org_1'))
  for (let n = 1; n <= count; n++) sidecar.commit(n, 1)
  return sidecar
}

describe('a load', () => {
  it('is followed at once by the cycle that confirms it', async () => {
    const sidecar = sidecarWithKeys(10)
    sidecar.feed.start()
    expect(sidecar.feed.ready()).toBe(false)
    await sidecar.time.until(() => sidecar.count('loaded') === 1)
    await sidecar.time.advance(5)
    expect(sidecar.feed.fresh()).toBe(true)
    expect(sidecar.feed.ready()).toBe(true)
    expect(sidecar.table.reserved).toBe(10)
    expect(sidecar.events).toContainEqual(expect.objectContaining({ type: 'loaded', apiKeys: 10, organizations: 1 }))
  })

  it('is never served in part, nor kept in part when it is cut off', async () => {
    const sidecar = sidecarWithKeys(10)
    sidecar.source.loadStopsAfter = 3
    sidecar.feed.start()
    for (let waited = 0; waited < 3 * LOAD_STALL_MS; waited += 100) {
      await sidecar.time.advance(100)
      expect(sidecar.feed.fresh()).toBe(false)
      expect(sidecar.feed.ready()).toBe(false)
    }
    expect(sidecar.events).toContainEqual(expect.objectContaining({ type: 'fault', cause: 'timeout', step: 'load' }))
    sidecar.source.loadStopsAfter = null
    await sidecar.time.until(() => sidecar.feed.ready(), LOAD_STALL_MS + 1_000)
    expect(sidecar.table.keys.size).toBe(10)
    expect(sidecar.source.open()).toBe(1)
  })

  it('dies after 5 s without a row, but not of its length while rows come', async () => {
    const sidecar = sidecarWithKeys(20)
    sidecar.source.slice = { pauseMs: LOAD_STALL_MS - 100, apiKeys: 2 }
    sidecar.feed.start()
    await sidecar.time.until(() => sidecar.feed.ready(), 60_000)
    expect(sidecar.source.count.load).toBe(1)
  })

  it('holds its snapshot at most 60 s', async () => {
    const sidecar = sidecarWithKeys(40)
    sidecar.source.slice = { pauseMs: LOAD_STALL_MS - 100, apiKeys: 2 }
    sidecar.feed.start()
    await sidecar.time.until(() => sidecar.faults().length > 0, LOAD_LIMIT_MS + LOAD_STALL_MS)
    expect(sidecar.faults()).toEqual(['timeout'])
    expect(sidecar.table.keys.size).toBe(0)
  })

  it('that another attempt has replaced cannot write into the table any more', async () => {
    const sidecar = sidecarWithKeys(4)
    sidecar.source.slice = { pauseMs: LOAD_STALL_MS + 200, apiKeys: 2 }
    sidecar.feed.start()
    await sidecar.time.until(() => sidecar.faults().length === 1)
    sidecar.source.slice = { pauseMs: 1, apiKeys: 100 }
    sidecar.server.commitApiKeys([])
    await sidecar.time.until(() => sidecar.feed.ready())
    sidecar.table.keys.clear()
    await sidecar.time.advance(1_000)
    expect(sidecar.table.keys.size).toBe(0)
  })

  it('that throws in the table is a bug, counted as one', async () => {
    const sidecar = sidecarWithKeys(4)
    sidecar.table.throwing = Number.POSITIVE_INFINITY
    sidecar.feed.start()
    await sidecar.time.advance(20_000)
    expect(sidecar.count('threw')).toBe(3)
    expect(sidecar.fatal).toHaveLength(1)
  })

  it('waits for a free slot, asking each 250 ms ± 20 %, not ready meanwhile', async () => {
    const sidecar = sidecarWithKeys(4)
    sidecar.server.loadSlots = 0
    sidecar.feed.start()
    await sidecar.time.advance(10_000)
    expect(sidecar.source.count.load).toBeGreaterThanOrEqual(30)
    expect(sidecar.source.count.load).toBeLessThanOrEqual(50)
    expect(sidecar.source.connections).toHaveLength(1)
    expect(sidecar.readiness).toEqual([])
    sidecar.server.loadSlots = 1
    await sidecar.time.until(() => sidecar.feed.ready(), 400)
  })
})

describe('a herd', () => {
  it('spreads its loads over 2 s when nobody is running', async () => {
    const delays: number[] = []
    for (let seed = 1; seed <= 50; seed++) {
      const sidecar = sidecarWithKeys(1, {}, seed)
      sidecar.server.live = new Map([['alpha', 1]])
      sidecar.feed.start()
      await sidecar.time.until(() => sidecar.source.count.load === 1)
      delays.push(sidecar.time.now())
    }
    expect(Math.max(...delays)).toBeLessThan(2_010)
    expect(Math.max(...delays)).toBeGreaterThan(1_500)
    expect(Math.min(...delays)).toBeLessThan(500)
  })

  it('is none where a fleet is running, or where there can be none', async () => {
    const running = sidecarWithKeys(1)
    running.feed.start()
    await running.time.until(() => running.source.count.load === 1, 20)
    const alone = sidecarWithKeys(1, { loadJitterMs: 0 })
    alone.server.live = new Map([['alpha', 1]])
    alone.feed.start()
    await alone.time.until(() => alone.source.count.load === 1, 20)
  })
})

describe('readiness', () => {
  it('goes with a reload and comes with the confirm after it', async () => {
    const sidecar = await sidecarWithKeys(3).started()
    sidecar.commit(1, 2)
    sidecar.server.prune(sidecar.commit(1, 3))
    await sidecar.time.until(() => !sidecar.feed.ready())
    expect(sidecar.feed.fresh()).toBe(false)
    await sidecar.time.until(() => sidecar.feed.ready())
    expect(sidecar.feed.fresh()).toBe(true)
    expect(sidecar.readiness).toEqual([true, false, true])
  })

  it('goes when a row names a pepper this process lacks, and comes back when none does', async () => {
    const sidecar = await sidecarWithKeys(3).started()
    sidecar.table.peppers.clear()
    sidecar.commit(1, 2)
    await sidecar.time.advance(2_000)
    expect(sidecar.feed.ready()).toBe(false)
    expect(sidecar.feed.fresh()).toBe(true)
    sidecar.table.peppers.set('p1', Buffer.from('proof of p1'))
    await sidecar.time.advance(2_000)
    expect(sidecar.feed.ready()).toBe(true)
    expect(sidecar.readiness).toEqual([true, false, true])
  })

  it('never comes to a sidecar that cannot reach its database, which keeps trying', async () => {
    const sidecar = sidecarWithKeys(1)
    sidecar.source.refuses = true
    sidecar.feed.start()
    await sidecar.time.advance(120_000)
    expect(sidecar.readiness).toEqual([])
    expect(sidecar.fatal).toEqual([])
    sidecar.source.refuses = false
    await sidecar.time.until(() => sidecar.feed.ready(), 1_000)
  })
})

// When the feed speaks to the database, and what it does when the database does not answer.
import { describe, expect, it } from 'vitest'
import { HINT_SPACING_MS, LEASE_MS, PAGE_REVISIONS, POLL_MS, READ_TIMEOUT_MS } from '../../src/feed/constants.ts'
import { organizationRow } from './support/rows.ts'
import { Sidecar } from './support/sidecar.ts'

const KEY = 1

async function sidecarWithKey(seed = 1): Promise<Sidecar> {
  const sidecar = new Sidecar(seed)
  sidecar.server.commitOrganization('org_1', organizationRow('org_1'))
  sidecar.commit(KEY, 1)
  return sidecar.started()
}

/** Starts of the cycles in a span of time. */
async function cycleStarts(sidecar: Sidecar, spanMs: number, each: () => void = () => undefined): Promise<number[]> {
  const starts: number[] = []
  let beats = sidecar.source.count.beat
  for (let waited = 0; waited < spanMs; waited++) {
    each()
    await sidecar.time.advance(1)
    if (sidecar.source.count.beat > beats) starts.push(sidecar.time.now())
    beats = sidecar.source.count.beat
  }
  return starts
}

function distances(starts: readonly number[]): number[] {
  return starts.slice(1).map((start, i) => start - (starts[i] ?? 0))
}

describe('a healthy feed', () => {
  it('polls once a second, 20 % to either side, drawn anew each time', async () => {
    const sidecar = await sidecarWithKey()
    const pauses = distances(await cycleStarts(sidecar, 60_000))
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(0.8 * POLL_MS - 2)
    expect(Math.max(...pauses)).toBeLessThanOrEqual(1.2 * POLL_MS + 2)
    expect(new Set(pauses).size).toBeGreaterThan(20)
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('sees a change without any hint within 1.2 s and a round trip', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const sidecar = await sidecarWithKey(seed)
      await sidecar.time.advance(1_000 + seed * 37)
      sidecar.commit(KEY, 2)
      await sidecar.time.until(() => sidecar.version(KEY) === 2)
      expect(sidecar.largestStalenessMs).toBeLessThanOrEqual(1.2 * POLL_MS + 10)
      expect(sidecar.count('hint_missed')).toBe(1)
    }
  })

  it('reads at once after a hint', async () => {
    const sidecar = await sidecarWithKey()
    await sidecar.time.advance(300)
    sidecar.commit(KEY, 2)
    sidecar.source.hint()
    await sidecar.time.until(() => sidecar.version(KEY) === 2)
    expect(sidecar.largestStalenessMs).toBeLessThanOrEqual(5)
    expect(sidecar.count('hint_missed')).toBe(0)
  })

  it('counts no hint as missed for the further pages of what a hint announced', async () => {
    const sidecar = await sidecarWithKey()
    await sidecar.time.advance(300)
    for (let version = 2; version <= 3 * PAGE_REVISIONS; version++) sidecar.commit(KEY, version)
    sidecar.source.hint()
    await sidecar.time.until(() => sidecar.version(KEY) === 3 * PAGE_REVISIONS)
    await sidecar.time.advance(1_000)
    expect(sidecar.count('hint_missed')).toBe(0)
  })

  it('reports an applied change with the next beat, at once', async () => {
    const sidecar = await sidecarWithKey()
    await sidecar.time.advance(300)
    const revision = sidecar.commit(KEY, 2)
    sidecar.source.hint()
    await sidecar.time.advance(HINT_SPACING_MS + 5)
    expect(sidecar.source.reports.at(-1)).toMatchObject({ appliedRevision: revision })
    expect(sidecar.source.reports.at(-1)?.appliedNonce).toBe(sidecar.server.head().nonce)
  })

  it('makes at most 10 cycles a second out of 100,000 hints', async () => {
    const sidecar = await sidecarWithKey()
    await sidecar.time.advance(1_000)
    let hints = 0
    const starts = await cycleStarts(sidecar, 5_000, () => {
      for (let i = 0; i < 20; i++, hints++) sidecar.source.hint()
    })
    expect(hints).toBe(100_000)
    expect(starts.length).toBeLessThanOrEqual(51) // both ends of 5 s count
    expect(starts.length).toBeGreaterThan(40)
    expect(Math.min(...distances(starts))).toBeGreaterThanOrEqual(HINT_SPACING_MS - 1)
  })

  it('is not misled by hints from connections it has left', async () => {
    const sidecar = await sidecarWithKey()
    const [old] = sidecar.source.connections
    sidecar.source.lost.read = 'back'
    await sidecar.time.advance(4_000)
    sidecar.source.lost.read = null
    await sidecar.time.advance(3_000)
    for (let i = 0; i < 1_000; i++) old?.onHint()
    await sidecar.time.advance(1_000)
    expect(sidecar.feed.fresh()).toBe(true)
  })
})

describe('a database that does not answer', () => {
  it.each([
    ['the beat is lost', 'beat', 'out'],
    ['the reply to the beat is lost', 'beat', 'back'],
    ['the read is lost', 'read', 'out'],
    ['the reply to the read is lost', 'read', 'back'],
  ] as const)('%s: checks are answered until exactly the end of the lease, then 503', async (_name, step, way) => {
    const sidecar = await sidecarWithKey()
    await sidecar.time.advance(3_000)
    sidecar.source.lost[step] = way
    await sidecar.time.until(() => sidecar.faults().length > 0)
    const confirmedAt = sidecar.time.now() - sidecar.feed.confirmAgeMs()
    await sidecar.time.until(() => !sidecar.feed.fresh())
    expect(sidecar.time.now() - confirmedAt).toBeGreaterThanOrEqual(LEASE_MS)
    expect(sidecar.time.now() - confirmedAt).toBeLessThan(LEASE_MS + 2)
    expect(sidecar.feed.ready()).toBe(true)
    sidecar.source.lost[step] = null
    await sidecar.time.until(() => sidecar.feed.fresh(), READ_TIMEOUT_MS + 1_000)
    expect(sidecar.reloads()).toEqual(['boot'])
  })

  it('survives three timed-out cycles in a row without one 503', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const sidecar = await sidecarWithKey(seed)
      await sidecar.time.advance(2_000)
      sidecar.source.lost.read = 'back'
      while (sidecar.faults().length < 3) {
        await sidecar.time.advance(10)
        expect(sidecar.feed.fresh()).toBe(true)
      }
      sidecar.source.lost.read = null
      for (let i = 0; i < 100; i++) {
        await sidecar.time.advance(10)
        expect(sidecar.feed.fresh()).toBe(true)
      }
    }
  })

  it('loses the connection, which is never used again, and there is never more than one', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.source.latency.read.back = 2_000
    for (let waited = 0; waited < 60_000; waited += 50) {
      await sidecar.time.advance(50)
      expect(sidecar.source.open()).toBeLessThanOrEqual(1)
    }
    expect(sidecar.source.connections.length).toBeGreaterThan(20)
    expect(sidecar.source.connections.filter(connection => connection.usedAfterDestroy)).toEqual([])
    expect(sidecar.count('connection_killed')).toBe(sidecar.faults().length)
  })

  it('changes nothing by a reply that comes after its timeout', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.source.latency.read.back = READ_TIMEOUT_MS + 100
    sidecar.commit(KEY, 2)
    await sidecar.time.advance(20_000)
    expect(sidecar.version(KEY)).toBe(1)
    expect(sidecar.feed.fresh()).toBe(false)
    expect(sidecar.violations).toEqual([])
    sidecar.source.latency.read.back = 1
    await sidecar.time.advance(5_000)
    expect(sidecar.version(KEY)).toBe(2)
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('is asked for one revision after a timed-out read, and for full pages after one that succeeded', async () => {
    const sidecar = await sidecarWithKey()
    for (let version = 2; version <= 4; version++) sidecar.commit(KEY, version)
    sidecar.source.lost.read = 'back'
    await sidecar.time.until(() => sidecar.faults().length === 2)
    sidecar.source.lost.read = null
    sidecar.source.pageSizes.length = 0
    await sidecar.time.advance(3_000)
    expect(sidecar.source.pageSizes.slice(0, 3)).toEqual([1, PAGE_REVISIONS, PAGE_REVISIONS])
    expect(sidecar.version(KEY)).toBe(4)
  })

  it('is asked again after 50 ms doubling to 500 ms with full jitter, never in a tight loop', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.source.refuses = true
    sidecar.source.lost.beat = 'out'
    await sidecar.time.until(() => sidecar.faults().length > 0)
    const before = sidecar.source.count.connect
    await sidecar.time.advance(60_000)
    const attempts = sidecar.source.count.connect - before
    expect(attempts).toBeGreaterThan(120)
    expect(attempts).toBeLessThan(400)
    expect(sidecar.count('connection_killed')).toBe(1)
    sidecar.source.refuses = false
    sidecar.source.lost.beat = null
    await sidecar.time.until(() => sidecar.feed.fresh(), 600)
  })

  it('is asked again within 50 ms when it had been well before', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const sidecar = await sidecarWithKey(seed)
      sidecar.source.refuses = true
      sidecar.source.lost.beat = 'out'
      await sidecar.time.until(() => sidecar.faults().length > 10)
      sidecar.source.refuses = false
      sidecar.source.lost.beat = null
      await sidecar.time.until(() => sidecar.feed.confirmAgeMs() < 100)
      const faults = sidecar.faults().length
      sidecar.source.lost.read = 'back'
      await sidecar.time.until(() => sidecar.faults().length > faults)
      const attempts = sidecar.source.count.connect
      await sidecar.time.advance(51)
      expect(sidecar.source.count.connect).toBe(attempts + 1)
    }
  })

  it('that accepts too late loses the late connection', async () => {
    const sidecar = new Sidecar()
    sidecar.server.commitOrganization('org_1', organizationRow('org_1'))
    sidecar.source.latency.connect = { out: 0, back: 4_000 }
    sidecar.feed.start()
    await sidecar.time.advance(20_000)
    expect(sidecar.feed.ready()).toBe(false)
    sidecar.source.latency.connect = { out: 0, back: 1 }
    await sidecar.time.until(() => sidecar.feed.ready())
    await sidecar.time.advance(5_000)
    expect(sidecar.source.open()).toBe(1)
  })

  it('costs one line for each change of state, not one for each try', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.source.lost.beat = 'out'
    await sidecar.time.advance(60_000)
    sidecar.source.lost.beat = null
    await sidecar.time.advance(5_000)
    const states = sidecar.events.flatMap(event => (event.type === 'state' ? [event.state] : []))
    expect(states).toEqual(['fresh', 'unconfirmed', 'fresh'])
    expect(sidecar.readiness).toEqual([true])
  })

  it('never makes 60 s of random trouble serve an old value', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const sidecar = await sidecarWithKey(seed)
      sidecar.boundMs = LEASE_MS
      let version = 1
      for (let waited = 0; waited < 60_000; waited += 250) {
        const draw = sidecar.time.random()
        if (draw < 0.2) sidecar.source.lost[draw < 0.1 ? 'beat' : 'read'] = draw < 0.05 ? 'out' : 'back'
        else if (draw < 0.5) sidecar.source.lost.beat = sidecar.source.lost.read = null
        else if (draw < 0.6) sidecar.source.latency.read.back = sidecar.time.random() * 2_000
        else if (draw < 0.8) sidecar.source.latency.read.back = 1
        else if (draw < 0.9) sidecar.commit(KEY, ++version)
        else if (draw < 0.92) sidecar.time.stall(sidecar.time.random() * 5_000)
        await sidecar.time.advance(250)
      }
      expect(sidecar.violations, `seed ${seed}`).toEqual([])
    }
  })
})

describe('stopping', () => {
  it('ends every pause, takes back the heartbeat, drops the connection and asks for nothing more', async () => {
    const sidecar = await sidecarWithKey()
    await sidecar.time.advance(300)
    const stopped = sidecar.feed.stop()
    await sidecar.time.advance(5)
    await stopped
    expect(sidecar.source.open()).toBe(0)
    expect(sidecar.source.count.leave).toBe(1)
    const before = { ...sidecar.source.count }
    await sidecar.time.advance(30_000)
    expect(sidecar.source.count).toEqual(before)
    expect(sidecar.feed.fresh()).toBe(false)
    expect(sidecar.source.connections.filter(connection => connection.usedAfterDestroy)).toEqual([])
  })

  it('takes back the heartbeat after the last beat, never before it', async () => {
    const sidecar = await sidecarWithKey()
    const order: string[] = []
    sidecar.source.onExecuted = step => order.push(step)
    await sidecar.time.until(() => order.at(-1) === 'beat')
    const stopped = sidecar.feed.stop()
    await sidecar.time.advance(10)
    await stopped
    expect(order).toEqual(['beat', 'read', 'leave'])
  })

  it('takes at most two statement limits when the database hangs', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.source.lost.leave = 'out'
    let ended = false
    void sidecar.feed.stop().then(() => {
      ended = true
    })
    await sidecar.time.advance(2 * READ_TIMEOUT_MS)
    expect(ended).toBe(true)
    expect(sidecar.source.open()).toBe(0)
  })

  it('does not wait for a load under way', async () => {
    const sidecar = new Sidecar()
    sidecar.commit(KEY, 1)
    sidecar.source.loadStopsAfter = 0
    sidecar.feed.start()
    await sidecar.time.advance(100)
    void sidecar.feed.stop()
    expect(sidecar.source.open()).toBe(0)
  })

  it('before the first connection is there leaves none behind', async () => {
    const sidecar = new Sidecar()
    sidecar.source.latency.connect.back = 500
    sidecar.feed.start()
    await sidecar.time.advance(100)
    const stopped = sidecar.feed.stop()
    await sidecar.time.advance(1_000)
    await stopped
    expect(sidecar.source.open()).toBe(0)
  })
})

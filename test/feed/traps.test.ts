// The traps of freshness.md section 13 that concern the reader, each as a named test on the shipped modules.
import { describe, expect, it } from 'vitest'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { APPLY_SLICE_CHANGES, LEASE_MS, PAGE_REVISIONS, SUSPEND_JUMP_MS, THROWS_MAX } from '../../src/feed/constants.ts'
import { digestOf, keyRow, organizationRow, unixMicros } from './support/rows.ts'
import { ScriptedServer } from './support/scripted-server.ts'
import { Sidecar } from './support/sidecar.ts'
import { VirtualTime } from './support/virtual-time.ts'

const KEY = 1

async function sidecarWithKey(): Promise<Sidecar> {
  const sidecar = new Sidecar()
  sidecar.server.commitOrganization('org_1', organizationRow('org_1'))
  sidecar.commit(KEY, 1)
  return sidecar.started()
}

describe('pages', () => {
  it('that end inside a run of revisions are followed until the head, one cycle at once after the other', async () => {
    const sidecar = await sidecarWithKey()
    for (let version = 2; version <= 3 * PAGE_REVISIONS; version++) sidecar.commit(KEY, version)
    const reads = sidecar.source.count.read
    sidecar.source.hint()
    await sidecar.time.advance(150)
    expect(sidecar.version(KEY)).toBe(3 * PAGE_REVISIONS)
    expect(sidecar.source.count.read - reads).toBeGreaterThanOrEqual(3)
    expect(sidecar.feed.fresh()).toBe(true)
    expect(sidecar.violations).toEqual([])
  })

  it('with a revision whose changes did not all arrive are a gap: reload', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.source.onPage = page => ({
      ...page,
      revisions: page.revisions.map(one => ({ ...one, rows: one.rows.slice(1) })),
    })
    sidecar.commit(KEY, 2)
    await sidecar.time.advance(10_000)
    expect(sidecar.reloads()).toEqual(['boot', 'gap'])
    expect(sidecar.version(KEY)).toBe(2)
    expect(sidecar.violations).toEqual([])
  })

  it('with a hole in the middle are a gap: a reader never moves past a revision that it has not seen', async () => {
    const sidecar = await sidecarWithKey()
    const hidden = sidecar.commit(KEY, 2)
    sidecar.commit(2, 1)
    sidecar.server.lose(hidden)
    await sidecar.time.advance(10_000)
    expect(sidecar.reloads()).toEqual(['boot', 'gap'])
    expect(sidecar.version(KEY)).toBe(2)
  })

  it('with a head but no revisions are a gap, not an endless loop', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.commit(KEY, 2)
    sidecar.source.onPage = page => ({ ...page, revisions: [] })
    await sidecar.time.until(() => sidecar.reloads().length === 2)
    expect(sidecar.reloads()).toEqual(['boot', 'gap'])
  })

  it('whose floor has passed us mean that the feed was pruned: reload', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.commit(KEY, 2)
    sidecar.server.prune(sidecar.commit(KEY, 3))
    await sidecar.time.advance(10_000)
    expect(sidecar.reloads()).toEqual(['boot', 'truncated'])
    expect(sidecar.version(KEY)).toBe(3)
  })

  it('whose floor is exactly where we are lose nothing', async () => {
    const sidecar = await sidecarWithKey()
    const here = sidecar.feed.appliedRevision()
    sidecar.commit(KEY, 2)
    sidecar.server.prune(here)
    await sidecar.time.advance(3_000)
    expect(sidecar.reloads()).toEqual(['boot'])
    expect(sidecar.version(KEY)).toBe(2)
  })
})

describe('histories', () => {
  it('a failover with the same history costs nothing: no reload, no 503', async () => {
    const sidecar = await sidecarWithKey()
    const promoted = sidecar.server.fork('00000002')
    sidecar.server.isolated = true
    sidecar.source.server = promoted
    sidecar.commit(KEY, 2, promoted)
    for (let i = 0; i < 100; i++) {
      await sidecar.time.advance(100)
      expect(sidecar.feed.fresh()).toBe(true)
    }
    expect(sidecar.version(KEY)).toBe(2)
    expect(sidecar.reloads()).toEqual(['boot'])
    expect(sidecar.events).toContainEqual({ type: 'timeline', from: '00000001', to: '00000002' })
    expect(sidecar.violations).toEqual([])
  })

  it('another database behind the same address is reloaded, and nothing of the old one stays', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.commit(2, 1)
    await sidecar.time.advance(3_000)
    const other = new ScriptedServer(sidecar.time)
    other.commitOrganization('org_2', organizationRow('org_2'))
    for (let n = 0; n < 5; n++) other.commitApiKeys([[digestOf(50 + n), keyRow(50 + n)]])
    sidecar.server.isolated = true
    sidecar.source.server = other
    await sidecar.time.advance(10_000)
    expect(sidecar.reloads()).toEqual(['boot', 'history'])
    expect(sidecar.version(KEY)).toBe(0)
    expect(sidecar.table.keys.size).toBe(5)
    expect([...sidecar.table.organizations.keys()]).toEqual(['org_2'])
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('a restore that outgrows the old revision before the next cycle is still another history', async () => {
    const sidecar = await sidecarWithKey()
    const backup = sidecar.server.fork('00000001')
    sidecar.commit(KEY, 2)
    await sidecar.time.advance(2_000)
    for (let n = 0; n < 3; n++) sidecar.commit(60 + n, 1, backup)
    sidecar.server.isolated = true
    sidecar.source.server = backup
    await sidecar.time.advance(10_000)
    expect(sidecar.reloads()).toEqual(['boot', 'history'])
    expect(sidecar.version(KEY)).toBe(1) // the change was lost by the database; the reader shows what the database has
    expect(sidecar.version(62)).toBe(1)
  })

  it('a head that went back behind the witness is another history, though the row of the witness is still there', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.source.onPage = page => ({ ...page, head: page.head - 1n, revisions: [] })
    await sidecar.time.until(() => sidecar.reloads().length === 2)
    expect(sidecar.reloads()[1]).toBe('history')
  })

  it('a load from a server that lost the election is never served', async () => {
    const sidecar = new Sidecar()
    sidecar.server.commitOrganization('org_1', organizationRow('org_1'))
    sidecar.commit(KEY, 1)
    const promoted = sidecar.server.fork('00000002')
    sidecar.commit(KEY, 2, promoted)
    sidecar.commit(KEY, 9, sidecar.server, false)
    sidecar.source.afterNext('load', () => {
      sidecar.server.timeline = null
      sidecar.source.server = promoted
    })
    sidecar.feed.start()
    await sidecar.time.until(() => sidecar.feed.fresh())
    expect(sidecar.version(KEY)).toBe(2)
    expect(sidecar.faults()).toEqual(['role'])
    expect(sidecar.reloads()).toEqual(['boot', 'history'])
  })

  it('a server in recovery is left, with what is held untouched', async () => {
    const sidecar = await sidecarWithKey()
    const standby = sidecar.server.fork('00000001')
    standby.timeline = null
    sidecar.source.server = standby
    for (const connection of sidecar.source.connections) Object.assign(connection, { server: standby })
    await sidecar.time.advance(3_000)
    expect(sidecar.faults()[0]).toBe('role')
    expect(sidecar.feed.fresh()).toBe(true)
    sidecar.source.server = sidecar.server
    await sidecar.time.advance(2_000)
    expect(sidecar.feed.confirmAgeMs()).toBeLessThan(2_000)
    expect(sidecar.reloads()).toEqual(['boot'])
  })
})

describe('changes', () => {
  it('made during a load are applied by the next cycle before anything is served', async () => {
    const sidecar = new Sidecar()
    sidecar.server.commitOrganization('org_1', organizationRow('org_1'))
    for (let n = 1; n <= 20; n++) sidecar.commit(n, 1)
    sidecar.source.slice = { pauseMs: 50, apiKeys: 2 }
    sidecar.source.afterNext('load', () => {
      sidecar.commit(1, 2)
      sidecar.commit(20, 2)
      sidecar.commit(21, 1)
    })
    await sidecar.started()
    expect([1, 20, 21].map(n => sidecar.version(n))).toEqual([2, 2, 1])
    expect(sidecar.source.count.load).toBe(1)
  })

  it('that create and then delete leave nothing, in one page or in two', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.commit(2, 1)
    sidecar.server.commitApiKeys([[digestOf(2), null]])
    sidecar.server.commitApiKeys([[digestOf(KEY), null]])
    await sidecar.time.advance(2_000)
    expect(sidecar.table.keys.size).toBe(0)
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('that revoke a key during its grace period stop it, though the grace goes on', async () => {
    const sidecar = await sidecarWithKey()
    const end = unixMicros(VirtualTime.START_UNIX_MS + 3_600_000)
    const set = (columns: object) => sidecar.server.commitApiKeys([[digestOf(KEY), keyRow(KEY, 2, { ...columns })]])
    set({ grace_end_time: end })
    await sidecar.time.advance(2_000)
    set({ grace_end_time: end, revoke_time: end - 3_600_000_000n })
    await sidecar.time.advance(2_000)
    expect(sidecar.table.keys.get(digestOf(KEY).toString('hex'))).toMatchObject({ revoked: true })
  })

  it('suspend and resume an organization', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.server.commitOrganization('org_1', organizationRow('org_1', { suspend_time: unixMicros(1) }))
    await sidecar.time.advance(2_000)
    expect(sidecar.table.organizations.get('org_1')).toMatchObject({ suspended: true, valid: true })
    sidecar.server.commitOrganization('org_1', organizationRow('org_1'))
    await sidecar.time.advance(2_000)
    expect(sidecar.table.organizations.get('org_1')).toMatchObject({ suspended: false, valid: true })
    sidecar.server.commitOrganization('org_1', null)
    await sidecar.time.advance(2_000)
    expect(sidecar.table.organizations.size).toBe(0)
  })

  it('whose COMMIT succeeded although its reply was lost are applied like any other', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.commit(KEY, 2, sidecar.server, false)
    await sidecar.time.advance(2_000)
    expect(sidecar.version(KEY)).toBe(2)
    expect(sidecar.reloads()).toEqual(['boot'])
  })

  it('of an organization whose row is another’s make the named one invalid and leave the other alone', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.server.commitOrganization('org_1', organizationRow('org_2'))
    await sidecar.time.advance(2_000)
    expect([...sidecar.table.organizations.values()]).toEqual([
      { id: 'org_1', profile: '', suspended: false, valid: false },
    ])
  })

  it('of an unknown kind stop everything: never skipped, not even by a reload in the same history', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.server.record([{ kind: 1, digest: digestOf(KEY) }, { kind: 7 }])
    const later = sidecar.commit(KEY, 2)
    await sidecar.time.until(() => sidecar.count('unknown_kind') === 1)
    expect(sidecar.feed.fresh()).toBe(false)
    await sidecar.time.advance(10_000)
    expect(sidecar.feed.fresh()).toBe(false)
    expect(sidecar.version(KEY)).toBe(2) // the row of the known change in the same revision; it is not served
    expect(sidecar.feed.appliedRevision()).toBe(later - 2n)
    sidecar.server.prune(later)
    await sidecar.time.advance(10_000)
    expect(sidecar.reloads()).toEqual(['boot', 'truncated'])
    expect(sidecar.feed.fresh()).toBe(false)
    expect(sidecar.count('unknown_kind')).toBe(1)
  })

  it('of an unknown kind do not outlive the history they were in', async () => {
    const sidecar = await sidecarWithKey()
    const other = sidecar.server.fork('00000002')
    sidecar.server.record([{ kind: 7 }])
    await sidecar.time.until(() => sidecar.count('unknown_kind') === 1)
    sidecar.commit(KEY, 2, other)
    sidecar.server.isolated = true
    sidecar.source.server = other
    await sidecar.time.advance(10_000)
    expect(sidecar.reloads()).toEqual(['boot', 'history'])
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('that do not say of what are repaired by a reload', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.server.record([{ kind: 1 }])
    await sidecar.time.advance(3_000)
    expect(sidecar.reloads()).toEqual(['boot', 'unreadable'])
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('with a poison row make that key invalid, and the feed goes on', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.server.commitApiKeys([[digestOf(2), keyRow(2, 1, { scope_mode: 9 })]])
    sidecar.server.commitOrganization('org_2', organizationRow('org_2', { profile: 7 }))
    sidecar.server.record([{ kind: 1, digest: Buffer.alloc(31) }])
    sidecar.commit(KEY, 2)
    await sidecar.time.advance(3_000)
    expect(sidecar.version(2)).toBe(-1)
    expect(sidecar.version(KEY)).toBe(2)
    expect(sidecar.table.organizations.get('org_2')).toMatchObject({ valid: false })
    expect(sidecar.count('row_invalid')).toBe(3)
    expect(sidecar.reloads()).toEqual(['boot'])
    expect(sidecar.feed.fresh()).toBe(true)
  })
})

describe('exceptions while applying', () => {
  it('once or twice cost a reload', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.table.throwing = THROWS_MAX - 1
    sidecar.commit(KEY, 2)
    await sidecar.time.advance(20_000)
    expect(sidecar.count('threw')).toBe(THROWS_MAX - 1)
    expect(sidecar.fatal).toEqual([])
    expect(sidecar.version(KEY)).toBe(2)
    expect(sidecar.feed.fresh()).toBe(true)
    expect(sidecar.readiness).toEqual([true, false, true])
  })

  it('three times in a row end the process, and nothing is served until it has ended', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.table.throwing = Number.POSITIVE_INFINITY
    sidecar.commit(KEY, 2)
    await sidecar.time.advance(30_000)
    expect(sidecar.count('threw')).toBe(THROWS_MAX)
    expect(sidecar.fatal).toHaveLength(1)
    expect(sidecar.feed.fresh()).toBe(false)
    expect(sidecar.source.open()).toBe(0)
    const before = sidecar.source.count.read
    await sidecar.time.advance(30_000)
    expect(sidecar.source.count.read).toBe(before)
  })

  it('count anew after a confirm', async () => {
    const sidecar = await sidecarWithKey()
    for (let version = 2; version < 8; version++) {
      sidecar.table.throwing = 1
      sidecar.commit(KEY, version)
      await sidecar.time.advance(5_000)
    }
    expect(sidecar.count('threw')).toBe(6)
    expect(sidecar.fatal).toEqual([])
    expect(sidecar.violations).toEqual([])
  })

  it('of the observer change nothing', async () => {
    const sidecar = new Sidecar(1, {
      observer: {
        record: () => {
          throw new Error('the log is full')
        },
      },
    })
    sidecar.server.commitOrganization('org_1', organizationRow('org_1', { profile: 7 }))
    sidecar.server.commitApiKeys([[digestOf(KEY), keyRow(KEY, 1, { scopes: null })]])
    await sidecar.started()
    expect(sidecar.feed.fresh()).toBe(true)
    expect(sidecar.fatal).toEqual([])
  })
})

describe('clocks', () => {
  it('a step of the wall clock costs one cycle and no expiry', async () => {
    for (const step of [-3_600_000, -262_000, 262_000, 3_600_000]) {
      const sidecar = await sidecarWithKey()
      const error = () =>
        (sidecar.feed.dbNow() - microsFromUnixMs(VirtualTime.START_UNIX_MS + sidecar.time.now())) / 1_000
      await sidecar.time.advance(2_000)
      sidecar.time.stepWall(step)
      expect(sidecar.feed.fresh()).toBe(false)
      await sidecar.time.advance(110)
      expect(sidecar.feed.fresh()).toBe(true)
      expect(sidecar.feed.ready()).toBe(true)
      expect(Math.abs(error())).toBeLessThan(1)
      expect(sidecar.reloads()).toEqual(['boot'])
    }
  })

  it('a suspend wakes the feed, which is confirmed again without waiting for the next poll', async () => {
    for (const slept of [SUSPEND_JUMP_MS + 1, 60_000, 3_600_000]) {
      const sidecar = await sidecarWithKey()
      sidecar.boundMs = LEASE_MS + SUSPEND_JUMP_MS
      await sidecar.time.advance(5_000)
      sidecar.commit(KEY, 2)
      sidecar.time.suspend(slept)
      expect(sidecar.feed.fresh()).toBe(false)
      await sidecar.time.advance(110)
      expect(sidecar.feed.fresh()).toBe(true)
      expect(sidecar.version(KEY)).toBe(2)
      const error = sidecar.feed.dbNow() - microsFromUnixMs(VirtualTime.START_UNIX_MS + sidecar.time.now())
      expect(Math.abs(error)).toBeLessThan(1_000)
      expect(sidecar.count('suspend')).toBe(1)
      expect(sidecar.reloads()).toEqual(['boot'])
      expect(sidecar.readiness).toEqual([true])
      expect(sidecar.violations).toEqual([])
    }
  })

  it('a suspend in the middle of a page voids the rest of it', async () => {
    const sidecar = await sidecarWithKey()
    const many = Array.from({ length: 2 * APPLY_SLICE_CHANGES }, (_, i) => 100 + i)
    sidecar.server.commitApiKeys(many.map(n => [digestOf(n), keyRow(n)]))
    let confirms = 0
    sidecar.time.onTurn = () => {
      sidecar.time.onTurn = () => undefined
      confirms = sidecar.count('confirmed')
      sidecar.source.lost.beat = 'out'
      sidecar.time.suspend(20_000)
    }
    await sidecar.time.advance(5_000)
    expect(sidecar.count('suspend')).toBe(1)
    expect(sidecar.table.keys.size).toBe(1 + APPLY_SLICE_CHANGES)
    expect(sidecar.count('confirmed')).toBe(confirms)
    sidecar.source.lost.beat = null
    await sidecar.time.advance(3_000)
    expect(sidecar.table.keys.size).toBe(1 + many.length)
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('another server with another clock is followed at once, without doubt and without a reload', async () => {
    const sidecar = await sidecarWithKey()
    await sidecar.time.advance(2_000)
    const promoted = sidecar.server.fork('00000002')
    promoted.clockShift = 90_000
    sidecar.server.isolated = true
    sidecar.source.server = promoted
    await sidecar.time.until(() => sidecar.count('timeline') === 1)
    await sidecar.time.advance(10)
    const truth = microsFromUnixMs(VirtualTime.START_UNIX_MS + sidecar.time.now() + 90_000)
    expect(Math.abs(sidecar.feed.dbNow() - truth)).toBeLessThan(1_000_000)
    expect(sidecar.reloads()).toEqual(['boot'])
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('a stop of the process (SIGSTOP) ends the lease by the monotonic clock', async () => {
    const sidecar = await sidecarWithKey()
    await sidecar.time.advance(3_000)
    sidecar.time.stall(8_000)
    expect(sidecar.feed.fresh()).toBe(false)
    await sidecar.time.advance(2_000)
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('a freeze of both clocks is noticed by the next read, counted, and answered with a reload', async () => {
    const sidecar = await sidecarWithKey()
    await sidecar.time.advance(3_000)
    sidecar.time.freeze(30_000)
    await sidecar.time.advance(1_500)
    expect(sidecar.reloads()).toEqual(['boot', 'clock'])
    await sidecar.time.advance(1_000)
    expect(sidecar.feed.fresh()).toBe(true)
    const error = sidecar.feed.dbNow() - microsFromUnixMs(VirtualTime.START_UNIX_MS + sidecar.time.now())
    expect(Math.abs(error)).toBeLessThan(1_000)
  })

  it('an offset is not learned from a 900 ms round trip', async () => {
    const sidecar = await sidecarWithKey()
    await sidecar.time.advance(3_000)
    sidecar.source.latency.read = { out: 900, back: 0 }
    await sidecar.time.advance(10_000)
    const error = sidecar.feed.dbNow() - microsFromUnixMs(VirtualTime.START_UNIX_MS + sidecar.time.now())
    expect(Math.abs(error)).toBeLessThan(1_000)
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('a database clock that stands 20 minutes off stops everything until it is mended', async () => {
    const sidecar = await sidecarWithKey()
    sidecar.server.clockShift = -1_200_000
    await sidecar.time.advance(2_000)
    expect(sidecar.feed.fresh()).toBe(false)
    await sidecar.time.advance(20_000)
    expect(sidecar.feed.fresh()).toBe(false)
    sidecar.server.clockShift = 0
    await sidecar.time.advance(2_000)
    expect(sidecar.feed.fresh()).toBe(true)
    expect(sidecar.reloads()).toEqual(['boot'])
  })

  it('a database clock that makes a step is followed within a second, after three samples', async () => {
    const sidecar = await sidecarWithKey()
    await sidecar.time.advance(2_000)
    sidecar.server.clockShift = -5_000
    await sidecar.time.advance(2_000)
    const truth = microsFromUnixMs(VirtualTime.START_UNIX_MS + sidecar.time.now() - 5_000)
    expect(Math.abs(sidecar.feed.dbNow() - truth)).toBeLessThan(1_000)
    expect(sidecar.events.flatMap(event => (event.type === 'clock_step' ? [event.verdict] : []))).toEqual([
      'doubted',
      'doubted',
      'stepped',
    ])
  })
})

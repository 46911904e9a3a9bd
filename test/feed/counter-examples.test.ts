// The counter-examples of the protocol search (freshness.md section 13), replayed on the shipped modules. Each trace
// serves an old value when the rule it is named after is switched off, and was seen red that way.
// A value is old when a change acknowledged more than LEASE_MS ago is not in it (the theorem of section 10).
import { describe, expect, it } from 'vitest'
import { APPLY_SLICE_CHANGES, LEASE_MS, SUSPEND_JUMP_MS } from '../../src/feed/constants.ts'
import { digestOf, keyRow, organizationRow } from './support/rows.ts'
import { Sidecar } from './support/sidecar.ts'

const KEY = 1
const OTHER = 2

/** A sidecar with one key at version 1, confirmed. */
async function sidecarWithKey(): Promise<Sidecar> {
  const sidecar = new Sidecar()
  sidecar.server.commitOrganization('org_1', organizationRow('org_1'))
  sidecar.commit(KEY, 1)
  return sidecar.started()
}

/** No statement comes through any more: nothing can be confirmed, the lease runs out. */
function cutOff(sidecar: Sidecar): void {
  sidecar.source.lost.beat = 'out'
  sidecar.source.lost.read = 'out'
}

describe('an old value is never served', () => {
  it('R1: after a reply that travelled long, because a confirm counts from before the first statement', async () => {
    // Red with the monotonic instant of arrival in `confirm`.
    const sidecar = await sidecarWithKey()
    sidecar.source.latency.read.back = 1_400
    sidecar.source.afterNext('read', () => {
      sidecar.commit(KEY, 2)
      cutOff(sidecar)
    })
    await sidecar.time.advance(12_000)
    expect(sidecar.violations).toEqual([])
    expect(sidecar.largestStalenessMs).toBeGreaterThan(6_500)
    expect(sidecar.feed.fresh()).toBe(false)
  })

  it('R2: from an isolated former primary, because its beat cannot commit', async () => {
    // Red without the beat in the cycle: the reads of the old primary still work.
    const sidecar = await sidecarWithKey()
    const promoted = sidecar.server.fork('00000002')
    sidecar.server.isolated = true
    sidecar.commit(KEY, 2, promoted)
    await sidecar.time.advance(20_000)
    expect(sidecar.violations).toEqual([])
    expect(sidecar.feed.fresh()).toBe(false)
  })

  it('R4: by a page that was read before a suspend and arrives after it was noticed', async () => {
    // Guarded three times: R4, the generation in `Lease.confirm`, and the clock base of the start. Red with all three off.
    const sidecar = await sidecarWithKey()
    sidecar.boundMs = LEASE_MS + SUSPEND_JUMP_MS
    sidecar.source.latency.read.back = 1_000
    let executed = false
    sidecar.source.afterNext('read', () => {
      sidecar.commit(KEY, 2)
      executed = true
    })
    await sidecar.time.until(() => executed)
    sidecar.time.suspend(20_000)
    expect(sidecar.feed.fresh()).toBe(false)
    cutOff(sidecar)
    await sidecar.time.advance(9_000)
    expect(sidecar.violations).toEqual([])
    expect(sidecar.count('suspend')).toBe(1)
    expect(sidecar.feed.fresh()).toBe(false)
  })

  it('R5: on another history with the same revision number, because the nonce of the witness differs', async () => {
    // Red without the comparison of the witness nonce.
    const sidecar = new Sidecar()
    sidecar.server.commitOrganization('org_1', organizationRow('org_1'))
    sidecar.commit(KEY, 1)
    const promoted = sidecar.server.fork('00000002')
    sidecar.commit(KEY, 2, promoted)
    sidecar.commit(KEY, 9, sidecar.server, false) // a ghost: on the isolated server, never acknowledged
    sidecar.source.afterNext('load', () => {
      sidecar.server.isolated = true
      sidecar.source.server = promoted
    })
    sidecar.feed.start()
    await sidecar.time.advance(20_000)
    expect(sidecar.violations).toEqual([])
    expect(sidecar.reloads()).toEqual(['boot', 'history'])
    expect(sidecar.version(KEY)).toBe(2)
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('witness: by a row of a ghost head that was stored while `applied` stayed behind it', async () => {
    // Red with the witness set at the end of the cycle instead of before anything is stored.
    const sidecar = await sidecarWithKey()
    sidecar.source.onPage = page => ({ ...page, revisions: page.revisions.slice(0, 1) })
    sidecar.commit(KEY, 2)
    const promoted = sidecar.server.fork('00000002')
    sidecar.commit(OTHER, 1, promoted)
    sidecar.commit(KEY, 9, sidecar.server, false)
    sidecar.source.afterNext('read', () => {
      sidecar.server.isolated = true
      sidecar.source.server = promoted
    })
    await sidecar.time.until(() => sidecar.version(KEY) === 9)
    await sidecar.time.advance(20_000)
    expect(sidecar.violations).toEqual([])
    expect(sidecar.reloads()).toEqual(['boot', 'history'])
    expect(sidecar.version(KEY)).toBe(2)
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('R6: past a hole that a prune left between `applied` and the witness', async () => {
    // Red without the floor and the gap test; either alone suffices.
    const sidecar = await sidecarWithKey()
    sidecar.source.onPage = page => ({ ...page, revisions: page.revisions.slice(0, 1) })
    sidecar.commit(OTHER, 1)
    sidecar.commit(KEY, 2)
    const newest = sidecar.commit(OTHER, 2)
    sidecar.source.afterNext('read', () => sidecar.server.prune(newest))
    await sidecar.time.advance(20_000)
    expect(sidecar.violations).toEqual([])
    expect(sidecar.reloads()).toEqual(['boot', 'truncated'])
    expect(sidecar.version(KEY)).toBe(2)
  })

  it('R8: between two pages, because only the head of the snapshot is confirmed', async () => {
    // Red without the comparison of `applied` and head.
    const sidecar = await sidecarWithKey()
    sidecar.source.onPage = page => ({ ...page, revisions: page.revisions.slice(0, 1) })
    sidecar.commit(OTHER, 1)
    sidecar.commit(KEY, 2)
    sidecar.source.afterNext('read', () => cutOff(sidecar))
    await sidecar.time.advance(12_000)
    expect(sidecar.violations).toEqual([])
    expect(sidecar.version(OTHER)).toBe(1)
    expect(sidecar.version(KEY)).toBe(1)
    expect(sidecar.feed.fresh()).toBe(false)
  })

  it('R9: while a page is still being applied, because the confirm comes last', async () => {
    // Red with the confirm before the changes are applied.
    const sidecar = await sidecarWithKey()
    const others = Array.from({ length: APPLY_SLICE_CHANGES }, (_, i) => 100 + i)
    sidecar.server.commitApiKeys([...others, KEY].map(n => [digestOf(n), keyRow(n, 2)]))
    sidecar.acknowledge(KEY, 2)
    let stalled = false
    sidecar.time.onTurn = () => {
      sidecar.time.stall(LEASE_MS - 10)
      sidecar.probe()
      stalled = true
      sidecar.time.onTurn = () => undefined
    }
    await sidecar.time.until(() => stalled)
    await sidecar.time.advance(100)
    expect(sidecar.violations).toEqual([])
    expect(sidecar.version(KEY)).toBe(2)
  })

  it('R9: when applying throws: nothing is confirmed and everything is loaded anew', async () => {
    // Red when the throw neither revokes the lease nor reloads.
    const sidecar = await sidecarWithKey()
    sidecar.table.throwing = 1
    sidecar.commit(KEY, 2)
    await sidecar.time.until(() => sidecar.count('threw') === 1)
    expect(sidecar.feed.fresh()).toBe(false)
    await sidecar.time.advance(10_000)
    expect(sidecar.violations).toEqual([])
    expect(sidecar.reloads()).toEqual(['boot', 'apply'])
    expect(sidecar.version(KEY)).toBe(2)
    expect(sidecar.feed.fresh()).toBe(true)
  })

  it('R11: after a suspend that the monotonic clock did not see', async () => {
    // Red when the two clocks are not compared.
    const sidecar = await sidecarWithKey()
    sidecar.boundMs = LEASE_MS + SUSPEND_JUMP_MS
    sidecar.source.latency.read.back = 1_000
    let executed = false
    sidecar.source.afterNext('read', () => {
      sidecar.commit(KEY, 2)
      executed = true
    })
    await sidecar.time.until(() => executed)
    cutOff(sidecar)
    sidecar.time.suspend(20_000)
    await sidecar.time.advance(9_000)
    expect(sidecar.violations).toEqual([])
    expect(sidecar.count('suspend')).toBe(1)
  })

  it('load: right after it, because a load confirms nothing by itself', async () => {
    // Red with a confirm at the end of the load.
    const sidecar = new Sidecar()
    sidecar.server.commitOrganization('org_1', organizationRow('org_1'))
    sidecar.commit(KEY, 1)
    const promoted = sidecar.server.fork('00000002')
    sidecar.commit(KEY, 2, promoted)
    await sidecar.time.advance(500)
    sidecar.source.afterNext('beat', () => {
      sidecar.server.isolated = true
    })
    sidecar.feed.start()
    await sidecar.time.until(() => sidecar.count('loaded') === 1)
    expect(sidecar.version(KEY)).toBe(1)
    await sidecar.time.advance(20_000)
    expect(sidecar.violations).toEqual([])
    expect(sidecar.feed.fresh()).toBe(false)
    expect(sidecar.feed.ready()).toBe(false)
  })
})

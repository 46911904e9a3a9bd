// `feed.proof`: by default nothing is confirmed without a heartbeat that committed; with `read` a failed one is survived.
import { describe, expect, it } from 'vitest'
import { LEASE_MS } from '../../src/feed/constants.ts'
import { organizationRow } from './support/rows.ts'
import { Sidecar } from './support/sidecar.ts'

const KEY = 1

function sidecarOf(proof: 'write' | 'read'): Sidecar {
  const sidecar = new Sidecar(1, { proof })
  sidecar.server.commitOrganization('org_1', organizationRow('org_1'))
  sidecar.commit(KEY, 1)
  return sidecar
}

describe('feed.proof: read', () => {
  it('serves on, with every change, while heartbeats never commit', async () => {
    const sidecar = await sidecarOf('read').started()
    sidecar.server.isolated = true
    let oldest = 0
    for (let version = 2; version <= 60; version++) {
      sidecar.commit(KEY, version)
      await sidecar.time.advance(1_000)
      expect(sidecar.feed.fresh()).toBe(true)
      oldest = Math.max(oldest, sidecar.feed.confirmAgeMs())
    }
    await sidecar.time.advance(4_000)
    expect(sidecar.version(KEY)).toBe(60)
    expect(oldest).toBeLessThan(LEASE_MS / 2)
    expect(sidecar.violations).toEqual([])
    expect(sidecar.reloads()).toEqual(['boot'])
  })

  it('counts each heartbeat that failed, and sends the next one all the same', async () => {
    const sidecar = await sidecarOf('read').started()
    sidecar.server.isolated = true
    const beats = sidecar.source.count.beat
    await sidecar.time.advance(30_000)
    const sent = sidecar.source.count.beat - beats
    expect(sent).toBeGreaterThan(8)
    expect(sidecar.faults().length).toBeGreaterThanOrEqual(sent - 1)
    sidecar.server.isolated = false
    await sidecar.time.advance(5_000)
    const [faults, reads, healed] = [sidecar.faults().length, sidecar.source.count.read, sidecar.source.count.beat]
    await sidecar.time.advance(30_000)
    expect(sidecar.faults().length).toBe(faults)
    expect(Math.abs(sidecar.source.count.read - reads - (sidecar.source.count.beat - healed))).toBeLessThanOrEqual(1)
  })

  it('starts on a server whose commits hang', async () => {
    const sidecar = sidecarOf('read')
    sidecar.server.isolated = true
    await sidecar.started()
    expect(sidecar.version(KEY)).toBe(1)
  })

  it('still believes no server in recovery', async () => {
    const sidecar = await sidecarOf('read').started()
    sidecar.server.timeline = null
    await sidecar.time.advance(20_000)
    expect(sidecar.feed.fresh()).toBe(false)
  })
})

describe('feed.proof: write', () => {
  it('is what holds unless another is chosen', async () => {
    for (const sidecar of [sidecarOf('write'), new Sidecar()]) {
      await sidecar.started()
      sidecar.server.isolated = true
      await sidecar.time.advance(20_000)
      expect(sidecar.feed.fresh()).toBe(false)
    }
  })
})

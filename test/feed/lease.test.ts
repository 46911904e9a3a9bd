// The lease alone: until when a confirm counts, and what a sleep of the host does to it.
import { describe, expect, it } from 'vitest'
import { LEASE_MS, SUSPEND_JUMP_MS } from '../../src/feed/constants.ts'
import { Lease } from '../../src/feed/lease.ts'
import { VirtualTime } from './support/virtual-time.ts'

function leaseAndTime() {
  const time = new VirtualTime()
  const suspends: number[] = []
  const lease = new Lease(time, () => suspends.push(time.now()))
  return { time, lease, suspends }
}

describe('a lease', () => {
  it('is not fresh before the first confirm', () => {
    const { lease } = leaseAndTime()
    expect(lease.fresh()).toBe(false)
    expect(lease.ageMs()).toBe(Number.POSITIVE_INFINITY)
  })

  it('counts from the start of the cycle and ends exactly LEASE_MS later', () => {
    const { time, lease } = leaseAndTime()
    const start = lease.begin()
    time.stall(1_400)
    lease.confirm(start)
    time.stall(LEASE_MS - 1_400 - 1)
    expect(lease.fresh()).toBe(true)
    time.stall(1)
    expect(lease.fresh()).toBe(false)
  })

  it('is ended by a stop of the process between the clock read and the look-up: the next batch asks again', () => {
    // Checks whose bytes were in memory at the first read started before it, so what they see is within the promise.
    const { time, lease } = leaseAndTime()
    lease.confirm(lease.begin())
    time.stall(LEASE_MS - 1)
    expect(lease.fresh()).toBe(true)
    time.stall(8_000)
    expect(lease.fresh()).toBe(false)
  })

  it('does not outlive a suspend that the monotonic clock did not see, not even after the clocks agree again', () => {
    const { time, lease, suspends } = leaseAndTime()
    lease.confirm(lease.begin())
    time.suspend(SUSPEND_JUMP_MS + 1)
    expect(lease.fresh()).toBe(false)
    expect(suspends).toHaveLength(1)
    time.stepWall(-SUSPEND_JUMP_MS - 1)
    expect(lease.fresh()).toBe(false)
  })

  it('lets no cycle from before a suspend confirm after it', () => {
    const { time, lease } = leaseAndTime()
    const start = lease.begin()
    time.suspend(20_000)
    expect(lease.fresh()).toBe(false)
    expect(lease.holds(start)).toBe(false)
    lease.confirm(start)
    expect(lease.fresh()).toBe(false)
  })

  it('lets no cycle from before a reload confirm after it', () => {
    const { lease } = leaseAndTime()
    const start = lease.begin()
    lease.voidAll()
    expect(lease.holds(start)).toBe(false)
    lease.confirm(start)
    expect(lease.fresh()).toBe(false)
  })

  it('hides at most SUSPEND_JUMP_MS of sleep from the start of the cycle to its own end, however it is spread', () => {
    // Red when the clock base is refreshed at the end of the cycle: then a sleep before and one after it both hide.
    const { time, lease } = leaseAndTime()
    lease.confirm(lease.begin())
    const start = lease.begin()
    time.suspend(SUSPEND_JUMP_MS - 100)
    expect(lease.holds(start)).toBe(true)
    lease.confirm(start)
    time.suspend(SUSPEND_JUMP_MS - 100)
    expect(lease.fresh()).toBe(false)
  })

  it('absorbs small corrections of the wall clock from confirm to confirm', () => {
    const { time, lease, suspends } = leaseAndTime()
    for (let i = 0; i < 10; i++) {
      time.stepWall(900)
      time.stall(1_000)
      lease.confirm(lease.begin())
      expect(lease.fresh()).toBe(true)
    }
    expect(suspends).toEqual([])
  })

  it('is ended by a step of the wall clock in either direction, for one cycle', () => {
    for (const step of [-3_600_000, -262_000, 262_000, 3_600_000]) {
      const { time, lease, suspends } = leaseAndTime()
      lease.confirm(lease.begin())
      time.stepWall(step)
      expect(lease.fresh()).toBe(false)
      lease.confirm(lease.begin())
      expect(lease.fresh()).toBe(true)
      expect(suspends).toHaveLength(1)
    }
  })
})

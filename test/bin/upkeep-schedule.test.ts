// Clearing away goes on for as long as the admin role lives, survives failures, and never outlives a drain.
import { describe, expect, it } from 'vitest'
import { scheduleUpkeep } from '../../src/bin/upkeep-schedule.ts'
import type { Log, LogFields } from '../../src/observe/log.ts'
import { Metrics } from '../../src/observe/metrics.ts'

const second = 1000
const minute = 60 * second

/** Timers that run when they are told to, and a log that is kept. */
function bench() {
  const waiting: { delayMs: number; task: () => void }[] = []
  const lines: [string, LogFields | undefined][] = []
  const keep = (message: string, fields?: LogFields) => void lines.push([message, fields])
  const log: Log = { debug: keep, info: keep, warn: keep, error: keep }
  const chance = { random: 0.5 }
  const timers = {
    after(delayMs: number, task: () => void) {
      const entry = { delayMs, task }
      waiting.push(entry)
      return () => void waiting.splice(waiting.indexOf(entry), 1)
    },
    random: () => chance.random,
  }
  const fire = async () => {
    waiting.shift()?.task()
    await settle()
  }
  return { waiting, lines, log, timers, fire, chance }
}

const settle = () => new Promise(resolve => setImmediate(resolve))

async function shown(schedule: { observe(metrics: Metrics): void }): Promise<string> {
  const metrics = new Metrics()
  schedule.observe(metrics)
  const { text } = await metrics.page()
  metrics.close()
  return text
}

describe('upkeep', () => {
  it('begins soon after the start and goes on every few minutes, each pause drawn anew', async () => {
    const { waiting, log, timers, fire, chance } = bench()
    let rounds = 0
    const schedule = scheduleUpkeep(async () => ({ revisions: ++rounds }), timers, log)
    expect(waiting.map(({ delayMs }) => delayMs)).toEqual([30 * second])
    await fire()
    expect(waiting.map(({ delayMs }) => delayMs)).toEqual([5 * minute])
    chance.random = 0
    await fire()
    expect(waiting.map(({ delayMs }) => delayMs)).toEqual([4 * minute])
    expect(await shown(schedule)).toContain('gatewarden_upkeep_removed_total{what="revisions"} 3')
    await schedule.stop()
  })

  it('logs and counts a round that fails, and tries again', async () => {
    const { waiting, lines, log, timers, fire } = bench()
    const error = new Error('no database')
    let fails = true
    const round = async () => {
      if (fails) throw error
      return { apiKeys: 0, revisions: 7 }
    }
    const schedule = scheduleUpkeep(round, timers, log)
    await fire()
    expect(lines).toEqual([['clearing away in the database failed; it is tried again', { error }]])
    expect(waiting.length).toBe(1)
    fails = false
    await fire()
    expect(lines[1]).toEqual(['cleared away', { revisions: 7 }])
    const page = await shown(schedule)
    expect(page).toContain('gatewarden_upkeep_runs_total{outcome="ok"} 1')
    expect(page).toContain('gatewarden_upkeep_runs_total{outcome="failed"} 1')
    expect(page).not.toContain('what="apiKeys"')
    await schedule.stop()
  })

  it('stops: no round begins, and the one under way is told and waited for', async () => {
    const { waiting, log, timers, fire } = bench()
    let told: () => boolean = () => false
    let finish: () => void = () => undefined
    const round = (stopped: () => boolean) => {
      told = stopped
      return new Promise<Record<string, number>>(resolve => {
        finish = () => resolve({})
      })
    }
    const schedule = scheduleUpkeep(round, timers, log)
    await fire()
    expect(told()).toBe(false)
    let ended = false
    const stopping = schedule.stop().then(() => {
      ended = true
    })
    await settle()
    expect([told(), ended]).toEqual([true, false])
    finish()
    await stopping
    expect(waiting).toEqual([])
  })

  it('stops before the first round', async () => {
    const { waiting, log, timers } = bench()
    await scheduleUpkeep(async () => ({}), timers, log).stop()
    expect(waiting).toEqual([])
  })
})

// `check --workers N`: each worker answers on endpoints of its own, one that dies is started again while the others answer, and
// none outlives its parent.
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { killProcesses, openCheckClient, siteSettings } from '../e2e/processes.ts'
import { type Running, runGatewarden, startGatewarden } from '../support/gatewarden-process.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'
import { openDirectory } from './serving.ts'

const database = useTestDatabase()
const withinMs = 30_000

let directory = ''
let parent: Running | undefined
beforeEach(() => {
  directory = openDirectory('gww-')
})
afterEach(async () => {
  await parent?.stop('SIGINT')
  parent = undefined
  rmSync(directory, { recursive: true, force: true })
})
afterAll(killProcesses)

function settings(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    ...siteSettings({ directory, database: database().database }),
    GATEWARDEN_CHECK_LISTEN: `unix:${directory}/check.sock`,
    GATEWARDEN_ALS_LISTEN: `unix:${directory}/als.sock`,
    GATEWARDEN_METRICS_LISTEN: `unix:${directory}/metrics.sock`,
    GATEWARDEN_CLIENT_ADDRESS_MODE: 'source-address',
    ...more,
  }
}

function start(): Running {
  parent = startGatewarden(['check', '--workers', '2'], settings(), directory)
  return parent
}

const nobody = { method: 'GET', path: '/customer/open/v1/customers', host: 'api.bitbybit.studio' } as const

/** Whether the `worker`-th answers with a table that it has confirmed. */
async function answers(worker: number): Promise<boolean> {
  const socket = join(directory, `check-${worker}.sock`)
  if (!existsSync(socket)) return false
  const client = openCheckClient(`unix:${socket}`)
  try {
    return (await client.outcome(nobody)) === 'credential_missing'
  } catch {
    return false
  } finally {
    client.close()
  }
}

const answering = (...workers: number[]) =>
  until(`workers ${workers} answer`, async () => (await Promise.all(workers.map(answers))).every(Boolean), withinMs)

/** Process ids of the workers, in the order of their numbers, from the log. */
function workerPids(): number[] {
  const lines = (parent?.output() ?? '').split('\n').filter(line => line.includes('"worker starts"'))
  return lines.map(line => Number(JSON.parse(line).pid))
}

const isRunning = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('workers', () => {
  it('answer on endpoints of their own and end with SIGTERM, drained', async () => {
    const running = start()
    await answering(1, 2)
    expect(existsSync(join(directory, 'check.sock'))).toBe(false)
    expect(await running.stop('SIGTERM', withinMs)).toBe(0)
    expect([1, 2].map(worker => existsSync(join(directory, `check-${worker}.sock`)))).toEqual([false, false])
  })

  it('are started again when they die, and the others answer meanwhile', async () => {
    const running = start()
    await answering(1, 2)
    const [victim = 0] = workerPids()
    process.kill(victim, 'SIGKILL')
    await until('the parent notices', () => running.output().includes('a worker ended by itself'), withinMs)
    expect((await Promise.all([1, 2].map(answers))).filter(Boolean)).toHaveLength(1)
    await answering(1, 2)
    expect(workerPids()).toHaveLength(3)
  })

  it('end when their parent is killed', async () => {
    const running = start()
    await answering(1, 2)
    const pids = workerPids()
    expect(pids).toHaveLength(2)
    await running.stop('SIGKILL')
    await until('no worker is left', () => !pids.some(isRunning), withinMs)
  })

  it('are refused where their configuration is, once and for all', async () => {
    const file = { GATEWARDEN_PEPPERS: `p1=${directory}/absent` }
    const { code, stderr } = await runGatewarden(['check', '--workers', '2'], settings(file), directory)
    expect(code).toBe(78)
    expect(stderr).toContain('absent')
  })

  it('are refused where endpoints of two would be the same', async () => {
    const ports = { GATEWARDEN_CHECK_LISTEN: '127.0.0.1:19001', GATEWARDEN_ALS_LISTEN: '127.0.0.1:19002' }
    const { code, stderr } = await runGatewarden(['check', '--workers', '2'], settings(ports), directory)
    expect(code).toBe(78)
    expect(stderr).toContain(
      'GATEWARDEN_CHECK_LISTEN: found 127.0.0.1:19002 for worker 2, where GATEWARDEN_ALS_LISTEN listens as well (127.0.0.1:19002 for worker 1)',
    )
  })

  it('are not for serve', async () => {
    const { code, stderr } = await runGatewarden(['serve'], { ...settings(), GATEWARDEN_CHECK_WORKERS: '2' }, directory)
    expect(code).toBe(78)
    expect(stderr).toContain('several with `gatewarden check`')
  })
})

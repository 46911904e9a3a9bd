// A process is told from one that has ended, and from another that got its id.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { createProcessProbe } from '../../src/usage/process-probe.ts'

const children: ChildProcess[] = []

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** Runs a script of sh; resolves with its first line. */
async function firstLine(script: string): Promise<string> {
  const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const [octets] = (await once(child.stdout, 'data')) as [Buffer]
  return octets.toString().trim()
}

const statOf = (id: string) => readFileSync(`/proc/${id}/stat`, 'latin1').split(' ')
const identityOf = (id: string) => `${id} ${statOf(id)[21]}`

describe.skipIf(process.platform !== 'linux')('a process', () => {
  const probe = createProcessProbe()

  it('lives: this one, and another', async () => {
    expect(probe.isRunning(probe.self)).toBe(true)
    expect(probe.isRunning(identityOf(await firstLine('echo $$; exec sleep 60')))).toBe(true)
  })

  it('has ended: another has its id, nobody has it, or it is what is left of it', async () => {
    const [id = ''] = probe.self.split(' ')
    expect(probe.isRunning(`${id} 1`)).toBe(false)
    expect(probe.isRunning('4194305 1')).toBe(false)
    // A parent that never asks how its child has ended.
    const child = await firstLine('sleep 0.2 & echo $!; exec sleep 60')
    const identity = identityOf(child)
    expect(probe.isRunning(identity)).toBe(true)
    await expect.poll(() => statOf(child)[2]).toBe('Z')
    expect(probe.isRunning(identity)).toBe(false)
  })
})

// A process of the bench: started pinned, ready when it prints what it must or an address accepts, stopped by its pid, never left
// behind. `taskset` becomes the program it starts, so the pid is the program's own.
import { type ChildProcess, spawn } from 'node:child_process'
import { connect, type NetConnectOpts } from 'node:net'
import { until } from '../../test/support/until.ts'
import { socketOptions } from './check-client.ts'
import { pinned } from './cores.ts'

export interface BenchProcess {
  readonly pid: number
  /** The last of what it printed, both streams. */
  output(): string
  stop(): Promise<void>
}

export interface ProcessOptions {
  readonly core: number | null
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

const outputLengthMax = 64 * 1024
const stopLimitMs = 10_000
/** Reading 200 000 API keys takes a few seconds on a busy machine. */
const readyLimitMs = 60_000

/** Only what a process needs to start: settings of the calling shell must not leak into what is measured. */
function environment(more: Readonly<Record<string, string>>): Record<string, string> {
  const kept = ['PATH', 'HOME', 'TMPDIR', 'LANG'].flatMap(name => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return { ...Object.fromEntries(kept), ...more }
}

/** Starts a command and waits until `isReady`. @throws Error with the end of its output */
export async function startProcess(
  command: readonly string[],
  options: ProcessOptions,
  isReady: (output: string) => boolean | Promise<boolean>,
): Promise<BenchProcess> {
  const [program = '', ...args] = pinned(command, options.core)
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: environment(options.env ?? {}),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = capture(child)
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  let hasEnded = false
  const exited = new Promise<void>(resolve => {
    child.once('error', () => resolve())
    child.once('close', () => resolve())
  }).finally(() => {
    hasEnded = true
    process.off('exit', kill)
  })
  const stop = async () => {
    child.kill('SIGTERM')
    const timer = setTimeout(kill, stopLimitMs)
    await exited
    clearTimeout(timer)
  }
  try {
    await until(command.join(' '), () => hasEnded || isReady(output()), readyLimitMs)
    if (hasEnded) throw new Error('it ended')
  } catch (error) {
    await stop()
    throw new Error(`${command[0]} did not start: ${output().trim().split('\n').slice(-3).join('\n')}`, {
      cause: error,
    })
  }
  return { pid: child.pid ?? 0, output, stop }
}

function capture(child: ChildProcess): () => string {
  let text = ''
  const take = (chunk: Buffer | Error) => {
    text = (text + (chunk instanceof Error ? chunk.message : chunk.toString())).slice(-outputLengthMax)
  }
  child.stdout?.on('data', take)
  child.stderr?.on('data', take)
  child.once('error', take)
  return () => text
}

/** Whether somebody accepts connections there. */
export function accepts(address: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(socketOptions(address) as NetConnectOpts)
    const settle = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
  })
}

/** Runs a command to its end. @returns what it wrote to its output @throws Error with the end of what it wrote */
export function runToEnd(command: readonly string[], options: ProcessOptions, limitMs: number): Promise<string> {
  const [program = '', ...args] = pinned(command, options.core)
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...environment(options.env ?? {}) },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const kill = () => child.kill('SIGKILL')
    process.once('exit', kill)
    const timer = setTimeout(kill, limitMs)
    let [out, err] = ['', '']
    child.stdout.on('data', chunk => {
      out += chunk
    })
    child.stderr.on('data', chunk => {
      err = (err + chunk).slice(-outputLengthMax)
    })
    child.once('error', reject)
    child.once('close', code => {
      clearTimeout(timer)
      process.off('exit', kill)
      if (code === 0) resolve(out)
      else reject(new Error(`${command.slice(0, 2).join(' ')} ended with ${code}: ${(err || out).trim().slice(-1500)}`))
    })
  })
}

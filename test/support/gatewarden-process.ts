// The built command as a user runs it: a child process with its own environment, stopped by pid.
// Needs `npm run build` first; `npm test` and `npm run demo` see to that.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { transportSettings } from './check-transport.ts'

const built = new URL('../../src/bin/gatewarden.js', import.meta.url)
const fromSource = new URL('../../dist/src/bin/gatewarden.js', import.meta.url)

/** The file to hand to node: beside this one in the build, in `dist` when this one runs from source. */
export function commandFile(): string {
  const file = [built, fromSource].map(url => fileURLToPath(url)).find(path => existsSync(path))
  if (file === undefined) throw new Error('the command is not built: run `npm run build`')
  return file
}

export interface Finished {
  /** Null when a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A running `gatewarden` process. */
export interface Running {
  readonly pid: number
  /** Everything it has printed so far, both streams. */
  readonly output: () => string
  /** Sends a signal and waits for the end; SIGKILL after `deadlineMs`. */
  stop(signal?: NodeJS.Signals, deadlineMs?: number): Promise<number | null>
  readonly exited: Promise<number | null>
}

type Environment = Readonly<Record<string, string>>

/** Only what a process needs to start: settings of the calling shell must not leak into a test. */
function environmentOf(environment: Environment): Record<string, string> {
  const kept = ['PATH', 'HOME', 'TMPDIR', 'LANG'].flatMap(name => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value]]
  })
  return { ...Object.fromEntries(kept), ...transportSettings(), ...environment }
}

/** What the kernel holds a process to. */
export interface Bounds {
  /** Octets of a file that it writes, in blocks of 512: a disk that is full, without one. */
  readonly fileBlocks?: number
}

function spawnCommand(
  args: readonly string[],
  environment: Environment,
  cwd: string,
  bounds: Bounds = {},
): ChildProcess {
  const options = {
    cwd,
    env: environmentOf(environment),
    stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'],
  }
  const command = [process.execPath, commandFile(), ...args]
  const [program = '', ...rest] =
    bounds.fileBlocks === undefined
      ? command
      : ['/bin/sh', '-c', `ulimit -f ${bounds.fileBlocks} && exec "$@"`, 'sh', ...command]
  return spawn(program, rest, options)
}

/** Runs a command to its end. */
export async function runGatewarden(
  args: readonly string[],
  environment: Environment,
  cwd = process.cwd(),
): Promise<Finished> {
  const child = spawnCommand(args, environment, cwd)
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', chunk => {
    stdout += chunk
  })
  child.stderr?.on('data', chunk => {
    stderr += chunk
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

/** Starts a command that stays. */
export function startGatewarden(
  args: readonly string[],
  environment: Environment,
  cwd = process.cwd(),
  bounds: Bounds = {},
): Running {
  const child = spawnCommand(args, environment, cwd, bounds)
  let output = ''
  const collect = (chunk: Buffer) => {
    output += chunk
  }
  child.stdout?.on('data', collect)
  child.stderr?.on('data', collect)
  const exited = new Promise<number | null>(resolve => child.once('close', code => resolve(code)))
  return {
    pid: child.pid ?? -1,
    output: () => output,
    exited,
    async stop(signal = 'SIGTERM', deadlineMs = 20_000) {
      child.kill(signal)
      const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs)
      const code = await exited
      clearTimeout(timer)
      return code
    },
  }
}

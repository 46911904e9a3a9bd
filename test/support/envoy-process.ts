// A real Envoy with a given configuration, on loopback ports that the system chose: write port 0 and ask for what it became.
// Started when its admin interface says LIVE, stopped by pid, its log kept for the message of a failure.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { envoyBinary } from './envoy-binary.ts'
import { until } from './until.ts'

export interface EnvoyOptions {
  /** Texts of the configuration to replace, each of which must occur. */
  readonly replace?: Readonly<Record<string, string | number>>
  /** Worker threads; 1 unless a test is about several. */
  readonly concurrency?: number
  readonly logLevel?: 'trace' | 'debug' | 'info' | 'warning' | 'error'
}

export interface EnvoyProcess {
  readonly pid: number
  readonly adminPort: number
  /** Port of a TCP listener by its name. @throws Error for a name that is not there. */
  port(listener: string): number
  /** What it logged, the last part. */
  log(): string
  /** Exit code once it has ended; null after a signal. */
  readonly exited: Promise<number | null>
  stop(): Promise<void>
}

const readyLimitMs = 20_000
const stopLimitMs = 5000
const logLengthMax = 1 << 20

/** Starts Envoy on a configuration in YAML or JSON. @throws Error with the end of its log when it does not come up. */
export async function startEnvoy(config: string, options: EnvoyOptions = {}): Promise<EnvoyProcess> {
  const text = replaceAll(config, options.replace ?? {})
  const binary = await envoyBinary()
  const folder = mkdtempSync(join(tmpdir(), 'gw-envoy-'))
  const configFile = join(folder, 'envoy.yaml')
  const adminFile = join(folder, 'admin')
  writeFileSync(configFile, text)
  const child = spawn(
    binary,
    [
      ...['-c', configFile, '--admin-address-path', adminFile, '--use-dynamic-base-id'],
      ...['--concurrency', String(options.concurrency ?? 1), '--log-level', options.logLevel ?? 'warning'],
      ...['--drain-time-s', '1', '--parent-shutdown-time-s', '2'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const log = capture(child)
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const exited = new Promise<number | null>(resolve => {
    child.once('error', () => resolve(null))
    child.once('exit', code => resolve(code))
  }).finally(() => {
    process.off('exit', kill)
    rmSync(folder, { recursive: true, force: true })
  })

  async function stop(): Promise<void> {
    child.kill('SIGTERM')
    const timer = setTimeout(kill, stopLimitMs)
    await exited
    clearTimeout(timer)
  }

  try {
    const ended = exited.then(code => Promise.reject(new Error(`Envoy ended with code ${code}`)))
    const adminPort = await Promise.race([ended, live(adminFile)])
    ended.catch(() => undefined)
    const ports = await listenerPorts(adminPort)
    return {
      pid: child.pid ?? 0,
      adminPort,
      port(listener) {
        const port = ports.get(listener)
        if (port === undefined)
          throw new Error(`Envoy has no TCP listener ${listener}: ${[...ports.keys()].join(', ')}`)
        return port
      },
      log,
      exited,
      stop,
    }
  } catch (error) {
    await stop()
    throw new Error(`Envoy did not start: ${log().trim().split('\n').slice(-5).join('\n')}`, { cause: error })
  }
}

function replaceAll(text: string, replacements: Readonly<Record<string, string | number>>): string {
  return Object.entries(replacements).reduce((result, [from, to]) => {
    if (!result.includes(from)) throw new Error(`the configuration does not contain ${from}`)
    return result.replaceAll(from, String(to))
  }, text)
}

function capture(child: ChildProcess): () => string {
  let log = ''
  const take = (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-logLengthMax)
  }
  child.stdout?.on('data', take)
  child.stderr?.on('data', take)
  child.once('error', error => take(Buffer.from(error.message)))
  return () => log
}

/** The admin port once Envoy is live. */
function live(adminFile: string): Promise<number> {
  return until(
    'Envoy is live',
    async () => {
      const address = existsSync(adminFile) ? readFileSync(adminFile, 'utf8').trim() : ''
      const port = /:(\d+)$/.exec(address)?.[1]
      if (port === undefined) return undefined
      const ready = await fetch(`http://127.0.0.1:${port}/ready`)
      return (await ready.text()).trim() === 'LIVE' && Number(port)
    },
    readyLimitMs,
  )
}

interface ListenerStatus {
  readonly name: string
  readonly local_address?: { readonly socket_address?: { readonly port_value?: number } }
}

async function listenerPorts(adminPort: number): Promise<ReadonlyMap<string, number>> {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/listeners?format=json`)
  const { listener_statuses = [] } = (await answer.json()) as { readonly listener_statuses?: readonly ListenerStatus[] }
  return new Map(
    listener_statuses.flatMap(({ name, local_address }) => {
      const port = local_address?.socket_address?.port_value
      return port === undefined ? [] : [[name, port] as const]
    }),
  )
}

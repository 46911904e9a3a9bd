// Gatewarden as it ships: the built command in the role check, on the bench's database and profile, recording usage.
import { mkdirSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { commandFile, runGatewarden } from '../../test/support/gatewarden-process.ts'
import { type BenchProcess, startProcess } from './bench-process.ts'
import { benchProfile } from './bench-profile.ts'
import { pepperHex } from './database-world.ts'

export type Transport = 'grpc-js' | 'h2'

export interface GatewardenOptions {
  readonly transport: Transport
  readonly databaseUrl: string
  /** Where it listens. */
  readonly address: string
  /** A folder for its files, short enough for sockets; made if it is not there. */
  readonly folder: string
  readonly core: number | null
  /** Flags of node, e.g. `--trace-gc`. */
  readonly nodeFlags?: readonly string[]
}

/**
 * What the spool keeps while the database is behind: a closed loop asks faster than any database stores, and a round's records
 * must not be written during the rounds of others for long.
 */
const spoolBytesMax = 16 * 1024 * 1024

function environment(options: Omit<GatewardenOptions, 'core'>): Record<string, string> {
  const { folder, transport, databaseUrl, address } = options
  mkdirSync(join(folder, 'profiles'), { recursive: true })
  writeFileSync(join(folder, 'profiles/bench.yaml'), benchProfile())
  writeFileSync(join(folder, 'p1'), pepperHex, { mode: 0o600 })
  return {
    DATABASE_URL: databaseUrl,
    GATEWARDEN_DATA_DIR: folder,
    GATEWARDEN_PEPPERS: `p1=${join(folder, 'p1')}`,
    GATEWARDEN_PROFILES_DIR: join(folder, 'profiles'),
    GATEWARDEN_CHECK_LISTEN: address,
    GATEWARDEN_CHECK_TRANSPORT: transport,
    GATEWARDEN_ALS_LISTEN: `unix:${folder}/als.sock`,
    GATEWARDEN_METRICS_LISTEN: `unix:${folder}/metrics.sock`,
    GATEWARDEN_CLIENT_ADDRESS_MODE: 'grpc-metadata',
    GATEWARDEN_USAGE_SPOOL_MAX_BYTES: String(spoolBytesMax),
    GATEWARDEN_LOG_LEVEL: 'warn',
  }
}

/** Why this version cannot serve with these settings; undefined: it can. */
export async function faultOf(options: Omit<GatewardenOptions, 'core'>): Promise<string | undefined> {
  const { code, stdout, stderr } = await runGatewarden(
    ['check', '--check-config'],
    environment(options),
    options.folder,
  )
  const said = (stderr || stdout).trim().split('\n')
  return code === 0 ? undefined : (said.find(line => line.includes('transport')) ?? said.at(-1))
}

/** Starts it and waits until it has loaded and confirmed its keys. */
export function startGatewardenServer(options: GatewardenOptions): Promise<BenchProcess> {
  const { folder, core, nodeFlags = [] } = options
  const command = [process.execPath, ...nodeFlags, commandFile(), 'check']
  return startProcess(command, { core, env: environment(options), cwd: folder }, () => isReady(folder))
}

function isReady(folder: string): Promise<boolean> {
  return new Promise(resolve => {
    const call = get({ socketPath: join(folder, 'metrics.sock'), path: '/readyz', agent: false }, response => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    call.once('error', () => resolve(false))
  })
}

/** The metrics of a running one, as text. */
export function metricsOf(folder: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = get({ socketPath: join(folder, 'metrics.sock'), path: '/metrics', agent: false }, response => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', chunk => {
        text += chunk
      })
      response.once('end', () => resolve(text))
    })
    call.once('error', reject)
  })
}

export interface UsageCounts {
  readonly recorded: number
  readonly stored: number
}

/** What a running one has recorded and stored so far. */
export async function usageOf(folder: string): Promise<UsageCounts> {
  const text = await metricsOf(folder)
  const count = (name: string) => {
    const value = new RegExp(`^gatewarden_usage_${name}_total (\\d+)`, 'm').exec(text)?.[1]
    if (value === undefined) throw new Error(`there is no metric gatewarden_usage_${name}_total`)
    return Number(value)
  }
  return { recorded: count('recorded'), stored: count('written') }
}

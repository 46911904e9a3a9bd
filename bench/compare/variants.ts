// The authorizers that are compared: how each is found and how it is started. One that this machine cannot have is absent with a
// reason; nothing is skipped in silence.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../src/store/package-root.ts'
import { freePort } from '../../test/support/free-port.ts'
import { accepts, type BenchProcess, startProcess } from './bench-process.ts'
import { builtFile } from './built-file.ts'
import { faultOf, startGatewardenServer, type Transport, type UsageCounts, usageOf } from './gatewarden-server.ts'
import { type Found, grpcGo, tonic } from './peer-programs.ts'
import { askedSecrets } from './requests.ts'

export const variantNames = ['grpc-go', 'tonic', 'opa', 'grpc-js', 'h2', 'gatewarden-grpc-js', 'gatewarden-h2'] as const
export type VariantName = (typeof variantNames)[number]

/** What the table calls them. */
export const titles: Readonly<Record<VariantName, string>> = {
  'grpc-go': 'minimal grpc-go',
  tonic: 'minimal tonic (Rust)',
  opa: 'OPA-envoy',
  'grpc-js': 'grpc-js + proto-loader',
  h2: 'our h2 transport, minimal',
  'gatewarden-grpc-js': 'Gatewarden on grpc-js',
  'gatewarden-h2': 'Gatewarden on h2',
}

/** An authorizer that this machine can run. */
export interface Variant {
  readonly name: VariantName
  readonly versions: string
  /** Listens on the address and is ready. */
  start(address: string, core: number | null): Promise<BenchProcess>
  /** Checks that it recorded and rows of them in the database, since it started; the peers record nothing. */
  usage?(): Promise<UsageCounts>
}

export type Candidate = Variant | { readonly name: VariantName; readonly absent: string }

export interface VariantPorts {
  /** A folder for files of the run; short, since sockets lie in it. */
  readonly folder: string
  readonly databaseUrl: string
  readonly log: (line: string) => void
}

/** Finds or builds one. */
export async function findVariant(name: VariantName, ports: VariantPorts): Promise<Candidate> {
  if (name === 'grpc-go') return program(name, await grpcGo(ports.log), ports)
  if (name === 'tonic') return program(name, await tonic(ports.log), ports)
  if (name === 'opa') return opa(ports)
  if (name === 'grpc-js' || name === 'h2') {
    const script = builtFile(`peers/${name}.js`)
    return keyed(name, [process.execPath, script], `Node ${process.versions.node}`, ports)
  }
  return gatewarden(name === 'gatewarden-h2' ? 'h2' : 'grpc-js', ports)
}

function program(name: VariantName, found: Found, ports: VariantPorts): Candidate {
  if ('absent' in found) return { name, absent: found.absent }
  return keyed(name, [found.program], found.versions, ports)
}

/** A peer that takes its address and a file of keys. */
function keyed(name: VariantName, command: readonly string[], versions: string, { folder }: VariantPorts): Variant {
  const keyFile = join(folder, 'keys')
  writeFileSync(keyFile, `${askedSecrets().join('\n')}\n`)
  return {
    name,
    versions,
    start: (address, core) =>
      startProcess([...command, address, keyFile], { core, cwd: packageRoot() }, out => out.includes('listening')),
  }
}

/** OPA with its Envoy plugin, as OPA_BIN names it. */
function opa({ folder }: VariantPorts): Candidate {
  const binary = process.env['OPA_BIN']
  if (binary === undefined || binary === '')
    return { name: 'opa', absent: 'OPA_BIN names no opa with the Envoy plugin' }
  const data = join(folder, 'opa-keys.json')
  writeFileSync(data, JSON.stringify({ keys: Object.fromEntries(askedSecrets().map(secret => [secret, true])) }))
  const policy = join(packageRoot(), 'bench/peers/opa/policy.rego')
  return {
    name: 'opa',
    versions: binary,
    async start(address, core) {
      const api = await freePort()
      const plugin = 'plugins.envoy_ext_authz_grpc'
      const settings = [
        `${plugin}.addr=${toUrl(address)}`,
        `${plugin}.path=bench/result`,
        'decision_logs.console=false',
      ]
      const command = [binary, 'run', '--server', `--addr=127.0.0.1:${api}`, '--disable-telemetry', '--log-level=error']
      const sets = settings.map(setting => `--set=${setting}`)
      return startProcess([...command, ...sets, policy, data], { core }, () => accepts(address))
    },
  }
}

/** OPA writes unix sockets as URLs. */
function toUrl(address: string): string {
  return address.startsWith('unix:') ? `unix://${address.slice('unix:'.length)}` : address
}

async function gatewarden(transport: Transport, { folder, databaseUrl }: VariantPorts): Promise<Candidate> {
  const name = transport === 'h2' ? 'gatewarden-h2' : 'gatewarden-grpc-js'
  const own = join(folder, transport)
  mkdirSync(own, { recursive: true })
  const options = { transport, databaseUrl, folder: own }
  const fault = await faultOf({ ...options, address: `unix:${own}/check.sock` })
  if (fault !== undefined) return { name, absent: `this version does not have it: ${fault}` }
  return {
    name,
    versions: `Node ${process.versions.node}`,
    start: (address, core) => startGatewardenServer({ ...options, address, core }),
    usage: () => usageOf(own),
  }
}

export function isPresent(candidate: Candidate): candidate is Variant {
  return 'start' in candidate
}

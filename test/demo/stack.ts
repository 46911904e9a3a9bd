// The demo's machine: the ordinary `gatewarden serve` on an embedded database, a real Envoy with TLS in front, an upstream behind.
// Everything lives in one directory, listens on loopback or unix sockets, and is stopped by pid.
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { issueCertificate } from '../support/certificate-authority.ts'
import { envoyConfig } from '../support/envoy-config.ts'
import { type EnvoyProcess, startEnvoy } from '../support/envoy-process.ts'
import { freePort } from '../support/free-port.ts'
import { type Finished, type Running, runGatewarden, startGatewarden } from '../support/gatewarden-process.ts'
import { type Answer, sendRequest } from '../support/http-request.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { until } from '../support/until.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { documentedBudgets, stories } from './story.ts'

export interface DemoStack {
  readonly directory: string
  readonly edgePort: number
  readonly envoyAdminPort: number
  readonly metricsPort: number
  readonly adminAddress: string
  readonly caFile: string
  readonly adminKeyFile: string
  /** What `gatewarden` needs to reach this stack. */
  readonly environment: Readonly<Record<string, string>>
  /** Runs a client command against this stack. */
  gatewarden(...args: string[]): Promise<Finished>
  request(
    host: string,
    method: string,
    path: string,
    headers: readonly (readonly [string, string])[],
    body?: string,
  ): Promise<Answer>
  readonly upstream: Upstream
  stop(): Promise<void>
}

/** Time for the database to be made and the first proof of freshness; 2 to 4 s on a small machine. */
const readyWithinMs = 60_000

/** Starts everything; what was started is stopped again if a later part fails. */
export async function startDemoStack(): Promise<DemoStack> {
  const directory = mkdtempSync(join(tmpdir(), 'gatewarden-demo-'))
  // PostgreSQL does not run as root; the user it runs as then has to come through.
  chmodSync(directory, 0o755)
  const started: { stop(): Promise<unknown> }[] = []
  const stop = async () => {
    for (const part of started.reverse()) await part.stop()
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    const upstream = await startUpstream(new Map([['/v1/api/public/budgets', documentedBudgets]]))
    started.push(upstream)
    const dataDir = join(directory, 'data')
    const ports = { admin: await freePort(), check: await freePort(), metrics: await freePort() }
    const environment = {
      GATEWARDEN_ALS_LISTEN: `unix:${join(dataDir, 'als.sock')}`,
      GATEWARDEN_DATA_DIR: dataDir,
      GATEWARDEN_ADMIN_LISTEN: `127.0.0.1:${ports.admin}`,
      GATEWARDEN_CHECK_LISTEN: `unix:${join(dataDir, 'check.sock')},127.0.0.1:${ports.check}`,
      GATEWARDEN_METRICS_LISTEN: `127.0.0.1:${ports.metrics}`,
      GATEWARDEN_CLI_SERVER: `127.0.0.1:${ports.admin}`,
      GATEWARDEN_CLI_KEY_FILE: join(dataDir, 'admin.key'),
      GATEWARDEN_PROFILES_DIR: repositoryFile('profiles'),
    }
    const serve = startGatewarden(['serve'], environment, directory)
    started.push(serve)
    await ready(serve, ports.metrics)
    const { envoy, caFile } = await startEdge(directory, dataDir, upstream.port)
    started.push(envoy)
    const ca = readFileSync(caFile)
    return {
      directory,
      edgePort: envoy.port('edge'),
      envoyAdminPort: envoy.adminPort,
      metricsPort: ports.metrics,
      adminAddress: environment.GATEWARDEN_ADMIN_LISTEN,
      caFile,
      adminKeyFile: environment.GATEWARDEN_CLI_KEY_FILE,
      environment,
      gatewarden: (...args) => runGatewarden(args, environment, directory),
      request: (host, method, path, headers, body) =>
        sendRequest({
          port: envoy.port('edge'),
          method,
          path,
          host,
          headers,
          ca,
          ...(body === undefined ? {} : { body }),
        }),
      upstream,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Waits for readiness or for the end of the process, whichever comes first. */
async function ready(serve: Running, metricsPort: number): Promise<void> {
  let ended: number | null | undefined
  void serve.exited.then(code => {
    ended = code
  })
  const probe = { port: metricsPort, method: 'GET', path: '/readyz', host: 'localhost', headers: [] }
  const isReady = async () => ended !== undefined || (await sendRequest(probe)).status === 200
  await until('gatewarden serve is ready', isReady, readyWithinMs).catch((error: unknown) => {
    throw new Error(`gatewarden serve does not get ready:\n${serve.output()}`, { cause: error })
  })
  if (ended !== undefined) throw new Error(`gatewarden serve ended with ${ended}:\n${serve.output()}`)
}

interface Edge {
  readonly envoy: EnvoyProcess
  readonly caFile: string
}

/** The shipped unix-socket configuration with TLS for the products' host names. */
async function startEdge(directory: string, dataDir: string, upstreamPort: number): Promise<Edge> {
  const tlsDirectory = join(directory, 'tls')
  mkdirSync(tlsDirectory)
  const tls = issueCertificate(
    tlsDirectory,
    stories.map(story => story.host),
  )
  const config = envoyConfig(repositoryFile('envoy/envoy-uds.yaml'), {
    listeners: ['edge'],
    clusters: {
      gatewarden: { socket: join(dataDir, 'check.sock') },
      gatewarden_als: { socket: join(dataDir, 'als.sock') },
      facade: { socket: join(dataDir, 'facade.sock') },
      api: { port: upstreamPort },
    },
    tls,
  })
  return { envoy: await startEnvoy(config), caFile: tls.caFile }
}

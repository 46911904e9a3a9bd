// A real Envoy on envoy/golden.yaml in front of the check role as it is wired for production, on a real database with the golden rows.
// Database time alone is replaced, by the case's now; the lease clock is real.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type GoldenCase, goldenHosts, goldenSettings, secretsFilled } from '../core/cases.ts'
import { envoyConfig } from '../support/envoy-config.ts'
import { startEnvoy } from '../support/envoy-process.ts'
import { type Answer, sendRequest } from '../support/http-request.ts'
import type { TestDatabase } from '../support/postgres.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { startCheckRole } from './check-role.ts'

export type CheckTransport = 'tcp' | 'unix'
/** Listeners of the golden configuration: `raw` sends header_map, `map` sends headers. */
export type HeaderForm = 'raw' | 'map'

/** What cases of one edge share: settings that a deployment fixes. */
export interface EdgeSettings {
  readonly transport: CheckTransport
  readonly hops: number
  readonly accept: readonly string[] | null
}

export interface GoldenEdge {
  readonly upstream: Upstream
  /** Sets database time. */
  setNow(now: string): void
  /** `agent` is the request's user agent, by which its row in the usage log is found. */
  send(golden: GoldenCase, form: HeaderForm, agent?: string): Promise<Answer>
  stop(): Promise<void>
}

/** Starts the edge; it is ready to be asked. */
export async function startGoldenEdge(database: TestDatabase, settings: EdgeSettings): Promise<GoldenEdge> {
  const directory = mkdtempSync(join(tmpdir(), 'gw-golden-'))
  const upstream = await startUpstream()
  const role = await startCheckRole(database.database, {
    directory,
    listen: [settings.transport === 'tcp' ? '127.0.0.1:0' : `unix:${join(directory, 'check.sock')}`],
    now: goldenSettings.now,
    settings: {
      GATEWARDEN_CLIENT_ADDRESS_MODE: 'xff-hops',
      GATEWARDEN_CLIENT_ADDRESS_HOPS: String(settings.hops),
      GATEWARDEN_CLIENT_ADDRESS_APPENDED: 'true',
      ...(settings.accept === null ? {} : { GATEWARDEN_DEPLOYMENT_ACCEPT: settings.accept.join(',') }),
    },
  })
  const [gatewarden] = role.endpoints
  if (gatewarden === undefined) throw new Error('the check role listens nowhere')
  const envoy = await startEnvoy(
    envoyConfig(repositoryFile('envoy/golden.yaml'), {
      listeners: ['raw', 'map'],
      clusters: { gatewarden, api: { port: upstream.port } },
    }),
  )
  return {
    upstream,
    setNow: role.setNow,
    send: (golden, form, agent = 'golden') =>
      sendRequest({
        port: envoy.port(form),
        host: goldenHosts[golden.profile],
        method: golden.method,
        path: golden.path,
        headers: [
          ['user-agent', agent],
          ...(golden.credential === null
            ? []
            : [[golden.credential.header, secretsFilled(golden.credential.value)] as const]),
          ...(golden.xff === null ? [] : [['x-forwarded-for', golden.xff] as const]),
        ],
      }),
    async stop() {
      await envoy.stop()
      await role.stop()
      await upstream.stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

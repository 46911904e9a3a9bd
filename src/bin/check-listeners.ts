// Where the check role listens, with which credentials and over which transport; all of its listeners start or none does.
import type { ServerCredentials } from '@grpc/grpc-js'
import type { Config } from '../config/config.ts'
import type { Sample } from '../observe/metrics.ts'
import type { Health } from '../rpc/health.ts'
import { startGrpcJsServer } from '../transport/grpc-js-server.ts'
import type { ConnectionEvents } from '../transport/h2/abuse.ts'
import { type H2Server, startH2Server } from '../transport/h2/server.ts'
import type { UnaryServer, UnaryService } from '../transport/unary-server.ts'
import { type TlsWatchPorts, watchedCredentials } from './tls-watch.ts'
import { unaryHealth } from './unary-health.ts'

/** The listeners of a role as one server. */
export interface CheckServer extends UnaryServer {
  /** How often each limit of the h2 transport was met; empty without it. */
  h2Limits(): Sample[]
  /** What happened on the connections of the h2 transport; zeros without it. */
  h2Events(): ConnectionEvents
}

/** Starts them. @throws StartError, or Error naming the address that cannot be bound; nothing listens then. */
export async function startCheckServer(
  config: Config,
  service: UnaryService,
  health: Health,
  ports: TlsWatchPorts,
): Promise<CheckServer> {
  const servers: UnaryServer[] = []
  const h2: H2Server[] = []
  try {
    for (const { listen, credentials } of listenGroups(config, ports)) {
      if (credentials === undefined && config.check.transport === 'h2') {
        const report = (error: unknown) => ports.log.error('a call threw and was answered with INTERNAL', { error })
        h2.push(await startH2Server({ listen, services: [service, unaryHealth(health)], report }))
      } else {
        const options = { listen, services: [service], register: health.addTo }
        servers.push(await startGrpcJsServer(credentials === undefined ? options : { ...options, credentials }))
      }
    }
  } catch (error) {
    await Promise.all([...servers, ...h2].map(server => server.drain(0)))
    throw error
  }
  const all = [...h2, ...servers]
  return {
    addresses: all.flatMap(server => server.addresses),
    drain: async deadlineMs => void (await Promise.all(all.map(server => server.drain(deadlineMs)))),
    h2Limits: () =>
      h2.flatMap(server => Object.entries(server.limits).map(([limit, value]) => ({ labels: { limit }, value }))),
    h2Events: () =>
      h2.reduce(
        ({ resets, goaways, pauses }, { events }) => ({
          resets: resets + events.resets,
          goaways: goaways + events.goaways,
          pauses: pauses + events.pauses,
        }),
        { resets: 0, goaways: 0, pauses: 0 },
      ),
  }
}

interface ListenGroup {
  readonly listen: readonly string[]
  /** Absent: cleartext. */
  readonly credentials?: ServerCredentials
}

/** Unix sockets are cleartext behind file permissions; TCP speaks TLS where it is configured. @throws StartError */
function listenGroups({ check }: Config, ports: TlsWatchPorts): readonly ListenGroup[] {
  if (check.tls === null) return [{ listen: check.listen }]
  const isUnix = (address: string) => address.startsWith('unix:')
  const unix = check.listen.filter(isUnix)
  const tcp = check.listen.filter(address => !isUnix(address))
  const groups = [{ listen: unix }, { listen: tcp, credentials: watchedCredentials('check.tls', check.tls, ports) }]
  return groups.filter(({ listen }) => listen.length > 0)
}

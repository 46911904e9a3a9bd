// The facade of the admin role, wired: the product-shaped create call on its own listener, answered by the shared command.
// A socket is open to owner and group only from its first moment on; TCP needs certificates both ways.
import { dirname } from 'node:path'
import type { ApiKeyContext } from '../admin/api-key-context.ts'
import { answerFacadeRequest, type FacadeContext, type FacadeOutcome } from '../admin/facade-call.ts'
import { type FacadeListen, type FacadeServer, type FacadeTls, startFacadeServer } from '../admin/facade-server.ts'
import type { Config } from '../config/config.ts'
import { parseListen } from '../config/listen-address.ts'
import type { Log } from '../observe/log.ts'
import { type Metrics, samplesOfMap } from '../observe/metrics.ts'
import { removeStaleSocket, restrictSocket } from '../transport/unix-socket.ts'
import { prepareDataDir } from './data-dir.ts'
import type { Profiles } from './profiles.ts'
import { StartError } from './start-error.ts'
import { readTlsFiles } from './tls-files.ts'

/** What the facade gets from outside. */
export interface FacadePorts {
  readonly context: ApiKeyContext
  readonly profiles: Profiles
  readonly log: Log
  /** Unix milliseconds. */
  readonly wall: () => number
}

export interface RunningFacade extends FacadeServer {
  /** Shows its metrics. */
  observe(metrics: Metrics): void
}

/** Opens the listener. @throws StartError, Error of node:net */
export async function startFacade(config: Config, ports: FacadePorts): Promise<RunningFacade> {
  const { context, profiles, log, wall } = ports
  const counts = new Map<FacadeOutcome, number>()
  const count = (outcome: FacadeOutcome) => void counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  const facade = { ...context, currentProfiles: () => profiles.current(), wall, log, count }
  const server = await listenForEnvoy(config, facade, log)
  return {
    ...server,
    observe: metrics => metrics.read('gatewarden_facade_requests_total', () => samplesOfMap('outcome', counts)),
  }
}

async function listenForEnvoy(config: Config, facade: FacadeContext, log: Log): Promise<FacadeServer> {
  const listen = facadeListen(config)
  const start = () => startFacadeServer(listen, (request, frame) => answerFacadeRequest(facade, request, frame))
  if (listen.kind === 'tcp') return followFiles(await start(), listen.tls, config, log)
  if (dirname(listen.path) === config.dataDir) prepareDataDir(config)
  await removeStaleSocket(listen.path)
  const umask = process.umask(0o117)
  const server = await start().finally(() => process.umask(umask))
  await restrictSocket(listen.path)
  return server
}

/** How often the files are looked at: a certificate is renewed days before the old one ends. */
const lookAgainMs = 10_000

/** Serves new certificates as soon as the files hold them; a pair that does not fit never replaces one that works. */
function followFiles(server: FacadeServer, initial: FacadeTls, config: Config, log: Log): FacadeServer {
  let current = initial
  let lastRefusal = ''
  const timer = setInterval(() => {
    try {
      const listen = facadeListen(config)
      if (listen.kind !== 'tcp' || isSame(listen.tls, current)) return
      server.renew(listen.tls)
      current = listen.tls
      lastRefusal = ''
      log.info('certificate files were read again', { listener: 'facade' })
    } catch (error) {
      const refusal = error instanceof Error ? error.message : String(error)
      if (refusal !== lastRefusal)
        log.error('changed certificate files are refused; the last good ones serve', { error })
      lastRefusal = refusal
    }
  }, lookAgainMs)
  timer.unref()
  return {
    ...server,
    drain: deadlineMs => {
      clearInterval(timer)
      return server.drain(deadlineMs)
    },
  }
}

function isSame(some: FacadeTls, others: FacadeTls): boolean {
  return some.cert.equals(others.cert) && some.key.equals(others.key) && some.clientCa.equals(others.clientCa)
}

/** Where to listen, with the files that TCP needs. @throws StartError */
export function facadeListen({ facade, admin }: Config): FacadeListen {
  const target = parseListen(facade.listen)
  if (target === undefined) throw new StartError(`facade.listen is ${facade.listen}, which is no address.`)
  if (target.kind === 'unix') return target
  const texts = admin.tls === null ? null : readTlsFiles('admin.tls', admin.tls)
  if (texts === null || texts.clientCa === null || facade.trustedPeers.length === 0) {
    throw new StartError(
      'facade.listen on TCP needs admin.tls with cert, key and client_ca, and facade.trusted_peers: it believes what its peers say of callers.',
    )
  }
  const { cert, key, clientCa } = texts
  return { ...target, tls: { cert, key, clientCa }, trustedPeers: facade.trustedPeers }
}

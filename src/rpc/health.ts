// grpc.health.v1: says for "" (the whole server) and for named services whether to send calls here.
// The owner sets the states; this file only tells them. It can be added to any grpc-js server.
import { type Server, type ServerWritableStream, status } from '@grpc/grpc-js'
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  type HealthServer,
  HealthService,
} from '../gen/grpc/health/v1/health.ts'

export type ServingState = 'SERVING' | 'NOT_SERVING'

/** Open Watch streams of one server: load balancers hold one a connection; more than this is a leak or an attack. */
const watchesMax = 1000

type Watch = ServerWritableStream<HealthCheckRequest, HealthCheckResponse>

/** The health states of one server. */
export interface Health {
  /** Adds the health service to a server. */
  addTo(server: Server): void
  /** The state of a service; undefined: there is no such service. For transports that have their own encoding. */
  stateOf(service: string): ServingState | undefined
  /** Sets one service, or all of them with `''`, and tells the watchers. Ignored once draining. */
  set(service: string, state: ServingState): void
  /** NOT_SERVING for good, whatever the owner sets later. */
  startDraining(): void
  /** Ends every open Watch, so that a server that waits for its streams can stop. */
  endWatches(): void
}

/**
 * Makes the states of `""` and the named services, all NOT_SERVING.
 * @param services full names, e.g. `envoy.service.auth.v3.Authorization`
 */
export function createHealth(services: readonly string[]): Health {
  const states = new Map<string, ServingState>(['', ...services].map(name => [name, 'NOT_SERVING']))
  const watches = new Map<Watch, string>()
  let draining = false

  function set(service: string, state: ServingState): void {
    if (!states.has(service)) throw new Error(`no such health service: ${service}`)
    if (draining) return
    for (const name of service === '' ? states.keys() : [service]) {
      if (states.get(name) === state) continue
      states.set(name, state)
      for (const [watch, watched] of watches) if (watched === name) watch.write(replyOf(state))
    }
  }

  const implementation: HealthServer = {
    check({ request }, reply) {
      const state = states.get(request.service)
      if (state === undefined) reply({ code: status.NOT_FOUND, details: 'unknown service' })
      else reply(null, replyOf(state))
    },
    watch(call) {
      if (watches.size >= watchesMax) {
        call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'too many watches' })
        return
      }
      watches.set(call, call.request.service)
      call.on('cancelled', () => watches.delete(call))
      call.on('close', () => watches.delete(call))
      const state = states.get(call.request.service)
      call.write(state === undefined ? { status: HealthCheckResponse_ServingStatus.SERVICE_UNKNOWN } : replyOf(state))
    },
  }

  return {
    addTo: server => server.addService(HealthService, implementation),
    stateOf: service => states.get(service),
    set,
    startDraining() {
      set('', 'NOT_SERVING')
      draining = true
    },
    endWatches() {
      for (const watch of watches.keys()) watch.end()
      watches.clear()
    },
  }
}

function replyOf(state: ServingState): HealthCheckResponse {
  return { status: HealthCheckResponse_ServingStatus[state] }
}

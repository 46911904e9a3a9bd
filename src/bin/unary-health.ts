// Health/Check for the transport that takes octets: the same states as everywhere. Watch is UNIMPLEMENTED there.
import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
} from '../gen/grpc/health/v1/health.ts'
import type { Health } from '../rpc/health.ts'
import type { UnaryService } from '../transport/unary-server.ts'

const notFound = 5
const invalidArgument = 3

const replies = {
  SERVING: HealthCheckResponse.encode({ status: HealthCheckResponse_ServingStatus.SERVING }).finish(),
  NOT_SERVING: HealthCheckResponse.encode({ status: HealthCheckResponse_ServingStatus.NOT_SERVING }).finish(),
}

export function unaryHealth(health: Pick<Health, 'stateOf'>): UnaryService {
  return {
    method: '/grpc.health.v1.Health/Check',
    metadataNames: [],
    handler(octets, start, end, _, reply) {
      const service = serviceIn(octets.subarray(start, end))
      if (service === undefined) return reply.fail(invalidArgument, 'the request cannot be read')
      const state = health.stateOf(service)
      if (state === undefined) return reply.fail(notFound, 'unknown service')
      reply.message(replies[state], 0, replies[state].length)
    },
    endOfBatch() {},
  }
}

function serviceIn(octets: Buffer): string | undefined {
  try {
    return HealthCheckRequest.decode(octets).service
  } catch {
    return undefined
  }
}

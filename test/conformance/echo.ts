// A service for foreign clients: answers every message with its octets reversed, and `fail` as the first octets with UNAVAILABLE.
import { messageLengthMax } from '../../src/transport/grpc-js-server.ts'
import type { UnaryService } from '../../src/transport/unary-server.ts'

export const echoMethod = '/gatewarden.test.Echo/Reverse'

export function reversingEcho(): UnaryService {
  const scratch = Buffer.alloc(messageLengthMax)
  return {
    method: echoMethod,
    metadataNames: ['x-status-text'],
    handler(octets, start, end, metadata, reply) {
      if (octets.toString('latin1', start, Math.min(start + 4, end)) === 'fail') {
        reply.fail(14, metadata.value(0) ?? 'not decided')
        return
      }
      octets.copy(scratch, 0, start, end)
      scratch.subarray(0, end - start).reverse()
      reply.message(scratch, 0, end - start)
    },
    endOfBatch() {},
  }
}

// Our h2 transport with the decision of the other peers: a key looked up in a set, messages by ts-proto, nothing recorded. Beside
// minimal grpc-go and tonic it shows what the transport costs, beside Gatewarden on h2 what its decision and its usage log do.
// Usage: node h2.js LISTEN KEYS. Prints "listening" once it accepts connections and ends on SIGTERM.
import { readFileSync } from 'node:fs'
import { HeaderValueOption } from '../../src/gen/envoy/config/core/v3/base.ts'
import { CheckRequest, CheckResponse } from '../../src/gen/envoy/service/auth/v3/external_auth.ts'
import { Status } from '../../src/gen/google/rpc/status.ts'
import { startH2Server } from '../../src/transport/h2/server.ts'

const headerOf = (key: string, value: string) => HeaderValueOption.fromPartial({ header: { key, value } })

function replyOf(code: number, httpResponse: CheckResponse['httpResponse']): CheckResponse {
  return { status: Status.fromPartial({ code }), httpResponse, dynamicMetadata: undefined }
}

function denial(code: number, httpStatus: 401 | 403, text: string): CheckResponse {
  const body = JSON.stringify({ error: { code: text, message: text } })
  const headers = [headerOf('content-type', 'application/json')]
  return replyOf(code, { $case: 'deniedResponse', value: { status: { code: httpStatus }, headers, body } })
}

const allow = replyOf(0, {
  $case: 'okResponse',
  value: {
    headers: [
      headerOf('x-organization-id', 'org_019ca000-0000-7000-8000-000000000001'),
      headerOf('x-api-key-id', 'key_019ca000-0000-7000-8000-000000000001'),
    ],
    headersToRemove: ['x-api-key'],
    responseHeadersToAdd: [],
  },
})
const unknown = denial(16, 401, 'invalid')
const unauthorized = denial(7, 403, 'scope')

const [address = '', keyFile = ''] = process.argv.slice(2)
const keys = new Set(readFileSync(keyFile, 'utf8').split('\n'))

function answer(bytes: Buffer): CheckResponse {
  const http = CheckRequest.decode(bytes).attributes?.request?.http
  // Envoy fills one of the two, by `encode_raw_headers`.
  const raw = http?.headerMap?.headers.find(({ key }) => key === 'x-api-key')?.rawValue.toString('latin1')
  if (!keys.has(http?.headers.get('x-api-key') ?? raw ?? '')) return unknown
  return http?.path.startsWith('/v1/none/') ? unauthorized : allow
}

const server = await startH2Server({
  listen: [address],
  services: [
    {
      method: '/envoy.service.auth.v3.Authorization/Check',
      metadataNames: [],
      handler(bytes, start, end, _metadata, reply) {
        const message = CheckResponse.encode(answer(bytes.subarray(start, end))).finish()
        reply.message(message, 0, message.length)
      },
      endOfBatch: () => undefined,
    },
  ],
  report: error => process.stderr.write(`${String(error)}\n`),
})
process.stdout.write('listening\n')
process.once('SIGTERM', () => void server.drain(0))

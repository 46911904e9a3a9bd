// The usual way in Node: @grpc/grpc-js with messages decoded by @grpc/proto-loader. Allows and denies as the other peers do.
// Usage: node grpc-js.js LISTEN KEYS. Prints "listening" once it accepts connections and ends on SIGTERM.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { packageRoot } from '../../src/store/package-root.ts'

interface HttpRequest {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly headerMap: { readonly headers: readonly { readonly key: string; readonly rawValue: Buffer }[] } | null
}

interface Call {
  readonly request: { readonly attributes: { readonly request: { readonly http: HttpRequest } } }
}

function headerOf(key: string, value: string) {
  return { header: { key, value }, append: { value: false } }
}

function denial(code: grpc.status, httpStatus: number, text: string) {
  return {
    status: { code },
    deniedResponse: {
      status: { code: httpStatus },
      headers: [headerOf('content-type', 'application/json')],
      body: JSON.stringify({ error: { code: text, message: text } }),
    },
  }
}

const allow = {
  status: { code: grpc.status.OK },
  okResponse: {
    headers: [
      headerOf('x-organization-id', 'org_019ca000-0000-7000-8000-000000000001'),
      headerOf('x-api-key-id', 'key_019ca000-0000-7000-8000-000000000001'),
    ],
    headersToRemove: ['x-api-key'],
  },
}
const unknown = denial(grpc.status.UNAUTHENTICATED, 401, 'invalid')
const unauthorized = denial(grpc.status.PERMISSION_DENIED, 403, 'scope')

/** Envoy fills one of the two, by `encode_raw_headers`. */
function keyOf({ headers, headerMap }: HttpRequest): string {
  const key = headers['x-api-key']
  if (key !== undefined) return key
  return headerMap?.headers.find(header => header.key === 'x-api-key')?.rawValue.toString('latin1') ?? ''
}

const [address = '', keyFile = ''] = process.argv.slice(2)
const keys = new Set(readFileSync(keyFile, 'utf8').split('\n'))
const definition = loadSync('envoy/service/auth/v3/external_auth.proto', {
  includeDirs: [join(packageRoot(), 'proto')],
  defaults: true,
})
const service = definition['envoy.service.auth.v3.Authorization'] as grpc.ServiceDefinition
const server = new grpc.Server()
server.addService(service, {
  Check({ request }: Call, callback: (error: null, reply: object) => void) {
    const { http } = request.attributes.request
    if (!keys.has(keyOf(http))) callback(null, unknown)
    else callback(null, http.path.startsWith('/v1/none/') ? unauthorized : allow)
  },
} as unknown as grpc.UntypedServiceImplementation)
server.bindAsync(address, grpc.ServerCredentials.createInsecure(), error => {
  if (error !== null) throw error
  process.stdout.write('listening\n')
})
process.once('SIGTERM', () => server.forceShutdown())

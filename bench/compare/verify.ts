// Asks a server through a real gRPC client and compares whole answers: the cheap client of the load sees only the first octets.
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { CheckResponse } from '../../src/gen/envoy/service/auth/v3/external_auth.ts'
import { type BenchRequest, clientAddress, isRaw, type MixName, requestsOf, toCheckRequest } from './requests.ts'

const method = '/envoy.service.auth.v3.Authorization/Check'
/** Of each mix; a stride that is coprime to its length meets every kind of request. */
const samples = 100
const stride = 101
const deadlineMs = 5000

function call(client: Client, request: Buffer): Promise<CheckResponse> {
  const metadata = new Metadata()
  metadata.set('x-gatewarden-client-ip', clientAddress)
  const options = { deadline: Date.now() + deadlineMs }
  const passThrough = (octets: Buffer) => octets
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(method, passThrough, passThrough, request, metadata, options, (error, reply) => {
      if (error !== null || reply === undefined) reject(error ?? new Error('no reply'))
      else resolve(CheckResponse.decode(reply))
    })
  })
}

/** What is wrong with a reply; undefined: it is right. */
function faultOf(request: BenchRequest, reply: CheckResponse): string | undefined {
  const { status, httpResponse } = reply
  const code = status?.code
  if (request.status === 200) {
    const isAllow = code === 0 && httpResponse?.$case === 'okResponse' && httpResponse.value.headers.length >= 2
    return isAllow ? undefined : `denied (${code}) instead of allowed`
  }
  if (httpResponse?.$case !== 'deniedResponse' || code === 0 || code === undefined) return `allowed (${code})`
  const got = httpResponse.value.status?.code
  return got === request.status ? undefined : `HTTP status ${got} instead of ${request.status}`
}

/** @throws Error naming the first answer that is wrong. */
export async function verifyServer(address: string, mix: MixName): Promise<void> {
  const requests = requestsOf(mix)
  const client = new Client(address, credentials.createInsecure())
  try {
    for (let i = 0; i < Math.min(samples, requests.length); i++) {
      const request = requests[(i * stride) % requests.length]
      if (request === undefined) continue
      const fault = faultOf(request, await call(client, toCheckRequest(request, isRaw(mix))))
      if (fault !== undefined) throw new Error(`request ${request.number} of the mix ${mix}: ${fault}`)
    }
  } finally {
    client.close()
  }
}

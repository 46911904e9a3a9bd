// One Check through gRPC, as an Envoy sends it.
import { credentials } from '@grpc/grpc-js'
import {
  AuthorizationClient,
  CheckRequest,
  type CheckResponse,
} from '../../src/gen/envoy/service/auth/v3/external_auth.ts'

/** Asks for a bitbybit customer list with a secret. @throws ServiceError */
export function callCheck(address: string, secret: string): Promise<CheckResponse> {
  const client = new AuthorizationClient(address, credentials.createInsecure())
  const http = {
    method: 'GET',
    path: '/customer/open/v1/customers',
    host: 'api.bitbybit.studio',
    headers: new Map([['x-api-key', secret]]),
  }
  return new Promise((resolve, reject) => {
    client.check(CheckRequest.create({ attributes: { request: { http } } }), (error, reply) => {
      client.close()
      if (error === null) resolve(reply)
      else reject(error)
    })
  })
}

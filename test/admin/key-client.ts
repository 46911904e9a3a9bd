// A client of the key services over real gRPC, built from the .proto files by another reader than our generated code.
import { randomUUID } from 'node:crypto'
import { type Client, credentials, loadPackageDefinition, Metadata, type ServiceError } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { afterAll, beforeAll, expect } from 'vitest'
import { allowlistAdmin } from '../../src/admin/allowlist-admin.ts'
import { apiKeyAdmin } from '../../src/admin/api-key-admin.ts'
import { organizationAdmin } from '../../src/admin/organization-admin.ts'
import { usageAdmin } from '../../src/admin/usage-admin.ts'
import { AllowlistAdminService } from '../../src/gen/gatewarden/admin/v1/allowlist_admin.ts'
import { ApiKeyAdminService } from '../../src/gen/gatewarden/admin/v1/api_key_admin.ts'
import { OrganizationAdminService } from '../../src/gen/gatewarden/admin/v1/organization_admin.ts'
import { UsageAdminService } from '../../src/gen/gatewarden/admin/v1/usage_admin.ts'
import { RpcFailure } from '../../src/rpc/client.ts'
import { listen } from '../../src/rpc/listen.ts'
import { addService, createServer } from '../../src/rpc/server.ts'
import { repositoryFile } from '../support/repository-file.ts'
import { useWorld, type World } from './admin-world.ts'

/** A timestamp or duration as proto-loader gives it. */
export interface Seconds {
  readonly seconds: string | number
  readonly nanos?: number
}

/** An API key as proto-loader gives it. */
export interface KeyJson {
  readonly name: string
  readonly displayName: string
  readonly description: string
  readonly environment: string
  readonly scopeMode: string
  readonly scopes: string[]
  readonly allowlist: { readonly cidr: string; readonly label: string }[]
  readonly expireTime: Seconds | null
  readonly rateLimit: { readonly limit?: string; readonly window: Seconds } | null
  readonly labels: Record<string, string>
  readonly state: string
  readonly keyHint: string
  readonly form: string
  readonly pepperId: string
  readonly createTime: Seconds
  readonly rotatedFrom: string
  readonly rotatedTo: string
  readonly graceEndTime: Seconds | null
  readonly revokeReason: string
  readonly suspendReason: string
  readonly revision: string
  readonly etag: string
}

/** Members that replies of the key RPCs have, as far as they have them. */
export interface Reply {
  readonly apiKey: KeyJson
  readonly predecessor: KeyJson
  readonly apiKeys: KeyJson[]
  readonly secret: string
  readonly secretAlreadyDelivered: boolean
  readonly warnings: { readonly code: string; readonly field: string }[]
  readonly revision: string
  readonly revisionToken: string
  readonly nextPageToken: string
  readonly organization: { readonly name: string; readonly etag: string }
}

type Callback = (error: ServiceError | null, reply: unknown) => void
type Unary = (request: object, metadata: Metadata, options: object, callback: Callback) => void
type ServerStream = (request: object, metadata: Metadata, options: object) => AsyncIterable<unknown>
type ClientStream = (
  metadata: Metadata,
  options: object,
  callback: Callback,
) => {
  write(message: object): boolean
  end(): void
  on(event: 'error', listener: () => void): void
}

const deadlineMs = 20_000

export interface KeyClient {
  readonly world: World
  /** One unary call. @throws RpcFailure */
  call<Result = Reply>(method: string, request: object): Promise<Result>
  stream<Result>(method: string, messages: readonly object[]): Promise<Result>
  /** All messages of a call that answers with a stream. `adminKey`: of another caller than the ROOT. */
  download<Message>(method: string, request: object, adminKey?: string): Promise<Message[]>
  /** One unary call of another caller. */
  callAs<Result = Reply>(adminKey: string, method: string, request: object): Promise<Result>
  /** A new organization's name. */
  organization(profile?: string): Promise<string>
  /** A new key with scopes that its profile knows. */
  key(parent: string, members?: object, more?: object): Promise<Reply>
}

const scopesOf: Record<string, string> = {
  bitbybit: 'customers:READ',
  billoget: 'READ_BUDGETS',
  bitgpt: 'invoices.read',
}

/** Registers hooks that serve a world for the file. */
export function useKeyClient(): () => KeyClient {
  const world = useWorld()
  let client: KeyClient | undefined
  let close = () => {}
  const unforeseen: object[] = []
  beforeAll(async () => {
    const server = createServer()
    const { context, rootKey } = world()
    const log = {
      error(_message: string, fields: object) {
        if (!('cause' in fields && isForeseen(fields.cause))) unforeseen.push(fields)
      },
    }
    addService(server, ApiKeyAdminService, apiKeyAdmin(context), log)
    addService(server, AllowlistAdminService, allowlistAdmin(context), log)
    addService(server, OrganizationAdminService, organizationAdmin(context), log)
    addService(server, UsageAdminService, usageAdmin(context), log)
    const address = await listen(server, { kind: 'tcp', host: '127.0.0.1', port: 0 })
    const services = connect(address)
    client = clientOf(world(), services, rootKey)
    close = () => {
      for (const service of services.values()) service.close()
      server.forceShutdown()
    }
  })
  afterAll(() => {
    close()
    expect(unforeseen, 'errors that nobody foresaw').toEqual([])
  })
  return () => client ?? expect.fail('the client exists only inside hooks and tests')
}

/** A busy machine may keep the pool waiting: that has an answer of its own. */
function isForeseen(cause: unknown): boolean {
  return cause instanceof Error && 'fault' in cause
}

function connect(address: string): Map<string, Client> {
  const proto = repositoryFile('proto')
  const files = ['api_key_admin', 'allowlist_admin', 'organization_admin', 'usage_admin'].map(
    name => `${proto}/gatewarden/admin/v1/${name}.proto`,
  )
  const definition = loadSync(files, {
    includeDirs: [proto],
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  })
  const tree = loadPackageDefinition(definition) as unknown as {
    gatewarden: { admin: { v1: Record<string, typeof Client> } }
  }
  const services = new Map<string, Client>()
  for (const name of ['ApiKeyAdmin', 'AllowlistAdmin', 'OrganizationAdmin', 'UsageAdmin']) {
    const Service = tree.gatewarden.admin.v1[name]
    if (Service === undefined) throw new Error(`no service ${name}`)
    services.set(name, new Service(address, credentials.createInsecure()))
  }
  return services
}

function clientOf(world: World, services: ReadonlyMap<string, Client>, rootKey: string): KeyClient {
  const keyed = (adminKey: string) => {
    const metadata = new Metadata()
    metadata.set('authorization', `Bearer ${adminKey}`)
    return metadata
  }
  const metadata = keyed(rootKey)
  const methodOf = (name: string) => {
    for (const service of services.values()) {
      const method: unknown = Reflect.get(service, name)
      if (typeof method === 'function') return method.bind(service) as Unary & ClientStream & ServerStream
    }
    throw new Error(`no method ${name}`)
  }
  const settle =
    <Result>(resolve: (reply: Result) => void, reject: (error: Error) => void): Callback =>
    (error, reply) => {
      if (error === null) resolve(reply as Result)
      else reject(new RpcFailure(error))
    }
  const options = () => ({ deadline: Date.now() + deadlineMs })
  const client: KeyClient = {
    world,
    call: (method, request) =>
      new Promise((resolve, reject) => methodOf(method)(request, metadata, options(), settle(resolve, reject))),
    stream: (method, messages) =>
      new Promise((resolve, reject) => {
        const stream = (methodOf(method) as ClientStream)(metadata, options(), settle(resolve, reject))
        stream.on('error', () => undefined)
        for (const message of messages) stream.write(message)
        stream.end()
      }),
    async download<Message>(method: string, request: object, adminKey = rootKey) {
      const messages: Message[] = []
      try {
        const stream = (methodOf(method) as ServerStream)(request, keyed(adminKey), options())
        for await (const message of stream) messages.push(message as Message)
      } catch (error) {
        throw new RpcFailure(error as ServiceError)
      }
      return messages
    },
    callAs: (adminKey, method, request) =>
      new Promise((resolve, reject) => methodOf(method)(request, keyed(adminKey), options(), settle(resolve, reject))),
    async organization(profile = 'bitbybit') {
      const reply = await client.call('createOrganization', {
        organization: { displayName: 'Example', profile: `profiles/${profile}` },
        requestId: randomUUID(),
      })
      return reply.organization.name
    },
    key: async (parent, members = {}, more = {}) => {
      const profile = await profileOf(world, parent)
      const apiKey = { displayName: 'A key', scopes: [scopesOf[profile] ?? ''], ...members }
      return client.call('createApiKey', { parent, apiKey, requestId: randomUUID(), ...more })
    },
  }
  return client
}

async function profileOf(world: World, parent: string): Promise<string> {
  const { rows } = await world.pool.query('SELECT profile FROM organizations WHERE id = $1', [parent.split('/')[1]])
  return rows[0]?.profile ?? ''
}

/** The failure that a call ends with. */
export async function failure(call: Promise<unknown>): Promise<RpcFailure> {
  const thrown = await call.then(
    value => new Error(`the call succeeded: ${JSON.stringify(value)}`),
    error => error,
  )
  if (thrown instanceof RpcFailure) return thrown
  throw thrown
}

/** Reasons of a failure's fields: `field reason`. */
export function fieldsOf(error: RpcFailure): string[] {
  return error.violations.map(violation => `${violation.field} ${violation.reason}`)
}

/** A timestamp of Unix milliseconds. */
export function at(unixMs: number): Seconds {
  return { seconds: String(Math.floor(unixMs / 1000)), nanos: Math.round((unixMs % 1000) * 1e6) }
}

import { inspect } from 'node:util'
import { Metadata, type Server, status } from '@grpc/grpc-js'
import { afterEach, expect, test } from 'vitest'
import {
  ApiKeyAdminService,
  type ImportApiKeysRequest,
  type ImportApiKeysResponse,
} from '../../src/gen/gatewarden/admin/v1/api_key_admin.ts'
import {
  type GetRevisionResponse,
  PropagationAdminService,
} from '../../src/gen/gatewarden/admin/v1/propagation_admin.ts'
import type { RpcCall } from '../../src/rpc/call.ts'
import { openChannel, RpcFailure } from '../../src/rpc/client.ts'
import { failedPrecondition, invalidArgument, RpcError } from '../../src/rpc/errors.ts'
import { addService, createServer, type Handlers } from '../../src/rpc/server.ts'
import { internalText } from '../../src/rpc/status.ts'
import { independentClient, keepLog, listenAnywhere, loadSchema, until } from './harness.ts'

const open: (() => void)[] = []
afterEach(() => {
  for (const close of open.splice(0)) close()
})

const notHere = async (): Promise<never> => {
  throw new RpcError('METHOD_NOT_IMPLEMENTED', 'not here')
}

async function serve(getRevision: (call: RpcCall) => Promise<GetRevisionResponse>) {
  const log = keepLog()
  const server: Server = createServer()
  open.push(() => server.forceShutdown())
  addService(
    server,
    PropagationAdminService,
    { getRevision: (_, call) => getRevision(call), waitForRevision: notHere, listSidecars: notHere },
    log,
  )
  const address = await listenAnywhere(server)
  const channel = openChannel({ address, deadlineMs: 5000 })
  open.push(channel.close)
  return { log, address, client: channel.client(PropagationAdminService) }
}

const revision: GetRevisionResponse = { revision: 7n, revisionToken: 't', commitTime: undefined }

/** Calls GetRevision through proto-loader's reading of the schemas and decodes the details the same way. */
function callIndependently(address: string, metadata = new Metadata(), deadline?: number) {
  const client = independentClient(
    'gatewarden/admin/v1/propagation_admin.proto',
    'gatewarden.admin.v1.PropagationAdmin',
    address,
  )
  open.push(() => client.close())
  return new Promise<{ code: number; details: string; raw: Buffer[] }>((resolve, reject) => {
    client['GetRevision']?.({}, metadata, deadline === undefined ? {} : { deadline }, (error: unknown) => {
      if (error === null) return reject(new Error('the call succeeded'))
      const { code, details, metadata } = error as { code: number; details: string; metadata: Metadata }
      return resolve({ code, details, raw: metadata.get('grpc-status-details-bin') as Buffer[] })
    })
  })
}

/** google.rpc.Status with its details, decoded by proto-loader. */
function decodeStatus(raw: Buffer[]) {
  const schemas = { ...loadSchema('google/rpc/status.proto'), ...loadSchema('google/rpc/error_details.proto') }
  const decode = (name: string, octets: Buffer) => {
    const schema = schemas[name] as unknown as { type: object; deserialize(octets: Buffer): Record<string, unknown> }
    return schema.deserialize(octets)
  }
  const [octets] = raw
  if (octets === undefined) throw new Error('no details')
  const { code, message, details } = decode('google.rpc.Status', octets)
  return {
    code,
    message,
    details: (details as { type_url: string; value: Buffer }[]).map(({ type_url, value }) => {
      const name = type_url.replace('type.googleapis.com/', '')
      return [name, decode(name, value)] as const
    }),
  }
}

test('a reply arrives, and the handler sees method, call id and metadata', async () => {
  let seen: RpcCall | undefined
  const { client } = await serve(async call => {
    seen = call
    return revision
  })
  expect(await client.getRevision({})).toEqual(revision)
  expect(seen?.method).toBe('gatewarden.admin.v1.PropagationAdmin/GetRevision')
  expect(seen?.sourceAddress).toBe('127.0.0.1')
  expect(seen?.callId).toMatch(/^[0-9a-f-]{36}$/)
})

test('all violations of a request reach an independent reader, each with its reason', async () => {
  const violations = [
    { field: 'api_key.display_name', reason: 'FIELD_REQUIRED', message: 'must not be empty' },
    { field: 'api_key.allowlist[2].cidr', reason: 'HOST_BITS_SET', message: 'write 10.0.0.0/8' },
  ] as const
  const { address } = await serve(async () => {
    throw invalidArgument(violations)
  })
  const metadata = new Metadata()
  metadata.set('x-request-id', 'req-1')
  const { code, raw } = await callIndependently(address, metadata)
  expect(code).toBe(status.INVALID_ARGUMENT)
  expect(decodeStatus(raw)).toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: [
      ['google.rpc.ErrorInfo', { reason: 'FIELD_INVALID', domain: 'gatewarden' }],
      [
        'google.rpc.BadRequest',
        {
          field_violations: [
            { field: 'api_key.display_name', reason: 'FIELD_REQUIRED', description: 'must not be empty' },
            { field: 'api_key.allowlist[2].cidr', reason: 'HOST_BITS_SET', description: 'write 10.0.0.0/8' },
          ],
        },
      ],
      ['google.rpc.RequestInfo', { request_id: 'req-1' }],
    ],
  })
})

test('precondition, resource and retry details reach an independent reader', async () => {
  const errors = [
    failedPrecondition('KEY_REVOKED', 'organizations/o/apiKeys/k', 'the key is revoked'),
    new RpcError('ID_EXISTS', 'taken', { resource: { type: 'Organization', name: 'organizations/o' } }),
    new RpcError('REQUEST_IN_PROGRESS', 'still running', { retryDelayMs: 1500 }),
  ]
  const { address } = await serve(async () => {
    throw errors.shift() ?? new Error('one call too many')
  })
  const details = async () => decodeStatus((await callIndependently(address)).raw).details.map(detail => detail)
  expect(await details()).toMatchObject([
    ['google.rpc.ErrorInfo', { reason: 'KEY_REVOKED' }],
    [
      'google.rpc.PreconditionFailure',
      {
        violations: [{ type: 'KEY_REVOKED', subject: 'organizations/o/apiKeys/k', description: 'the key is revoked' }],
      },
    ],
    ['google.rpc.RequestInfo', {}],
  ])
  expect(await details()).toMatchObject([
    ['google.rpc.ErrorInfo', { reason: 'ID_EXISTS' }],
    ['google.rpc.ResourceInfo', { resource_type: 'Organization', resource_name: 'organizations/o' }],
    ['google.rpc.RequestInfo', {}],
  ])
  expect(await details()).toMatchObject([
    ['google.rpc.ErrorInfo', { reason: 'REQUEST_IN_PROGRESS' }],
    ['google.rpc.RetryInfo', { retry_delay: { seconds: '1', nanos: 500_000_000 } }],
    ['google.rpc.RequestInfo', {}],
  ])
})

test('a thousand violations still reach the caller, cut and counted', async () => {
  const violations = Array.from({ length: 1000 }, (_, index) => ({
    field: `api_key.allowlist[${index}].cidr`,
    reason: 'INVALID_ENTRY' as const,
    message: 'not a network',
  }))
  const { client } = await serve(async () => {
    throw invalidArgument(violations)
  })
  const failure = await client.getRevision({}).catch(error => error)
  expect(failure).toBeInstanceOf(RpcFailure)
  expect(failure.reason).toBe('FIELD_INVALID')
  expect(failure.violations.length).toBeGreaterThan(100)
  expect(failure.metadata.get('violations')).toBe('1000')
})

test('an unforeseen error leaves nothing of itself on the wire, and its cause in the log', async () => {
  const canary = 'canary-5up3r-s3cret'
  const { log, address } = await serve(async () => {
    throw Object.assign(new Error(`duplicate key ${canary}`, { cause: new Error(canary) }), { detail: canary })
  })
  const { code, details, raw } = await callIndependently(address)
  expect({ code, details }).toEqual({ code: status.INTERNAL, details: internalText })
  expect(Buffer.concat(raw).includes(canary)).toBe(false)
  expect(Buffer.concat(raw).includes('at ')).toBe(false)
  expect(log.lines.map(({ fields }) => fields.method)).toEqual(['gatewarden.admin.v1.PropagationAdmin/GetRevision'])
  expect(inspect(log.lines, { depth: 9 })).toContain(canary)
})

test('a cause given to a foreseen error stays in the log', async () => {
  const { log, client } = await serve(async () => {
    throw new RpcError('STORE_UNAVAILABLE', 'try again', { retryDelayMs: 1000, cause: new Error('driver text') })
  })
  const failure = await client.getRevision({}).catch(error => error)
  expect(inspect(failure, { depth: 9 })).not.toContain('driver text')
  expect(failure.codeName).toBe('UNAVAILABLE')
  expect(failure.retryDelayMs).toBe(1000)
  expect(inspect(log.lines, { depth: 9 })).toContain('driver text')
})

test('a call ends at its deadline although the handler does not, and the handler is told', async () => {
  let seen: RpcCall | undefined
  const { client, address } = await serve(call => {
    seen = call
    return new Promise(() => undefined)
  })
  void client
  const started = Date.now()
  const { code } = await callIndependently(address, new Metadata(), Date.now() + 150)
  expect(code).toBe(status.DEADLINE_EXCEEDED)
  expect(Date.now() - started).toBeLessThan(2000)
  await until('abort', () => seen?.signal.aborted === true)
})

test('a call without a deadline gets ten seconds', async () => {
  let left = 0
  const { address } = await serve(async call => {
    left = call.deadlineUnixMs - Date.now()
    throw new RpcError('INTERNAL', 'enough')
  })
  await callIndependently(address)
  expect(left).toBeGreaterThan(9000)
  expect(left).toBeLessThanOrEqual(10_000)
})

test('octets that are no message are INVALID_ARGUMENT with details', async () => {
  const { address } = await serve(async () => revision)
  const channel = openChannel({ address, deadlineMs: 5000 })
  open.push(channel.close)
  const { getRevision } = PropagationAdminService
  const client = channel.client({ getRevision: { ...getRevision, requestSerialize: () => Buffer.from([0x0a, 0xff]) } })
  const failure = await client.getRevision({}).catch(error => error)
  expect([failure.codeName, failure.reason]).toEqual(['INVALID_ARGUMENT', 'MESSAGE_MALFORMED'])
})

test('a message above 4 MiB is refused', async () => {
  const { address } = await serve(async () => revision)
  const channel = openChannel({ address, deadlineMs: 5000 })
  open.push(channel.close)
  const { getRevision } = PropagationAdminService
  const huge = Buffer.alloc(4 * 1024 * 1024 + 1)
  const client = channel.client({ getRevision: { ...getRevision, requestSerialize: () => huge } })
  const failure = await client.getRevision({}).catch(error => error)
  expect(failure.codeName).toBe('RESOURCE_EXHAUSTED')
})

function importOnly(
  importApiKeys: (requests: AsyncIterable<ImportApiKeysRequest>) => Promise<ImportApiKeysResponse>,
): Handlers<typeof ApiKeyAdminService> {
  const all = Object.fromEntries(Object.keys(ApiKeyAdminService).map(name => [name, notHere]))
  return { ...all, importApiKeys } as unknown as Handlers<typeof ApiKeyAdminService>
}

async function serveImport(handlers: Handlers<typeof ApiKeyAdminService>) {
  const server = createServer()
  open.push(() => server.forceShutdown())
  addService(server, ApiKeyAdminService, handlers, keepLog())
  const channel = openChannel({ address: await listenAnywhere(server), deadlineMs: 5000 })
  open.push(channel.close)
  return channel.client(ApiKeyAdminService)
}

const rows = Array.from(
  { length: 500 },
  (): ImportApiKeysRequest => ({
    part: { $case: 'header', value: { parent: 'p', requestId: '', onConflict: 0, atomic: false, validateOnly: false } },
  }),
)

test('a client stream is read to its end, then answered once', async () => {
  const client = await serveImport(
    importOnly(async requests => {
      let imported = 0
      for await (const request of requests) imported += request.part?.$case === 'header' ? 1 : 0
      return { imported, skipped: 0, failed: 0, results: [], revision: 1n, revisionToken: '' }
    }),
  )
  expect(await client.importApiKeys(rows)).toMatchObject({ imported: 500 })
})

test('a client stream that is refused midway ends with the reason', async () => {
  const client = await serveImport(
    importOnly(async requests => {
      for await (const request of requests) {
        void request
        throw new RpcError('KEY_QUOTA', 'too many rows')
      }
      throw new Error('no rows')
    }),
  )
  const failure = await client.importApiKeys(rows).catch(error => error)
  expect(failure.reason).toBe('KEY_QUOTA')
})

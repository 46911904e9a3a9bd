// The admin API as a stranger meets it: over the wire, through clients that read our schemas on their own.
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { rpcScopes } from '../../src/admin/permission.ts'
import { createAdminServer } from '../../src/bin/admin-server.ts'
import { OrganizationAdminService } from '../../src/gen/gatewarden/admin/v1/organization_admin.ts'
import { HealthService } from '../../src/gen/grpc/health/v1/health.ts'
import { openChannel, type RpcChannel } from '../../src/rpc/client.ts'
import { drain } from '../../src/rpc/drain.ts'
import { useWorld } from '../admin/admin-world.ts'
import { independentClient, keepLog, listenAnywhere } from '../rpc/harness.ts'

const world = useWorld()
const log = keepLog()
let admin: ReturnType<typeof createAdminServer>
let address = ''
let channel: RpcChannel

beforeAll(async () => {
  admin = createAdminServer(world().context, log, { reflection: true })
  address = await listenAnywhere(admin.server)
  admin.health.set('', 'SERVING')
  channel = openChannel({ address, adminKey: world().rootKey, deadlineMs: 5000 })
})
afterAll(() => {
  channel.close()
  admin.server.forceShutdown()
})

const streaming = new Set(['ApiKeyAdmin/ImportApiKeys', 'UsageAdmin/ExportUsageLogs'])
const files: Record<string, string> = {
  OrganizationAdmin: 'organization_admin',
  ApiKeyAdmin: 'api_key_admin',
  AllowlistAdmin: 'allowlist_admin',
  ProfileAdmin: 'profile_admin',
  PropagationAdmin: 'propagation_admin',
  AccessAdmin: 'access_admin',
  DecisionAdmin: 'decision_admin',
  UsageAdmin: 'usage_admin',
  AuditAdmin: 'audit_admin',
}

/** The code that an empty request ends with. */
function codeOf(rpc: string, adminKey: string | undefined): Promise<number> {
  const [service = '', method = ''] = rpc.split('/')
  const client = independentClient(
    `gatewarden/admin/v1/${files[service]}.proto`,
    `gatewarden.admin.v1.${service}`,
    address,
  )
  const metadata = new Metadata()
  if (adminKey !== undefined) metadata.set('authorization', `Bearer ${adminKey}`)
  const options = { deadline: Date.now() + 5000 }
  return new Promise(resolve => {
    const done = (code: number) => {
      client.close()
      resolve(code)
    }
    const reply = (error: ServiceError | null) => done(error?.code ?? status.OK)
    if (rpc === 'UsageAdmin/ExportUsageLogs') {
      const stream = client[method]?.({}, metadata, options)
      stream.on('data', () => undefined)
      stream.on('error', reply)
      stream.on('end', () => undefined)
    } else if (streaming.has(rpc)) client[method]?.(metadata, options, reply).end()
    else client[method]?.({}, metadata, options, reply)
  })
}

test('no RPC answers a stranger', async () => {
  const answers: Record<string, string | undefined> = {}
  for (const rpc of Object.keys(rpcScopes)) {
    // Each call comes from one address: the limit on guessing must not hide what a single stranger sees.
    world().passMs(60_000)
    answers[rpc] = status[await codeOf(rpc, undefined)]
  }
  const others = Object.entries(answers).filter(([, code]) => code !== 'UNAUTHENTICATED')
  expect(others).toEqual([])
  expect(Object.keys(answers)).toHaveLength(50)
})

test('ROOT gets an answer of every RPC, and UNIMPLEMENTED only of those that come later', async () => {
  const later: string[] = []
  for (const rpc of Object.keys(rpcScopes)) {
    const code = await codeOf(rpc, world().rootKey)
    if (code === status.UNIMPLEMENTED) later.push(rpc)
    else if (rpc !== 'AccessAdmin/CompleteBootstrap') {
      expect([rpc, [status.OK, status.INVALID_ARGUMENT].includes(code)]).toEqual([rpc, true])
    }
  }
  expect(later).toHaveLength(16)
  expect(log.lines).toEqual([])
})

test('a client of ours creates, reads and is told every faulty field', async () => {
  const organizations = channel.client(OrganizationAdminService)
  const organization = {
    name: '',
    displayName: 'Over the wire',
    profile: 'profiles/bitgpt',
    suspendTime: undefined,
    labels: new Map([['__proto__', 'x']]),
    createTime: undefined,
    revision: 0n,
    etag: '',
  }
  const request = { organization, organizationId: '', requestId: '', validateOnly: false }
  const failure = await organizations.createOrganization(request).catch(error => error)
  expect(failure.violations.map(({ field }: { field: string }) => field)).toEqual(['organization.labels', 'request_id'])
  const good = {
    ...request,
    organization: { ...organization, labels: new Map() },
    requestId: '0197c0ec-0000-7000-8000-000000000001',
  }
  const reply = await organizations.createOrganization(good)
  const name = reply.organization?.name ?? ''
  expect(await organizations.getOrganization({ name, minRevision: reply.revisionToken })).toEqual(reply.organization)
})

test('a drained server says NOT_SERVING and lets a call finish', async () => {
  const other = createAdminServer(world().context, log, { reflection: false })
  const at = await listenAnywhere(other.server)
  const client = openChannel({ address: at, adminKey: world().rootKey, deadlineMs: 5000 })
  other.health.set('', 'SERVING')
  const drained = drain(other.server, other.health, { noticeMs: 100, deadlineMs: 3000 })
  expect((await client.client(HealthService).check({ service: '' })).status).toBe(2)
  const list = client.client(OrganizationAdminService).listOrganizations({
    filter: '',
    orderBy: '',
    pageSize: 1,
    pageToken: '',
    minRevision: '',
  })
  expect((await list).organizations.length).toBeLessThanOrEqual(1)
  expect(await drained).toBe('clean')
  client.close()
})

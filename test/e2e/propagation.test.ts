// What admin acknowledged governs at the check: 200 changes of every kind through `gatewarden admin` and `gatewarden check`, two
// processes on one real database, measured from the acknowledgement to the start of the first Check that is answered by it.
// The promise of 10 s is asserted; the goals p50 <= 50 ms and max <= 1.5 s are printed, because a busy machine may miss them.
import { createHash, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiKeyAdminService } from '../../src/gen/gatewarden/admin/v1/api_key_admin.ts'
import { OrganizationAdminService } from '../../src/gen/gatewarden/admin/v1/organization_admin.ts'
import { PropagationAdminService } from '../../src/gen/gatewarden/admin/v1/propagation_admin.ts'
import { ApiKey, RevokeReason, ScopeMode } from '../../src/gen/gatewarden/admin/v1/resources.ts'
import type { RpcClient } from '../../src/rpc/client.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { until } from '../support/until.ts'
import {
  type AdminProcess,
  type CheckProcess,
  killProcesses,
  type Outcome,
  startAdminProcess,
  startCheckProcess,
  untilReady,
} from './processes.ts'

const changesWanted = 200
const promiseMs = 10_000
const goals = { p50: 50, max: 1500 }
/** Changes come apart at random, as people make them: the feed reads at most ten times a second. */
const gapMaxMs = 90
const suiteLimitMs = 90_000

const database = useTestDatabase()
const directory = mkdtempSync(join(tmpdir(), 'gw-prop-'))
let check: CheckProcess
let admin: AdminProcess
let keys: RpcClient<typeof ApiKeyAdminService>
let organizations: RpcClient<typeof OrganizationAdminService>
let propagation: RpcClient<typeof PropagationAdminService>
/** Two lines of changes run beside each other; each has organizations of its own, one of a profile whose keys may hold all scopes. */
interface Lane {
  readonly organization: string
  readonly generousKey: Key
}
const lanesCount = 2
let lanes: readonly Lane[] = []

interface Key {
  readonly name: string
  readonly secret: string
}

/** Milliseconds from acknowledgement to the first Check answered by it, by kind. */
const measured: { readonly kind: string; readonly ms: number }[] = []
let lastToken = ''

beforeAll(async () => {
  const site = { directory, database: database().database }
  check = await startCheckProcess(site, 'check')
  admin = await startAdminProcess(site)
  keys = admin.channel.client(ApiKeyAdminService)
  organizations = admin.channel.client(OrganizationAdminService)
  propagation = admin.channel.client(PropagationAdminService)
  await untilReady(check)
  lanes = await Promise.all(Array.from({ length: lanesCount }, newLane))
})
afterAll(async () => {
  check?.close()
  admin?.channel.close()
  await killProcesses()
  rmSync(directory, { recursive: true, force: true })
})

const change = { requestId: '', validateOnly: false, etag: '' }

async function newLane(): Promise<Lane> {
  const generous = await newOrganization('bitgpt')
  return {
    organization: await newOrganization('bitbybit'),
    generousKey: await create({ scopes: ['products.create'] }, generous, 'insufficient_scope'),
  }
}

async function newOrganization(profile: string): Promise<string> {
  const reply = await organizations.createOrganization({
    organization: {
      name: '',
      displayName: 'Example',
      profile: `profiles/${profile}`,
      suspendTime: undefined,
      labels: new Map(),
      createTime: undefined,
      revision: 0n,
      etag: '',
    },
    organizationId: '',
    requestId: randomUUID(),
    validateOnly: false,
  })
  return reply.organization?.name ?? ''
}

const template: ApiKey = {
  ...ApiKey.create({}),
  displayName: 'a key',
  scopeMode: ScopeMode.LISTED,
  scopes: ['customers:READ'],
}

const ask = (secret: string) =>
  check.outcome(
    secret.startsWith('sk_')
      ? { path: '/invoices', host: 'api.bitgpt.xyz', headers: [['authorization', `Bearer ${secret}`]] }
      : {
          path: '/customer/open/v1/customers',
          host: 'api.bitbybit.studio',
          headers: [['x-api-key', secret]],
          source: '203.0.113.5',
        },
  )

/** Makes a change and asks until the new state governs; what is answered meanwhile must be the old answer. */
async function governs<Reply extends { readonly revisionToken: string }>(
  kind: string,
  secret: string | ((reply: Reply) => string),
  before: Outcome,
  after: Outcome,
  make: () => Promise<Reply>,
): Promise<Reply> {
  const reply = await make()
  const acknowledged = performance.now()
  lastToken = reply.revisionToken
  const asked = typeof secret === 'string' ? secret : secret(reply)
  for (;;) {
    const started = performance.now()
    const outcome = await ask(asked)
    if (outcome === after) {
      measured.push({ kind, ms: started - acknowledged })
      break
    }
    expect([kind, outcome]).toEqual([kind, before])
    expect(started - acknowledged, kind).toBeLessThan(promiseMs)
  }
  await sleep(Math.random() * gapMaxMs)
  return reply
}

const update = (key: Key, paths: string | readonly string[], members: Partial<ApiKey>) => () =>
  keys.updateApiKey({
    ...change,
    apiKey: { ...template, ...members, name: key.name },
    updateMask: [paths].flat(),
    callerAddress: '',
  })

async function create(
  members: Partial<ApiKey> = {},
  parent = lanes[0]?.organization ?? '',
  after: Outcome = 'allow',
): Promise<Key> {
  const reply = await governs(
    'create',
    made => made.secret,
    'credential_unknown',
    after,
    () =>
      keys.createApiKey({
        parent,
        apiKey: { ...template, ...members },
        apiKeyId: '',
        requestId: randomUUID(),
        validateOnly: false,
        callerAddress: '',
      }),
  )
  return { name: reply.apiKey?.name ?? '', secret: reply.secret }
}

/** A key whose secret is known before it exists: its first 401s must not be remembered. */
async function importKey(organization: string): Promise<Key> {
  const secret = `bbb_live_${randomUUID().replaceAll('-', '').slice(0, 20)}`
  expect(await ask(secret)).toBe('credential_unknown')
  const digest = createHash('sha256').update(secret).digest()
  const row = {
    ...{ displayName: 'imported', environment: 'live', digest, keyHint: `bbb_live_…${secret.slice(-4)}` },
    ...{ scopes: ['customers:READ'], scopeMode: ScopeMode.LISTED, allowlist: [], expireTime: undefined },
    ...{ createTime: undefined, labels: new Map<string, string>(), description: '' },
  }
  const header = {
    parent: organization,
    requestId: randomUUID(),
    onConflict: 0,
    atomic: true,
    validateOnly: false,
  } as const
  const reply = await governs('import', secret, 'credential_unknown', 'allow', () =>
    keys.importApiKeys([{ part: { $case: 'header', value: header } }, { part: { $case: 'row', value: row } }]),
  )
  const [result] = reply.results
  return { name: result?.outcome?.$case === 'name' ? result.outcome.value : '', secret }
}

const within = (cidr: string): Partial<ApiKey> => ({ allowlist: [{ cidr, label: '' }] })
const limited = (limit: bigint): Partial<ApiKey> => ({ rateLimit: { limit, window: { seconds: 60n, nanos: 0 } } })

/** Every kind of change, in both directions, on one key. */
async function round({ organization, generousKey }: Lane): Promise<void> {
  const key = await importKey(organization)
  const { name, secret } = key
  const to = (kind: string, before: Outcome, after: Outcome, make: () => Promise<{ readonly revisionToken: string }>) =>
    governs(kind, secret, before, after, make)

  await to('scopes', 'allow', 'insufficient_scope', update(key, 'scopes', { scopes: ['orders:READ'] }))
  await to('scopes', 'insufficient_scope', 'allow', update(key, 'scopes', {}))
  const listed: Partial<ApiKey> = { scopeMode: ScopeMode.LISTED, scopes: ['products.create'] }
  const modes = ['scope_mode', 'scopes']
  await governs(
    'scope_mode',
    generousKey.secret,
    'insufficient_scope',
    'allow',
    update(generousKey, modes, { scopeMode: ScopeMode.ALL, scopes: [] }),
  )
  await governs('scope_mode', generousKey.secret, 'allow', 'insufficient_scope', update(generousKey, modes, listed))
  await to('allowlist', 'allow', 'ip_not_allowed', update(key, 'allowlist', within('198.51.100.0/24')))
  await to('allowlist', 'ip_not_allowed', 'allow', update(key, 'allowlist', within('203.0.113.0/24')))
  await to('allowlist', 'allow', 'ip_not_allowed', update(key, 'allowlist', within('198.51.100.7/32')))
  await to('allowlist', 'ip_not_allowed', 'allow', update(key, 'allowlist', { allowlist: [] }))
  await to('rate_limit', 'allow', 'rate_limited', update(key, 'rate_limit', limited(0n)))
  await to('rate_limit', 'rate_limited', 'allow', update(key, 'rate_limit', limited(100_000n)))
  await to('rate_limit', 'allow', 'rate_limited', update(key, 'rate_limit', limited(0n)))
  await to('rate_limit', 'rate_limited', 'allow', update(key, 'rate_limit', { rateLimit: undefined }))
  await to('suspend', 'allow', 'suspended', () => keys.suspendApiKey({ ...change, name, reason: 'unpaid' }))
  await to('resume', 'suspended', 'allow', () => keys.resumeApiKey({ ...change, name, reason: '' }))
  await to('org suspend', 'allow', 'organization_suspended', () =>
    organizations.suspendOrganization({ ...change, name: organization, reason: 'unpaid' }),
  )
  await to('org resume', 'organization_suspended', 'allow', () =>
    organizations.resumeOrganization({ ...change, name: organization, reason: '' }),
  )
  await to('delete', 'allow', 'deleted', () => keys.deleteApiKey({ ...change, name }))
  await to('undelete', 'deleted', 'allow', () => keys.undeleteApiKey({ ...change, name }))
  const successor = await governs(
    'rotate',
    made => made.secret,
    'credential_unknown',
    'allow',
    () =>
      keys.rotateApiKey({
        ...change,
        name,
        gracePeriod: undefined,
        overrides: undefined,
        overridesMask: undefined,
        requestId: randomUUID(),
      }),
  )
  expect(await ask(secret)).toBe('allow')
  await to('finish', 'allow', 'rotated_out', () => keys.finishRotation({ ...change, name }))
  await governs('revoke', successor.secret, 'allow', 'revoked', () =>
    keys.revokeApiKey({
      ...change,
      name: successor.apiKey?.name ?? '',
      revokeReason: RevokeReason.LEAKED,
      comment: '',
      cascade: 0,
    }),
  )
  const second = await create({}, organization)
  await governs('expire', second.secret, 'allow', 'expired', () => keys.expireApiKey({ ...change, name: second.name }))
}

const wait = (revisionToken: string) =>
  propagation.waitForRevision({ revisionToken, timeout: { seconds: 10n, nanos: 0 } })

function print(): void {
  const all = measured.map(({ ms }) => ms).sort((a, b) => a - b)
  const at = (share: number) => all[Math.min(all.length - 1, Math.floor(all.length * share))] ?? Number.NaN
  const [p50, p90, p99, max] = [at(0.5), at(0.9), at(0.99), at(1)]
  const kinds = [...new Set(measured.map(({ kind }) => kind))]
  const worst = kinds.map(
    kind => `${kind} ${Math.max(...measured.filter(each => each.kind === kind).map(({ ms }) => ms)).toFixed(0)}`,
  )
  const verdict = p50 <= goals.p50 && max <= goals.max ? 'met' : 'missed on this machine'
  process.stdout.write(
    `propagation of ${all.length} changes: p50 ${p50.toFixed(1)} ms, p90 ${p90.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, ` +
      `max ${max.toFixed(1)} ms; goals p50 ${goals.p50}, max ${goals.max}: ${verdict}\n  worst by kind, ms: ${worst.join(', ')}\n`,
  )
}

describe('a change that admin acknowledged', () => {
  it(
    'governs at the check within the promise, of every kind and in both directions',
    async () => {
      const runLane = async (lane: Lane) => {
        while (measured.length < changesWanted) await round(lane)
      }
      await Promise.all(lanes.map(runLane))
      print()
      expect(Math.max(...measured.map(({ ms }) => ms))).toBeLessThan(promiseMs)
      const reply = await wait(lastToken)
      expect(reply).toMatchObject({ governing: true, confirmed: 1, total: 1, lagging: [] })
    },
    suiteLimitMs,
  )

  it('is governing before the check is asked, once WaitForRevision has said so', async () => {
    const { name, secret } = await create()
    for (const [make, after] of [
      [() => keys.suspendApiKey({ ...change, name, reason: '' }), 'suspended'],
      [() => keys.resumeApiKey({ ...change, name, reason: '' }), 'allow'],
      [() => keys.deleteApiKey({ ...change, name }), 'deleted'],
    ] as const) {
      const { revisionToken } = await make()
      expect((await wait(revisionToken)).governing).toBe(true)
      expect(await ask(secret)).toBe(after)
    }
  })

  it('of a name or a label changes no decision', async () => {
    const key = await create()
    for (const make of [
      update(key, 'display_name', { displayName: 'Renamed' }),
      update(key, 'labels', { labels: new Map([['team', 'a']]) }),
      update(key, 'description', { description: 'longer' }),
    ]) {
      const { revisionToken } = await make()
      expect((await wait(revisionToken)).governing).toBe(true)
      expect(await ask(key.secret)).toBe('allow')
    }
  })

  it('and set back leaves two revisions and the old answer', async () => {
    const key = await create()
    const [away, back] = [
      await update(key, 'scopes', { scopes: ['orders:READ'] })(),
      await update(key, 'scopes', { scopes: ['customers:READ'] })(),
    ]
    expect(back.revision).toBe(away.revision + 1n)
    expect((await wait(back.revisionToken)).governing).toBe(true)
    expect(await ask(key.secret)).toBe('allow')
  })

  it('at the same moment as another on another key: both govern', async () => {
    const pair = [await create(), await create()]
    const replies = await Promise.all(pair.map(({ name }) => keys.suspendApiKey({ ...change, name, reason: '' })))
    await Promise.all(replies.map(({ revisionToken }) => wait(revisionToken)))
    expect(await Promise.all(pair.map(({ secret }) => ask(secret)))).toEqual(['suspended', 'suspended'])
  })

  it('of an expiry governs: earlier ends earlier, later and cleared outlive the old end', async () => {
    const end = (ms: number) => {
      const at = Date.now() + ms
      return { seconds: BigInt(Math.floor(at / 1000)), nanos: (at % 1000) * 1_000_000 }
    }
    const oldEndMs = 2500
    const oldEnd = performance.now() + oldEndMs
    const [earlier, later, cleared] = await Promise.all([0, 1, 2].map(() => create({ expireTime: end(oldEndMs) })))
    if (earlier === undefined || later === undefined || cleared === undefined) throw new Error('three keys')
    const newEnd = performance.now() + 700
    const replies = [
      await update(earlier, 'expire_time', { expireTime: end(700) })(),
      await update(later, 'expire_time', { expireTime: end(3_600_000) })(),
      await update(cleared, 'expire_time', { expireTime: undefined })(),
    ]
    expect(await ask(earlier.secret)).toBe('allow')
    await until('the earlier end is reached', async () => (await ask(earlier.secret)) === 'expired')
    // Database time is known to within a second (freshness.md section 8); both clocks are this machine's.
    expect(performance.now()).toBeGreaterThan(newEnd - 1000)
    expect(performance.now()).toBeLessThan(oldEnd)
    await wait(replies.at(-1)?.revisionToken ?? '')
    await until('the old end has passed', () => performance.now() > oldEnd + 1000)
    expect([await ask(later.secret), await ask(cleared.secret)]).toEqual(['allow', 'allow'])
  })
})

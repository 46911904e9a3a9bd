// Hostile texts in every field of the key RPCs, through the handlers on a real database: whatever is sent, the answer is a
// reply or an error with a reason of the catalogue that blames the caller, never an unforeseen one and never a half write.
import { randomUUID } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { allowlistAdmin } from '../../src/admin/allowlist-admin.ts'
import { apiKeyAdmin } from '../../src/admin/api-key-admin.ts'
import { organizationAdmin } from '../../src/admin/organization-admin.ts'
import { ApiKey } from '../../src/gen/gatewarden/admin/v1/resources.ts'
import { RpcError } from '../../src/rpc/errors.ts'
import { callWith, footprint, useWorld } from './admin-world.ts'

const world = useWorld()

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
let state = seed
const pick = (n: number) => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
  return Math.floor((state / 2 ** 32) * n)
}
const one = <Value>(values: readonly Value[]): Value => values[pick(values.length)] as Value

const hostileTexts = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\n',
  '\u202e\u2066',
  '\ud83d\ude00',
  '\ufffd\uffff',
  "'; DROP TABLE api_keys; --",
  '$1',
  '{}',
  '{"a":1}',
  '\\x00',
  '%00',
  '../..',
  '__proto__',
  'constructor',
  'NaN',
  '-1',
  '9'.repeat(400),
  'x'.repeat(5000),
  '\u0000'.repeat(300),
  'organizations/-',
  'organizations/../x',
  'display_name = "\u0000"',
  'create_time > 9999-12-31T23:59:59Z',
  '(((((',
  'create_time desc',
  'bbb_live_…abcd',
  '203.0.113.0/24',
  '::ffff:0:0/95',
]

const timestamps = [
  undefined,
  { seconds: 0n, nanos: 0 },
  { seconds: -62_135_596_801n, nanos: 0 },
  { seconds: 253_402_300_800n, nanos: 0 },
  { seconds: 2n ** 63n - 1n, nanos: 999_999_999 },
  { seconds: -(2n ** 63n), nanos: -1 },
  { seconds: 1_900_000_000n, nanos: 1_000_000_000 },
  { seconds: 1_900_000_000n, nanos: 999_999_999 },
]

/** A text that is hostile, or right and thus lets the others matter. */
const text = (right: string) => (pick(3) === 0 ? one(hostileTexts) : right)
const texts = (right: string) => Array.from({ length: pick(4) }, () => text(right))
const number = () => one([0, 1, 2, 3, 7, -1, 2 ** 31 - 1, -(2 ** 31)])
const limits = [undefined, 0n, 5n, -1n, 2n ** 63n - 1n, 1_000_001n]

function hostileKey(name: string): ApiKey {
  return {
    ...ApiKey.decode(new Uint8Array(0)),
    name,
    displayName: text('A key'),
    description: text('d'),
    environment: text('live'),
    scopeMode: one([0, 1, 2, 9]) as ApiKey['scopeMode'],
    scopes: texts('orders:READ'),
    allowlist: texts('203.0.113.5').map(cidr => ({ cidr, label: text('x') })),
    expireTime: one(timestamps),
    rateLimit: pick(2) === 0 ? undefined : { limit: one(limits), window: one(timestamps) },
    labels: new Map(texts('team').map(key => [key, text('a')])),
    etag: text(''),
  }
}

const blame: readonly status[] = [
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.FAILED_PRECONDITION,
  status.ABORTED,
]

test('400 hostile requests are answered, each by a reply or a reason that blames the caller', async () => {
  const context = world().context
  const keys = apiKeyAdmin(context)
  const root = () => callWith(world().rootKey)
  const { organization } = await organizationAdmin(context).createOrganization(
    {
      organization: {
        name: '',
        displayName: 'Example',
        profile: 'profiles/bitbybit',
        suspendTime: undefined,
        labels: new Map(),
        createTime: undefined,
        revision: 0n,
        etag: '',
      },
      organizationId: '',
      requestId: randomUUID(),
      validateOnly: false,
    },
    root(),
  )
  const parent = organization?.name ?? ''
  const good = { ...ApiKey.decode(new Uint8Array(0)), displayName: 'A key', scopes: ['orders:READ'] }
  const created = await keys.createApiKey(
    { parent, apiKey: good, apiKeyId: '', requestId: randomUUID(), validateOnly: false, callerAddress: '' },
    root(),
  )
  const name = created.apiKey?.name ?? ''
  const std = () => ({
    requestId: pick(5) === 0 ? one(hostileTexts) : randomUUID(),
    validateOnly: pick(8) === 0,
    etag: text(''),
  })
  const moved = () => ({ name: text(name), reason: text('why'), ...std() })
  const attempts: readonly (() => Promise<unknown>)[] = [
    () =>
      keys.createApiKey(
        { parent: text(parent), apiKey: hostileKey(''), apiKeyId: text(''), callerAddress: text(''), ...std() },
        root(),
      ),
    () =>
      keys.updateApiKey(
        {
          apiKey: hostileKey(text(name)),
          updateMask: pick(2) === 0 ? undefined : texts('labels'),
          callerAddress: text(''),
          ...std(),
        },
        root(),
      ),
    () =>
      keys.rotateApiKey(
        {
          name: text(name),
          gracePeriod: one(timestamps),
          overrides: hostileKey(''),
          overridesMask: texts('labels'),
          ...std(),
        },
        root(),
      ),
    () =>
      keys.listApiKeys(
        {
          parent: text(parent),
          filter: text(''),
          orderBy: text(''),
          showDeleted: true,
          pageSize: number(),
          pageToken: text(''),
          minRevision: '',
        },
        root(),
      ),
    () => keys.getApiKey({ name: text(name), minRevision: text('') }, root()),
    () => keys.extendRotation({ name: text(name), graceEndTime: one(timestamps), ...std() }, root()),
    () => keys.suspendApiKey(moved(), root()),
    () => keys.resumeApiKey(moved(), root()),
    () =>
      keys.revokeApiKey(
        { ...moved(), revokeReason: number() as 1, comment: text('c'), cascade: number() as 1, validateOnly: true },
        root(),
      ),
    () => keys.importApiKeys(hostileImport(text(parent)), root()),
    () =>
      allowlistAdmin(context).validateIpAllowlist(
        {
          rules: { $case: one(['parent', 'profile'] as const), value: text(parent) },
          entries: hostileKey('').allowlist,
          callerAddress: text(''),
        },
        root(),
      ),
  ]
  const outcomes = new Map<string, number>()
  for (let i = 0; i < 400; i++) {
    const attempt = attempts[i % attempts.length] ?? expect.fail('no attempt')
    const before = await footprint(world().client)
    const outcome = await attempt().catch(error => error)
    const reason = outcome instanceof RpcError ? outcome.reason : outcome instanceof Error ? outcome.message : 'reply'
    outcomes.set(reason, (outcomes.get(reason) ?? 0) + 1)
    if (!(outcome instanceof Error)) continue
    expect(outcome, `attempt ${i} seed ${seed}`).toBeInstanceOf(RpcError)
    if (outcome instanceof RpcError) expect(blame, `${reason}, attempt ${i}, seed ${seed}`).toContain(outcome.code)
    expect(await footprint(world().client), `attempt ${i} seed ${seed}`).toEqual(before)
  }
  expect(outcomes.get('reply') ?? 0, `seed ${seed}`).toBeGreaterThan(20)
  expect(outcomes.size, `seed ${seed}`).toBeGreaterThan(8)
})

async function* hostileImport(parent: string) {
  yield {
    part: {
      $case: 'header',
      value: {
        parent,
        requestId: text(randomUUID()),
        onConflict: number() as 1,
        atomic: pick(2) === 0,
        validateOnly: pick(4) === 0,
      },
    },
  } as const
  for (let i = 0; i < 3; i++) {
    const { displayName, environment, scopes, scopeMode, allowlist, expireTime, labels, description } = hostileKey('')
    const digest = Buffer.alloc(one([0, 31, 32, 32, 32]), randomUUID())
    const times = { expireTime, createTime: one(timestamps) }
    const value = {
      displayName,
      environment,
      scopes,
      scopeMode,
      allowlist,
      labels,
      description,
      digest,
      keyHint: text('bbb_live_…abcd'),
      ...times,
    }
    yield { part: { $case: 'row', value } } as const
  }
}

import { status } from '@grpc/grpc-js'
import { beforeEach, expect, test } from 'vitest'
import { accessAdmin } from '../../src/admin/access-admin.ts'
import { issueBootstrapToken } from '../../src/admin/bootstrap.ts'
import { unimplemented } from '../../src/admin/command.ts'
import { organizationAdmin } from '../../src/admin/organization-admin.ts'
import { adminScopes, rpcScopes } from '../../src/admin/permission.ts'
import { Role } from '../../src/gen/gatewarden/admin/v1/access_admin.ts'
import { callWith, makeRoot, refusal, useWorld } from './admin-world.ts'

const world = useWorld()
const whoAmI = (call = callWith(world().rootKey)) => accessAdmin(world().context).whoAmI({}, call)
const update = (columns: string, values: unknown[] = []) =>
  world().client.query(`UPDATE admin_keys SET ${columns}`, values)

beforeEach(async () => {
  world().passMs(60_000)
  await update(
    `revoke_time = NULL, expire_time = now() + interval '1 day', roles = '{ROOT}', scopes = '{}',
                all_organizations = true, organizations = '{}', allowlist = '[]', pepper_id = $1`,
    [world().context.pepper.id],
  )
})

test('ROOT is told who it is and what it may', async () => {
  const me = await whoAmI()
  expect(me).toMatchObject({ roles: [Role.ROOT], organizations: ['organizations/-'], means: ['admin_key'] })
  expect(me.principal).toMatch(/^adminKeys\/ak_[0-9a-f-]{36}$/)
  expect(me.scopes).toEqual(adminScopes)
})

test('no key, a mistyped, unknown, revoked, expired or misplaced key all get UNAUTHENTICATED', async () => {
  const { rootKey } = world()
  const altered = (at: number) => `${rootKey.slice(0, at)}${rootKey[at] === 'x' ? 'y' : 'x'}${rootKey.slice(at + 1)}`
  for (const key of [undefined, '', 'gwa_x', altered(10), altered(41), `${rootKey}x`, rootKey.toUpperCase()]) {
    const error = await refusal(whoAmI(callWith(key)))
    expect([key, error.code, error.reason]).toEqual([key, status.UNAUTHENTICATED, 'ADMIN_KEY_INVALID'])
  }
  const texts = new Set<string>()
  for (const columns of [
    'revoke_time = now()',
    `expire_time = now() - interval '1 microsecond'`,
    `pepper_id = 'old'`,
    `allowlist = '["10.0.0.0/8"]'`,
  ]) {
    await update(columns)
    const error = await refusal(whoAmI())
    expect([columns, error.reason]).toEqual([columns, 'ADMIN_KEY_INVALID'])
    texts.add(error.message)
    await update(`revoke_time = NULL, expire_time = now() + interval '1 day', pepper_id = $1, allowlist = '[]'`, [
      world().context.pepper.id,
    ])
  }
  expect(texts.size).toBe(1)
})

test('an allowlist lets in what it names, and an unknown address is nowhere', async () => {
  await update(`allowlist = '["127.0.0.0/8", "2001:db8::/32"]'`)
  await whoAmI(callWith(world().rootKey, { sourceAddress: '127.0.0.9' }))
  await whoAmI(callWith(world().rootKey, { sourceAddress: '2001:db8::1' }))
  for (const sourceAddress of ['', '128.0.0.1', 'unix', '2001:db9::1']) {
    expect((await refusal(whoAmI(callWith(world().rootKey, { sourceAddress })))).reason).toBe('ADMIN_KEY_INVALID')
  }
})

test('rights are read on every call', async () => {
  const list = () =>
    organizationAdmin(world().context).listOrganizations(
      { filter: '', orderBy: '', pageSize: 0, pageToken: '', minRevision: '' },
      callWith(world().rootKey),
    )
  await list()
  await update(`roles = '{}', scopes = '{keys.read}'`)
  const error = await refusal(list())
  expect([error.reason, error.details.metadata]).toEqual(['ADMIN_SCOPE_MISSING', { required: 'organizations.read' }])
  await update(`roles = '{SUPERUSER}', scopes = '{}'`)
  expect((await refusal(list())).reason).toBe('ADMIN_SCOPE_MISSING')
})

test('a caller without rights for an organization hears the same whether or not it exists', async () => {
  const { client, context, rootKey } = world()
  await update(`roles = '{}', scopes = '{organizations.read}', all_organizations = false, organizations = '{org_mine}'`)
  const get = (name: string) =>
    refusal(organizationAdmin(context).getOrganization({ name, minRevision: '' }, callWith(rootKey)))
  await client.query(`BEGIN; INSERT INTO organizations (id, display_name, profile) VALUES ('org_theirs', 'x', 'x');
    SELECT gw_record('{2}', '{NULL}', '{org_theirs}'); COMMIT`)
  const [theirs, missing, malformed] = [
    await get('organizations/org_theirs'),
    await get('organizations/org_no'),
    await get('x'),
  ]
  expect([theirs.reason, theirs.message]).toEqual(['ORGANIZATION_NOT_PERMITTED', missing.message])
  expect([missing.reason, malformed.reason]).toEqual(['ORGANIZATION_NOT_PERMITTED', 'ORGANIZATION_NOT_PERMITTED'])
  expect((await get('organizations/org_mine')).reason).toBe('ORGANIZATION_UNKNOWN')
})

test('an RPC that this build lacks authenticates first', async () => {
  const call = unimplemented(world().context, 'UsageAdmin/GetUsageMetrics')
  expect((await refusal(call({}, callWith()))).reason).toBe('ADMIN_KEY_INVALID')
  expect((await refusal(call({}, callWith(world().rootKey)))).reason).toBe('METHOD_NOT_IMPLEMENTED')
  await update(`roles = '{}', scopes = '{keys.read}'`)
  expect((await refusal(call({}, callWith(world().rootKey)))).reason).toBe('ADMIN_SCOPE_MISSING')
})

test('guessing is slowed down per address, and only there', async () => {
  const from = (sourceAddress: string, key?: string) => whoAmI(callWith(key, { sourceAddress }))
  for (let i = 0; i < 30; i++) await refusal(from('192.0.2.1'))
  const error = await refusal(from('192.0.2.1', world().rootKey))
  expect(error.reason).toBe('RATE_LIMITED')
  expect(error.details.retryDelayMs).toBeLessThanOrEqual(60_000)
  await from('192.0.2.2', world().rootKey)
  world().passMs(60_000)
  await from('192.0.2.1', world().rootKey)
})

test('a bootstrap token works once, and not while there is a ROOT', async () => {
  const { context } = world()
  expect((await refusal(issueBootstrapToken(context, false))).reason).toBe('BOOTSTRAP_CLOSED')
  await update(`revoke_time = now()`)
  const token = await issueBootstrapToken(context, false)
  const complete = (given: string) =>
    accessAdmin(context).completeBootstrap(
      {
        token: given,
        root: {
          $case: 'adminKey',
          value: { displayName: 'root', allowlist: [], expireTime: undefined } as never,
        },
      },
      callWith(),
    )
  const bad = await refusal(
    accessAdmin(context).completeBootstrap(
      { token, root: { $case: 'adminKey', value: { displayName: '', allowlist: ['10.0.0.1/8'] } as never } },
      callWith(),
    ),
  )
  expect(bad.details.violations?.map(({ reason }) => reason)).toEqual(['FIELD_REQUIRED', 'HOST_BITS_SET'])
  const { secret, created } = await complete(token)
  expect(secret).toMatch(/^gwa_[A-Za-z0-9]{38}$/)
  expect(created?.$case).toBe('adminKey')
  await whoAmI(callWith(secret))
  expect((await refusal(complete(token))).reason).toBe('BOOTSTRAP_TOKEN_INVALID')
  await world().client.query(
    `DELETE FROM admin_keys WHERE key_hint = (SELECT key_hint FROM admin_keys ORDER BY create_time DESC LIMIT 1)`,
  )
})

test('an expired, altered or foreign token is refused; breaking the glass works beside a ROOT and is audited', async () => {
  const { context, client } = world()
  const complete = (token: string) =>
    refusal(accessAdmin(context).completeBootstrap({ token, root: undefined }, callWith()))
  const token = await issueBootstrapToken(context, true)
  await client.query(`UPDATE bootstrap_tokens SET expire_time = now() - interval '1 second'`)
  for (const wrong of [token, `${token.slice(0, -1)}_`, 'gwb_', '', world().rootKey]) {
    expect((await complete(wrong)).reason).toBe('BOOTSTRAP_TOKEN_INVALID')
  }
  world().passMs(60_000)
  const secret = await makeRoot(context, true)
  await whoAmI(callWith(secret))
  const { rows } = await client.query(
    `SELECT action, after FROM audit_events WHERE organization_id = '' ORDER BY id DESC LIMIT 2`,
  )
  expect(rows.map(row => row.action)).toEqual(['CompleteBootstrap', 'IssueBootstrapToken'])
  expect(rows[1].after.break_glass).toBe(true)
})

test('no secret, token or digest is in any table but as a digest', async () => {
  const { client, rootKey } = world()
  const { rows } = await client.query(`SELECT to_jsonb(t)::text AS row FROM audit_events t
    UNION ALL SELECT to_jsonb(t)::text FROM admin_keys t UNION ALL SELECT to_jsonb(t)::text FROM bootstrap_tokens t
    UNION ALL SELECT to_jsonb(t)::text FROM idempotency t`)
  const core = rootKey.slice(4, 36)
  expect(rows.length).toBeGreaterThan(3)
  for (const { row } of rows) for (const found of [core, 'gwb_']) expect(row).not.toContain(found)
})

test('the table of permissions names scopes in the form of the interface description', () => {
  expect(Object.keys(rpcScopes)).toHaveLength(50)
  for (const scope of adminScopes) expect(scope).toMatch(/^[a-z]+\.[a-z]+$/)
})

import { randomUUID } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { auditText, chainHash, chainStart } from '../../src/admin/audit-chain.ts'
import { organizationAdmin } from '../../src/admin/organization-admin.ts'
import type { Organization } from '../../src/gen/gatewarden/admin/v1/resources.ts'
import { callWith, footprint, refusal, useWorld } from './admin-world.ts'

const world = useWorld()
const admin = () => organizationAdmin(world().context)
const root = () => callWith(world().rootKey)

function organization(changes: Partial<Organization> = {}): Organization {
  return {
    name: '',
    displayName: 'Example',
    profile: 'profiles/bitbybit',
    suspendTime: undefined,
    labels: new Map([['team', 'a']]),
    createTime: undefined,
    revision: 0n,
    etag: '',
    ...changes,
  }
}

const create = (changes: Partial<Organization> = {}, more: { requestId?: string; validateOnly?: boolean } = {}) => ({
  organization: organization(changes),
  organizationId: '',
  requestId: randomUUID(),
  validateOnly: false,
  ...more,
})

async function created(changes: Partial<Organization> = {}): Promise<Organization> {
  const { organization } = await admin().createOrganization(create(changes), root())
  if (organization === undefined) throw new Error('no organization')
  return organization
}

const std = { requestId: '', validateOnly: false, etag: '' }

test('a new organization is readable, and leaves one audit row, one feed row and one revision', async () => {
  const before = await footprint(world().client)
  const reply = await admin().createOrganization(create(), root())
  const after = await footprint(world().client)
  expect(after).toEqual({
    audit: before.audit + 1n,
    revision: before.revision + 1n,
    changes: before.changes + 1n,
    idempotency: before.idempotency + 1n,
    organizations: before.organizations + 1n,
  })
  expect(reply.revision).toBe(after.revision)
  const name = reply.organization?.name ?? ''
  const minRevision = reply.revisionToken
  expect(await admin().getOrganization({ name, minRevision }, root())).toEqual(reply.organization)
  expect(reply.organization).toMatchObject({
    displayName: 'Example',
    profile: 'profiles/bitbybit',
    revision: reply.revision,
  })
})

test('validate_only gives the verdict and writes nothing', async () => {
  const before = await footprint(world().client)
  const reply = await admin().createOrganization(create({}, { validateOnly: true }), root())
  expect(reply).toMatchObject({ revision: 0n, revisionToken: '', organization: { displayName: 'Example' } })
  const refused = refusal(
    admin().createOrganization(create({ profile: 'profiles/nobody' }, { validateOnly: true }), root()),
  )
  expect((await refused).reason).toBe('PROFILE_UNKNOWN')
  expect(await footprint(world().client)).toEqual(before)
})

test('all faulty fields of a request are named at once', async () => {
  const error = await refusal(
    admin().createOrganization(
      { ...create({ displayName: '', profile: 'bitbybit', labels: new Map([['BAD', 'x']]) }), requestId: 'no uuid' },
      root(),
    ),
  )
  expect(error.code).toBe(status.INVALID_ARGUMENT)
  expect(error.reason).toBe('FIELD_INVALID')
  expect(error.details.violations?.map(({ field, reason }) => `${field} ${reason}`)).toEqual([
    'organization.display_name FIELD_REQUIRED',
    'organization.labels FIELD_INVALID',
    'organization.profile FIELD_INVALID',
    'request_id REQUEST_ID_INVALID',
  ])
})

test('a repeated request id gives the stored reply and writes nothing; with another request it is refused', async () => {
  const request = create({ labels: new Map(Object.entries({ a: '1', b: '2' })) })
  const first = await admin().createOrganization(request, root())
  const before = await footprint(world().client)
  // The labels come in another order: the same request.
  const again = { ...request, organization: organization({ labels: new Map(Object.entries({ b: '2', a: '1' })) }) }
  expect(await admin().createOrganization(again, root())).toEqual(first)
  const reused = await refusal(
    admin().createOrganization({ ...request, organization: organization({ displayName: 'Other' }) }, root()),
  )
  expect(reused.reason).toBe('REQUEST_ID_REUSED')
  expect(await footprint(world().client)).toEqual(before)
})

test('a request id that failed is free, and is required for a creation', async () => {
  const request = create({ profile: 'profiles/nobody' })
  expect((await refusal(admin().createOrganization(request, root()))).reason).toBe('PROFILE_UNKNOWN')
  const mended = { ...request, organization: organization() }
  expect((await admin().createOrganization(mended, root())).revision).toBeGreaterThan(0n)
  const without = await refusal(admin().createOrganization(create({}, { requestId: '' }), root()))
  expect(without.reason).toBe('FIELD_REQUIRED')
})

test('of two calls at once with one request id exactly one writes', async () => {
  const request = create()
  const before = await footprint(world().client)
  const ends = await Promise.allSettled([1, 2, 3].map(() => admin().createOrganization(request, root())))
  const names = new Set(ends.flatMap(end => (end.status === 'fulfilled' ? [end.value.organization?.name] : [])))
  const reasons = ends.flatMap(end => (end.status === 'rejected' ? [end.reason.reason] : []))
  expect(names.size).toBe(1)
  expect(new Set(reasons)).toEqual(new Set(reasons.length === 0 ? [] : ['REQUEST_IN_PROGRESS']))
  expect((await footprint(world().client)).organizations).toBe(before.organizations + 1n)
})

test('an id must fit the template of the profile, and is given once', async () => {
  const misfit = { ...create(), organizationId: 'acme' }
  expect((await refusal(admin().createOrganization(misfit, root()))).reason).toBe('ID_TEMPLATE_MISMATCH')
  const { name } = await created()
  const taken = { ...create(), organizationId: name.slice('organizations/'.length) }
  const error = await refusal(admin().createOrganization(taken, root()))
  expect([error.reason, error.details.resource?.name]).toEqual(['ID_EXISTS', name])
})

test('suspend and resume are idempotent: a no-op leaves nothing and answers the last revision', async () => {
  const { name } = await created()
  const suspended = await admin().suspendOrganization({ name, reason: 'unpaid', ...std }, root())
  expect(suspended.organization?.suspendTime).toBeDefined()
  const before = await footprint(world().client)
  const again = await admin().suspendOrganization({ name, reason: 'twice', ...std }, root())
  expect(again).toEqual(suspended)
  expect(await footprint(world().client)).toEqual(before)
  const resumed = await admin().resumeOrganization({ name, reason: '', ...std }, root())
  expect(resumed.organization?.suspendTime).toBeUndefined()
  expect(resumed.revision).toBeGreaterThan(suspended.revision)
  expect(resumed.organization?.etag).not.toBe(suspended.organization?.etag)
})

test('an update writes what the mask names, refuses the rest, and clears labels by their path', async () => {
  const { name, etag } = await created()
  const update = (changes: Partial<Organization>, updateMask: string[] | undefined, more: Partial<typeof std> = {}) =>
    admin().updateOrganization(
      { organization: organization({ name, ...changes }), updateMask, ...std, ...more },
      root(),
    )
  const renamed = await update({ displayName: 'New', labels: new Map() }, ['display_name'], { etag })
  expect(renamed.organization).toMatchObject({ displayName: 'New', labels: new Map([['team', 'a']]) })
  expect((await refusal(update({}, ['display_name'], { etag }))).reason).toBe('ETAG_MISMATCH')
  const cleared = await update({ labels: new Map() }, ['labels'])
  expect(cleared.organization?.labels.size).toBe(0)
  expect((await refusal(update({}, ['profile']))).reason).toBe('FIELD_IMMUTABLE')
  expect((await refusal(update({}, ['constructor']))).reason).toBe('FIELD_MASK_INVALID')
  expect((await refusal(update({ displayName: '' }, ['display_name']))).reason).toBe('FIELD_REQUIRED')
})

test('a missing organization is NOT_FOUND, a malformed name INVALID_ARGUMENT', async () => {
  const get = (name: string) => refusal(admin().getOrganization({ name, minRevision: '' }, root()))
  expect((await get('organizations/nobody')).reason).toBe('ORGANIZATION_UNKNOWN')
  expect((await get('organizations/a/b')).reason).toBe('FIELD_INVALID')
  expect((await get('')).reason).toBe('FIELD_REQUIRED')
})

test('a list filters, orders and pages without skipping or repeating', async () => {
  const tag = `t${randomUUID().slice(0, 8)}`
  const names: string[] = []
  for (const displayName of ['d', 'b', 'a', 'c']) {
    names.push((await created({ displayName, labels: new Map([['tag', tag]]) })).name)
  }
  const filter = `labels.tag = "${tag}" AND NOT display_name = "c"`
  const seen: string[] = []
  for (let pageToken = ''; ; ) {
    const page = await admin().listOrganizations(
      { filter, orderBy: 'display_name desc', pageSize: 2, pageToken, minRevision: '' },
      root(),
    )
    seen.push(...page.organizations.map(({ displayName }) => displayName))
    if (page.nextPageToken === '') break
    pageToken = page.nextPageToken
  }
  expect(seen).toEqual(['d', 'b', 'a'])
  const list = (request: Partial<{ filter: string; orderBy: string; pageSize: number; pageToken: string }>) =>
    admin().listOrganizations({ filter, orderBy: '', pageSize: 2, pageToken: '', minRevision: '', ...request }, root())
  const { nextPageToken } = await list({})
  expect((await refusal(list({ pageToken: nextPageToken, orderBy: 'display_name' }))).reason).toBe('PAGE_TOKEN_INVALID')
  expect((await refusal(list({ filter: 'nobody = 1' }))).reason).toBe('FILTER_INVALID')
  expect((await list({ filter: `name = "${names[0]}"` })).organizations.map(({ name }) => name)).toEqual([names[0]])
  expect((await list({ filter: `suspend_time:* AND labels.tag = "${tag}"` })).organizations).toEqual([])
})

test('a read waits for the revision it is told, and refuses a token of another history', async () => {
  const { name } = await created()
  const { organization, revisionToken } = await admin().suspendOrganization({ name, reason: '', ...std }, root())
  const octets = Buffer.from(revisionToken, 'base64url')
  octets.writeUInt8(octets.readUInt8(15) ^ 1, 15)
  const get = (minRevision: string, call = root()) => admin().getOrganization({ name, minRevision }, call)
  expect(await get(revisionToken)).toEqual(organization)
  expect((await refusal(get(octets.toString('base64url')))).reason).toBe('HISTORY_CHANGED')
  expect((await refusal(get('xyz'))).reason).toBe('FIELD_INVALID')
  octets.writeBigInt64BE(1_000_000n, 0)
  const impatient = callWith(world().rootKey, { signal: AbortSignal.timeout(200) })
  await expect(get(octets.toString('base64url'), impatient)).rejects.toMatchObject({ name: 'TimeoutError' })
})

test('the audit chain of an organization is whole and holds the changed fields', async () => {
  const { name } = await created()
  await admin().suspendOrganization({ name, reason: 'unpaid', ...std }, root())
  await admin().resumeOrganization({ name, reason: '', ...std }, root())
  const { rows } = await world().client.query('SELECT * FROM audit_events WHERE organization_id = $1 ORDER BY id', [
    name.slice('organizations/'.length),
  ])
  expect(rows.map(row => [row.id, row.action])).toEqual([
    [1n, 'CreateOrganization'],
    [2n, 'SuspendOrganization'],
    [3n, 'ResumeOrganization'],
  ])
  expect(rows[1].after).toMatchObject({ reason: 'unpaid', suspend_reason: 'unpaid' })
  expect(rows[1].actor.principal).toMatch(/^adminKeys\/ak_/)
  let previous: Buffer = chainStart
  for (const row of rows) {
    const text = auditText({
      organization: row.organization_id,
      time: row.time,
      actor: row.actor,
      action: row.action,
      resource: row.resource,
      before: row.before,
      after: row.after,
      requestId: row.request_id,
      sourceIp: row.source_ip,
      outcome: row.outcome,
    })
    expect(row.previous_hash).toEqual(previous)
    expect(row.hash).toEqual(chainHash(previous, text, row.revision))
    previous = row.hash
  }
})

test('concurrent changes of one organization never break its chain or lose an update', async () => {
  const { name } = await created()
  const id = name.slice('organizations/'.length)
  const calls = Array.from({ length: 8 }, (_, i) =>
    admin().updateOrganization(
      { organization: organization({ name, displayName: `n${i}` }), updateMask: ['display_name'], ...std },
      root(),
    ),
  )
  const ends = await Promise.allSettled(calls)
  const won = ends.filter(end => end.status === 'fulfilled').length
  const reasons = ends.flatMap(end => (end.status === 'rejected' ? [end.reason.reason] : []))
  expect(won).toBeGreaterThan(0)
  expect(new Set(reasons).size).toBeLessThanOrEqual(1)
  for (const reason of reasons) expect(reason).toBe('CONCURRENT_CHANGE')
  const { rows } = await world().client.query(
    'SELECT count(*) AS n, max(id) AS last FROM audit_events WHERE organization_id = $1',
    [id],
  )
  expect(rows[0]).toEqual({ n: BigInt(won) + 1n, last: BigInt(won) + 1n })
})

import { randomUUID } from 'node:crypto'
import { beforeEach, expect, test } from 'vitest'
import { profileAdmin } from '../../src/admin/profile-admin.ts'
import { propagationAdmin } from '../../src/admin/propagation-admin.ts'
import { revisionTokenOf } from '../../src/admin/revision-token.ts'
import { callWith, refusal, useWorld } from './admin-world.ts'

const world = useWorld()
const admin = () => propagationAdmin(world().context)
const root = () => callWith(world().rootKey)

beforeEach(() => world().client.query('DELETE FROM sidecars'))

/** A sidecar's report; `seen` is how long ago it was made, in milliseconds. */
async function report(applied: bigint, seen = 0, { lease = 7000, stale = 0 } = {}): Promise<string> {
  const id = randomUUID()
  await world().client.query(
    `INSERT INTO sidecars (id, applied_revision, applied_nonce, lease_ms, stale_cap_ms, confirm_age_ms, profiles, pepper_ids,
                           version, started_at, seen_at)
     VALUES ($1, $2, 0, $4, $5, 12, '{"x": {"version": "1", "digest": "d"}}', '{p1,p2}', '0.1', now(),
             clock_timestamp() - $3 * interval '1 millisecond')`,
    [id, applied, seen, lease, stale],
  )
  return id
}

async function head() {
  return await admin().getRevision({}, root())
}

async function nextRevision(): Promise<void> {
  await world().client.query(`SELECT gw_record('{}', '{}', '{}')`)
}

const wait = (revisionToken: string, ms: number, call = root()) =>
  admin().waitForRevision({ revisionToken, timeout: { seconds: 0n, nanos: ms * 1e6 } }, call)

test('without a sidecar a revision governs at once', async () => {
  expect(await wait((await head()).revisionToken, 0)).toEqual({ governing: true, confirmed: 0, total: 0, lagging: [] })
})

test('a revision governs when every sidecar that may allow something has applied it', async () => {
  await nextRevision()
  const { revision, revisionToken } = await head()
  const behind = await report(revision - 1n)
  await report(revision)
  const lagging = await wait(revisionToken, 150)
  expect(lagging).toMatchObject({
    governing: false,
    confirmed: 1,
    total: 2,
    lagging: [{ sidecar: `sidecars/${behind}`, appliedRevision: revision - 1n, staleCapable: false }],
  })
  const waiting = wait(revisionToken, 900)
  await world().client.query('UPDATE sidecars SET applied_revision = $1', [revision])
  expect(await waiting).toMatchObject({ governing: true, confirmed: 2, total: 2 })
})

test('a sidecar counts until its lease or stale cap and a second are over, and not after', async () => {
  await nextRevision()
  const { revision, revisionToken } = await head()
  const total = async () => (await wait(revisionToken, 0)).total
  await report(revision - 1n, 7500)
  expect(await total()).toBe(1)
  await report(revision - 1n, 8500)
  expect(await total()).toBe(1)
  await report(revision - 1n, 60_500, { stale: 60_000 })
  expect(await total()).toBe(2)
  await report(revision - 1n, 61_500, { stale: 60_000 })
  expect(await total()).toBe(2)
})

test('a token of another history is refused, one that is none is a faulty field', async () => {
  const { revision } = await head()
  expect((await refusal(wait(revisionTokenOf({ revision, nonce: 1n }), 0))).reason).toBe('HISTORY_CHANGED')
  expect((await refusal(wait('', 0))).reason).toBe('FIELD_REQUIRED')
  expect((await refusal(wait('x', 0))).reason).toBe('FIELD_INVALID')
  const tooLong = admin().waitForRevision({ revisionToken: 'x', timeout: { seconds: 31n, nanos: 0 } }, root())
  expect((await refusal(tooLong)).details.violations?.map(({ field }) => field)).toEqual(['revision_token', 'timeout'])
})

test('a revision above the head is of commits that were lost', async () => {
  const { revision } = await head()
  const ahead = revisionTokenOf({ revision: revision + 1n, nonce: 5n })
  expect((await refusal(wait(ahead, 0))).reason).toBe('HISTORY_CHANGED')
})

test('the wait ends before the deadline of the call', async () => {
  await nextRevision()
  const { revision, revisionToken } = await head()
  await report(revision - 1n)
  const deadlineUnixMs = Date.now() + 400
  const state = await wait(revisionToken, 900, callWith(world().rootKey, { deadlineUnixMs }))
  expect(state.governing).toBe(false)
  expect(Date.now()).toBeLessThan(deadlineUnixMs)
})

test('sidecars are listed in pages, each once', async () => {
  const ids = [await report(1n), await report(2n), await report(3n)].sort()
  const seen: string[] = []
  for (let pageToken = ''; ; ) {
    const page = await admin().listSidecars({ filter: '', pageSize: 2, pageToken }, root())
    seen.push(...page.sidecars.map(({ name }) => name))
    expect(page.sidecars[0]).toMatchObject({
      version: '0.1',
      pepperIds: ['p1', 'p2'],
      profiles: [{ name: 'x', version: '1', digest: 'd' }],
    })
    if (page.nextPageToken === '') break
    pageToken = page.nextPageToken
  }
  expect(seen).toEqual(ids.map(id => `sidecars/${id}`))
})

test('profiles are listed without their text, read with it, and linted', async () => {
  const profiles = profileAdmin(world().context)
  const first = await profiles.listProfiles({ pageSize: 2, pageToken: '' }, root())
  const second = await profiles.listProfiles({ pageSize: 2, pageToken: first.nextPageToken }, root())
  const names = [...first.profiles, ...second.profiles].map(({ name }) => name)
  expect(names).toEqual(['profiles/billoget', 'profiles/bitbybit', 'profiles/bitgpt'])
  expect([first.profiles[0]?.yaml, second.nextPageToken]).toEqual(['', ''])
  const profile = await profiles.getProfile({ name: 'profiles/bitbybit' }, root())
  expect(profile.digest).toMatch(/^[0-9a-f]{64}$/)
  expect(profile.rules.length).toBeGreaterThan(10)
  expect((await refusal(profiles.getProfile({ name: 'profiles/nobody' }, root()))).reason).toBe('PROFILE_UNKNOWN')
  const good = await profiles.lintProfile({ yaml: profile.yaml, inventory: '', strict: false }, root())
  expect(good.findings.filter(({ level }) => level === 'error')).toEqual([])
  expect(good.digest).toBe(profile.digest)
  const bad = await profiles.lintProfile({ yaml: 'nonsense: [', inventory: '', strict: false }, root())
  expect(bad.findings[0]).toMatchObject({ level: 'error', line: 1 })
  const huge = profiles.lintProfile({ yaml: 'x'.repeat(300_000), inventory: '', strict: false }, root())
  expect((await refusal(huge)).reason).toBe('FIELD_TOO_LONG')
})

// Deleted API keys are purged at their time and not before; what stays keeps secret and id from coming back.
import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { chainHash } from '../../src/admin/audit-chain.ts'
import { canonicalJson } from '../../src/admin/canonical-json.ts'
import { purgeApiKeys, purgePortionKeys } from '../../src/admin/purge-api-keys.ts'
import { footprint } from './admin-world.ts'
import { failure, type KeyJson, useKeyClient } from './key-client.ts'

const client = useKeyClient()
const sql = (text: string, values: readonly unknown[] = []) => client().world.client.query(text, [...values])
const purge = (stopped = () => false) => purgeApiKeys(client().world.context.store, stopped)
const idOf = (key: KeyJson) => key.name.split('/')[3] ?? ''

/** Moves the purge of a deleted key by hand, as the guard wants it. */
async function setPurge(ids: readonly string[], interval: string): Promise<void> {
  await sql('BEGIN')
  await sql('UPDATE api_keys SET delete_time = now(), purge_time = now() + $2::interval WHERE id = ANY ($1)', [
    ids,
    interval,
  ])
  await sql(
    'SELECT gw_record(array_agg(1::smallint), array_agg(digest), array_agg(NULL::text)) FROM api_keys WHERE id = ANY ($1)',
    [ids],
  )
  await sql('COMMIT')
}

async function deleted(parent: string, purgeIn: string): Promise<KeyJson> {
  const { apiKey } = await client().key(parent)
  await client().call('deleteApiKey', { name: apiKey.name })
  await setPurge([idOf(apiKey)], purgeIn)
  return apiKey
}

test('keys past their purge time leave a tombstone, an audit row and a feed record; others stay as they are', async () => {
  const [first, second] = [await client().organization(), await client().organization()]
  const due = [await deleted(first, '-1 s'), await deleted(first, '-2 s')]
  const dueElsewhere = await deleted(second, '-3 s')
  const early = await deleted(first, '1 hour')
  const alive = (await client().key(first)).apiKey
  const digests = (await sql('SELECT id, digest FROM api_keys')).rows
  const before = await footprint(client().world.client)

  expect(await purge()).toBe(3)

  const gone = [...due, dueElsewhere].map(idOf)
  const left = (await sql('SELECT id FROM api_keys')).rows.map(row => row.id)
  expect(left).toEqual(expect.arrayContaining([idOf(early), idOf(alive)]))
  for (const id of gone) expect(left).not.toContain(id)
  const after = await footprint(client().world.client)
  expect([after.revision - before.revision, after.audit - before.audit]).toEqual([2n, 2n])
  const changes = await sql('SELECT digest FROM changes WHERE revision > $1', [before.revision])
  const expected = digests.filter(({ id }) => gone.includes(id)).map(({ digest }) => digest.toString('hex'))
  expect(changes.rows.map(({ digest }) => digest.toString('hex')).sort()).toEqual(expected.sort())
  const event = await sql("SELECT * FROM audit_events WHERE action = 'PurgeApiKeys' AND organization_id = $1", [
    first.split('/')[1],
  ])
  expect(event.rows).toHaveLength(1)
  expect(event.rows[0]).toMatchObject({ resource: first, outcome: 'OK', before: null })
  expect(event.rows[0].after.purged.sort()).toEqual(due.map(key => key.name).sort())
  expect(await purge()).toBe(0)
  expect(await footprint(client().world.client)).toEqual(after)
})

test('the audit row of a purge continues the chain of its organization', async () => {
  const parent = await client().organization()
  const key = await deleted(parent, '-1 s')
  await purge()
  const { rows } = await sql('SELECT * FROM audit_events WHERE organization_id = $1 ORDER BY id DESC LIMIT 2', [
    parent.split('/')[1],
  ])
  const [last, previous] = rows
  expect(last.previous_hash).toEqual(previous.hash)
  const actor = { admin_key_hint: '', certificate_serial: '', principal: '' }
  const members = [parent.split('/')[1] ?? '', last.time, actor, 'PurgeApiKeys', parent, null]
  const text = canonicalJson([...members, { purged: [key.name] }, '', '', 'OK'])
  expect(last.hash).toEqual(chainHash(previous.hash, text, last.revision))
})

test('a purged key cannot be undeleted, nor its digest be imported again', async () => {
  const parent = await client().organization('bitbybit')
  const secret = 'bbb_live_a1b2c3d4e5f6'
  const row = {
    displayName: 'old',
    environment: 'live',
    digest: createHash('sha256').update(secret).digest(),
    keyHint: 'bbb_live_…e5f6',
    scopes: ['customers:READ'],
  }
  const imported = () =>
    client().stream<{ results: { apiKeyName: string }[]; failedCount: number }>('importApiKeys', [
      { header: { parent, onConflict: 'FAIL', requestId: crypto.randomUUID() } },
      { row },
    ])
  await imported()
  const { rows } = await sql('SELECT id FROM api_keys WHERE organization_id = $1', [parent.split('/')[1]])
  const name = `${parent}/apiKeys/${rows[0].id}`
  await client().call('deleteApiKey', { name })
  await setPurge([rows[0].id], '-1 s')
  expect(await purge()).toBe(1)
  expect((await failure(client().call('undeleteApiKey', { name }))).reason).toBe('API_KEY_UNKNOWN')
  await imported()
  expect((await sql('SELECT FROM api_keys WHERE organization_id = $1', [parent.split('/')[1]])).rowCount).toBe(0)
})

test('a key that another transaction holds waits for the next round, and one undeleted meanwhile stays', async () => {
  const parent = await client().organization()
  const [held, free] = [await deleted(parent, '-2 s'), await deleted(parent, '-1 s')]
  const digest = (await sql('SELECT digest FROM api_keys WHERE id = $1', [idOf(held)])).rows[0].digest
  await sql('BEGIN')
  await sql('UPDATE api_keys SET delete_time = NULL, purge_time = NULL WHERE id = $1', [idOf(held)])
  expect(await purge()).toBe(1)
  await sql("SELECT gw_record('{1}', ARRAY[$1::bytea], '{NULL}')", [digest])
  await sql('COMMIT')
  expect(await purge()).toBe(0)
  const left = (await sql('SELECT id FROM api_keys WHERE id = ANY ($1)', [[idOf(held), idOf(free)]])).rows
  expect(left).toEqual([{ id: idOf(held) }])
})

test('a round takes portions of bounded size, and ends early when it is told to', async () => {
  const parent = await client().organization()
  const organization = parent.split('/')[1]
  const count = purgePortionKeys + 1
  await sql('BEGIN')
  await sql(
    `INSERT INTO api_keys (id, organization_id, digest, pepper_id, form, key_hint, display_name, environment, scope_mode,
       lineage_id, creator, delete_time, purge_time)
     SELECT 'bulk_' || n, $1, sha256(('bulk ' || n)::bytea), 'p1', 1, 'h', 'd', 'live', 1, 'bulk_' || n, 'c',
       now() - interval '31 days', now() - interval '1 day' FROM generate_series(1, ${count}) n`,
    [organization],
  )
  await sql(
    'SELECT gw_record(array_agg(1::smallint), array_agg(digest), array_agg(NULL::text)) FROM api_keys WHERE organization_id = $1',
    [organization],
  )
  await sql('COMMIT')
  let asked = 0
  expect(await purge(() => asked++ > 0)).toBe(purgePortionKeys)
  expect(await purge()).toBe(1)
})

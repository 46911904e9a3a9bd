// Whoever changes a row that checks rely on names it in the feed, in the same transaction, or cannot commit.
import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { insertApiKey, insertOrganization, record, testDigest, transact } from '../support/rows.ts'
import { useTestDatabase } from '../support/test-database.ts'

const database = useTestDatabase()
let client: pg.Client
let number = 0
let organization = ''
let name = ''
let id = ''

beforeAll(async () => {
  client = database().client()
  await client.connect()
})
afterAll(() => client.end())

beforeEach(async () => {
  number += 1
  organization = `org_${number}`
  name = `secret ${number}`
  await transact(client, async () => {
    await insertOrganization(client, organization)
    id = await insertApiKey(client, organization, name)
    await record(client, { apiKeys: [name], organizations: [organization] })
  })
})

async function one<T extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<T> {
  const [row] = (await client.query<T>(text, [...values])).rows
  if (row === undefined) throw new Error('no row')
  return row
}

const head = () => one<{ revision: bigint }>('SELECT revision FROM feed_head')

describe('the guard refuses at commit', () => {
  const withoutRecord = { code: 'GW001' }

  it.each<[string, () => Promise<unknown>]>([
    ['an update of an API key', () => client.query('UPDATE api_keys SET suspend_time = now() WHERE id = $1', [id])],
    ['a new API key', () => insertApiKey(client, organization, `${name} second`)],
    ['a deleted API key', () => client.query('DELETE FROM api_keys WHERE id = $1', [id])],
    [
      'an update of an organization',
      () => client.query('UPDATE organizations SET suspend_time = now() WHERE id = $1', [organization]),
    ],
    ['a new organization', () => insertOrganization(client, `${organization}_second`)],
    [
      'a stamped revision without a record',
      () => client.query('UPDATE api_keys SET revision = revision + 1 WHERE id = $1', [id]),
    ],
  ])('%s without a feed record', async (_what, change: () => Promise<unknown>) => {
    const before = await head()
    await expect(transact(client, change)).rejects.toMatchObject(withoutRecord)
    expect(await head()).toEqual(before)
  })

  it('a change outside a transaction block', async () => {
    await expect(client.query('UPDATE api_keys SET suspend_time = now() WHERE id = $1', [id])).rejects.toMatchObject(
      withoutRecord,
    )
  })

  it('a record that names another API key, or the organization alone', async () => {
    const update = () => client.query('UPDATE api_keys SET suspend_time = now() WHERE id = $1', [id])
    for (const named of [{ apiKeys: ['another'] }, { organizations: [organization] }, {}]) {
      await expect(
        transact(client, async () => {
          await update()
          await record(client, named)
        }),
      ).rejects.toMatchObject(withoutRecord)
    }
  })

  it('a record of an earlier transaction', async () => {
    await transact(client, () => record(client, { apiKeys: [name] }))
    await expect(client.query('UPDATE api_keys SET suspend_time = now() WHERE id = $1', [id])).rejects.toMatchObject(
      withoutRecord,
    )
  })

  it('one of two changed API keys when the record names only the other', async () => {
    const change = transact(client, async () => {
      await insertApiKey(client, organization, `${name} second`)
      await client.query('UPDATE api_keys SET suspend_time = now() WHERE id = $1', [id])
      await record(client, { apiKeys: [`${name} second`] })
    })
    await expect(change).rejects.toMatchObject(withoutRecord)
  })
})

describe('the guard lets pass', () => {
  it('changes that a record names, in one revision', async () => {
    const before = await head()
    const revision = await transact(client, async () => {
      await client.query('UPDATE api_keys SET suspend_time = now() WHERE id = $1', [id])
      await client.query('UPDATE organizations SET suspend_time = now() WHERE id = $1', [organization])
      return record(client, { apiKeys: [name], organizations: [organization] })
    })
    expect(revision).toBe(before.revision + 1n)
    expect(
      await one('SELECT kind, digest, organization FROM changes WHERE revision = $1 AND ordinal = 1', [revision]),
    ).toEqual({
      kind: 1,
      digest: testDigest(name),
      organization: null,
    })
    expect(
      await one(
        'SELECT k.revision AS key, o.revision AS organization FROM api_keys k JOIN organizations o ON o.id = k.organization_id WHERE k.id = $1',
        [id],
      ),
    ).toEqual({
      key: revision,
      organization: revision,
    })
  })

  it('a last use, which no decision reads', async () => {
    await client.query('UPDATE api_keys SET last_used_time = now() WHERE id = $1', [id])
    expect(await one('SELECT last_used_time IS NOT NULL AS used FROM api_keys WHERE id = $1', [id])).toEqual({
      used: true,
    })
  })
})

describe('gw_record', () => {
  it('numbers revisions without a gap in the order of their commits', async () => {
    const others = await Promise.all(
      [1, 2, 3, 4].map(async () => {
        const other = database().client()
        await other.connect()
        return other
      }),
    )
    const before = await head()
    const revisions = await Promise.all(
      others.map(async other => {
        const seen: bigint[] = []
        for (let round = 0; round < 10; round++)
          seen.push(await transact(other, () => record(other, { apiKeys: [name] })))
        return seen
      }),
    )
    await Promise.all(others.map(other => other.end()))
    const sorted = revisions.flat().sort((a, b) => Number(a - b))
    expect(sorted).toEqual(Array.from({ length: 40 }, (_, index) => before.revision + BigInt(index) + 1n))
    for (const seen of revisions) expect(seen).toEqual([...seen].sort((a, b) => Number(a - b)))
    expect(await head()).toEqual({ revision: before.revision + 40n })
  })

  it('gives back its number when the transaction is rolled back', async () => {
    const before = await head()
    await client.query('BEGIN')
    await record(client, { apiKeys: [name] })
    await client.query('ROLLBACK')
    expect(await head()).toEqual(before)
  })

  it('refuses more than 1,000 changes in one revision', async () => {
    const names = Array.from({ length: 1001 }, (_, index) => `bulk ${index}`)
    await expect(transact(client, () => record(client, { apiKeys: names }))).rejects.toMatchObject({ code: '23514' })
    await transact(client, () => record(client, { apiKeys: names.slice(1) }))
  })

  it('gives each revision a nonce of its own', async () => {
    const found = await one<{ all: bigint; different: bigint }>(
      'SELECT count(*) AS all, count(DISTINCT nonce) AS different FROM feed_revision',
    )
    expect(found.different).toBe(found.all)
  })

  it('holds the head lock for a bulk of 1,000 API keys well below the lock timeout of others', async () => {
    const names = Array.from({ length: 1000 }, (_, index) => `bulk key ${number} ${index}`)
    await transact(client, async () => {
      for (const one of names) await insertApiKey(client, organization, one)
      await record(client, { apiKeys: names })
    })
    const started = performance.now()
    await transact(client, async () => {
      await client.query('UPDATE api_keys SET suspend_time = now() WHERE organization_id = $1', [organization])
      await record(client, { apiKeys: [name, ...names.slice(1)] })
      await client.query('UPDATE api_keys SET suspend_time = NULL WHERE digest = $1', [testDigest(names[0] ?? '')])
      await record(client, { apiKeys: [names[0] ?? ''] })
    })
    const ms = performance.now() - started
    expect(ms).toBeLessThan(1000)
  })
})

describe('columns that may not change', () => {
  it.each([
    ['api_keys', "digest = digest || '\\x00'"],
    ['api_keys', "id = 'other'"],
    ['api_keys', "pepper_id = 'other'"],
    ['api_keys', "environment = 'other'"],
    ['organizations', "profile = 'other'"],
    ['organizations', "id = 'other'"],
  ])('%s: %s', async (table, change) => {
    await expect(
      client.query(`UPDATE ${table} SET ${change} WHERE id = $1`, [table === 'api_keys' ? id : organization]),
    ).rejects.toMatchObject({ code: 'GW003' })
  })
})

describe('a purge', () => {
  const purge = (tombstone: boolean) =>
    transact(client, async () => {
      if (tombstone) {
        await client.query(
          'INSERT INTO digest_tombstones (digest, pepper_id, api_key_id, organization_id) SELECT digest, pepper_id, id, organization_id FROM api_keys WHERE id = $1',
          [id],
        )
      }
      await client.query('DELETE FROM api_keys WHERE id = $1', [id])
      await record(client, { apiKeys: [name] })
    })
  const due = (interval: string) =>
    transact(client, async () => {
      await client.query('UPDATE api_keys SET delete_time = now(), purge_time = now() + $2::interval WHERE id = $1', [
        id,
        interval,
      ])
      await record(client, { apiKeys: [name] })
    })

  it('is refused before its time, and without a tombstone', async () => {
    await expect(purge(true)).rejects.toMatchObject({ code: 'GW002' })
    await due('1 hour')
    await expect(purge(true)).rejects.toMatchObject({ code: 'GW002' })
    await due('-1 second')
    await expect(purge(false)).rejects.toMatchObject({ code: 'GW002' })
    await purge(true)
  })

  it('leaves a tombstone that keeps the secret and the id from coming back', async () => {
    await due('-1 second')
    await purge(true)
    const again = transact(client, async () => {
      await insertApiKey(client, organization, name)
      await record(client, { apiKeys: [name] })
    })
    await expect(again).rejects.toMatchObject({ code: '23505' })
  })
})

// Rows for tests of the store and the feed: an organization and API keys, written as admin writes them.
import { createHash, randomUUID } from 'node:crypto'
import type pg from 'pg'

/** A digest that no secret has, the same for the same name. */
export function testDigest(name: string): Buffer {
  return createHash('sha256').update(name).digest()
}

/** Inserts an organization; needs a feed record in the same transaction. */
export async function insertOrganization(client: pg.ClientBase, id: string, profile = 'x'): Promise<void> {
  await client.query('INSERT INTO organizations (id, display_name, profile) VALUES ($1, $1, $2)', [id, profile])
}

/** Inserts an API key with the digest `testDigest(name)` and answers its id; needs a feed record likewise. */
export async function insertApiKey(client: pg.ClientBase, organization: string, name: string): Promise<string> {
  const id = `key_${randomUUID()}`
  await client.query(
    `INSERT INTO api_keys (id, organization_id, digest, pepper_id, form, key_hint, display_name, environment, scope_mode,
                           scopes, lineage_id, creator)
     VALUES ($1, $2, $3, 'p1', 1, 'x_…abcd', $4, 'live', 1, '{a.read}', $1, 'test')`,
    [id, organization, testDigest(name), name],
  )
  return id
}

/** Records changes as the last statement of a transaction; answers the revision. */
export async function record(
  client: pg.ClientBase,
  changes: { readonly apiKeys?: readonly string[]; readonly organizations?: readonly string[] },
): Promise<bigint> {
  const { apiKeys = [], organizations = [] } = changes
  const kinds = [...apiKeys.map(() => 1), ...organizations.map(() => 2)]
  const digests = [...apiKeys.map(testDigest), ...organizations.map(() => null)]
  const names = [...apiKeys.map(() => null), ...organizations]
  const result = await client.query<{ revision: bigint }>('SELECT gw_record($1, $2, $3) AS revision', [
    kinds,
    digests,
    names,
  ])
  const revision = result.rows[0]?.revision
  if (revision === undefined) throw new Error('gw_record answered nothing')
  return revision
}

/** Runs `work` in a transaction. */
export async function transact<T>(client: pg.ClientBase, work: () => Promise<T>): Promise<T> {
  await client.query('BEGIN')
  try {
    const result = await work()
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  }
}

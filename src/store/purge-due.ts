// Takes away API keys past their purge time and leaves a tombstone of each, in one statement: no moment without either.
// The guard of the schema refuses a key that is not due; the feed record follows at the end of the transaction.
import type pg from 'pg'
import type { PurgedApiKeys } from '../admin/api-key-rows.ts'
import { rowsOf } from './admin-query.ts'

/**
 * One organization a time, the one that waits longest, since an audit row belongs to one. Rows are locked in id order
 * (rule W5); one that is being undeleted is left alone.
 */
const statement = `
WITH due AS MATERIALIZED (
  SELECT id FROM api_keys
  WHERE delete_time IS NOT NULL AND purge_time <= now() AND organization_id = (
    SELECT organization_id FROM api_keys WHERE delete_time IS NOT NULL AND purge_time <= now() ORDER BY purge_time LIMIT 1)
  ORDER BY purge_time LIMIT $1
), locked AS MATERIALIZED (
  SELECT id FROM api_keys
  WHERE id IN (SELECT id FROM due) AND delete_time IS NOT NULL AND purge_time <= now()
  ORDER BY id FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM api_keys k USING locked WHERE k.id = locked.id
  RETURNING k.id, k.organization_id, k.digest, k.pepper_id
), tombstones AS (
  INSERT INTO digest_tombstones (digest, pepper_id, api_key_id, organization_id)
  SELECT digest, pepper_id, id, organization_id FROM gone
)
SELECT id, organization_id, digest FROM gone ORDER BY id`

/** See `ApiKeyRows.purgeDue`. */
export async function purgeDue(client: pg.ClientBase, limit: number): Promise<PurgedApiKeys | null> {
  const rows = await rowsOf<{ id: string; organization_id: string; digest: Buffer }>(client, statement, [limit])
  const [first] = rows
  if (first === undefined) return null
  return { organization: first.organization_id, keys: rows.map(({ id, digest }) => ({ id, digest })) }
}

// Admin keys with fewer rights than a ROOT, put into the table as a later version of the interface will make them.
import { randomBytes, randomUUID } from 'node:crypto'
import { adminKeyGrammar } from '../../src/admin/caller.ts'
import { issueSecret, octetsToIssue } from '../../src/core/secret-issue.ts'
import { digestSecret } from '../../src/keys/digest.ts'
import type { World } from './admin-world.ts'

/** Makes an admin key; organizations null: all. @returns its secret */
export async function insertAdminKey(
  world: World,
  rights: { readonly scopes: readonly string[]; readonly organizations: readonly string[] | null },
): Promise<string> {
  const issued = issueSecret(adminKeyGrammar, 0, randomBytes(octetsToIssue(adminKeyGrammar)))
  if (issued === null) throw new Error('the octets did not suffice')
  const { pepper } = world.context
  await world.client.query(
    `INSERT INTO admin_keys (id, display_name, digest, pepper_id, key_hint, scopes, all_organizations, organizations, expire_time, creator)
     VALUES ($1, 'test', $2, $3, $4, $5, $6, $7, now() + interval '1 hour', 'test')`,
    [
      `ak_${randomUUID()}`,
      digestSecret(pepper, Buffer.from(issued.secret)),
      pepper.id,
      issued.hint,
      rights.scopes,
      rights.organizations === null,
      rights.organizations ?? [],
    ],
  )
  return issued.secret
}

// The parent of a listing: one organization, or all that the caller may see. Whose rows a caller is shown is settled here alone.
import type { AdminReads } from './admin-store.ts'
import { type ApiKeyContext, findOrganization } from './api-key-context.ts'
import type { Caller } from './caller.ts'
import { parseOrganizationName } from './resource-name.ts'
import type { Violations } from './violations.ts'

/** Stands for every organization that the caller may see. */
export const everyOrganization = 'organizations/-'

/** The organization that a request is about; null: no single one. */
export function organizationOfParent(parent: string): string | null {
  return parent === everyOrganization ? null : (parseOrganizationName(parent) ?? '')
}

/** Whether `parent` is one; a violation otherwise. */
export function isListingParent(parent: string, violations: Violations): boolean {
  if (parent === everyOrganization || parseOrganizationName(parent) !== undefined) return true
  violations.add('parent', 'FIELD_INVALID', 'It is neither organizations/{organization} nor organizations/-.')
  return false
}

/** The organizations whose rows the caller is shown; null: all. @throws RpcError ORGANIZATION_UNKNOWN */
export async function organizationsOfParent(
  context: ApiKeyContext,
  tx: AdminReads,
  parent: string,
  caller: Caller,
): Promise<readonly string[] | null> {
  const id = organizationOfParent(parent)
  if (id === null) return caller.organizations === null ? null : [...caller.organizations]
  await findOrganization(context, tx, id)
  return [id]
}

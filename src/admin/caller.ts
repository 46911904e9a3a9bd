// Who calls and with which rights, from the database on every call, never cached.
// Guarantee: unknown, revoked, expired and misplaced admin keys are one and the same answer; default is no right at all.
import { parseAddress, parseEntry } from '../core/address.ts'
import { contains } from '../core/cidr.ts'
import { compileSecretGrammar, FORM_ISSUED, recognise } from '../core/secret-grammar.ts'
import { digestSecret, type Pepper } from '../keys/digest.ts'
import { RpcError } from '../rpc/errors.ts'
import type { AdminKeyRow } from './access-rows.ts'
import type { AdminCall } from './admin-call.ts'
import type { AdminReads } from './admin-store.ts'
import { refuseWrongPepper } from './pepper-proofs.ts'
import { type AdminScope, type GrantClass, type RpcName, roles, rpcScopes } from './permission.ts'

/** An authenticated caller and its rights for the length of one call. */
export interface Caller {
  /** `adminKeys/{id}`, or the name of an API key that acts for its organization. */
  readonly principal: string
  readonly adminKeyHint: string
  readonly roles: readonly string[]
  readonly scopes: ReadonlySet<string>
  /** Which product scopes it may grant; null: none. */
  readonly grantClass: GrantClass | null
  /** Null: every organization. */
  readonly organizations: ReadonlySet<string> | null
  readonly means: readonly ('admin_key' | 'api_key')[]
}

/** Form of an admin key: `gwa_`, 32 base62 characters, checksum (admin-api.md sections 4 and 8). */
export const adminKeyGrammar = compileSecretGrammar({
  prefixes: [{ environment: 0, prefix: 'gwa_' }],
  maxLength: 42,
  issued: { alphabet: 'base62', secretLength: 32, suffix: '' },
  imported: [],
})

const bearerForm = /^Bearer +([A-Za-z0-9_]{1,64})$/i

/**
 * Finds out who calls.
 * @throws RpcError ADMIN_KEY_INVALID; PEPPER_MISMATCH where no key could be found, because our pepper is the wrong one
 */
export async function authenticate(tx: AdminReads, call: AdminCall, pepper: Pepper): Promise<Caller> {
  const secret = bearerForm.exec(call.header('authorization') ?? '')?.[1]
  if (secret === undefined) throw invalidKey('Send an admin key as "authorization: Bearer gwa_…".')
  const octets = Buffer.from(secret, 'latin1')
  if (recognise(adminKeyGrammar, octets, 0, octets.length) !== FORM_ISSUED) throw invalidKey()
  const row = await tx.access.findAdminKeyByDigest(digestSecret(pepper, octets))
  if (row === undefined) await refuseWrongPepper(tx, 'admin_keys', pepper)
  if (row === undefined || row.pepperId !== pepper.id || !isLive(row, tx.now) || !isPlaced(row, call.sourceAddress)) {
    throw invalidKey()
  }
  return callerOf(row)
}

/**
 * Refuses a caller that lacks the scope of the RPC.
 * @throws RpcError ADMIN_SCOPE_MISSING
 */
export function requireScope(caller: Caller, rpc: RpcName): void {
  const scope = rpcScopes[rpc]
  if (scope === 'any') return
  if (scope !== 'bootstrap' && caller.scopes.has(scope)) return
  throw new RpcError('ADMIN_SCOPE_MISSING', `This call needs the admin scope ${scope}.`, {
    metadata: { required: scope },
  })
}

/**
 * Refuses a caller that is not bound to the organization, whether or not that exists.
 * @throws RpcError ORGANIZATION_NOT_PERMITTED
 */
export function requireOrganization(caller: Caller, organization: string): void {
  if (caller.organizations === null || caller.organizations.has(organization)) return
  throw new RpcError('ORGANIZATION_NOT_PERMITTED', 'The caller has no rights for this organization.')
}

function invalidKey(message = 'The admin key is not valid.'): RpcError {
  return new RpcError('ADMIN_KEY_INVALID', message)
}

function isLive(row: AdminKeyRow, now: number): boolean {
  return row.expireAt > now && (row.revokeAt === null || row.revokeAt > now)
}

/** Whether the key may be used from there. With an allowlist an unknown address is nowhere. */
function isPlaced(row: AdminKeyRow, sourceAddress: string): boolean {
  if (row.allowlist.length === 0) return true
  const address = parseAddress(sourceAddress)
  if (address === null) return false
  return row.allowlist.some(text => {
    const entry = parseEntry(text)
    return entry !== null && contains(entry.block, address)
  })
}

function callerOf(row: AdminKeyRow): Caller {
  const held = row.roles.flatMap(name => roles.get(name) ?? [])
  const scopes = new Set<AdminScope | string>([...row.scopes, ...held.flatMap(role => [...role.scopes])])
  return {
    principal: `adminKeys/${row.id}`,
    adminKeyHint: row.keyHint,
    roles: row.roles,
    scopes,
    grantClass: held.some(role => role.grantClass === 'operator')
      ? 'operator'
      : scopes.has('keys.write')
        ? 'developer'
        : null,
    organizations: row.allOrganizations ? null : new Set(row.organizations),
    means: ['admin_key'],
  }
}

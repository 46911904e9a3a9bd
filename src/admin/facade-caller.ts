// Who calls the facade: the API key that the sidecar has just let through, named by the identity headers it set.
// The headers only say which key; whether it may still call is read from the primary inside of the transaction, because a
// check may be up to ten seconds behind. Whoever cannot be named this way is nobody.
import { stateOf } from '../core/api-key.ts'
import type { DenialReason } from '../core/reason.ts'
import type { Micros } from '../core/time.ts'
import type { CreateCall } from '../profile/compiled-facade.ts'
import type { CompiledProfile, UpstreamHeaders } from '../profile/compiled-profile.ts'
import type { AdminReads } from './admin-store.ts'
import { grantedScopes } from './api-key-fields.ts'
import type { ApiKeyRow } from './api-key-rows.ts'
import type { Caller } from './caller.ts'
import { apiKeyName, parseApiKeyName } from './resource-name.ts'

/** What the identity headers say. */
export interface FacadeIdentity {
  readonly organization: string
  readonly apiKey: string
  readonly environment: string
}

/** A caller that is turned away; the profile renders the reason as it renders it for a check. */
export class FacadeDenial extends Error {
  override readonly name = 'FacadeDenial'
  readonly reason: DenialReason
  /** Of `insufficient_scope`: what is missing. */
  readonly requiredScope: string

  constructor(reason: DenialReason, requiredScope = '') {
    super(reason)
    this.reason = reason
    this.requiredScope = requiredScope
  }
}

/** The identity, if each of its headers is there once and has the form of an id; undefined otherwise. */
export function readIdentity(
  header: (name: string) => string | undefined,
  names: UpstreamHeaders,
): FacadeIdentity | undefined {
  const idOf = (name: string | null) => (name === null ? '' : (header(name) ?? ''))
  const [organization, apiKey] = [idOf(names.organization), idOf(names.apiKey)]
  const environment = idOf(names.environment)
  if (environment === '' || parseApiKeyName(apiKeyName(organization, apiKey)) === undefined) return undefined
  return { organization, apiKey, environment }
}

/** The rights of the calling key, from its row. @throws FacadeDenial */
export async function authoriseApiKey(
  tx: AdminReads,
  identity: FacadeIdentity,
  profile: CompiledProfile,
  call: CreateCall,
): Promise<Caller> {
  const organization = await tx.organizations.find(identity.organization)
  const row = await tx.apiKeys.find(identity.organization, identity.apiKey, false)
  if (organization?.profile !== profile.name || row?.environment !== identity.environment) {
    throw new FacadeDenial('credential_missing')
  }
  const final = finalDenial(row, tx.now)
  if (final !== undefined) throw new FacadeDenial(final)
  if (organization.suspendAt !== null) throw new FacadeDenial('organization_suspended')
  if (row.suspendAt !== null) throw new FacadeDenial('suspended')
  requireScopes(row, profile, call.requires)
  return {
    principal: apiKeyName(row.organization, row.id),
    adminKeyHint: '',
    roles: [],
    scopes: new Set(),
    grantClass: 'developer',
    organizations: new Set([row.organization]),
    means: ['api_key'],
  }
}

/** Why a key can never call again; undefined: it can, as far as its own life goes (profiles.md K5). */
function finalDenial(row: ApiKeyRow, now: Micros): DenialReason | undefined {
  switch (stateOf(row, now)) {
    case 'DELETED':
      return 'deleted'
    case 'REVOKED':
      return 'revoked'
    case 'EXPIRED':
      return graceEndedFirst(row) ? 'rotated_out' : 'expired'
    default:
      return undefined
  }
}

function graceEndedFirst({ graceEndAt, expireAt }: ApiKeyRow): boolean {
  return graceEndAt !== null && (expireAt === null || graceEndAt < expireAt)
}

/** @throws FacadeDenial `insufficient_scope` */
function requireScopes(row: ApiKeyRow, profile: CompiledProfile, requires: CreateCall['requires']): void {
  const { mode, scopes, join } = requires
  const held = new Set(grantedScopes(row, profile.management))
  const missing = scopes.filter(scope => !held.has(scope))
  if (missing.length === 0 || (mode === 'any' && missing.length < scopes.length)) return
  throw new FacadeDenial('insufficient_scope', missing.join(join))
}

// Which admin scope each RPC needs: one table for the whole interface. What is not in it is denied.
// Roles are sets of these scopes; nothing else in admin decides about rights.

/** RPC → scope; `any`: every authenticated caller; `bootstrap`: the bootstrap token and nothing else. */
export const rpcScopes = {
  'OrganizationAdmin/CreateOrganization': 'organizations.write',
  'OrganizationAdmin/GetOrganization': 'organizations.read',
  'OrganizationAdmin/ListOrganizations': 'organizations.read',
  'OrganizationAdmin/UpdateOrganization': 'organizations.write',
  'OrganizationAdmin/SuspendOrganization': 'organizations.write',
  'OrganizationAdmin/ResumeOrganization': 'organizations.write',

  'ApiKeyAdmin/CreateApiKey': 'keys.write',
  'ApiKeyAdmin/GetApiKey': 'keys.read',
  'ApiKeyAdmin/ListApiKeys': 'keys.read',
  'ApiKeyAdmin/UpdateApiKey': 'keys.write',
  'ApiKeyAdmin/RotateApiKey': 'keys.rotate',
  'ApiKeyAdmin/FinishRotation': 'keys.rotate',
  'ApiKeyAdmin/ExtendRotation': 'keys.rotate',
  'ApiKeyAdmin/SuspendApiKey': 'keys.revoke',
  'ApiKeyAdmin/ResumeApiKey': 'keys.revoke',
  'ApiKeyAdmin/ExpireApiKey': 'keys.revoke',
  'ApiKeyAdmin/RevokeApiKey': 'keys.revoke',
  'ApiKeyAdmin/DeleteApiKey': 'keys.write',
  'ApiKeyAdmin/UndeleteApiKey': 'keys.write',
  'ApiKeyAdmin/BatchRevokeApiKeys': 'keys.revoke',
  'ApiKeyAdmin/LookupApiKey': 'keys.lookup',
  'ApiKeyAdmin/ImportApiKeys': 'keys.import',

  'AllowlistAdmin/ValidateIpAllowlist': 'keys.read',
  'AllowlistAdmin/SimulateIpAllowlist': 'usage.read',
  'AllowlistAdmin/SuggestIpAllowlist': 'usage.read',

  'DecisionAdmin/ExplainDecision': 'decisions.explain',
  'DecisionAdmin/CheckRoutes': 'profiles.read',

  'UsageAdmin/GetUsageMetrics': 'usage.read',
  'UsageAdmin/ListUsageLogs': 'usage.read',
  'UsageAdmin/ExportUsageLogs': 'usage.export',

  'AuditAdmin/ListAuditEvents': 'audit.read',
  'AuditAdmin/VerifyAuditChain': 'audit.read',

  'PropagationAdmin/GetRevision': 'propagation.read',
  'PropagationAdmin/WaitForRevision': 'propagation.read',
  'PropagationAdmin/ListSidecars': 'propagation.read',

  'ProfileAdmin/ListProfiles': 'profiles.read',
  'ProfileAdmin/GetProfile': 'profiles.read',
  'ProfileAdmin/LintProfile': 'profiles.read',

  'AccessAdmin/CreatePrincipal': 'access.write',
  'AccessAdmin/GetPrincipal': 'access.read',
  'AccessAdmin/ListPrincipals': 'access.read',
  'AccessAdmin/UpdatePrincipal': 'access.write',
  'AccessAdmin/DeletePrincipal': 'access.write',
  'AccessAdmin/CreateAdminKey': 'access.write',
  'AccessAdmin/GetAdminKey': 'access.read',
  'AccessAdmin/ListAdminKeys': 'access.read',
  'AccessAdmin/RotateAdminKey': 'access.write',
  'AccessAdmin/RevokeAdminKey': 'access.write',
  'AccessAdmin/WhoAmI': 'any',
  'AccessAdmin/CompleteBootstrap': 'bootstrap',
} as const

export type RpcName = keyof typeof rpcScopes

export type AdminScope = Exclude<(typeof rpcScopes)[RpcName], 'any' | 'bootstrap'>

/** Every admin scope, in alphabetical order. */
export const adminScopes: readonly AdminScope[] = [...new Set(Object.values(rpcScopes))]
  .filter(scope => scope !== 'any' && scope !== 'bootstrap')
  .sort()

/** What a product's vocabulary calls `grantable_by`: which product scopes a caller may give away. */
export type GrantClass = 'developer' | 'operator'

interface Role {
  readonly scopes: ReadonlySet<AdminScope>
  /** Null: may grant nothing. */
  readonly grantClass: GrantClass | null
}

/** The roles of this build. A role that is not here gives no right. */
export const roles: ReadonlyMap<string, Role> = new Map([
  ['ROOT', { scopes: new Set(adminScopes), grantClass: 'operator' }],
])

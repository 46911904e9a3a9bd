// Every RPC of the interface with its handler: those of this version, and for the others one that says so after it has
// authenticated and authorised the caller. Which server they are added to is the wiring's business.
import { accessAdmin } from './access-admin.ts'
import { allowlistAdmin } from './allowlist-admin.ts'
import { apiKeyAdmin } from './api-key-admin.ts'
import type { ApiKeyContext } from './api-key-context.ts'
import type { BootstrapContext } from './bootstrap.ts'
import { authorise, guarded, unimplemented } from './command.ts'
import { organizationAdmin } from './organization-admin.ts'
import type { RpcName } from './permission.ts'
import { type ProfileContext, profileAdmin } from './profile-admin.ts'
import { propagationAdmin } from './propagation-admin.ts'
import { usageAdmin } from './usage-admin.ts'

/** What the whole of admin works with. */
export interface AdminContext extends ApiKeyContext, BootstrapContext, ProfileContext {}

/** The handlers by service and method. */
export function adminServices(context: AdminContext) {
  const later = (rpc: RpcName) => unimplemented(context, rpc)
  return {
    OrganizationAdmin: organizationAdmin(context),
    ApiKeyAdmin: authenticatedImport(context, apiKeyAdmin(context)),
    AllowlistAdmin: allowlistAdmin(context),
    ProfileAdmin: profileAdmin(context),
    PropagationAdmin: propagationAdmin(context),
    AccessAdmin: {
      ...accessAdmin(context),
      createPrincipal: later('AccessAdmin/CreatePrincipal'),
      getPrincipal: later('AccessAdmin/GetPrincipal'),
      listPrincipals: later('AccessAdmin/ListPrincipals'),
      updatePrincipal: later('AccessAdmin/UpdatePrincipal'),
      deletePrincipal: later('AccessAdmin/DeletePrincipal'),
      createAdminKey: later('AccessAdmin/CreateAdminKey'),
      getAdminKey: later('AccessAdmin/GetAdminKey'),
      listAdminKeys: later('AccessAdmin/ListAdminKeys'),
      rotateAdminKey: later('AccessAdmin/RotateAdminKey'),
      revokeAdminKey: later('AccessAdmin/RevokeAdminKey'),
    },
    DecisionAdmin: {
      explainDecision: later('DecisionAdmin/ExplainDecision'),
      checkRoutes: later('DecisionAdmin/CheckRoutes'),
    },
    UsageAdmin: usageAdmin(context),
    AuditAdmin: {
      listAuditEvents: later('AuditAdmin/ListAuditEvents'),
      verifyAuditChain: later('AuditAdmin/VerifyAuditChain'),
    },
  }
}

/** Import with the caller known before the first message is read: a stranger's stream is never looked at. */
function authenticatedImport(context: AdminContext, services: ReturnType<typeof apiKeyAdmin>): typeof services {
  return {
    ...services,
    async importApiKeys(requests, call) {
      const rpc = 'ApiKeyAdmin/ImportApiKeys'
      await guarded(context, call, () => context.store.read(tx => authorise(context, tx, call, rpc, null)))
      return await services.importApiKeys(requests, call)
    },
  }
}

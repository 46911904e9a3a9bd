// The admin API on a gRPC server: every service of the interface, health, and reflection where it is asked for.
// The compiler holds that each RPC of the interface has a handler of the right shape.
import type { Server } from '@grpc/grpc-js'
import { type AdminContext, adminServices } from '../admin/admin-services.ts'
import { AccessAdminService } from '../gen/gatewarden/admin/v1/access_admin.ts'
import { AllowlistAdminService } from '../gen/gatewarden/admin/v1/allowlist_admin.ts'
import { ApiKeyAdminService } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { AuditAdminService } from '../gen/gatewarden/admin/v1/audit_admin.ts'
import { DecisionAdminService } from '../gen/gatewarden/admin/v1/decision_admin.ts'
import { OrganizationAdminService } from '../gen/gatewarden/admin/v1/organization_admin.ts'
import { ProfileAdminService } from '../gen/gatewarden/admin/v1/profile_admin.ts'
import { PropagationAdminService } from '../gen/gatewarden/admin/v1/propagation_admin.ts'
import { UsageAdminService } from '../gen/gatewarden/admin/v1/usage_admin.ts'
import { createHealth, type Health } from '../rpc/health.ts'
import { addReflection } from '../rpc/reflection.ts'
import { addService, createServer, type RpcLog } from '../rpc/server.ts'

const adminPackage = 'gatewarden.admin.v1'

/** A server with all of admin on it, not listening yet, and its health, NOT_SERVING until the owner sets it. */
export function createAdminServer(
  context: AdminContext,
  log: RpcLog,
  options: { readonly reflection: boolean },
): { readonly server: Server; readonly health: Health } {
  const server = createServer()
  const services = adminServices(context)
  addService(server, OrganizationAdminService, services.OrganizationAdmin, log)
  addService(server, ApiKeyAdminService, services.ApiKeyAdmin, log)
  addService(server, AllowlistAdminService, services.AllowlistAdmin, log)
  addService(server, ProfileAdminService, services.ProfileAdmin, log)
  addService(server, PropagationAdminService, services.PropagationAdmin, log)
  addService(server, AccessAdminService, services.AccessAdmin, log)
  addService(server, DecisionAdminService, services.DecisionAdmin, log)
  addService(server, UsageAdminService, services.UsageAdmin, log)
  addService(server, AuditAdminService, services.AuditAdmin, log)
  const names = Object.keys(services).map(name => `${adminPackage}.${name}`)
  const health = createHealth(names)
  health.addTo(server)
  if (options.reflection) addReflection(server, [...names, 'grpc.health.v1.Health'])
  return { server, health }
}

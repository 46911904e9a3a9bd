// The admin role, wired: store, profiles, the services of the admin interface, health, reflection, one listener.
// Handlers see ports only; the peppers, the pool and the random numbers meet them here.
import { createHmac, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Server } from '@grpc/grpc-js'
import { type AccessContext, accessAdmin } from '../admin/access-admin.ts'
import type { AdminStore } from '../admin/admin-store.ts'
import { allowlistAdmin } from '../admin/allowlist-admin.ts'
import { apiKeyAdmin } from '../admin/api-key-admin.ts'
import type { ApiKeyContext } from '../admin/api-key-context.ts'
import { type Admin, unimplemented } from '../admin/command.ts'
import { FailedAttempts } from '../admin/failed-attempts.ts'
import { organizationAdmin } from '../admin/organization-admin.ts'
import { PageTokens } from '../admin/page-token.ts'
import { type RpcName, rpcScopes } from '../admin/permission.ts'
import { type LoadedProfile, type ProfileContext, profileAdmin } from '../admin/profile-admin.ts'
import { propagationAdmin } from '../admin/propagation-admin.ts'
import type { Config, TlsFiles } from '../config/config.ts'
import { parseListen } from '../config/listen-address.ts'
import type { LoadedPepper } from '../config/pepper-file.ts'
import { AccessAdminService } from '../gen/gatewarden/admin/v1/access_admin.ts'
import { AllowlistAdminService } from '../gen/gatewarden/admin/v1/allowlist_admin.ts'
import { ApiKeyAdminService } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { AuditAdminService } from '../gen/gatewarden/admin/v1/audit_admin.ts'
import { DecisionAdminService } from '../gen/gatewarden/admin/v1/decision_admin.ts'
import { OrganizationAdminService } from '../gen/gatewarden/admin/v1/organization_admin.ts'
import { ProfileAdminService } from '../gen/gatewarden/admin/v1/profile_admin.ts'
import { PropagationAdminService } from '../gen/gatewarden/admin/v1/propagation_admin.ts'
import { UsageAdminService } from '../gen/gatewarden/admin/v1/usage_admin.ts'
import type { Pepper } from '../keys/digest.ts'
import type { Log } from '../observe/log.ts'
import type { Metrics } from '../observe/metrics.ts'
import { lintProfile } from '../profile/lint.ts'
import { drain } from '../rpc/drain.ts'
import { createHealth } from '../rpc/health.ts'
import { type ListenTls, listen } from '../rpc/listen.ts'
import { addReflection } from '../rpc/reflection.ts'
import { addService, createServer, type Handlers, type RpcLog, type ServiceShape } from '../rpc/server.ts'
import { createAdminStore } from '../store/admin-store.ts'
import type { Database } from '../store/connection.ts'
import { adminConnectionsMax, adminSession, createPool } from '../store/pool.ts'
import { upkeep } from '../store/upkeep.ts'
import type { Profiles } from './profiles.ts'
import { StartError } from './start-error.ts'

/** What the admin role gets from outside. */
export interface AdminPorts {
  readonly database: Database
  /** Of API keys, the primary first. */
  readonly peppers: readonly LoadedPepper[]
  /** Of admin keys. */
  readonly adminPepper: LoadedPepper
  readonly profiles: Profiles
  readonly log: Log
  /** Milliseconds that never go back. */
  readonly mono: () => number
  /** Unix milliseconds, for what is only shown. */
  readonly wall: () => number
}

export interface RunningAdmin {
  /** Bound address, with the real port. */
  readonly address: string
  /** What bootstrapping needs; for the wiring of `serve` alone. */
  readonly access: AccessContext
  ready(): boolean
  observe(metrics: Metrics): void
  drain(times: { readonly noticeMs: number; readonly deadlineMs: number }): Promise<void>
}

/** Feed revisions and remembered requests are cleared away this often. */
const upkeepMs = 300_000

/** Starts the role. It listens whether or not the database answers. @throws StartError, ListenError */
export async function startAdmin(config: Config, ports: AdminPorts): Promise<RunningAdmin> {
  const { log, profiles } = ports
  const target = parseListen(config.admin.listen)
  if (target === undefined) throw new StartError(`admin.listen is ${config.admin.listen}, which is no address.`)
  const pool = createPool(ports.database, {
    session: adminSession,
    connectionsMax: adminConnectionsMax,
    onIdleError: error => log.warn('a database connection broke', { error }),
  })
  const context = adminContext(createAdminStore(pool), ports)
  const server = createServer()
  const services = addServices(server, context, log)
  const health = createHealth(services)
  health.addTo(server)
  if (config.admin.reflection) addReflection(server, services)
  const tls = config.admin.tls === null ? {} : { tls: readTls(config.admin.tls) }
  const address = await listen(server, target, tls)
  health.set('', 'SERVING')
  const upkeepTimer = setInterval(() => {
    upkeep(pool).catch((error: unknown) => log.warn('upkeep of the database failed; it is tried again', { error }))
  }, upkeepMs)
  upkeepTimer.unref()
  let isDraining = false
  return {
    address,
    access: context,
    ready: () => !isDraining,
    observe: metrics =>
      metrics.read('gatewarden_config_reload_failed', () => (profiles.status().some(each => each.failed) ? 1 : 0)),
    drain: async times => {
      isDraining = true
      clearInterval(upkeepTimer)
      await drain(server, health, times)
      await pool.end()
    },
  }
}

type Context = ApiKeyContext & ProfileContext & AccessContext

function adminContext(store: AdminStore, ports: AdminPorts): Context {
  const [primary, ...others] = ports.peppers.map(toPepper)
  if (primary === undefined) throw new StartError('peppers: found none; accepted: one or two.')
  const { profiles } = ports
  return {
    store,
    pepper: toPepper(ports.adminPepper),
    failures: new FailedAttempts(ports.mono),
    findProfile: name => profiles.current().byName(name),
    peppers: [primary, ...others],
    pageTokens: new PageTokens(pageTokenKey(ports.adminPepper)),
    random: octets => randomBytes(octets),
    keyQuota: null,
    profiles: profileCatalog(profiles, ports.wall),
  }
}

function toPepper({ id, octets }: LoadedPepper): Pepper {
  return { id, bytes: octets }
}

/** A key of its own, so that a page token is evidence of nothing else. */
function pageTokenKey({ octets }: LoadedPepper): Buffer {
  return createHmac('sha256', octets).update('gatewarden page tokens').digest()
}

/** The profiles with what is shown of them; findings are counted when a profile is new, not when it is asked for. */
function profileCatalog(profiles: Profiles, wall: () => number): ProfileContext['profiles'] {
  let loaded: readonly LoadedProfile[] = []
  profiles.subscribe(set => {
    loaded = set.profiles.map(profile => {
      const known = loaded.find(each => each.profile === profile)
      if (known !== undefined) return known
      const { findings } = lintProfile(profile.yaml, { file: profile.name })
      return { profile, findingsCount: findings.length, loadedUnixMs: wall() }
    })
  })
  return { list: () => loaded }
}

/** Adds every service of the interface; what is not built says so, to callers with rights. Returns the full names. */
function addServices(server: Server, context: Context, log: RpcLog): string[] {
  const add = <Service extends ServiceShape>(name: string, service: Service, handlers: object) => {
    addService(server, service, complete(context, name, service, handlers), log)
    return `gatewarden.admin.v1.${name}`
  }
  return [
    add('OrganizationAdmin', OrganizationAdminService, organizationAdmin(context)),
    add('ApiKeyAdmin', ApiKeyAdminService, apiKeyAdmin(context)),
    add('AllowlistAdmin', AllowlistAdminService, allowlistAdmin(context)),
    add('ProfileAdmin', ProfileAdminService, profileAdmin(context)),
    add('PropagationAdmin', PropagationAdminService, propagationAdmin(context)),
    add('AccessAdmin', AccessAdminService, accessAdmin(context)),
    add('AuditAdmin', AuditAdminService, {}),
    add('DecisionAdmin', DecisionAdminService, {}),
    add('UsageAdmin', UsageAdminService, {}),
  ]
}

function complete<Service extends ServiceShape>(
  admin: Admin,
  name: string,
  service: Service,
  handlers: object,
): Handlers<Service> {
  const missing = Object.keys(service).filter(method => !(method in handlers))
  const rest = missing.map(method => {
    const rpc = `${name}/${method.charAt(0).toUpperCase()}${method.slice(1)}`
    if (!isRpcName(rpc)) throw new Error(`the table of permissions has no ${rpc}`)
    return [method, unimplemented(admin, rpc)] as const
  })
  // The generated service has these methods and no others; each is there now.
  return { ...Object.fromEntries(rest), ...handlers } as unknown as Handlers<Service>
}

function isRpcName(name: string): name is RpcName {
  return Object.hasOwn(rpcScopes, name)
}

function readTls({ cert, key, clientCa }: TlsFiles): ListenTls {
  const pair = { cert: readFileSync(cert), key: readFileSync(key) }
  return clientCa === null ? pair : { ...pair, clientCa: readFileSync(clientCa) }
}

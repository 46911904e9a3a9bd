// AccessAdmin, first part: WhoAmI and CompleteBootstrap. Principals and further admin keys come with the other roles.
// The secret of an admin key is in the one reply that makes it and nowhere else.
import { parseEntry } from '../core/address.ts'
import { cidrText } from '../core/cidr.ts'
import { instantText } from '../core/instant.ts'
import { issueSecret, octetsToIssue } from '../core/secret-issue.ts'
import type { Micros } from '../core/time.ts'
import {
  type AdminKey,
  AdminKey_State,
  type CompleteBootstrapRequest,
  type CompleteBootstrapResponse,
  Role,
  type WhoAmIRequest,
  type WhoAmIResponse,
} from '../gen/gatewarden/admin/v1/access_admin.ts'
import { digestSecret } from '../keys/digest.ts'
import { RpcError } from '../rpc/errors.ts'
import type { NewAdminKey } from './access-rows.ts'
import { readExpiry } from './api-key-fields.ts'
import { type BootstrapContext, spendBootstrapToken } from './bootstrap.ts'
import { adminKeyGrammar } from './caller.ts'
import { type Admin, finish, guarded, type Handler, query } from './command.ts'
import { etagOf } from './etag.ts'
import { requireOwnPeppers } from './pepper-proofs.ts'
import { idRandomOctets, newId } from './resource-id.ts'
import { checkLine, displayNameMax, quoted } from './text-fields.ts'
import { Violations } from './violations.ts'
import { timestampOf, wholeUnixMs } from './wire-time.ts'

export interface AccessContext extends Admin, BootstrapContext {}

/** The handlers of this part, by method. */
export function accessAdmin(context: AccessContext) {
  return {
    whoAmI: whoAmI(context),
    completeBootstrap: completeBootstrap(context),
  }
}

function whoAmI(context: AccessContext): Handler<WhoAmIRequest, WhoAmIResponse> {
  return query(context, {
    rpc: 'AccessAdmin/WhoAmI',
    organizationOf: () => null,
    parse: request => request,
    run: async (_, request, caller) => {
      void request
      return {
        principal: caller.principal,
        roles: caller.roles.flatMap(role => (isRole(role) ? [Role[role]] : [])),
        scopes: [...caller.scopes].sort(),
        organizations:
          caller.organizations === null ? ['organizations/-'] : [...caller.organizations].map(named).sort(),
        means: caller.means,
      }
    },
  })
}

function isRole(name: string): name is keyof typeof Role {
  return Object.hasOwn(Role, name)
}

function named(organization: string): string {
  return `organizations/${organization}`
}

/** Lifetime of an admin key if none is asked for, and at most (admin-api.md section 8). */
const lifetimeDefaultMicros = 90 * 86_400_000_000
const lifetimeMaxMs = 365 * 86_400_000

/** Entries of an admin key's allowlist: each is compared on every call. */
const allowlistMax = 256

const adminKeyTemplate = 'ak_{uuidv7}'

function completeBootstrap(context: AccessContext): Handler<CompleteBootstrapRequest, CompleteBootstrapResponse> {
  return async (request, call) => {
    const { value } = await guarded(context, call, () =>
      context.store.transact(async tx => {
        await spendBootstrapToken(tx, context.pepper, request.token)
        await requireOwnPeppers(tx, 'admin_keys', [context.pepper])
        const asked = readRoot(request, tx.now)
        const { row, secret } = newRoot(context, asked, tx.now)
        await tx.access.insertAdminKey(row)
        const reply = adminKeyMessage(row)
        await finish(tx, call, nobody, {
          rpc: 'AccessAdmin/CompleteBootstrap',
          requestId: '',
          feed: [],
          idempotency: null,
          audit: { organization: '', resource: reply.name, before: null, after: auditOf(row) },
        })
        return { end: 'commit', value: { created: { $case: 'adminKey', value: reply }, secret } as const }
      }),
    )
    return value
  }
}

const nobody = { principal: '', adminKeyHint: '' }

interface Asked {
  readonly displayName: string
  readonly expireAt: Micros
  readonly allowlist: readonly string[]
}

function readRoot({ root }: CompleteBootstrapRequest, now: Micros): Asked {
  const violations = new Violations()
  if (root?.$case === 'principal') {
    throw new RpcError('METHOD_NOT_IMPLEMENTED', 'Principals are not part of this version: ask for an admin key.')
  }
  if (root === undefined) {
    violations.add('admin_key', 'FIELD_REQUIRED', 'Describe the admin key.')
    violations.throwIfAny()
  }
  const { displayName, expireTime, allowlist } = root?.value ?? {
    displayName: '',
    expireTime: undefined,
    allowlist: [],
  }
  checkLine(displayName, 'admin_key.display_name', displayNameMax, true, violations)
  const rules = { required: false, maxLifetimeMs: lifetimeMaxMs, minAheadMs: 0 }
  const times = { now, createAt: now, mayBePast: false }
  const expireAt = readExpiry(expireTime, 'admin_key.expire_time', rules, times, violations)
  const entries = readEntries(allowlist, violations)
  violations.throwIfAny()
  return { displayName, expireAt: expireAt ?? now + lifetimeDefaultMicros, allowlist: entries }
}

function readEntries(given: readonly string[], violations: Violations): string[] {
  if (given.length > allowlistMax) {
    violations.add('admin_key.allowlist', 'TOO_MANY_ENTRIES', `At most ${allowlistMax} entries are allowed.`)
    return []
  }
  return given.map((text, index) => {
    const field = `admin_key.allowlist[${index}]`
    const entry = parseEntry(text)
    if (entry === null) violations.add(field, 'INVALID_ENTRY', `${quoted(text)} is no address and no network.`)
    else if (entry.spansMapped) violations.add(field, 'SPANS_MAPPED_RANGE', 'It covers the IPv4-mapped range.')
    else if (entry.hostBits) violations.add(field, 'HOST_BITS_SET', `Write ${cidrText(entry.block)}.`)
    return entry === null ? text : cidrText(entry.block)
  })
}

function newRoot(context: AccessContext, asked: Asked, now: Micros): { row: NewAdminKey; secret: string } {
  const issued = issueSecret(adminKeyGrammar, 0, context.random(octetsToIssue(adminKeyGrammar)))
  if (issued === null) throw new Error('the random octets did not suffice for an admin key')
  const row: NewAdminKey = {
    ...asked,
    id: newId(adminKeyTemplate, wholeUnixMs(now), context.random(idRandomOctets)),
    digest: digestSecret(context.pepper, Buffer.from(issued.secret, 'latin1')),
    pepperId: context.pepper.id,
    keyHint: issued.hint,
    roles: ['ROOT'],
    scopes: [],
    allOrganizations: true,
    organizations: [],
    createAt: now,
    creator: 'bootstrap',
  }
  return { row, secret: issued.secret }
}

function adminKeyMessage(row: NewAdminKey): AdminKey {
  return {
    name: `adminKeys/${row.id}`,
    displayName: row.displayName,
    scopes: row.scopes,
    organizations: ['organizations/-'],
    expireTime: timestampOf(row.expireAt),
    allowlist: row.allowlist,
    state: AdminKey_State.ACTIVE,
    keyHint: row.keyHint,
    createTime: timestampOf(row.createAt),
    revokeTime: undefined,
    creator: row.creator,
    etag: etagOf(1n),
  }
}

function auditOf(row: NewAdminKey) {
  return {
    name: `adminKeys/${row.id}`,
    display_name: row.displayName,
    roles: row.roles,
    key_hint: row.keyHint,
    allowlist: row.allowlist,
    expire_time: instantText(row.expireAt),
  }
}

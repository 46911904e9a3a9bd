// OrganizationAdmin: create, read, list, update, suspend and resume organizations.
// A suspension denies every key of the organization within the promised bound; it is reversible and idempotent.

import { instantText } from '../core/instant.ts'
import {
  type CreateOrganizationRequest,
  CreateOrganizationResponse,
  type GetOrganizationRequest,
  type ListOrganizationsRequest,
  type ListOrganizationsResponse,
  ResumeOrganizationResponse,
  type SuspendOrganizationRequest,
  SuspendOrganizationResponse,
  type UpdateOrganizationRequest,
  UpdateOrganizationResponse,
} from '../gen/gatewarden/admin/v1/organization_admin.ts'
import type { Organization } from '../gen/gatewarden/admin/v1/resources.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import { invalidArgument, RpcError } from '../rpc/errors.ts'
import type { AdminReads, AdminTx } from './admin-store.ts'
import type { Caller } from './caller.ts'
import { type Admin, type AuditFacts, type Change, type Codec, type Handler, mutation, query } from './command.ts'
import { requireEtag } from './etag.ts'
import { type MaskFields, readMask } from './field-mask.ts'
import type { FilterFields } from './filter.ts'
import { closePage, type ListingShape, planListing } from './listing.ts'
import type { OrderKey } from './order.ts'
import { organizationAudit, organizationMessage } from './organization-message.ts'
import type { OrganizationRow } from './organization-rows.ts'
import type { PagePosition, PageTokens } from './page-token.ts'
import type { RpcName } from './permission.ts'
import { fitsTemplate, idRandomOctets, newId } from './resource-id.ts'
import { organizationName, parseOrganizationName, parseProfileName, profileName } from './resource-name.ts'
import { checkLabels, checkLine, displayNameMax, quoted, reasonMax, sameLabels } from './text-fields.ts'
import type { Violations } from './violations.ts'
import { wholeUnixMs } from './wire-time.ts'

/** What the handlers of organizations work with. */
export interface OrganizationContext extends Admin {
  /** The profile that is served now under a name. */
  findProfile(name: string): CompiledProfile | undefined
  readonly pageTokens: PageTokens
  /** Octets of a cryptographic generator. */
  random(octets: number): Uint8Array
}

/** The handlers of the service, by method. */
export function organizationAdmin(context: OrganizationContext) {
  return {
    createOrganization: createOrganization(context),
    getOrganization: getOrganization(context),
    listOrganizations: listOrganizations(context),
    updateOrganization: updateOrganization(context),
    suspendOrganization: switchOrganization(
      context,
      'OrganizationAdmin/SuspendOrganization',
      SuspendOrganizationResponse,
      (row, now, reason) => (row.suspendAt === null ? { ...row, suspendAt: now, suspendReason: reason } : null),
    ),
    resumeOrganization: switchOrganization(
      context,
      'OrganizationAdmin/ResumeOrganization',
      ResumeOrganizationResponse,
      row => (row.suspendAt === null ? null : { ...row, suspendAt: null, suspendReason: '' }),
    ),
  }
}

/** All mutations of an organization answer alike. */
interface OrganizationReply {
  readonly organization: Organization | undefined
  readonly revision: bigint
  readonly revisionToken: string
}

function stamp(reply: OrganizationReply, revision: bigint, revisionToken: string): OrganizationReply {
  const { organization } = reply
  return { organization: organization && { ...organization, revision }, revision, revisionToken }
}

function replyOf(row: OrganizationRow): OrganizationReply {
  return { organization: organizationMessage(row), revision: 0n, revisionToken: '' }
}

function createOrganization(context: OrganizationContext): Handler<CreateOrganizationRequest, OrganizationReply> {
  return mutation(context, {
    rpc: 'OrganizationAdmin/CreateOrganization',
    requestId: 'required',
    replyType: CreateOrganizationResponse,
    organizationOf: request => request.organizationId,
    parse(request, violations) {
      const { organization, organizationId } = request
      if (organization === undefined) {
        violations.add('organization', 'FIELD_REQUIRED', 'Describe the organization.')
        return null
      }
      const { displayName, labels } = organization
      checkLine(displayName, 'organization.display_name', displayNameMax, true, violations)
      checkLabels(labels, 'organization.labels', violations)
      const profile = readProfileName(organization.profile, violations)
      return profile === undefined ? null : { displayName, labels, profile, organizationId }
    },
    async run(tx, { displayName, labels, profile, organizationId }) {
      const template = findProfile(context, profile).management.ids.organization
      const id = organizationId || newId(template, wholeUnixMs(tx.now), context.random(idRandomOctets))
      if (!fitsTemplate(template, id)) throw templateMismatch(template)
      const row: OrganizationRow = {
        id,
        displayName,
        profile,
        labels,
        suspendAt: null,
        suspendReason: '',
        createAt: tx.now,
        updateAt: tx.now,
        version: 1n,
        revision: 0n,
      }
      if (!(await tx.organizations.insert(row))) throw idExists(id)
      return changed(row, { before: null, after: organizationAudit(row) })
    },
    stamp,
  })
}

function getOrganization(context: OrganizationContext): Handler<GetOrganizationRequest, Organization> {
  return query(context, {
    rpc: 'OrganizationAdmin/GetOrganization',
    organizationOf: request => parseOrganizationName(request.name) ?? '',
    minRevision: request => request.minRevision,
    parse: (request, violations) => readName(request.name, 'name', violations),
    run: async (tx, id) => organizationMessage(await requireOrganizationRow(tx, id)),
  })
}

const filterFields: FilterFields = new Map([
  ['name', { kind: 'text' }],
  ['display_name', { kind: 'text' }],
  ['profile', { kind: 'text' }],
  ['suspend_time', { kind: 'time' }],
  ['create_time', { kind: 'time' }],
  ['labels', { kind: 'labels' }],
])

const listingShape: ListingShape = {
  listing: 'organizations',
  filterFields,
  orderFields: new Set(['create_time', 'display_name']),
  defaultOrder: [{ field: 'create_time', descending: false }],
}

function listOrganizations(context: OrganizationContext): Handler<ListOrganizationsRequest, ListOrganizationsResponse> {
  return query(context, {
    rpc: 'OrganizationAdmin/ListOrganizations',
    organizationOf: () => null,
    minRevision: request => request.minRevision,
    parse: request => request,
    async run(tx, request, caller) {
      const { pageTokens } = context
      const asked = { ...request, parent: '', showDeleted: false }
      const plan = planListing(listingShape, asked, pageTokens, tx.now)
      const found = await tx.organizations.list(visibleTo(caller), plan.page)
      const { rows, nextPageToken } = closePage(plan, found, positionOf, pageTokens, tx.now)
      return { organizations: rows.map(organizationMessage), nextPageToken }
    },
  })
}

function visibleTo(caller: Caller): readonly string[] | null {
  return caller.organizations === null ? null : [...caller.organizations]
}

function positionOf(row: OrganizationRow, keys: readonly OrderKey[]): PagePosition {
  return [...keys.map(({ field }) => (field === 'display_name' ? row.displayName : instantText(row.createAt))), row.id]
}

const maskFields: MaskFields<'display_name' | 'labels'> = {
  mutable: new Set(['display_name', 'labels']),
  fixed: new Set(['name', 'profile', 'suspend_time', 'create_time', 'revision', 'etag']),
}

function updateOrganization(context: OrganizationContext): Handler<UpdateOrganizationRequest, OrganizationReply> {
  return mutation(context, {
    rpc: 'OrganizationAdmin/UpdateOrganization',
    requestId: 'optional',
    replyType: UpdateOrganizationResponse,
    organizationOf: request => parseOrganizationName(request.organization?.name ?? '') ?? '',
    parse(request, violations) {
      const { organization } = request
      if (organization === undefined) {
        violations.add('organization', 'FIELD_REQUIRED', 'Describe the organization.')
        return null
      }
      const id = readName(organization.name, 'organization.name', violations)
      const isSet = (field: string) =>
        field === 'labels' ? organization.labels.size > 0 : organization.displayName !== ''
      const { fields } = readMask(request.updateMask, 'update_mask', maskFields, isSet, violations)
      const displayName = fields.has('display_name') ? organization.displayName : undefined
      const labels = fields.has('labels') ? organization.labels : undefined
      if (displayName !== undefined) {
        checkLine(displayName, 'organization.display_name', displayNameMax, true, violations)
      }
      if (labels !== undefined) checkLabels(labels, 'organization.labels', violations)
      return id === null ? null : { id, etag: request.etag || organization.etag, displayName, labels }
    },
    async run(tx, { id, etag, displayName, labels }) {
      const row = await requireOrganizationRow(tx, id)
      requireEtag(etag, row.version)
      const next = { ...row, displayName: displayName ?? row.displayName, labels: labels ?? row.labels }
      if (next.displayName === row.displayName && sameLabels(next.labels, row.labels)) return unchanged(row)
      return await write(tx, row, next)
    },
    stamp,
  })
}

/** Suspend and Resume: `next` gives the row to write, or null where nothing is to be done. */
function switchOrganization(
  context: OrganizationContext,
  rpc: RpcName,
  replyType: Codec<OrganizationReply>,
  next: (row: OrganizationRow, now: number, reason: string) => OrganizationRow | null,
): Handler<SuspendOrganizationRequest, OrganizationReply> {
  return mutation(context, {
    rpc,
    requestId: 'optional',
    replyType,
    organizationOf: request => parseOrganizationName(request.name) ?? '',
    parse(request, violations) {
      const id = readName(request.name, 'name', violations)
      checkLine(request.reason, 'reason', reasonMax, false, violations)
      return id === null ? null : { id, etag: request.etag, reason: request.reason }
    },
    async run(tx, { id, etag, reason }) {
      const row = await requireOrganizationRow(tx, id)
      requireEtag(etag, row.version)
      const written = next(row, tx.now, reason)
      return written === null ? unchanged(row) : await write(tx, row, written, reason)
    },
    stamp,
  })
}

async function write(
  tx: AdminTx,
  before: OrganizationRow,
  after: OrganizationRow,
  reason = '',
): Promise<Change<OrganizationReply>> {
  const row = { ...after, updateAt: tx.now }
  if (!(await tx.organizations.update(row))) {
    throw new RpcError(
      'CONCURRENT_CHANGE',
      'Another change came first: read the organization again, then repeat the call.',
    )
  }
  const [old, now] = [organizationAudit(before), organizationAudit(after)]
  const fields = Object.keys(now).filter(field => JSON.stringify(old[field]) !== JSON.stringify(now[field]))
  const pick = (view: typeof now) => Object.fromEntries(fields.map(field => [field, view[field] ?? null]))
  const said = reason === '' ? {} : { reason }
  return changed({ ...row, version: before.version + 1n }, { before: pick(old), after: { ...pick(now), ...said } })
}

function changed(row: OrganizationRow, audit: Pick<AuditFacts, 'before' | 'after'>): Change<OrganizationReply> {
  return {
    kind: 'changed',
    reply: replyOf(row),
    feed: [{ kind: 'organization', organization: row.id }],
    audit: { organization: row.id, resource: organizationName(row.id), ...audit },
  }
}

function unchanged(row: OrganizationRow): Change<OrganizationReply> {
  return { kind: 'unchanged', reply: replyOf(row), revision: row.revision }
}

async function requireOrganizationRow(tx: AdminReads, id: string): Promise<OrganizationRow> {
  const row = await tx.organizations.find(id)
  if (row !== undefined) return row
  const resource = { type: 'gatewarden.admin.v1/Organization', name: organizationName(id) }
  throw new RpcError('ORGANIZATION_UNKNOWN', `There is no organization ${id}.`, { resource })
}

function findProfile(context: OrganizationContext, name: string): CompiledProfile {
  const profile = context.findProfile(name)
  if (profile !== undefined) return profile
  const resource = { type: 'gatewarden.admin.v1/Profile', name: profileName(name) }
  throw new RpcError('PROFILE_UNKNOWN', `The profile ${name} is not loaded.`, { resource })
}

function readName(name: string, field: string, violations: Violations): string | null {
  const id = parseOrganizationName(name)
  if (id !== undefined) return id
  if (name === '') violations.add(field, 'FIELD_REQUIRED', 'Give organizations/{organization}.')
  else violations.add(field, 'FIELD_INVALID', `${quoted(name)} is not of the form organizations/{organization}.`)
  return null
}

function readProfileName(name: string, violations: Violations): string | undefined {
  const profile = parseProfileName(name)
  if (profile !== undefined) return profile
  const field = 'organization.profile'
  if (name === '') violations.add(field, 'FIELD_REQUIRED', 'Give profiles/{profile}.')
  else violations.add(field, 'FIELD_INVALID', `${quoted(name)} is not of the form profiles/{profile}.`)
  return undefined
}

function templateMismatch(template: string): RpcError {
  const message = `It must be of the form ${template}.`
  return invalidArgument([{ field: 'organization_id', reason: 'ID_TEMPLATE_MISMATCH', message }])
}

function idExists(id: string): RpcError {
  const resource = { type: 'gatewarden.admin.v1/Organization', name: organizationName(id) }
  return new RpcError('ID_EXISTS', `The id ${id} is taken.`, { resource })
}

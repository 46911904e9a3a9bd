// CreateApiKey: a new key with a new secret, which leaves in the first reply and is kept nowhere.
import { issueSecret, octetsToIssue } from '../core/secret-issue.ts'
import { type CreateApiKeyRequest, CreateApiKeyResponse } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import type { ApiKey } from '../gen/gatewarden/admin/v1/resources.ts'
import { digestSecret } from '../keys/digest.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import { RpcError } from '../rpc/errors.ts'
import type { AdminTx } from './admin-store.ts'
import {
  type ApiKeyContext,
  findOrganization,
  insertedRow,
  requireActive,
  requirePropagatedPepper,
  requireQuota,
} from './api-key-context.ts'
import {
  grantedScopes,
  readAllowlist,
  readEnvironment,
  readExpiry,
  readNewGrant,
  readRateLimit,
  requireGrantable,
} from './api-key-fields.ts'
import { apiKeyMessage, auditOf } from './api-key-message.ts'
import type { ApiKeyRow, NewApiKey } from './api-key-rows.ts'
import type { Caller } from './caller.ts'
import type { Change, Mutation } from './command.ts'
import { fitsTemplate, idRandomOctets, newId } from './resource-id.ts'
import { apiKeyName, parseOrganizationName } from './resource-name.ts'
import { checkLabels, checkLine, checkLines, descriptionMax, displayNameMax } from './text-fields.ts'
import { Violations } from './violations.ts'
import { wholeUnixMs } from './wire-time.ts'

interface Parsed {
  readonly organization: string
  readonly apiKey: ApiKey
  readonly apiKeyId: string
  readonly callerAddress: string
  /** What is wrong whatever the profile says; told together with what the profile refuses. */
  readonly pending: Violations
}

export function createApiKey(context: ApiKeyContext): Mutation<CreateApiKeyRequest, Parsed, CreateApiKeyResponse> {
  return {
    rpc: 'ApiKeyAdmin/CreateApiKey',
    requestId: 'required',
    replyType: CreateApiKeyResponse,
    organizationOf: request => parseOrganizationName(request.parent) ?? '',
    parse,
    run: (tx, parsed, caller) => create(context, tx, parsed, caller),
    stamp: (reply, revision, revisionToken) => ({
      ...reply,
      apiKey: reply.apiKey && { ...reply.apiKey, revision },
      revision,
      revisionToken,
    }),
    replayed: reply => ({ ...reply, secretAlreadyDelivered: true }),
  }
}

function parse(request: CreateApiKeyRequest, violations: Violations): Parsed | null {
  const organization = parseOrganizationName(request.parent)
  if (organization === undefined) violations.add('parent', 'FIELD_INVALID', 'It is not organizations/{organization}.')
  const { apiKey } = request
  if (apiKey === undefined) violations.add('api_key', 'FIELD_REQUIRED', 'Give the key to be created.')
  if (organization === undefined || apiKey === undefined) return null
  const pending = new Violations()
  checkLine(apiKey.displayName, 'api_key.display_name', displayNameMax, true, pending)
  checkLines(apiKey.description, 'api_key.description', descriptionMax, pending)
  checkLabels(apiKey.labels, 'api_key.labels', pending)
  readRateLimit(apiKey.rateLimit, 'api_key.rate_limit', pending)
  return { organization, apiKey, apiKeyId: request.apiKeyId, callerAddress: request.callerAddress, pending }
}

async function create(
  context: ApiKeyContext,
  tx: AdminTx,
  parsed: Parsed,
  caller: Caller,
): Promise<Change<CreateApiKeyResponse>> {
  const { organization, profile } = await findOrganization(context, tx, parsed.organization).catch(error => {
    parsed.pending.throwIfAny()
    throw error
  })
  const { apiKey, pending: violations } = parsed
  const malformed = !violations.none
  const rules = profile.management
  const environment = readEnvironment(apiKey.environment, 'api_key.environment', rules, violations)
  const grant = readNewGrant(apiKey.scopeMode, apiKey.scopes, 'api_key.', rules, rules.emptyScopes, violations)
  const allowlist = readAllowlist(apiKey.allowlist, 'api_key.allowlist', profile, parsed.callerAddress, violations)
  const times = { now: tx.now, createAt: tx.now, mayBePast: false }
  const expireAt = readExpiry(apiKey.expireTime, 'api_key.expire_time', rules.expiry, times, violations)
  if (parsed.apiKeyId !== '' && !fitsTemplate(rules.ids.apiKey, parsed.apiKeyId)) {
    violations.add('api_key_id', 'ID_TEMPLATE_MISMATCH', `It does not have the form ${rules.ids.apiKey}.`)
  }
  if (malformed) violations.throwIfAny()
  requireActive(organization)
  violations.throwIfAny()
  requireGrantable(grantedScopes(grant, rules), caller.grantClass, rules)
  await requirePropagatedPepper(context, tx)
  await requireQuota(context, tx, organization.id, 1)
  const id = parsed.apiKeyId === '' ? newKeyId(context, profile, tx) : parsed.apiKeyId
  const { row, secret } = withNewSecret(context, profile, {
    ...unusedLifecycle,
    ...grant,
    id,
    organization: organization.id,
    environment,
    displayName: apiKey.displayName,
    description: apiKey.description,
    allowlist: allowlist.entries,
    expireAt,
    // What is wrong with it was found when the request was parsed.
    rateLimit: readRateLimit(apiKey.rateLimit, '', new Violations()),
    labels: apiKey.labels,
    lineage: id,
    rotatedFrom: null,
    creator: caller.principal,
    createAt: tx.now,
    updateAt: tx.now,
  })
  const inserted = await insertKey(tx, row)
  return {
    kind: 'changed',
    reply: {
      apiKey: apiKeyMessage(inserted, tx.now),
      secret: '',
      secretAlreadyDelivered: false,
      warnings: allowlist.warnings,
      revision: 0n,
      revisionToken: '',
    },
    reveal: reply => ({ ...reply, secret }),
    feed: [{ kind: 'api_key', digest: row.digest }],
    audit: {
      organization: organization.id,
      resource: apiKeyName(organization.id, id),
      before: null,
      after: auditOf(inserted),
    },
  }
}

/** The lifecycle of a key that nothing has happened to. */
export const unusedLifecycle = {
  rotatedTo: null,
  rotateAt: null,
  graceEndAt: null,
  suspendAt: null,
  suspendReason: '',
  revokeAt: null,
  revokeReason: null,
  revokeComment: '',
  deleteAt: null,
  purgeAt: null,
} as const

/** An id of the profile's template, from the database's time. */
export function newKeyId(context: ApiKeyContext, profile: CompiledProfile, tx: AdminTx): string {
  return newId(profile.management.ids.apiKey, wholeUnixMs(tx.now), context.random(idRandomOctets))
}

/** Random octets are drawn anew at most this often: a shortage is less likely than 2^-128 each time. */
const drawsMax = 4

/** Draws a secret for a row and completes the row with what may be kept of it. */
export function withNewSecret(
  context: ApiKeyContext,
  profile: CompiledProfile,
  row: Omit<NewApiKey, 'digest' | 'pepperId' | 'form' | 'keyHint'>,
): { readonly row: NewApiKey; readonly secret: string } {
  const { grammar } = profile.policy
  const prefix = profile.management.environments.find(environment => environment.name === row.environment)?.prefix
  const form = grammar.forms.prefixes.find(candidate => candidate.prefix === prefix)
  if (form === undefined)
    throw new Error(`the profile ${profile.name} has no prefix for environment ${row.environment}`)
  const [pepper] = context.peppers
  for (let draw = 0; draw < drawsMax; draw++) {
    const issued = issueSecret(grammar, form.environment, context.random(octetsToIssue(grammar)))
    if (issued === null) continue
    const digest = digestSecret(pepper, Buffer.from(issued.secret, 'latin1'))
    return { row: { ...row, digest, pepperId: pepper.id, form: 'ISSUED', keyHint: issued.hint }, secret: issued.secret }
  }
  throw new Error('the generator of random octets does not give what a secret needs')
}

/** Inserts a new key. @throws RpcError ID_EXISTS */
export async function insertKey(tx: AdminTx, row: NewApiKey): Promise<ApiKeyRow> {
  const conflict = await tx.apiKeys.insert(row)
  if (conflict === undefined) return insertedRow(row)
  if (conflict === 'digest') throw new Error('a new secret has the digest of an old one')
  const resource = { type: 'gatewarden.admin.v1/ApiKey', name: apiKeyName(row.organization, row.id) }
  throw new RpcError('ID_EXISTS', `The id ${row.id} is or was another key's.`, { resource })
}

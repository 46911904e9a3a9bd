// RevokeApiKey: ends a key for good, and with it, unless told otherwise, its predecessors still in grace.
// A repeated call with a wider cascade still reaches what the first one left alive.
import { type RevokeReason, revoke } from '../core/api-key.ts'
import { type Cascade as CoreCascade, revokedAlong } from '../core/api-key-rotation.ts'
import { type RevokeApiKeyRequest, RevokeApiKeyResponse } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { Cascade } from '../gen/gatewarden/admin/v1/resources.ts'
import { failedPrecondition } from '../rpc/errors.ts'
import type { AdminTx } from './admin-store.ts'
import { type ApiKeyContext, findOrganization, lockLineage, writeKey } from './api-key-context.ts'
import { apiKeyMessage, auditDifference, revokeReasonOf } from './api-key-message.ts'
import type { ApiKeyRow } from './api-key-rows.ts'
import type { Json } from './canonical-json.ts'
import type { Change, Mutation } from './command.ts'
import { requireEtag } from './etag.ts'
import { type ApiKeyName, apiKeyName, parseApiKeyName } from './resource-name.ts'
import { stateText } from './state-text.ts'
import { checkLine, reasonMax } from './text-fields.ts'
import type { Violations } from './violations.ts'

interface Parsed {
  readonly name: ApiKeyName
  readonly reason: RevokeReason
  readonly comment: string
  readonly cascade: CoreCascade
  readonly etag: string
}

export function revokeApiKey(context: ApiKeyContext): Mutation<RevokeApiKeyRequest, Parsed, RevokeApiKeyResponse> {
  return {
    rpc: 'ApiKeyAdmin/RevokeApiKey',
    requestId: 'optional',
    replyType: RevokeApiKeyResponse,
    organizationOf: request => parseApiKeyName(request.name)?.organization ?? '',
    parse,
    run: (tx, parsed) => revokeKey(context, tx, parsed),
    stamp: (reply, revision, revisionToken) => ({
      apiKeys: reply.apiKeys.map(apiKey => ({ ...apiKey, revision })),
      revision,
      revisionToken,
    }),
  }
}

function parse(request: RevokeApiKeyRequest, violations: Violations): Parsed | null {
  const name = parseApiKeyName(request.name)
  if (name === undefined) {
    violations.add('name', 'FIELD_INVALID', 'It is not organizations/{organization}/apiKeys/{api_key}.')
  }
  const reason = revokeReasonOf(request.revokeReason)
  if (reason === undefined) violations.add('revoke_reason', 'FIELD_REQUIRED', 'Say why the key is revoked.')
  checkLine(request.comment, 'comment', reasonMax, false, violations)
  const cascade = cascadeOf(request.cascade)
  if (cascade === undefined) violations.add('cascade', 'FIELD_INVALID', `${request.cascade} is not a cascade.`)
  if (name === undefined || reason === undefined || cascade === undefined) return null
  return { name, reason, comment: request.comment, cascade, etag: request.etag }
}

function cascadeOf(wire: Cascade): CoreCascade | undefined {
  switch (wire) {
    case Cascade.CASCADE_UNSPECIFIED:
    case Cascade.PREDECESSORS:
      return 'PREDECESSORS'
    case Cascade.KEY_ONLY:
      return 'KEY_ONLY'
    case Cascade.LINEAGE:
      return 'LINEAGE'
    default:
      return undefined
  }
}

async function revokeKey(context: ApiKeyContext, tx: AdminTx, parsed: Parsed): Promise<Change<RevokeApiKeyResponse>> {
  await findOrganization(context, tx, parsed.name.organization)
  const { key, lineage, now } = await lockLineage(tx, parsed.name)
  requireEtag(parsed.etag, key.version)
  const targets = [key, ...revokedAlong(key, lineage, now, parsed.cascade)]
  const written: { readonly before: ApiKeyRow; readonly after: ApiKeyRow }[] = []
  for (const before of targets) {
    const result = revoke(before, now, parsed.reason, parsed.comment)
    if (result.kind === 'refused') {
      throw failedPrecondition(result.reason, apiKeyName(before.organization, before.id), stateText(result.reason))
    }
    if (result.kind === 'unchanged') continue
    written.push({ before, after: await writeKey(tx, { ...before, allowlist: null, ...result.change }, before, now) })
  }
  if (written.length === 0) {
    const reply = { apiKeys: [apiKeyMessage(key, now)], revision: 0n, revisionToken: '' }
    return { kind: 'unchanged', reply, revision: key.revision }
  }
  const differences = written.map(({ before, after }) => ({ id: before.id, ...auditDifference(before, after) }))
  const side = (of: 'before' | 'after'): Json =>
    Object.fromEntries(differences.map(difference => [difference.id, difference[of]]))
  return {
    kind: 'changed',
    reply: { apiKeys: written.map(({ after }) => apiKeyMessage(after, now)), revision: 0n, revisionToken: '' },
    feed: written.map(({ before }) => ({ kind: 'api_key' as const, digest: before.digest })),
    audit: {
      organization: key.organization,
      resource: apiKeyName(key.organization, key.id),
      before: side('before'),
      after: side('after'),
    },
  }
}

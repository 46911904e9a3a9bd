// UpdateApiKey: settings only, by field mask. It never changes a state, and never revives a key that has ended.
import { refuseUpdate } from '../core/api-key.ts'
import { type UpdateApiKeyRequest, UpdateApiKeyResponse } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { failedPrecondition } from '../rpc/errors.ts'
import type { AdminTx } from './admin-store.ts'
import { type ApiKeyContext, findOrganization, lockKey, writeKey } from './api-key-context.ts'
import { requireGrantable } from './api-key-fields.ts'
import { apiKeyMessage, auditDifference } from './api-key-message.ts'
import { applySettings, type GivenSettings, type MutableField, readSettings } from './api-key-settings.ts'
import type { Caller } from './caller.ts'
import type { Change, Mutation } from './command.ts'
import { requireEtag } from './etag.ts'
import { recentTrafficWarnings, trafficSubject } from './recent-traffic.ts'
import { type ApiKeyName, apiKeyName, parseApiKeyName } from './resource-name.ts'
import { stateText } from './state-text.ts'
import { Violations } from './violations.ts'

interface Parsed {
  readonly name: ApiKeyName
  readonly given: GivenSettings
  readonly etag: string
  readonly callerAddress: string
  /** What is wrong whatever the profile says; told together with what the profile refuses. */
  readonly pending: Violations
}

/** What may be changed of a key that has ended. */
const metadata: ReadonlySet<MutableField> = new Set<MutableField>(['display_name', 'description', 'labels'])

export function updateApiKey(context: ApiKeyContext): Mutation<UpdateApiKeyRequest, Parsed, UpdateApiKeyResponse> {
  return {
    rpc: 'ApiKeyAdmin/UpdateApiKey',
    requestId: 'optional',
    replyType: UpdateApiKeyResponse,
    organizationOf: request => parseApiKeyName(request.apiKey?.name ?? '')?.organization ?? '',
    parse,
    run: (tx, parsed, caller) => update(context, tx, parsed, caller),
    stamp: (reply, revision, revisionToken) => ({
      ...reply,
      apiKey: reply.apiKey && { ...reply.apiKey, revision },
      revision,
      revisionToken,
    }),
  }
}

function parse(request: UpdateApiKeyRequest, violations: Violations): Parsed | null {
  const { apiKey } = request
  if (apiKey === undefined) {
    violations.add('api_key', 'FIELD_REQUIRED', 'Give the key with its name.')
    return null
  }
  const name = parseApiKeyName(apiKey.name)
  if (name === undefined) {
    violations.add('api_key.name', 'FIELD_INVALID', 'It is not organizations/{organization}/apiKeys/{api_key}.')
    return null
  }
  const pending = new Violations()
  const given = readSettings(apiKey, request.updateMask, 'api_key.', 'update_mask', pending)
  const etag = request.etag === '' ? apiKey.etag : request.etag
  return { name, given, etag, callerAddress: request.callerAddress, pending }
}

async function update(
  context: ApiKeyContext,
  tx: AdminTx,
  parsed: Parsed,
  caller: Caller,
): Promise<Change<UpdateApiKeyResponse>> {
  const { name, given, pending: violations } = parsed
  const found = async () => {
    const { profile } = await findOrganization(context, tx, name.organization)
    return { profile, ...(await lockKey(tx, name)) }
  }
  const { profile, key, now } = await found().catch(error => {
    violations.throwIfAny()
    throw error
  })
  const malformed = !violations.none
  const { callerAddress } = parsed
  const place = {
    profile,
    now,
    createAt: key.createAt,
    path: 'api_key.',
    maskField: 'update_mask',
    callerAddress,
  }
  const applied = applySettings(key, given, place, violations)
  if (malformed) violations.throwIfAny()
  requireEtag(parsed.etag, key.version)
  const metadataOnly = [...applied.changed].every(field => metadata.has(field))
  const refusal = refuseUpdate(key, now, metadataOnly && violations.none)
  if (refusal !== null) throw failedPrecondition(refusal, apiKeyName(key.organization, key.id), stateText(refusal))
  violations.throwIfAny()
  requireGrantable(applied.addedScopes, caller.grantClass, profile.management)
  const { allowlist } = applied.row
  const recent =
    allowlist === null
      ? []
      : await recentTrafficWarnings(
          context.usage,
          await trafficSubject(tx, key),
          allowlist,
          'api_key.allowlist',
          profile,
          now,
        )
  const warnings = [...applied.warnings, ...recent]
  if (applied.changed.size === 0) {
    const reply = { apiKey: apiKeyMessage(key, now), warnings, revision: 0n, revisionToken: '' }
    return { kind: 'unchanged', reply, revision: key.revision }
  }
  const written = await writeKey(tx, applied.row, key, now)
  return {
    kind: 'changed',
    reply: { apiKey: apiKeyMessage(written, now), warnings, revision: 0n, revisionToken: '' },
    feed: [{ kind: 'api_key', digest: key.digest }],
    audit: {
      organization: key.organization,
      resource: apiKeyName(key.organization, key.id),
      ...auditDifference(key, written),
    },
  }
}

// RotateApiKey: a successor with a new secret; the old key works on until its own grace end.
// A caller never rotates a key that holds more than it may grant: the secret would end up in its hands.

import { parseEntry } from '../core/address.ts'
import type { AllowlistEntry } from '../core/allowlist.ts'
import { type GraceRules, isInGrace, predecessorsOf, rotate } from '../core/api-key-rotation.ts'
import type { Micros } from '../core/time.ts'
import { type RotateApiKeyRequest, RotateApiKeyResponse } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { ApiKey } from '../gen/gatewarden/admin/v1/resources.ts'
import type { ManagementRules } from '../profile/compiled-profile.ts'
import { failedPrecondition, invalidArgument } from '../rpc/errors.ts'
import type { AdminTx } from './admin-store.ts'
import {
  type ApiKeyContext,
  findOrganization,
  lockLineage,
  requireActive,
  requirePropagatedPepper,
  writeKey,
} from './api-key-context.ts'
import { grantedScopes, requireGrantable } from './api-key-fields.ts'
import { apiKeyMessage, auditDifference } from './api-key-message.ts'
import type { ApiKeyRow } from './api-key-rows.ts'
import { type AppliedSettings, applySettings, type GivenSettings, readSettings } from './api-key-settings.ts'
import type { Caller } from './caller.ts'
import type { Change, Mutation } from './command.ts'
import { insertKey, newKeyId, unusedLifecycle, withNewSecret } from './create-api-key.ts'
import { requireEtag } from './etag.ts'
import { type ApiKeyName, apiKeyName, parseApiKeyName } from './resource-name.ts'
import { stateText } from './state-text.ts'
import { Violations } from './violations.ts'
import { durationMicrosOf } from './wire-time.ts'

interface Parsed {
  readonly name: ApiKeyName
  readonly graceMicros: number | null
  readonly given: GivenSettings
  readonly etag: string
  readonly pending: Violations
}

export function rotateApiKey(context: ApiKeyContext): Mutation<RotateApiKeyRequest, Parsed, RotateApiKeyResponse> {
  return {
    rpc: 'ApiKeyAdmin/RotateApiKey',
    requestId: 'required',
    replyType: RotateApiKeyResponse,
    organizationOf: request => parseApiKeyName(request.name)?.organization ?? '',
    parse,
    run: (tx, parsed, caller) => rotateKey(context, tx, parsed, caller),
    stamp: (reply, revision, revisionToken) => ({
      ...reply,
      apiKey: reply.apiKey && { ...reply.apiKey, revision },
      predecessor: reply.predecessor && { ...reply.predecessor, revision },
      revision,
      revisionToken,
    }),
    replayed: reply => ({ ...reply, secretAlreadyDelivered: true }),
  }
}

/** The grace rules of a profile. */
export function graceRules({ rotation }: ManagementRules): GraceRules {
  return {
    defaultMicros: rotation.defaultMs * 1000,
    minMicros: rotation.minMs * 1000,
    maxMicros: rotation.maxMs * 1000,
    maxLivePredecessors: rotation.maxLivePredecessors,
  }
}

function parse(request: RotateApiKeyRequest, violations: Violations): Parsed | null {
  const name = parseApiKeyName(request.name)
  if (name === undefined) {
    violations.add('name', 'FIELD_INVALID', 'It is not organizations/{organization}/apiKeys/{api_key}.')
    return null
  }
  const pending = new Violations()
  const { gracePeriod } = request
  const graceMicros = gracePeriod === undefined ? null : durationMicrosOf(gracePeriod)
  if (gracePeriod !== undefined && graceMicros === null) {
    pending.add('grace_period', 'GRACE_OUT_OF_RANGE', 'It is not a duration of 0 s or more.')
  }
  const overrides = request.overrides ?? ApiKey.decode(new Uint8Array(0))
  const given = readSettings(overrides, request.overridesMask, 'overrides.', 'overrides_mask', pending)
  return { name, graceMicros, given, etag: request.etag, pending }
}

async function rotateKey(
  context: ApiKeyContext,
  tx: AdminTx,
  parsed: Parsed,
  caller: Caller,
): Promise<Change<RotateApiKeyResponse>> {
  const { name, given, pending: violations } = parsed
  const found = async () => {
    const owner = await findOrganization(context, tx, name.organization)
    return { ...owner, ...(await lockLineage(tx, name)) }
  }
  const { organization, profile, key, lineage, now } = await found().catch(error => {
    violations.throwIfAny()
    throw error
  })
  const malformed = !violations.none
  const place = {
    profile,
    now,
    createAt: now,
    path: 'overrides.',
    maskField: 'overrides_mask',
    callerAddress: '',
  }
  const applied = applySettings(key, given, place, violations)
  if (malformed) violations.throwIfAny()
  requireEtag(parsed.etag, key.version)
  requireActive(organization)
  const successorId = newKeyId(context, profile, tx)
  const livePredecessors = predecessorsOf(key, lineage).filter(member => isInGrace(member, now)).length
  const rules = graceRules(profile.management)
  const result = rotate(key, now, successorId, parsed.graceMicros, livePredecessors, rules)
  if (result.kind === 'refused' && result.reason !== 'GRACE_OUT_OF_RANGE') {
    throw failedPrecondition(result.reason, apiKeyName(key.organization, key.id), stateText(result.reason))
  }
  if (result.kind === 'refused') violations.add('grace_period', 'GRACE_OUT_OF_RANGE', graceText(rules))
  violations.throwIfAny()
  if (result.kind !== 'change') throw new Error('a rotation always changes the key')
  requireGrantable(grantedScopes(applied.row, profile.management), caller.grantClass, profile.management)
  await requirePropagatedPepper(context, tx)
  const predecessor = await writeKey(tx, { ...key, allowlist: null, ...result.change }, key, now)
  const { row, secret } = withNewSecret(context, profile, successorOf(key, applied, successorId, caller, now))
  const successor = await insertKey(tx, row)
  const difference = auditDifference(key, predecessor)
  return {
    kind: 'changed',
    reply: {
      apiKey: apiKeyMessage(successor, now),
      predecessor: apiKeyMessage(predecessor, now),
      secret: '',
      secretAlreadyDelivered: false,
      warnings: applied.warnings,
      revision: 0n,
      revisionToken: '',
    },
    reveal: reply => ({ ...reply, secret }),
    feed: [
      { kind: 'api_key', digest: key.digest },
      { kind: 'api_key', digest: row.digest },
    ],
    audit: {
      organization: key.organization,
      resource: apiKeyName(key.organization, key.id),
      before: difference.before,
      after: { predecessor: difference.after, successor: auditDifference(key, successor).after },
    },
  }
}

function successorOf(key: ApiKeyRow, applied: AppliedSettings, id: string, caller: Caller, now: Micros) {
  const { row } = applied
  return {
    ...unusedLifecycle,
    id,
    organization: key.organization,
    environment: key.environment,
    displayName: row.displayName,
    description: row.description,
    scopeMode: row.scopeMode,
    scopes: row.scopes,
    allowlist: row.allowlist ?? copiedAllowlist(key),
    expireAt: row.expireAt,
    rateLimit: row.rateLimit,
    labels: row.labels,
    lineage: key.lineage,
    rotatedFrom: key.id,
    creator: caller.principal,
    createAt: now,
    updateAt: now,
  }
}

/** The entries of a stored list. One that cannot be read must not vanish: the copy would allow more than the original. */
function copiedAllowlist(key: ApiKeyRow): readonly AllowlistEntry[] {
  return key.allowlist.map(({ cidr, label }, index) => {
    const parsed = parseEntry(cidr)
    if (parsed !== null) return { block: parsed.block, label }
    const message = 'The key has an entry that cannot be read: give the successor a list of its own.'
    throw invalidArgument([{ field: `overrides.allowlist[${index}].cidr`, reason: 'INVALID_ENTRY', message }])
  })
}

function graceText(rules: GraceRules): string {
  const seconds = (micros: number) => `${micros / 1_000_000} s`
  return `It must be 0 s, or from ${seconds(rules.minMicros)} to ${seconds(rules.maxMicros)}.`
}

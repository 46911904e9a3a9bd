// The RPCs that move one key through its life: finish and extend a rotation, suspend, resume, expire, delete, undelete.
// Which move is allowed from which state says core/api-key; a move that changes nothing writes nothing.
import { expire, resume, softDelete, suspend, type Transition, undelete } from '../core/api-key.ts'
import { extendRotation, finishRotation, type RotationRefusal } from '../core/api-key-rotation.ts'
import type { Micros } from '../core/time.ts'
import {
  DeleteApiKeyResponse,
  ExpireApiKeyResponse,
  type ExtendRotationRequest,
  ExtendRotationResponse,
  FinishRotationResponse,
  ResumeApiKeyResponse,
  SuspendApiKeyResponse,
  UndeleteApiKeyResponse,
} from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import type { ApiKey } from '../gen/gatewarden/admin/v1/resources.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import { failedPrecondition, invalidArgument } from '../rpc/errors.ts'
import type { AdminTx } from './admin-store.ts'
import { type ApiKeyContext, findOrganization, lockKey, writeKey } from './api-key-context.ts'
import { apiKeyMessage, auditDifference } from './api-key-message.ts'
import type { ApiKeyRow } from './api-key-rows.ts'
import type { Change, Codec, Mutation } from './command.ts'
import { requireEtag } from './etag.ts'
import type { RpcName } from './permission.ts'
import { type ApiKeyName, apiKeyName, parseApiKeyName } from './resource-name.ts'
import { graceRules } from './rotate-api-key.ts'
import { stateText } from './state-text.ts'
import { checkLine, reasonMax } from './text-fields.ts'
import type { Violations } from './violations.ts'
import { microsOf } from './wire-time.ts'

/** What all of these requests have. */
export interface MoveRequest {
  readonly name: string
  readonly requestId: string
  readonly validateOnly: boolean
  readonly etag: string
  /** Suspend and Resume only. */
  readonly reason?: string
}

/** What all of these replies have. */
export interface MoveReply {
  readonly apiKey: ApiKey | undefined
  readonly revision: bigint
  readonly revisionToken: string
}

interface Parsed<Argument> {
  readonly name: ApiKeyName
  readonly etag: string
  readonly argument: Argument
}

/** One move. */
interface Move<Request extends MoveRequest, Argument> {
  readonly rpc: RpcName
  readonly replyType: Codec<MoveReply>
  /** Reads what the move needs beside the name. */
  argumentOf(request: Request, violations: Violations): Argument
  move(key: ApiKeyRow, now: Micros, argument: Argument, profile: CompiledProfile): Transition<RotationRefusal>
}

type AnyMutation<Request extends MoveRequest, Argument> = Mutation<Request, Parsed<Argument>, MoveReply>

function moving<Request extends MoveRequest, Argument>(
  context: ApiKeyContext,
  move: Move<Request, Argument>,
): AnyMutation<Request, Argument> {
  return {
    rpc: move.rpc,
    requestId: 'optional',
    replyType: move.replyType,
    organizationOf: request => parseApiKeyName(request.name)?.organization ?? '',
    parse: (request, violations) => {
      const name = parseApiKeyName(request.name)
      if (name === undefined) {
        violations.add('name', 'FIELD_INVALID', 'It is not organizations/{organization}/apiKeys/{api_key}.')
      }
      const argument = move.argumentOf(request, violations)
      return name === undefined ? null : { name, etag: request.etag, argument }
    },
    run: (tx, parsed) => run(context, tx, parsed, move),
    stamp: (reply, revision, revisionToken) => ({
      ...reply,
      apiKey: reply.apiKey && { ...reply.apiKey, revision },
      revision,
      revisionToken,
    }),
  }
}

async function run<Request extends MoveRequest, Argument>(
  context: ApiKeyContext,
  tx: AdminTx,
  parsed: Parsed<Argument>,
  move: Move<Request, Argument>,
): Promise<Change<MoveReply>> {
  const { profile } = await findOrganization(context, tx, parsed.name.organization)
  const { key, now } = await lockKey(tx, parsed.name)
  requireEtag(parsed.etag, key.version)
  const result = move.move(key, now, parsed.argument, profile)
  const resource = apiKeyName(key.organization, key.id)
  if (result.kind === 'refused') throw refusalOf(result.reason, resource)
  if (result.kind === 'unchanged') {
    const reply = { apiKey: apiKeyMessage(key, now), revision: 0n, revisionToken: '' }
    return { kind: 'unchanged', reply, revision: key.revision }
  }
  const written = await writeKey(tx, { ...key, allowlist: null, ...result.change }, key, now)
  return {
    kind: 'changed',
    reply: { apiKey: apiKeyMessage(written, now), revision: 0n, revisionToken: '' },
    feed: [{ kind: 'api_key', digest: key.digest }],
    audit: { organization: key.organization, resource, ...auditDifference(key, written) },
  }
}

function refusalOf(reason: RotationRefusal, resource: string) {
  if (reason !== 'GRACE_OUT_OF_RANGE') return failedPrecondition(reason, resource, stateText(reason))
  const message = 'It must lie in the future, at most the longest grace period after the rotation.'
  return invalidArgument([{ field: 'grace_end_time', reason, message }])
}

const nothing = () => null

function reasonOf(request: MoveRequest, violations: Violations): string {
  const reason = request.reason ?? ''
  checkLine(reason, 'reason', reasonMax, false, violations)
  return reason
}

export function suspendApiKey(context: ApiKeyContext) {
  return moving<MoveRequest, string>(context, {
    rpc: 'ApiKeyAdmin/SuspendApiKey',
    replyType: SuspendApiKeyResponse,
    argumentOf: reasonOf,
    move: suspend,
  })
}

export function resumeApiKey(context: ApiKeyContext) {
  return moving<MoveRequest, string>(context, {
    rpc: 'ApiKeyAdmin/ResumeApiKey',
    replyType: ResumeApiKeyResponse,
    argumentOf: reasonOf,
    move: resume,
  })
}

export function expireApiKey(context: ApiKeyContext) {
  return moving<MoveRequest, null>(context, {
    rpc: 'ApiKeyAdmin/ExpireApiKey',
    replyType: ExpireApiKeyResponse,
    argumentOf: nothing,
    move: expire,
  })
}

export function deleteApiKey(context: ApiKeyContext) {
  return moving<MoveRequest, null>(context, {
    rpc: 'ApiKeyAdmin/DeleteApiKey',
    replyType: DeleteApiKeyResponse,
    argumentOf: nothing,
    move: softDelete,
  })
}

export function undeleteApiKey(context: ApiKeyContext) {
  return moving<MoveRequest, null>(context, {
    rpc: 'ApiKeyAdmin/UndeleteApiKey',
    replyType: UndeleteApiKeyResponse,
    argumentOf: nothing,
    move: undelete,
  })
}

export function finishKeyRotation(context: ApiKeyContext) {
  return moving<MoveRequest, null>(context, {
    rpc: 'ApiKeyAdmin/FinishRotation',
    replyType: FinishRotationResponse,
    argumentOf: nothing,
    move: finishRotation,
  })
}

export function extendKeyRotation(context: ApiKeyContext) {
  return moving<ExtendRotationRequest, Micros>(context, {
    rpc: 'ApiKeyAdmin/ExtendRotation',
    replyType: ExtendRotationResponse,
    argumentOf: graceEndOf,
    move: (key, now, end, profile) => extendRotation(key, now, end, graceRules(profile.management)),
  })
}

function graceEndOf(request: ExtendRotationRequest, violations: Violations): Micros {
  const { graceEndTime } = request
  if (graceEndTime === undefined) {
    violations.add('grace_end_time', 'FIELD_REQUIRED', 'Give the new end of the grace period.')
    return 0
  }
  const end = microsOf(graceEndTime)
  if (typeof end === 'number') return end
  if (end === 'invalid') violations.add('grace_end_time', 'FIELD_INVALID', 'It is not a timestamp.')
  else violations.add('grace_end_time', 'GRACE_OUT_OF_RANGE', 'It lies outside of every grace period.')
  return 0
}

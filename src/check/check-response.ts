// Writes CheckResponses. Each ends with an explicit status, and there is no way to end one without: an absent status would
// be an allow. What was encoded ahead is copied; ids, address and numbers of this check are written between.

import type { Decision } from '../core/decide.ts'
import { MISS } from '../core/key-lookup.ts'
import { UNMAPPED } from '../core/route-table.ts'
import { uuidTextLength } from '../core/uuid-text.ts'
import { type DenialReply, type DenialShape, denialOf, type ProfileReplies } from './profile-replies.ts'
import type { ReplyBuffer } from './reply-buffer.ts'
import { overwrite, statusOk, TAG_1, TAG_2, TAG_3, TAG_4, TAG_5, TAG_6 } from './reply-encoding.ts'
import type { ReplyValues, ShortText } from './reply-values.ts'
import { prependShort, prependTemplate } from './template-writer.ts'

/** How our own failures are told: as a denial, or as an error that Envoy's failure mode may turn into an allow. */
export type FailureField = 'denied_response' | 'error_response'

const nothing = new Uint8Array(0)

const entryName = (name: string): Uint8Array => Uint8Array.of(TAG_1, name.length, ...Buffer.from(name, 'latin1'))
const decisionIdName = entryName('decision_id')
const organizationName = entryName('organization_id')
const apiKeyName = entryName('api_key_id')
const environmentName = entryName('environment')
const scopeName = entryName('required_scope')
const clientName = entryName('client_ip')

/** Writes the reply that lets the request pass. */
export function writeAllow(
  buffer: ReplyBuffer,
  replies: ProfileReplies,
  decision: Decision,
  values: ReplyValues,
): void {
  buffer.reset()
  prependMetadata(buffer, replies, replies.allowMetadata, decision, values)
  const end = buffer.at
  if (decision.isPublic) {
    buffer.prepend(replies.publicRemovals)
  } else {
    if (decision.limited) prependLimitHeaders(buffer, replies, values)
    buffer.prepend(replies.removals)
    prependIdentity(buffer, replies, decision, values)
  }
  buffer.wrap(TAG_3, end)
  buffer.prepend(statusOk)
}

/** Writes the reply that refuses the request, as the profile shows this reason. `field` counts for our own failures only. */
export function writeDenial(
  buffer: ReplyBuffer,
  replies: ProfileReplies,
  decision: Decision,
  values: ReplyValues,
  isGrpc: boolean,
  field: FailureField,
): void {
  const reply = denialOf(replies, decision.code)
  buffer.reset()
  prependMetadata(buffer, replies, reply.metadata, decision, values)
  const end = buffer.at
  prependShape(buffer, isGrpc ? reply.grpc : reply.http, replies, values)
  buffer.wrap(field === 'error_response' ? TAG_5 : TAG_2, end)
  prependStatus(buffer, reply)
}

/** The code is 1–16 by compilation. */
function prependStatus(buffer: ReplyBuffer, reply: DenialReply): void {
  const end = buffer.at
  buffer.prependOctet(reply.grpcStatus)
  buffer.prependOctet(0x08)
  buffer.wrap(TAG_1, end)
}

function prependShape(buffer: ReplyBuffer, shape: DenialShape, replies: ProfileReplies, values: ReplyValues): void {
  let end = buffer.at
  prependTemplate(buffer, shape.body, values, replies.support)
  buffer.wrap(TAG_3, end)
  for (let i = shape.varying.length - 1; i >= 0; i--) {
    const header = shape.varying[i]
    if (header === undefined) continue
    end = buffer.at
    buffer.prepend(overwrite)
    const valueEnd = buffer.at
    prependTemplate(buffer, header.value, values, replies.support)
    prependHeader(buffer, TAG_2, header.name, valueEnd, end)
  }
  buffer.prepend(shape.head)
}

/** Finishes a header option whose value has been written before `valueEnd` and which ends at `end`. */
function prependHeader(buffer: ReplyBuffer, tag: number, name: Uint8Array, valueEnd: number, end: number): void {
  buffer.wrap(TAG_2, valueEnd)
  buffer.prepend(name)
  buffer.wrap(TAG_1, valueEnd)
  buffer.wrap(tag, end)
}

function prependIdentity(buffer: ReplyBuffer, replies: ProfileReplies, decision: Decision, values: ReplyValues): void {
  const scope = decision.rule === UNMAPPED ? replies.emptyScopeHeader : replies.scopeHeaders[decision.rule]
  buffer.prepend(scope ?? replies.emptyScopeHeader)
  if (replies.environmentHeader !== null) {
    const end = buffer.at
    buffer.prepend(overwrite)
    const valueEnd = buffer.at
    buffer.prependText(values.environment)
    prependHeader(buffer, TAG_2, replies.environmentHeader, valueEnd, end)
  }
  if (replies.apiKeyHeader !== null) prependIdHeader(buffer, replies.apiKeyHeader, values.apiKeyId)
  if (replies.organizationHeader !== null) prependIdHeader(buffer, replies.organizationHeader, values.organizationId)
}

function prependIdHeader(buffer: ReplyBuffer, name: Uint8Array, value: ShortText): void {
  const end = buffer.at
  buffer.prepend(overwrite)
  const valueEnd = buffer.at
  prependShort(buffer, value)
  prependHeader(buffer, TAG_2, name, valueEnd, end)
}

/** `response_headers_to_add`: the three numbers of the key's own limit. */
function prependLimitHeaders(buffer: ReplyBuffer, replies: ProfileReplies, values: ReplyValues): void {
  for (let i = replies.limitHeaders.length - 1; i >= 0; i--) {
    const end = buffer.at
    buffer.prepend(overwrite)
    const valueEnd = buffer.at
    buffer.prependDecimal(i === 0 ? values.limit : i === 1 ? values.remaining : values.resetUnixSeconds)
    prependHeader(buffer, TAG_6, replies.limitHeaders[i] ?? nothing, valueEnd, end)
  }
}

/** `dynamic_metadata`: texts only, and empty ones left out. */
function prependMetadata(
  buffer: ReplyBuffer,
  replies: ProfileReplies,
  outcome: Uint8Array,
  decision: Decision,
  values: ReplyValues,
): void {
  const end = buffer.at
  prependEntry(buffer, clientName, values.clientAddress)
  if (values.missingScope !== '') {
    const entryEnd = buffer.at
    buffer.prependText(values.missingScope)
    finishEntry(buffer, scopeName, entryEnd)
  } else {
    buffer.prepend(replies.scopeMetadata[decision.rule] ?? nothing)
  }
  buffer.prepend(replies.routeMetadata[decision.rule] ?? nothing)
  if (decision.slot > MISS) {
    if (values.environment !== '') {
      const entryEnd = buffer.at
      buffer.prependText(values.environment)
      finishEntry(buffer, environmentName, entryEnd)
    }
    prependEntry(buffer, apiKeyName, values.apiKeyId)
    prependEntry(buffer, organizationName, values.organizationId)
  }
  buffer.prepend(replies.metadata)
  buffer.prepend(outcome)
  const entryEnd = buffer.at
  buffer.prependStart(values.decisionId, uuidTextLength)
  finishEntry(buffer, decisionIdName, entryEnd)
  buffer.wrap(TAG_4, end)
}

function prependEntry(buffer: ReplyBuffer, name: Uint8Array, value: ShortText): void {
  if (value.length === 0) return
  const end = buffer.at
  prependShort(buffer, value)
  finishEntry(buffer, name, end)
}

/** Finishes a Struct entry whose text has been written before `end`: Value.string_value, entry value, key, entry. */
function finishEntry(buffer: ReplyBuffer, name: Uint8Array, end: number): void {
  buffer.wrap(TAG_3, end)
  buffer.wrap(TAG_2, end)
  buffer.prepend(name)
  buffer.wrap(TAG_1, end)
}

// The allow reply of one rule and environment, encoded when the profile is compiled and patched for each check: ids, client
// address and limit numbers are all that varies. What varies in length stands last in its message, so nothing ever moves.
// It says exactly what check-response.ts says, which also speaks where no template fits.
import type { ProfileReplies } from './profile-replies.ts'
import {
  encodeEntry,
  encodeField,
  encodeHeader,
  encodeText,
  overwrite,
  statusOk,
  TAG_1,
  TAG_2,
  TAG_3,
  TAG_4,
  TAG_6,
} from './reply-encoding.ts'
import { type ReplyValues, type ShortText, uuidLength } from './reply-values.ts'

/** Lengths of a message that are written in exactly two octets, so that they can be patched. */
const twoOctetsMin = 0x80
const twoOctetsMax = 0x3fff

/** Longest header name and value of a limit header whose lengths all take one octet. */
const limitNameLengthMax = 80
const digitsMax = 16

/** What a template is made for. */
export interface AllowShape {
  readonly rule: number
  /** Name of the API key's environment. */
  readonly environment: string
  readonly apiKeyIdLength: number
  readonly organizationIdLength: number
}

/** Names of the headers that carry ids; null: not set. */
export interface IdentityNames {
  readonly organization: string | null
  readonly apiKey: string | null
  readonly environment: string | null
}

/** Octets with places for texts of fixed length. */
interface Block {
  readonly octets: Buffer
  /** Where the organization's id, the API key's id and the decision's id stand; -1: nowhere. */
  readonly organizationAt: number
  readonly apiKeyAt: number
  readonly decisionAt: number
}

/** The client's entry before its text: three lengths of one octet each, which depend on it. */
const clientName = encodeText(TAG_1, 'client_ip')

export class AllowTemplate {
  readonly environment: string
  readonly apiKeyIdLength: number
  readonly organizationIdLength: number
  /** Status, and OkHttpResponse up to the removals. */
  private readonly head: Block
  private readonly removals: Uint8Array
  /** `dynamic_metadata` up to the client's address. */
  private readonly tail: Block
  /** Each limit header up to its digits. */
  private readonly limitHeaders: readonly Uint8Array[]

  private constructor(shape: AllowShape, replies: ProfileReplies, identity: IdentityNames) {
    this.environment = shape.environment
    this.apiKeyIdLength = shape.apiKeyIdLength
    this.organizationIdLength = shape.organizationIdLength
    this.head = headOf(shape, replies, identity)
    this.removals = replies.removals
    this.tail = tailOf(shape, replies)
    this.limitHeaders = replies.limitHeaders.map(limitHeaderOf)
  }

  /** The template, or null where the lengths of this profile cannot be patched. */
  static create(shape: AllowShape, replies: ProfileReplies, identity: IdentityNames): AllowTemplate | null {
    if (shape.apiKeyIdLength < 1 || shape.organizationIdLength < 1) return null
    if (replies.limitHeaders.some(name => name.length > limitNameLengthMax)) return null
    const template = new AllowTemplate(shape, replies, identity)
    const varying = 3 * (limitNameLengthMax + digitsMax + 16) + clientName.length + 64
    const lengths = [template.head.octets.length + template.removals.length, template.tail.octets.length]
    const fits = lengths.every(length => length > twoOctetsMin + 16 && length + varying < twoOctetsMax)
    return fits ? template : null
  }

  /** Whether the values have the lengths that this template has places for. */
  fits(values: ReplyValues): boolean {
    return (
      values.apiKeyId.length === this.apiKeyIdLength &&
      values.organizationId.length === this.organizationIdLength &&
      values.environment === this.environment
    )
  }

  /** Writes the whole reply from the start of `bytes` and gives its end. */
  write(bytes: Buffer, values: ReplyValues, isLimited: boolean): number {
    const { head, tail, removals } = this
    bytes.set(head.octets, 0)
    fill(bytes, 0, head, values)
    let at = head.octets.length
    bytes.set(removals, at)
    at += removals.length
    if (isLimited) at = this.writeLimits(bytes, at, values)
    // Both messages begin with a tag and a length of two octets.
    putLength(bytes, statusOk.length + 1, at - statusOk.length - 3)
    const metadata = at
    bytes.set(tail.octets, at)
    fill(bytes, at, tail, values)
    at = writeClient(bytes, at + tail.octets.length, values.clientAddress)
    putLength(bytes, metadata + 1, at - metadata - 3)
    return at
  }

  private writeLimits(bytes: Buffer, start: number, values: ReplyValues): number {
    let at = start
    for (let i = 0; i < this.limitHeaders.length; i++) {
      const header = this.limitHeaders[i]
      if (header === undefined) continue
      const value = i === 0 ? values.limit : i === 1 ? values.remaining : values.resetUnixSeconds
      const begin = at
      for (let k = 0; k < header.length; k++) bytes[begin + k] = header[k] ?? 0
      const digits = begin + header.length
      at = writeDecimal(bytes, digits, value)
      const length = at - digits
      bytes[digits - 1] = length
      bytes[begin + 1] = (header[1] ?? 0) + length
      bytes[begin + 3] = (header[3] ?? 0) + length
      for (let k = 0; k < overwrite.length; k++) bytes[at + k] = overwrite[k] ?? 0
      at += overwrite.length
    }
    return at
  }
}

/** Digits that can stand for an id of this length while the octets around it are encoded. */
const place = (length: number) => 'x'.repeat(length)

/** An encoded part with a place of `length` in it, and where the place is. */
function placed(part: Buffer, length: number): { readonly part: Buffer; readonly at: number } {
  return { part, at: part.lastIndexOf(place(length)) }
}

function headOf(shape: AllowShape, replies: ProfileReplies, names: IdentityNames): Block {
  const header = (name: string | null, value: string) =>
    name === null ? Buffer.alloc(0) : encodeHeader(TAG_2, name, value)
  const organization = placed(header(names.organization, place(shape.organizationIdLength)), shape.organizationIdLength)
  const apiKey = placed(header(names.apiKey, place(shape.apiKeyIdLength)), shape.apiKeyIdLength)
  const before = Buffer.concat([statusOk, Uint8Array.of(TAG_3, 0, 0)])
  const scope = replies.scopeHeaders[shape.rule] ?? replies.emptyScopeHeader
  const keyStart = before.length + organization.part.length
  return {
    octets: Buffer.concat([
      before,
      organization.part,
      apiKey.part,
      header(names.environment, shape.environment),
      scope,
    ]),
    organizationAt: organization.at < 0 ? -1 : before.length + organization.at,
    apiKeyAt: apiKey.at < 0 ? -1 : keyStart + apiKey.at,
    decisionAt: -1,
  }
}

function tailOf(shape: AllowShape, replies: ProfileReplies): Block {
  const decision = placed(encodeEntry('decision_id', place(uuidLength)), uuidLength)
  const organization = placed(
    encodeEntry('organization_id', place(shape.organizationIdLength)),
    shape.organizationIdLength,
  )
  const apiKey = placed(encodeEntry('api_key_id', place(shape.apiKeyIdLength)), shape.apiKeyIdLength)
  const before = Buffer.concat([
    Uint8Array.of(TAG_4, 0, 0),
    replies.allowMetadata,
    replies.metadata,
    encodeEntry('environment', shape.environment),
    replies.routeMetadata[shape.rule] ?? Buffer.alloc(0),
    replies.scopeMetadata[shape.rule] ?? Buffer.alloc(0),
  ])
  const organizationStart = before.length + decision.part.length
  return {
    octets: Buffer.concat([before, decision.part, organization.part, apiKey.part]),
    decisionAt: before.length + decision.at,
    organizationAt: organizationStart + organization.at,
    apiKeyAt: organizationStart + organization.part.length + apiKey.at,
  }
}

/** The header option as it is with no digits; `name` is the encoded field 1 of HeaderValue. */
function limitHeaderOf(name: Uint8Array): Uint8Array {
  const option = encodeField(TAG_6, encodeField(TAG_1, name, Uint8Array.of(TAG_2, 0)), overwrite)
  return option.subarray(0, option.length - overwrite.length)
}

function fill(bytes: Buffer, start: number, block: Block, values: ReplyValues): void {
  if (block.decisionAt >= 0) bytes.set(values.decisionId, start + block.decisionAt)
  if (block.organizationAt >= 0) bytes.set(values.organizationId.view(), start + block.organizationAt)
  if (block.apiKeyAt >= 0) bytes.set(values.apiKeyId.view(), start + block.apiKeyAt)
}

function copyInto(bytes: Buffer, at: number, source: Uint8Array, length: number): void {
  for (let i = 0; i < length; i++) bytes[at + i] = source[i] ?? 0
}

function putLength(bytes: Buffer, at: number, length: number): void {
  bytes[at] = (length & 0x7f) | 0x80
  bytes[at + 1] = length >>> 7
}

/** The entry of the client's address; nothing while it is unknown. An address has at most 39 octets. */
function writeClient(bytes: Buffer, start: number, text: ShortText): number {
  const { length } = text
  if (length === 0) return start
  bytes[start] = TAG_1
  bytes[start + 1] = clientName.length + length + 4
  copyInto(bytes, start + 2, clientName, clientName.length)
  const at = start + 2 + clientName.length
  bytes[at] = TAG_2
  bytes[at + 1] = length + 2
  bytes[at + 2] = TAG_3
  bytes[at + 3] = length
  copyInto(bytes, at + 4, text.octets, length)
  return at + 4 + length
}

function writeDecimal(bytes: Buffer, start: number, value: number): number {
  let rest = Number.isSafeInteger(value) && value > 0 ? value : 0
  let end = start + 1
  for (let power = 10; power <= rest; power *= 10) end++
  for (let at = end - 1; at >= start; at--) {
    const quotient = Math.floor(rest / 10)
    bytes[at] = 0x30 + rest - quotient * 10
    rest = quotient
  }
  return end
}

// The allow reply of one rule and environment, encoded when the profile is compiled and patched for each check: ids, client
// address and limit numbers are all that varies. It says exactly what check-response.ts says, which also speaks where no
// template fits. Layout: what has one length for all checks stands in the middle and never moves; the client's entry grows
// from there towards the front, under the lengths that cover it, and the limit headers grow towards the end:
//   status · metadata {client entry | constant entries, ids} · ok {headers, ids, removals | limit headers}

import { addressTextLengthMax } from '../core/address-octets.ts'
import { uuidTextLength } from '../core/uuid-text.ts'
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
import { copyWords, type ReplyValues, type ShortText } from './reply-values.ts'

/** Lengths of a message that are written in exactly two octets, so that they can be patched. */
const twoOctetsMin = 0x80
const twoOctetsMax = 0x3fff

/** Longest header name and value of a limit header whose lengths all take one octet. */
const limitNameLengthMax = 80
const digitsMax = 16
/** Limit headers of a profile that has any: limit, remaining and reset. */
const limitCount = 3

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

/** Octets in front of the middle: status, tag and length of the metadata, and the longest client entry. */
const frontRoom = statusOk.length + 3 + 2 + clientName.length + 4 + addressTextLengthMax

export class AllowTemplate {
  readonly environment: string
  readonly apiKeyIdLength: number
  readonly organizationIdLength: number
  /** The reply made last: a part of `octets`, cut anew only where a length has changed. */
  bytes: Buffer
  private readonly octets: Buffer
  private readonly view: DataView
  private start = 0
  private end = 0
  /** Octets of the client's address in the reply made last, and where that begins; -1: none was made. */
  private clientLength = -1
  private front = 0
  /** Places in `octets`: the middle, its second message, and each id in both. */
  private readonly places: Places
  /** What stands before, between and behind the digits of the limit headers, and where it was put last; -1: nowhere yet. */
  private readonly limitPieces: readonly Uint8Array[]
  private readonly limitPlaces: Int32Array
  /** Octets of each piece before digits, and those of its header in it. */
  private readonly limitLengths: Int32Array
  private readonly limitHeads: Int32Array

  private constructor(shape: AllowShape, head: Block, tail: Block, replies: ProfileReplies) {
    this.environment = shape.environment
    this.apiKeyIdLength = shape.apiKeyIdLength
    this.organizationIdLength = shape.organizationIdLength
    const heads = replies.limitHeaders.map(limitHeaderOf)
    this.limitPieces =
      heads.length === 0
        ? []
        : [...heads.map((head, i) => (i === 0 ? head : Buffer.concat([overwrite, head]))), overwrite]
    this.limitPlaces = new Int32Array(this.limitPieces.length).fill(-1)
    this.limitLengths = Int32Array.from(this.limitPieces, piece => piece.length)
    this.limitHeads = Int32Array.from(heads, head => head.length)
    const limitRoom = this.limitPieces.reduce((sum, piece) => sum + piece.length + digitsMax, 0)
    const ok = frontRoom + tail.octets.length
    const limits = ok + head.octets.length
    this.octets = Buffer.alloc(limits + limitRoom)
    this.octets.set(tail.octets, frontRoom)
    this.octets.set(head.octets, ok)
    this.bytes = this.octets
    this.view = new DataView(this.octets.buffer, this.octets.byteOffset, this.octets.length)
    this.places = {
      ok,
      limits,
      decision: frontRoom + tail.decisionAt,
      organization: frontRoom + tail.organizationAt,
      apiKey: frontRoom + tail.apiKeyAt,
      organizationHeader: head.organizationAt < 0 ? -1 : ok + head.organizationAt,
      apiKeyHeader: head.apiKeyAt < 0 ? -1 : ok + head.apiKeyAt,
    }
  }

  /** The template, or null where the lengths of this profile cannot be patched. */
  static create(shape: AllowShape, replies: ProfileReplies, identity: IdentityNames): AllowTemplate | null {
    if (shape.apiKeyIdLength < 1 || shape.organizationIdLength < 1) return null
    if (replies.limitHeaders.length !== 0 && replies.limitHeaders.length !== limitCount) return null
    if (replies.limitHeaders.some(name => name.length > limitNameLengthMax)) return null
    const head = headOf(shape, replies, identity)
    const tail = tailOf(shape, replies)
    const varying = 3 * (limitNameLengthMax + digitsMax + 16) + frontRoom
    const fits = [head, tail].every(
      ({ octets }) => octets.length > twoOctetsMin + 16 && octets.length + varying < twoOctetsMax,
    )
    return fits ? new AllowTemplate(shape, head, tail, replies) : null
  }

  /** Whether the values have the lengths that this template has places for. */
  fits(values: ReplyValues): boolean {
    return (
      values.apiKeyId.length === this.apiKeyIdLength &&
      values.organizationId.length === this.organizationIdLength &&
      values.environment === this.environment
    )
  }

  /** Makes the reply, which stays in `bytes` until the next one. */
  write(values: ReplyValues, isLimited: boolean): void {
    const { octets, view, places } = this
    const { apiKeyId, organizationId, decisionId, decisionWords } = values
    copyWords(decisionWords, decisionId, uuidTextLength, view, places.decision)
    organizationId.copyTo(view, places.organization)
    apiKeyId.copyTo(view, places.apiKey)
    if (places.organizationHeader >= 0) organizationId.copyTo(view, places.organizationHeader)
    if (places.apiKeyHeader >= 0) apiKeyId.copyTo(view, places.apiKeyHeader)
    const end = isLimited ? this.writeLimits(values) : places.limits
    putLength(octets, places.ok + 1, end - places.ok - 3)
    const start = this.writeClient(values.clientAddress)
    if (start !== this.start || end !== this.end) {
      this.start = start
      this.end = end
      this.bytes = octets.subarray(start, end)
    }
  }

  /** Writes the client's entry in front of the middle, and what stands before it where that has moved; gives the start. */
  private writeClient(text: ShortText): number {
    const { octets, view } = this
    const { length } = text
    if (length !== this.clientLength) {
      this.clientLength = length
      this.front = putFront(octets, length)
      putLength(octets, this.front + statusOk.length + 1, this.places.ok - this.front - statusOk.length - 3)
    }
    text.copyTo(view, frontRoom - length)
    return this.front
  }

  /** What stands between the digits is put again only where another number of digits before it has moved it. */
  private writeLimits(values: ReplyValues): number {
    let at = this.places.limits
    if (this.limitPieces.length === 0) return at
    at = this.writeLimit(0, at, values.limit)
    at = this.writeLimit(1, at, values.remaining)
    at = this.writeLimit(2, at, values.resetUnixSeconds)
    this.putPiece(limitCount, at)
    return at + overwrite.length
  }

  private writeLimit(index: number, at: number, value: number): number {
    const { octets } = this
    this.putPiece(index, at)
    const digits = at + (this.limitLengths[index] ?? 0)
    const end = writeDecimal(octets, digits, value)
    const length = end - digits
    // Of the option, of the header in it, and of its value.
    const header = digits - (this.limitHeads[index] ?? 0)
    octets[header + 1] = (this.limitHeads[index] ?? 0) - 2 + length + overwrite.length
    octets[header + 3] = (this.limitHeads[index] ?? 0) - 4 + length
    octets[digits - 1] = length
    return end
  }

  private putPiece(index: number, at: number): void {
    const piece = this.limitPieces[index]
    if (piece === undefined || this.limitPlaces[index] === at) return
    this.octets.set(piece, at)
    this.limitPlaces[index] = at
  }
}

/** Where things stand in the octets of a template; -1: nowhere. */
interface Places {
  /** The OkHttpResponse, a field with a length of two octets. */
  readonly ok: number
  readonly limits: number
  readonly decision: number
  readonly organization: number
  readonly apiKey: number
  readonly organizationHeader: number
  readonly apiKeyHeader: number
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
  const before = Uint8Array.of(TAG_3, 0, 0)
  const scope = replies.scopeHeaders[shape.rule] ?? replies.emptyScopeHeader
  const keyStart = before.length + organization.part.length
  return {
    octets: Buffer.concat([
      before,
      organization.part,
      apiKey.part,
      header(names.environment, shape.environment),
      scope,
      replies.removals,
    ]),
    organizationAt: organization.at < 0 ? -1 : before.length + organization.at,
    apiKeyAt: apiKey.at < 0 ? -1 : keyStart + apiKey.at,
    decisionAt: -1,
  }
}

function tailOf(shape: AllowShape, replies: ProfileReplies): Block {
  const decision = placed(encodeEntry('decision_id', place(uuidTextLength)), uuidTextLength)
  const organization = placed(
    encodeEntry('organization_id', place(shape.organizationIdLength)),
    shape.organizationIdLength,
  )
  const apiKey = placed(encodeEntry('api_key_id', place(shape.apiKeyIdLength)), shape.apiKeyIdLength)
  const before = Buffer.concat([
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

function putLength(bytes: Buffer, at: number, length: number): void {
  bytes[at] = (length & 0x7f) | 0x80
  bytes[at + 1] = length >>> 7
}

/** Puts all but its text before the middle for a client address of `length`, status and tag included, and gives their start. */
function putFront(octets: Buffer, length: number): number {
  const text = Uint8Array.of(TAG_2, length + 2, TAG_3, length)
  const entry = Uint8Array.of(TAG_1, clientName.length + 4 + length, ...clientName, ...text)
  const front = Uint8Array.of(...statusOk, TAG_4, 0, 0, ...(length === 0 ? [] : entry))
  const start = frontRoom - length - front.length
  octets.set(front, start)
  return start
}

/** Numbers of up to nine digits divide as 32-bit integers. */
const nineDigits = 1_000_000_000

/** Writes a whole number in decimal and gives the position behind it; 0 for anything that is none. */
function writeDecimal(octets: Buffer, start: number, value: number): number {
  if (!(Number.isSafeInteger(value) && value > 0)) {
    octets[start] = 0x30
    return start + 1
  }
  if (value < nineDigits) return writeInteger(octets, start, value | 0, digitsOf(value | 0))
  const high = Math.floor(value / nineDigits) | 0
  return writeInteger(octets, writeInteger(octets, start, high, digitsOf(high)), (value - high * nineDigits) | 0, 9)
}

function digitsOf(value: number): number {
  if (value < 10_000) return value < 100 ? (value < 10 ? 1 : 2) : value < 1000 ? 3 : 4
  if (value < 1_000_000) return value < 100_000 ? 5 : 6
  return value < 100_000_000 ? (value < 10_000_000 ? 7 : 8) : 9
}

/** Two digits a value, the first in the low half. */
const decimalPairs = Uint16Array.from({ length: 100 }, (_, i) => 0x3030 | Math.floor(i / 10) | ((i % 10) << 8))

/** Writes `digits` digits of a number below 2^31. */
function writeInteger(octets: Buffer, start: number, value: number, digits: number): number {
  let rest = value | 0
  let at = start + digits
  while (at - start >= 2) {
    const quotient = (rest / 100) | 0
    const pair = decimalPairs[rest - quotient * 100] ?? 0
    octets[--at] = pair >>> 8
    octets[--at] = pair
    rest = quotient
  }
  if (at > start) octets[start] = 0x30 + rest
  return start + digits
}

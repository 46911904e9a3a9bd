// What a reply says beyond what was encoded ahead: ids, names and numbers of one check, each made fit for a header first.
// Random octets come from a pool filled ahead, so that an id costs a few nanoseconds; core never sees any of this.
import { randomFillSync } from 'node:crypto'
import { addressTextLengthMax, writeAddress } from '../core/address-octets.ts'
import type { RequestView } from '../core/request-view.ts'
import { findHeader, valueEnd, valueStart } from '../core/request-view.ts'
import { uuidTextLength, writeUuidText } from '../core/uuid-text.ts'
import { requestIdLengthMax } from '../profile/compiled-profile.ts'

/** Octets of an id or a name that a reply repeats; longer ones are cut. */
export const nameLengthMax = 256

/** Octets drawn at once: 682 ids. */
const poolSize = 8192
/** Octets drawn for a UUID together, so that one look at the pool does for all of them. */
const uuidOctets = 12
const pool = Buffer.alloc(poolSize)
let poolAt = poolSize

/** Makes `count` octets of the pool ready and gives their place. */
function draw(count: number): number {
  if (poolAt + count > poolSize) {
    randomFillSync(pool)
    poolAt = 0
  }
  const at = poolAt
  poolAt = at + count
  return at
}

/** A whole number of seconds, 1 to 3, so that refused clients do not return all at once (E5). */
export function drawRetrySeconds(): number {
  return 1 + ((pool[draw(1)] ?? 0) % 3)
}

/** Version and variant (RFC 9562 section 5.7). */
const uuidVersion = 0x7000
const uuidVariant = 0x8000_0000 | 0

/** Draws a new UUIDv7 (RFC 9562) of the instant `unixMs`: four words, and its text to the first 36 octets of `target`. */
export function drawUuid7(unixMs: number, words: Int32Array, target: Uint8Array): void {
  const ms = Number.isFinite(unixMs) && unixMs > 0 ? Math.floor(unixMs) : 0
  const high = Math.floor(ms / 0x1_0000)
  const random = draw(uuidOctets)
  words[0] = high | 0
  words[1] = ((ms - high * 0x1_0000) << 16) | uuidVersion | (randomWord(random) & 0x0fff)
  words[2] = uuidVariant | (randomWord(random + 4) & 0x3fff_ffff)
  words[3] = randomWord(random + 8)
  writeUuidText(words, 0, target, 0)
}

function randomWord(at: number): number {
  return (pool[at] ?? 0) | ((pool[at + 1] ?? 0) << 8) | ((pool[at + 2] ?? 0) << 16) | ((pool[at + 3] ?? 0) << 24)
}

/** Writes ids of the API key in a slot; satisfied by the key table. @returns the position behind. */
export interface KeyIdentities {
  writeApiKeyId(slot: number, target: Uint8Array, offset: number): number
  writeOrganizationId(slot: number, target: Uint8Array, offset: number): number
}

/** Whether the least octet of a word comes first here. Words are only copied, so each machine keeps its own order. */
const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** Copies `length` octets, of which `words` are a view, four at a time: a loop over octets costs twice as much. */
export function copyWords(words: Uint32Array, octets: Uint8Array, length: number, target: DataView, at: number): void {
  const whole = length >>> 2
  for (let i = 0; i < whole; i++) target.setUint32(at + i * 4, words[i] ?? 0, isLittleEndian)
  for (let i = whole << 2; i < length; i++) target.setUint8(at + i, octets[i] ?? 0)
}

/** A short text as octets, reused. */
export class ShortText {
  readonly octets: Uint8Array
  length = 0
  /** The same octets, four at a time. */
  private readonly words: Uint32Array

  /** @param size a multiple of 4. */
  constructor(size: number) {
    this.octets = new Uint8Array(size)
    this.words = new Uint32Array(this.octets.buffer)
  }

  /** Makes the first `length` octets fit for a header: printable ASCII, no blank at either end, cut at the bound. */
  settle(length: number): void {
    let end = Math.min(length, nameLengthMax)
    if (!this.isPrintable(end)) this.replaceUnprintable(end)
    while (end > 0 && this.octets[end - 1] === 0x20) end--
    if (end > 0 && this.octets[0] === 0x20) this.octets[0] = 0x3f
    this.length = end
  }

  /** Copies what has been settled to `at`. */
  copyTo(target: DataView, at: number): void {
    copyWords(this.words, this.octets, this.length, target, at)
  }

  /** Four octets at a time: none has its high bit, is below a blank, or would reach DEL and beyond by one more. */
  private isPrintable(end: number): boolean {
    const whole = end >>> 2
    let odd = 0
    for (let i = 0; i < whole; i++) {
      const word = this.words[i] ?? 0
      odd |= word | (word - 0x2020_2020) | (word + 0x0101_0101)
    }
    if ((odd & 0x8080_8080) !== 0) return false
    for (let i = whole << 2; i < end; i++) {
      const octet = this.octets[i] ?? 0
      if (octet < 0x20 || octet > 0x7e) return false
    }
    return true
  }

  private replaceUnprintable(end: number): void {
    for (let i = 0; i < end; i++) {
      const octet = this.octets[i] ?? 0
      if (octet < 0x20 || octet > 0x7e) this.octets[i] = 0x3f
    }
  }
}

/** Octets that the table may write for an id before it is cut: the store bounds ids far below. */
const idRoom = 4096

/** The values of one check; one instance is reused. */
export interface ReplyValues {
  readonly decisionId: Uint8Array
  /** The same octets, four at a time. */
  readonly decisionWords: Uint32Array
  /** The same UUID: its four words. */
  readonly decisionUuid: Int32Array
  readonly supportId: Uint8Array
  /** Whether the reply's profile has support ids, so that `supportId` is of this check. */
  hasSupportId: boolean
  readonly apiKeyId: ShortText
  readonly organizationId: ShortText
  readonly clientAddress: ShortText
  /** Envoy's `x-request-id` as it came, made printable. */
  readonly requestId: ShortText
  /** Name of the API key's environment; empty while no key is known. */
  environment: string
  /** The scopes that the key lacks, joined; empty for other reasons. */
  missingScope: string
  retryAfterSeconds: number
  limit: number
  remaining: number
  resetUnixSeconds: number
  unixMs: number
}

export function createReplyValues(): ReplyValues {
  const decisionId = new Uint8Array(uuidTextLength)
  return {
    decisionId,
    decisionWords: new Uint32Array(decisionId.buffer),
    decisionUuid: new Int32Array(4),
    supportId: new Uint8Array(uuidTextLength),
    hasSupportId: false,
    apiKeyId: new ShortText(idRoom),
    organizationId: new ShortText(idRoom),
    clientAddress: new ShortText(addressTextLengthMax + 1),
    requestId: new ShortText(requestIdLengthMax),
    environment: '',
    missingScope: '',
    retryAfterSeconds: 0,
    limit: 0,
    remaining: 0,
    resetUnixSeconds: 0,
    unixMs: 0,
  }
}

/** Takes the client address in canonical text; empty while it is unknown. */
export function takeClientAddress(view: RequestView, out: ShortText): void {
  const { family, w0, w1, w2, w3 } = view.client
  out.length = writeAddress(out.octets, 0, family, w0, w1, w2, w3)
}

/** Takes `x-request-id`, or nothing. Cut where the linter assumes it, so that no client can make a body longer than its bound. */
export function takeRequestId(view: RequestView, out: ShortText): void {
  out.length = 0
  const index = findHeader(view, 'x-request-id', 0)
  if (index < 0) return
  const start = valueStart(view, index)
  const length = Math.min(valueEnd(view, index) - start, requestIdLengthMax)
  for (let i = 0; i < length; i++) out.octets[i] = view.bytes[start + i] ?? 0
  out.settle(length)
}

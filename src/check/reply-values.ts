// What a reply says beyond what was encoded ahead: ids, names and numbers of one check, each made fit for a header first.
// Random octets come from a pool filled ahead, so that an id costs a few nanoseconds; core never sees any of this.
import { randomFillSync } from 'node:crypto'
import { addressTextLengthMax, writeAddress } from '../core/address-octets.ts'
import type { RequestView } from '../core/request-view.ts'
import { findHeader, valueEnd, valueStart } from '../core/request-view.ts'
import { requestIdLengthMax } from '../profile/compiled-profile.ts'

/** Characters of a UUID. */
export const uuidLength = 36
/** Octets of an id or a name that a reply repeats; longer ones are cut. */
export const nameLengthMax = 256

/** Octets drawn at once: 512 ids. */
const poolSize = 8192
const pool = Buffer.alloc(poolSize)
let poolAt = poolSize

function randomOctet(): number {
  if (poolAt === poolSize) {
    randomFillSync(pool)
    poolAt = 0
  }
  return pool[poolAt++] ?? 0
}

/** A whole number of seconds, 1 to 3, so that refused clients do not return all at once (E5). */
export function drawRetrySeconds(): number {
  return 1 + (randomOctet() % 3)
}

/** Two digits a value. */
const hexPairs = new Uint8Array(512)
for (let octet = 0; octet < 256; octet++) hexPairs.set(Buffer.from(octet.toString(16).padStart(2, '0')), octet * 2)

const uuidOctets = new Uint8Array(16)

/** Writes a new UUIDv7 (RFC 9562) of the instant `unixMs` to the first 36 octets of `target`. */
export function writeUuid7(unixMs: number, target: Uint8Array): void {
  const ms = Number.isFinite(unixMs) && unixMs > 0 ? Math.floor(unixMs) : 0
  const high = Math.floor(ms / 0x1_0000)
  uuidOctets[0] = high >>> 24
  uuidOctets[1] = high >>> 16
  uuidOctets[2] = high >>> 8
  uuidOctets[3] = high
  uuidOctets[4] = ms / 256
  uuidOctets[5] = ms
  for (let i = 6; i < 16; i++) uuidOctets[i] = randomOctet()
  uuidOctets[6] = ((uuidOctets[6] ?? 0) & 0x0f) | 0x70
  uuidOctets[8] = ((uuidOctets[8] ?? 0) & 0x3f) | 0x80
  let at = 0
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) target[at++] = 0x2d
    const pair = (uuidOctets[i] ?? 0) * 2
    target[at++] = hexPairs[pair] ?? 0
    target[at++] = hexPairs[pair + 1] ?? 0
  }
}

/** Writes ids of the API key in a slot; satisfied by the key table. @returns the position behind. */
export interface KeyIdentities {
  writeApiKeyId(slot: number, target: Uint8Array, offset: number): number
  writeOrganizationId(slot: number, target: Uint8Array, offset: number): number
}

/** A short text as octets, reused. */
export class ShortText {
  readonly octets: Uint8Array
  length = 0
  /** The same octets, four at a time. */
  private readonly words: Uint32Array
  /** Views of the first octets, by length: ids have few lengths, and a view is copied faster than a loop runs. */
  private readonly views: (Uint8Array | undefined)[] = []

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

  /** What has been settled. */
  view(): Uint8Array {
    const { length } = this
    const known = this.views[length]
    if (known !== undefined) return known
    const made = this.octets.subarray(0, length)
    this.views[length] = made
    return made
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
  return {
    decisionId: new Uint8Array(uuidLength),
    supportId: new Uint8Array(uuidLength),
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

// Page tokens: where a listing goes on, authenticated by HMAC and bound to the listing it came from, good for 24 hours.
// A token tells nothing its holder has not seen. An altered, foreign or expired token opens to nothing.
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { Micros } from '../core/time.ts'

/** What a token is bound to; a change of any member makes it invalid. Page size may change. */
export interface PageBinding {
  /** Which listing, e.g. `apiKeys`. */
  readonly listing: string
  readonly parent: string
  readonly filter: string
  readonly order: string
  readonly showDeleted: boolean
}

/**
 * The sort values of the last row, in the order of the listing's keys, the id last. Times are exact text
 * (`2026-02-01T00:00:00.123456Z`); null: unset.
 */
export type PagePosition = readonly (string | null)[]

/** How long a token is good, in microseconds: 24 h. */
export const pageTokenLifeMicros = 86_400_000_000

/** Characters of a token: sort values of 255 code points each stay below. */
const tokenLengthMax = 8192

const macOctets = 32

/** Issues and opens tokens under one key of 32 octets, derived from the admin pepper. */
export class PageTokens {
  private readonly key: Uint8Array

  constructor(key: Uint8Array) {
    if (key.length !== 32) throw new RangeError('the key of page tokens has 32 octets')
    this.key = key
  }

  issue(binding: PageBinding, position: PagePosition, now: Micros): string {
    const payload = Buffer.from(JSON.stringify({ at: now, after: position }), 'utf8')
    return Buffer.concat([this.mac(binding, payload), payload]).toString('base64url')
  }

  /** The position of a token that this class issued for the same binding; null for any other text. */
  open(token: string, binding: PageBinding, now: Micros): PagePosition | null {
    if (token.length > tokenLengthMax || !/^[A-Za-z0-9_-]+$/.test(token)) return null
    const octets = Buffer.from(token, 'base64url')
    // Base64 has spellings that differ in bits nobody reads: only the one we wrote is accepted.
    if (octets.length <= macOctets || octets.toString('base64url') !== token) return null
    const payload = octets.subarray(macOctets)
    if (!timingSafeEqual(octets.subarray(0, macOctets), this.mac(binding, payload))) return null
    return positionOf(payload, now)
  }

  private mac(binding: PageBinding, payload: Uint8Array): Buffer {
    const { listing, parent, filter, order, showDeleted } = binding
    const bound = createHash('sha256')
      .update(JSON.stringify([listing, parent, filter, order, showDeleted]))
      .digest()
    return createHmac('sha256', this.key).update(bound).update(payload).digest()
  }
}

function positionOf(payload: Buffer, now: Micros): PagePosition | null {
  const content: unknown = JSON.parse(payload.toString('utf8'))
  if (typeof content !== 'object' || content === null || !('at' in content) || !('after' in content)) return null
  const { at, after } = content
  if (typeof at !== 'number' || now < at - pageTokenLifeMicros || now >= at + pageTokenLifeMicros) return null
  return Array.isArray(after) && after.every(value => value === null || typeof value === 'string') ? after : null
}

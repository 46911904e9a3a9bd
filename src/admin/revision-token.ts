// The opaque form of a point in the feed's history: revision and nonce, so that another history is noticed.
import type { RevisionPoint } from './admin-store.ts'

const tokenOctets = 16

/** The token of a point; empty without a nonce. */
export function revisionTokenOf(point: { readonly revision: bigint; readonly nonce: bigint | null }): string {
  if (point.nonce === null) return ''
  const octets = Buffer.alloc(tokenOctets)
  octets.writeBigInt64BE(point.revision, 0)
  octets.writeBigInt64BE(point.nonce, 8)
  return octets.toString('base64url')
}

/** The point of a token; undefined for any other text. */
export function parseRevisionToken(token: string): RevisionPoint | undefined {
  const octets = Buffer.from(token, 'base64url')
  if (octets.length !== tokenOctets || octets.toString('base64url') !== token) return undefined
  const point = { revision: octets.readBigInt64BE(0), nonce: octets.readBigInt64BE(8) }
  return point.revision >= 0n ? point : undefined
}

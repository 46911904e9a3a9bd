// The digest of a secret: HMAC-SHA-256(pepper, SHA-256(secret)) (admin-api section 4). One scheme for issued and imported keys.
// Beside it the proof of a pepper, by which processes find out whether they have the same one under an id.
// Guarantee: no secret outlives the call in this module's memory; its SHA-256, kept for a second pepper, lasts until `forget`.
// It must never log, and never turn a secret into a string.
import { createHmac } from 'node:crypto'
import { type HmacKey, hashOctets, hashWords, hmacKey, hmacOfHash, sha256, wordAt } from './sha256.ts'

/** Octets of a pepper: 256 bits, as the digest. */
export const pepperOctets = 32

/** At most this many peppers are live: the primary, and the one that is on its way in or out. */
export const pepperCountMax = 2

/** A key of the digest. New digests use the primary, the first of a list. */
export interface Pepper {
  readonly id: string
  /** 32 octets. */
  readonly bytes: Uint8Array
}

/** What a pepper is for: ids of either kind are independent of each other. */
export type PepperPurpose = 'api_keys' | 'admin_keys'

/**
 * What the proof of a pepper is made from. No message has 32 octets, which every message of a digest has: a proof is no
 * digest of anything, and no digest is a proof. The number is that of the scheme.
 */
export const proofMessages: Readonly<Record<PepperPurpose, string>> = {
  api_keys: 'gatewarden pepper proof 1, of API keys',
  admin_keys: 'gatewarden pepper proof 1, of admin keys',
}

/**
 * 32 octets that only the holder of a pepper can make, and from which neither the pepper nor any digest follows: the
 * pseudorandom function at a point of its own. Equal ones mean equal peppers.
 */
export function pepperProof(pepper: Pepper, purpose: PepperPurpose): Buffer {
  return createHmac('sha256', pepper.bytes).update(proofMessages[purpose], 'latin1').digest()
}

/** Digests secrets under one or two peppers for the check path: no allocation, results in reused words. */
export class SecretDigests {
  /** Number of peppers: 1 or 2. */
  readonly count: number
  private readonly primary: HmacKey
  private readonly second: HmacKey
  private readonly hash = new Int32Array(hashWords)

  /** @throws RangeError for no pepper, more than two, equal ids, or one that is not 32 octets long. */
  constructor(peppers: readonly Pepper[]) {
    const [primary, second = primary] = peppers
    if (primary === undefined || second === undefined) throw new RangeError('a pepper is needed')
    if (peppers.length > pepperCountMax) throw new RangeError(`at most ${pepperCountMax} peppers can be live`)
    if (peppers.length === 2 && primary.id === second.id) throw new RangeError(`two peppers have the id ${primary.id}`)
    this.count = peppers.length
    this.primary = prepared(primary)
    this.second = prepared(second)
  }

  /** The digest of the secret `bytes[start, end)` under the primary pepper, into `out` (8 words). */
  digest(bytes: Uint8Array, start: number, end: number, out: Int32Array): void {
    sha256(bytes, start, end, this.hash)
    hmacOfHash(this.primary, this.hash, out)
  }

  /** The digest of the secret last given to `digest` under the second pepper. */
  digestAgain(out: Int32Array): void {
    hmacOfHash(this.second, this.hash, out)
  }

  /** Drops the hash kept for `digestAgain`: without a key it would let short imported secrets be searched for. */
  forget(): void {
    for (let i = 0; i < hashWords; i++) this.hash[i] = 0
  }
}

/** The digest of a whole secret as 32 octets: for admin, where speed does not matter. */
export function digestSecret(pepper: Pepper, secret: Uint8Array): Buffer {
  const hash = new Int32Array(hashWords)
  sha256(secret, 0, secret.length, hash)
  return octetsOf(keyed(pepper, hash))
}

/** The digest of a secret known by its SHA-256 only: for import. @throws RangeError unless it is 32 octets long. */
export function digestOfSha256(pepper: Pepper, hash: Uint8Array): Buffer {
  const words = new Int32Array(hashWords)
  wordsOf(hash, words)
  return octetsOf(keyed(pepper, words))
}

/** Reads 32 octets as eight words, most significant octet first. @throws RangeError for another length. */
export function wordsOf(octets: Uint8Array, out: Int32Array): void {
  if (octets.length !== hashOctets) throw new RangeError(`a digest has ${hashOctets} octets, not ${octets.length}`)
  for (let i = 0; i < hashWords; i++) out[i] = wordAt(octets, i * 4)
}

function keyed(pepper: Pepper, hash: Int32Array): Int32Array {
  const out = new Int32Array(hashWords)
  hmacOfHash(prepared(pepper), hash, out)
  return out
}

function prepared(pepper: Pepper): HmacKey {
  if (pepper.bytes.length !== pepperOctets)
    throw new RangeError(`pepper ${pepper.id} has ${pepper.bytes.length} octets instead of ${pepperOctets}`)
  return hmacKey(pepper.bytes)
}

function octetsOf(words: Int32Array): Buffer {
  const octets = Buffer.alloc(hashOctets)
  for (const [i, word] of words.entries()) octets.writeInt32BE(word, i * 4)
  return octets
}

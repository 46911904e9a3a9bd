// API keys for tests of the key table: drawn by number, so that the same number is the same secret in every test.
import { createHash, createHmac } from 'node:crypto'
import type { ApiKeyEntry } from '../../src/core/api-key-entry.ts'
import type { Cidr } from '../../src/core/cidr.ts'
import type { Pepper } from '../../src/keys/digest.ts'

export const peppers: readonly Pepper[] = ['new', 'old', 'gone'].map((id, i) => ({
  id,
  bytes: new Uint8Array(32).fill(i + 1),
}))
export const profiles = ['alpha', 'beta']
export const scopes = ['s0', 's1', 's2', 's3']

export function secretOf(number: number): Buffer {
  return Buffer.from(`secret-${number}-${'x'.repeat(number % 70)}`)
}

export function digestOf(number: number, pepper: number): Buffer {
  const hash = createHash('sha256').update(secretOf(number)).digest()
  return createHmac('sha256', pepperOf(pepper).bytes).update(hash).digest()
}

/** A pepper by its place in `peppers`; the third is one that no table has. */
export function pepperOf(place: number): Pepper {
  const pepper = peppers[place]
  if (pepper === undefined) throw new RangeError(`no pepper ${place}`)
  return pepper
}

/** A block of all-equal octets, host bits cleared. */
export function block(family: 4 | 6, prefix: number, octet: number): Cidr {
  const octets = new Uint8Array(16)
  for (let bit = 0; bit < prefix; bit++) octets[bit >>> 3] = (octets[bit >>> 3] ?? 0) | (octet & (0x80 >>> (bit & 7)))
  return { family, prefix, octets }
}

/** What tells one test key from another. */
export interface DrawnKey {
  readonly number: number
  readonly pepper: number
  readonly organization: number
  readonly environment: string
  readonly mode: 'LISTED' | 'ALL'
  readonly scopes: readonly string[]
  readonly allowlist: readonly Cidr[]
  readonly expireAt: number | null
  readonly graceEndAt: number | null
  readonly revoked: boolean
  readonly deleted: boolean
  readonly suspended: boolean
  readonly limit: { readonly limit: number; readonly windowMicros: number } | null
  readonly lineage: number
}

export function uuid(number: number): string {
  return `0197c0ec-0000-7000-8000-${number.toString(16).padStart(12, '0')}`
}

export function entryOf(drawn: DrawnKey): ApiKeyEntry {
  return {
    kind: 'api_key',
    digest: digestOf(drawn.number, drawn.pepper),
    pepperId: pepperOf(drawn.pepper).id,
    id: drawn.number % 7 === 0 ? `plain-${drawn.number}` : `key_${uuid(drawn.number)}`,
    organization: `org_${uuid(drawn.organization)}`,
    environment: drawn.environment,
    scopeMode: drawn.mode,
    scopes: drawn.scopes,
    allowlist: drawn.allowlist,
    expireAt: drawn.expireAt,
    graceEndAt: drawn.graceEndAt,
    revoked: drawn.revoked,
    deleted: drawn.deleted,
    suspended: drawn.suspended,
    limit: drawn.limit,
    lineage: `key_${uuid(drawn.lineage)}`,
  }
}

/** A small generator, so that many rows need no memory beside the table: mulberry32. */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}

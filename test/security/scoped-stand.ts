// Whole checks in process for corpora: for every product, keys that hold every scope but one, a key that holds all of them, and keys
// that hold one. Answers are read from the decision, and held against the first octets of the reply.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { parseEntry } from '../../src/core/address.ts'
import type { ClientAddressMode } from '../../src/core/client-address.ts'
import { ALLOW, type DenialReason, reasonOf } from '../../src/core/reason.ts'
import { createStand, digestOf, pepper, type Stand } from '../check/check-stand.ts'
import { encodeCheck, type SentRequest } from '../check/encode-check.ts'
import type { ProfileDocument } from '../oracle/decision.ts'
import { scopeNamesOf } from '../oracle/random-worlds.ts'
import { repositoryFile } from '../support/repository-file.ts'

export const productDocuments: readonly ProfileDocument[] = ['bitbybit', 'billoget', 'bitgpt'].map(name =>
  parse(readFileSync(repositoryFile(`profiles/${name}.yaml`), 'utf8')),
)

/** A key of the corpora. */
export interface ScopedKey {
  readonly profile: ProfileDocument
  readonly secret: string
  readonly scopes: readonly string[]
  /** The one it lacks; null: none. */
  readonly lacks: string | null
}

export interface Outcome {
  readonly outcome: 'allow' | DenialReason
  /** Template of the rule the request fell under; '' for none. */
  readonly rule: string
}

export interface ScopedStand {
  readonly stand: Stand
  readonly keys: readonly ScopedKey[]
  /** The key of a product that holds every scope. */
  allKey(profile: ProfileDocument): ScopedKey
  /** The key of a product that holds one scope alone. */
  narrowKey(profile: ProfileDocument, scope: string): ScopedKey
  ask(request: SentRequest, metadata?: string): Outcome
  askOctets(octets: Buffer, metadata?: string): Outcome
}

/** More than any corpus sends; the limit of a profile must not hide a bypass behind a 429. */
const limit = { limit: 1_000_000, windowMicros: 3_600_000_000 }

const uuid = (number: number) => `019ca000-0000-7000-8000-${number.toString(16).padStart(12, '0')}`

/** A secret of an imported form of the product, so far from those of other numbers that no change of a few characters meets one. */
function importedSecret(profile: ProfileDocument, number: number): string {
  const prefix: string = profile.environments.live.prefix
  const form = profile.key.imported[0]
  const hex = createHash('sha256').update(`key ${number}`).digest('hex')
  if (form.inner !== undefined) {
    const uuidv7 = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(12, 15)}-8${hex.slice(15, 18)}-${hex.slice(18, 30)}`
    return prefix + Buffer.from(form.inner.replace('{uuidv7}', uuidv7)).toString('base64url')
  }
  return prefix + hex.slice(0, form.length.min)
}

export interface ScopedOptions {
  readonly clientAddress?: ClientAddressMode
  /** The allowlist of every key. */
  readonly allowlist?: readonly string[]
}

export function createScopedStand(options: ScopedOptions = {}): ScopedStand {
  let code = -1
  let rule = ''
  const stand = createStand({
    keys: [],
    ...(options.clientAddress === undefined ? {} : { clientAddress: options.clientAddress }),
    sink: {
      record: ({ decision, profile }) => {
        code = decision.code
        rule = profile?.policy.routes.rules[decision.rule]?.path ?? ''
      },
      endOfBatch: () => undefined,
    },
  })
  const broad = productDocuments.flatMap(profile => {
    const all = scopeNamesOf(profile)
    return [null, ...all].map(lacks => ({ profile, lacks, scopes: all.filter(name => name !== lacks) }))
  })
  const narrow = productDocuments.flatMap(profile =>
    scopeNamesOf(profile).map(scope => ({ profile, lacks: null, scopes: [scope] })),
  )
  const stored = [...broad, ...narrow].map((key, index): ScopedKey => {
    const secret = importedSecret(key.profile, index + 1)
    const organization = `org_${uuid(index + 1)}`
    stand.table.setOrganization({
      id: organization,
      profile: key.profile.metadata.name,
      suspended: false,
      valid: true,
    })
    stand.table.replace({
      kind: 'api_key',
      digest: digestOf(secret),
      pepperId: pepper.id,
      id: `key_${uuid(index + 1)}`,
      organization,
      environment: 'live',
      scopeMode: 'LISTED',
      scopes: key.scopes,
      allowlist: (options.allowlist ?? []).map(text => {
        const entry = parseEntry(text)
        if (entry === null) throw new Error(`no block: ${text}`)
        return entry.block
      }),
      expireAt: null,
      graceEndAt: null,
      revoked: false,
      deleted: false,
      suspended: false,
      limit,
      lineage: `key_${uuid(index + 1)}`,
    })
    return { ...key, secret }
  })
  const writer = {
    allowed: false,
    replies: 0,
    message(bytes: Buffer, start: number, end: number) {
      this.replies++
      // google.rpc.Status with code 0 in field 1, or nothing at all: both are an allow to Envoy.
      this.allowed = end === start || bytes[start] !== 0x0a || bytes[start + 3] === 0 || bytes[start + 1] === 0
    },
    fail() {
      this.replies++
      this.allowed = false
    },
  }
  const askOctets = (octets: Buffer, metadata?: string): Outcome => {
    code = -1
    writer.replies = 0
    stand.service.handler(octets, 0, octets.length, { value: index => (index === 0 ? metadata : undefined) }, writer)
    if (writer.replies !== 1) throw new Error(`${writer.replies} replies to one call`)
    if (stand.errors.length > 0) throw new Error(`thrown in a check: ${String(stand.errors[0])}`)
    if (writer.allowed !== (code === ALLOW)) throw new Error(`decided ${code}, replied ${writer.allowed}`)
    return { outcome: code === ALLOW ? 'allow' : reasonOf(code), rule }
  }
  return {
    stand,
    keys: stored.slice(0, broad.length),
    allKey: profile => {
      const key = stored.find(each => each.profile === profile && each.lacks === null)
      if (key === undefined) throw new Error(`no key for ${profile.metadata.name}`)
      return key
    },
    narrowKey: (profile, scope) => {
      const key = stored.slice(broad.length).find(each => each.profile === profile && each.scopes.includes(scope))
      if (key === undefined) throw new Error(`no key for ${scope}`)
      return key
    },
    ask: (request, metadata) => askOctets(encodeCheck(request), metadata),
    askOctets,
  }
}

/** The one right way to show a key's secret. */
export function credentialOf(key: ScopedKey): readonly [string, string] {
  const { header, scheme } = key.profile.credential.sources[0]
  return [header, scheme === null ? key.secret : `${scheme} ${key.secret}`]
}

// A whole check in process: the real key table, limits, profiles and handler around the fixtures of the golden cases.
// Clock and freshness are given; replies are read with the generated full decoder.
import { createHash, createHmac } from 'node:crypto'
import { type CheckOptions, createCheckHandler } from '../../src/check/check-handler.ts'
import { compileCheckProfiles } from '../../src/check/check-profiles.ts'
import type { DecisionSink } from '../../src/check/decision-sink.ts'
import { parseEntry } from '../../src/core/address.ts'
import type { ApiKeyEntry } from '../../src/core/api-key-entry.ts'
import type { ClientAddressMode } from '../../src/core/client-address.ts'
import { createNames, type Names } from '../../src/core/names.ts'
import { ALLOW, reasonOf } from '../../src/core/reason.ts'
import { microsFromUnixMs } from '../../src/core/time.ts'
import { CheckResponse } from '../../src/gen/envoy/service/auth/v3/external_auth.ts'
import { KeyTable } from '../../src/keys/key-table.ts'
import { LimitBuckets } from '../../src/keys/limit-buckets.ts'
import type { UnaryService } from '../../src/transport/unary-server.ts'
import { goldenKeys, goldenSettings, type KeyFixture } from '../core/cases.ts'
import { compileText, products, profileText } from '../profile/documents.ts'
import { encodeCheck, type SentRequest } from './encode-check.ts'

export const pepper = { id: goldenSettings.pepper.id, bytes: Buffer.from(goldenSettings.pepper.hex, 'hex') }

export interface StandOptions {
  /** RFC 3339; default: the golden now. */
  readonly now?: string
  readonly fresh?: boolean
  readonly accept?: readonly string[]
  readonly clientAddress?: ClientAddressMode
  readonly ownFailure?: CheckOptions['ownFailure']
  /** Texts of profiles; default: the three products. */
  readonly profiles?: readonly string[]
  readonly keys?: readonly KeyFixture[]
  readonly sink?: DecisionSink
  /** Replaces parts, to break them. */
  readonly override?: (options: CheckOptions) => CheckOptions
}

/** A reply as a client of Envoy would meet it. */
export interface Answer {
  /** The raw message; undefined: the call failed. */
  readonly octets: Buffer | undefined
  readonly failure: number | undefined
  readonly outcome: 'allow' | 'deny' | 'error' | 'rpc-failure'
  readonly code: number
  readonly status: number
  readonly body: string
  /** Headers of a denial, or request headers set on an allow. */
  readonly headers: ReadonlyMap<string, string>
  readonly removed: readonly string[]
  readonly responseHeaders: ReadonlyMap<string, string>
  readonly metadata: Readonly<Record<string, string>>
  readonly decoded: CheckResponse | undefined
}

export interface Stand {
  readonly service: UnaryService
  readonly names: Names
  readonly table: KeyTable
  readonly limits: LimitBuckets
  readonly errors: unknown[]
  /** Decisions counted: `profile number:reason or allow` → count. */
  readonly counts: Map<string, number>
  /** Moves the clock. */
  setNow(now: string | number): void
  setFresh(fresh: boolean): void
  check(request: SentRequest, metadata?: string): Answer
  checkOctets(octets: Buffer, metadata?: string): Answer
}

/** The digest of a secret under the golden pepper, by node:crypto. */
export function digestOf(secret: string): Buffer {
  return createHmac('sha256', pepper.bytes).update(createHash('sha256').update(secret).digest()).digest()
}

/** An id with a UUIDv7 that tells the fixture. */
export function fixtureId(fixture: KeyFixture): string {
  const hex = Buffer.from(fixture.name.padEnd(6, '_')).toString('hex')
  return `${fixture.profile === 'bitgpt' ? 'api_key' : 'key'}_019ca000-0000-7000-8000-${hex}`
}

export const organizationOf = (fixture: KeyFixture): string =>
  `org_019ca000-0000-7000-8000-${Buffer.from(fixture.profile.slice(0, 6)).toString('hex')}`

export function entryOf(fixture: KeyFixture): ApiKeyEntry {
  const micros = (text: string | undefined) => (text === undefined ? null : microsFromUnixMs(Date.parse(text)))
  return {
    kind: 'api_key',
    digest: digestOf(fixture.secret),
    pepperId: pepper.id,
    id: fixtureId(fixture),
    organization: organizationOf(fixture),
    environment: fixture.environment,
    scopeMode: fixture.scopeMode ?? 'LISTED',
    scopes: fixture.scopes,
    allowlist: fixture.allowlist.map(text => {
      const entry = parseEntry(text)
      if (entry === null) throw new Error(`no block: ${text}`)
      return entry.block
    }),
    expireAt: micros(fixture.expireAt),
    graceEndAt: micros(fixture.graceEndAt),
    revoked: fixture.revokedAt !== undefined,
    deleted: fixture.deleted === true,
    suspended: fixture.suspended === true,
    limit: null,
    lineage:
      fixture.rotatedFrom === undefined
        ? fixtureId(fixture)
        : `key_019ca000-0000-7000-8000-${Buffer.from(fixture.rotatedFrom.padEnd(6, '_')).toString('hex')}`,
  }
}

export function createStand(options: StandOptions = {}): Stand {
  const names = createNames()
  const table = new KeyTable({ names, peppers: [pepper] })
  const limits = new LimitBuckets(table)
  const texts = options.profiles ?? products.map(profileText)
  const clientAddress = options.clientAddress ?? { mode: 'xff-hops', hops: goldenSettings.hops, appended: true }
  const compiled = texts.map(text => compileText(text, { names, accepted: options.accept ?? null }))
  const profiles = compileCheckProfiles(compiled, clientAddress.mode)
  for (const fixture of options.keys ?? goldenKeys) {
    table.setOrganization({ id: organizationOf(fixture), profile: fixture.profile, suspended: false, valid: true })
    table.replace(entryOf(fixture))
  }
  let fresh = true
  let now = 0
  const setNow = (to: string | number) => {
    now = microsFromUnixMs(typeof to === 'number' ? to : Date.parse(to))
  }
  const errors: unknown[] = []
  const counts = new Map<string, number>()
  const base: CheckOptions = {
    profiles: () => profiles,
    table,
    limits,
    clock: { fresh: () => fresh, now: () => now },
    environments: names.environments,
    clientAddress,
    ownFailure: options.ownFailure ?? 'denied-503',
    observer: {
      add(profile, code) {
        const key = `${profile}:${code === ALLOW ? 'allow' : reasonOf(code)}`
        counts.set(key, (counts.get(key) ?? 0) + 1)
      },
      unexpected: error => errors.push(error),
    },
    ...(options.sink === undefined ? {} : { sink: options.sink }),
  }
  const service = createCheckHandler(options.override?.(base) ?? base)
  const checkOctets = (octets: Buffer, metadata?: string) => call(service, octets, metadata)
  setNow(goldenSettings.now)
  spend(options.keys ?? goldenKeys, setNow, request => checkOctets(encodeCheck(request)))
  setNow(options.now ?? goldenSettings.now)
  fresh = options.fresh ?? true
  counts.clear()
  return {
    service,
    names,
    table,
    limits,
    errors,
    counts,
    setNow,
    setFresh: to => {
      fresh = to
    },
    check: (request, metadata) => checkOctets(encodeCheck(request), metadata),
    checkOctets,
  }
}

/** Admits the requests that fixtures have made before. */
function spend(
  keys: readonly KeyFixture[],
  setNow: (now: string) => void,
  check: (request: SentRequest) => Answer,
): void {
  for (const { secret, spent } of keys) {
    if (spent === undefined) continue
    setNow(spent.windowStart)
    for (let i = 0; i < spent.requests; i++) {
      check({
        path: '/v1/api/public/budgets',
        host: 'api.billoget.com',
        headers: [['authorization', `Bearer ${secret}`]],
      })
    }
  }
}

/** One call of the seam; the reply is copied as a transport would. */
export function call(service: UnaryService, octets: Buffer, metadata?: string): Answer {
  let message: Buffer | undefined
  let failure: number | undefined
  let replies = 0
  // The message stands somewhere in a larger buffer, as it does in a transport.
  const around = Buffer.concat([Buffer.from('<<<'), octets, Buffer.from('>>>')])
  service.handler(
    around,
    3,
    3 + octets.length,
    { value: index => (index === 0 ? metadata : undefined) },
    {
      message(bytes, start, end) {
        replies++
        message = Buffer.from(bytes.subarray(start, end))
      },
      fail(code) {
        replies++
        failure = code
      },
    },
  )
  if (replies !== 1) throw new Error(`${replies} replies to one call`)
  return readAnswer(message, failure)
}

export function readAnswer(octets: Buffer | undefined, failure?: number): Answer {
  const decoded = octets === undefined ? undefined : CheckResponse.decode(octets)
  const http = decoded?.httpResponse
  const refused = http?.$case === 'deniedResponse' || http?.$case === 'errorResponse' ? http.value : undefined
  const ok = http?.$case === 'okResponse' ? http.value : undefined
  const mapOf = (
    list: readonly { readonly header: { readonly key: string; readonly value: string } | undefined }[] = [],
  ) => new Map(list.map(option => [option.header?.key ?? '', option.header?.value ?? '']))
  return {
    octets,
    failure,
    decoded,
    code: decoded?.status?.code ?? -1,
    outcome:
      octets === undefined
        ? 'rpc-failure'
        : decoded?.status === undefined || decoded.status.code === 0
          ? 'allow'
          : http?.$case === 'errorResponse'
            ? 'error'
            : 'deny',
    status: refused?.status?.code ?? 0,
    body: refused?.body ?? '',
    headers: mapOf(refused?.headers ?? ok?.headers),
    removed: ok?.headersToRemove ?? [],
    responseHeaders: mapOf(ok?.responseHeadersToAdd),
    metadata: (decoded?.dynamicMetadata ?? {}) as Readonly<Record<string, string>>,
  }
}

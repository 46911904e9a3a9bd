// Everything of a profile's replies that is known before a request comes, encoded once when the profile is compiled.
// A profile whose replies Envoy would not take as they stand is refused here, so that the last good one stays.

import { ALLOW, denialReasons } from '../core/reason.ts'
import type { RouteRule } from '../core/route-table.ts'
import type { CompiledProfile, Rendering, Template } from '../profile/compiled-profile.ts'
import {
  assertHeaderName,
  assertHeaderValue,
  encodeEntry,
  encodeField,
  encodeHeader,
  encodeText,
  TAG_1,
  TAG_2,
  TAG_5,
} from './reply-encoding.ts'
import { type SupportIdForm, supportIdForm } from './template-writer.ts'

/** A header whose value varies: encoded name, and the value. */
export interface VaryingHeader {
  /** Field 1 of HeaderValue. */
  readonly name: Uint8Array
  readonly value: Template
}

/** One denial, as far as it can be encoded ahead. */
export interface DenialReply {
  /** 1–16: code of the CheckResponse, and `grpc-status` for gRPC clients. */
  readonly grpcStatus: number
  /** For HTTP clients: DeniedHttpResponse without its varying headers and body. */
  readonly http: DenialShape
  readonly grpc: DenialShape
  /** Metadata entries `decision` and `reason`. */
  readonly metadata: Uint8Array
  /** The HTTP status, for the usage log. */
  readonly status: number
}

/** The parts of one DeniedHttpResponse: head, varying headers, body. */
export interface DenialShape {
  /** Status and constant headers. */
  readonly head: Uint8Array
  readonly varying: readonly VaryingHeader[]
  readonly body: Template
}

/** The replies of one profile. */
export interface ProfileReplies {
  /** By `DecisionCode`. */
  readonly denials: readonly DenialReply[]
  readonly support: SupportIdForm | null
  /** Metadata entries of every reply: `profile`, `client_ip_mode`. */
  readonly metadata: Uint8Array
  readonly allowMetadata: Uint8Array
  /** Metadata entries by rule: `route`, and `required_scope` of the whole rule. */
  readonly routeMetadata: readonly Uint8Array[]
  readonly scopeMetadata: readonly Uint8Array[]
  /** Field 1 of HeaderValue, the encoded name; null: not set. */
  readonly organizationHeader: Uint8Array | null
  readonly apiKeyHeader: Uint8Array | null
  readonly environmentHeader: Uint8Array | null
  /** Whole header option by rule; empty octets when the profile sets none. */
  readonly scopeHeaders: readonly Uint8Array[]
  /** For requests under no rule. */
  readonly emptyScopeHeader: Uint8Array
  /** `headers_to_remove` with a key, and on public routes. */
  readonly removals: Uint8Array
  readonly publicRemovals: Uint8Array
  /** Encoded names of the limit, remaining and reset headers; empty: none are sent. */
  readonly limitHeaders: readonly Uint8Array[]
  /** What stands between the names of several scopes, by rule. */
  readonly scopeJoins: readonly string[]
}

/** Envoy sets this header when it let a request pass without us, so nobody else may. */
const failureModeHeader = 'x-envoy-auth-failure-mode-allowed'

/** Encodes a profile's replies. `mode` is the name of the client-address mode. @throws Error when a reply would not be valid. */
export function compileReplies(profile: CompiledProfile, mode: string): ProfileReplies {
  const { upstream, policy } = profile
  const { rules } = policy.routes
  const identities = [upstream.organization, upstream.apiKey, upstream.environment, upstream.scope].filter(
    name => name !== null,
  )
  const credentials = [...new Set(policy.sources.map(source => source.header))]
  const scopeHeader = (value: string) =>
    upstream.scope === null ? new Uint8Array(0) : encodeHeader(TAG_2, upstream.scope, value)
  const paths = rules.map(rule => rule.path)
  const scopes = rules.map(rule => rule.requiredScope)
  const stripped = profile.forwardCredential === 'strip' ? credentials : []
  return {
    denials: compileDenials(profile),
    support: supportIdForm(profile.management.ids.support),
    metadata: Buffer.concat([encodeEntry('profile', profile.name), encodeEntry('client_ip_mode', mode)]),
    allowMetadata: encodeEntry('decision', 'allow'),
    routeMetadata: encodeEach(paths, path => encodeEntry('route', path)),
    scopeMetadata: encodeEach(scopes, scope => encodeEntry('required_scope', scope)),
    organizationHeader: encodeName(upstream.organization),
    apiKeyHeader: encodeName(upstream.apiKey),
    environmentHeader: encodeName(upstream.environment),
    scopeHeaders: encodeEach(scopes, scopeHeader),
    emptyScopeHeader: scopeHeader(''),
    // A name that is set is never removed as well: Envoy removes after it sets.
    removals: encodeRemovals(
      [...stripped, ...[...credentials, ...identities].flatMap(twinsOf), failureModeHeader].filter(
        name => !identities.includes(name),
      ),
    ),
    publicRemovals: encodeRemovals([
      ...credentials,
      ...identities,
      ...[...credentials, ...identities].flatMap(twinsOf),
      failureModeHeader,
    ]),
    limitHeaders: profile.limitHeaders.map(name => encodeName(name) ?? new Uint8Array(0)),
    scopeJoins: rules.map(joinOf),
  }
}

/** Many rules share a path or a scope: each text is encoded once. */
function encodeEach(texts: readonly string[], encode: (text: string) => Uint8Array): readonly Uint8Array[] {
  const encoded = new Map(texts.map(text => [text, noOctets]))
  for (const text of encoded.keys()) encoded.set(text, encode(text))
  return texts.map(text => encoded.get(text) ?? noOctets)
}

const noOctets: Uint8Array = new Uint8Array(0)

function encodeName(name: string | null): Uint8Array | null {
  if (name === null) return null
  assertHeaderName(name)
  return encodeText(TAG_1, name)
}

function encodeRemovals(names: readonly string[]): Uint8Array {
  return Buffer.concat([...new Set(names)].map(name => encodeText(TAG_5, name)))
}

/** Hyphens of a name up to which every mixture of `-` and `_` is removed. */
const hyphensMax = 4

/**
 * The names that many frameworks take for `name` because `-` and `_` become one character: each hyphen either way.
 * Of a name with more hyphens than any header of ours, all replaced at once and each alone.
 */
function twinsOf(name: string): string[] {
  const parts = name.split('-')
  const hyphens = parts.length - 1
  const twin = (mask: number) =>
    parts.reduce((text, part, index) => `${text}${((mask >>> (index - 1)) & 1) === 1 ? '_' : '-'}${part}`)
  const masks =
    hyphens <= hyphensMax
      ? Array.from({ length: 2 ** hyphens - 1 }, (_, index) => index + 1)
      : [2 ** hyphens - 1, ...Array.from({ length: hyphens }, (_, index) => 2 ** index)]
  return masks.map(twin)
}

/** The separator that the profile joins scopes with, read off the joined text. */
function joinOf(rule: RouteRule): string {
  const [first, second] = rule.scopeNames
  if (first === undefined || second === undefined) return ''
  const total = rule.scopeNames.reduce((length, name) => length + name.length, 0)
  const length = (rule.requiredScope.length - total) / (rule.scopeNames.length - 1)
  return rule.requiredScope.slice(first.length, first.length + length)
}

function compileDenials(profile: Pick<CompiledProfile, 'renderings'>): readonly DenialReply[] {
  return denialReasons.map((reason, code) => {
    const rendering = profile.renderings[code]
    if (rendering === undefined || rendering.reason !== reason) throw new Error(`no rendering for ${reason}`)
    return compileDenial(rendering)
  })
}

/** Encodes one rendering. @throws Error unless it is a denial that Envoy passes on unchanged. */
export function compileDenial(rendering: Rendering): DenialReply {
  const { status, grpcStatus } = rendering
  if (!(Number.isInteger(status) && status >= 400 && status <= 599)) throw new Error(`${status} is no denial`)
  if (!(Number.isInteger(grpcStatus) && grpcStatus >= 1 && grpcStatus <= 16))
    throw new Error(`${grpcStatus} is no error`)
  const forGrpc = rendering.headers.filter(({ name }) => name !== 'content-type')
  const grpcStatusHeader = encodeHeader(TAG_2, 'grpc-status', String(grpcStatus))
  return {
    grpcStatus,
    status,
    metadata: Buffer.concat([encodeEntry('decision', 'deny'), encodeEntry('reason', rendering.reason)]),
    http: compileShape(status, rendering.headers, rendering.body, []),
    grpc: compileShape(status, forGrpc, rendering.message, [grpcStatusHeader]),
  }
}

function compileShape(
  status: number,
  headers: Rendering['headers'],
  body: Template,
  more: readonly Uint8Array[],
): DenialShape {
  const constant: Uint8Array[] = [
    encodeField(TAG_1, Uint8Array.of(0x08, (status & 0x7f) | 0x80, status >>> 7)),
    ...more,
  ]
  const varying: VaryingHeader[] = []
  for (const { name, value } of headers) {
    if (name === 'content-length') throw new Error('content-length is not ours to say')
    assertHeaderName(name)
    const [only] = value.pieces
    if (value.holes.length === 0 && only !== undefined) {
      constant.push(encodeHeader(TAG_2, name, only.toString('latin1')))
    } else {
      for (const piece of value.pieces) assertHeaderValue(name, `x${piece.toString('latin1')}x`)
      varying.push({ name: encodeText(TAG_1, name), value })
    }
  }
  return { head: Buffer.concat(constant), varying, body }
}

/** The denial for a code; a code that is no reason is our own failure. */
export function denialOf(replies: ProfileReplies, code: number): DenialReply {
  const reply = (code === ALLOW ? undefined : replies.denials[code]) ?? replies.denials[0]
  if (reply === undefined) throw new Error('compiled replies have one for every reason')
  return reply
}

// A plain, slow model of a whole decision, written from the documents alone: linear searches, strings, regular expressions.
// It shares no code with src/ (the YAML of a profile is read as it stands) and is what random requests are compared with.
import { BlockList, isIP } from 'node:net'
import { crc32 } from 'node:zlib'

// biome-ignore lint/suspicious/noExplicitAny: the model reads the profile file as it stands, without the schema it is meant to check.
export type ProfileDocument = any

export interface ModelKey {
  readonly secret: string
  readonly profile: string
  readonly environment: string
  readonly scopes: readonly string[]
  readonly all: boolean
  readonly allowlist: readonly string[]
  /** Unix milliseconds; null: never. */
  readonly expireAt: number | null
  readonly graceEndAt: number | null
  readonly revoked: boolean
  readonly deleted: boolean
  readonly suspended: boolean
  readonly organizationSuspended: boolean
}

export interface ModelRequest {
  readonly method: string
  /** With query, as in the request line. */
  readonly path: string
  readonly host: string
  /** Envoy's context extension `profile`; undefined: none. */
  readonly profile: string | undefined
  /** In order, names in any case, repeated lines apart. */
  readonly headers: readonly (readonly [string, string])[]
}

export interface ModelWorld {
  readonly profiles: readonly ProfileDocument[]
  readonly keys: readonly ModelKey[]
  readonly now: number
  /** Trusted proxies in front of Envoy, which appended its peer: client_address {mode: xff-hops, hops, appended: true}. */
  readonly hops: number
  readonly accepted: readonly string[] | null
  readonly fresh: boolean
}

export interface ModelDecision {
  readonly profile: string
  /** `allow`, or the canonical reason. */
  readonly outcome: string
  readonly rule: string
  readonly requiredScope: string
}

const UNRESERVED = /[A-Za-z0-9._~-]/

export function pathIsCanonical(path: string): boolean {
  if (path.length > 8192 || !path.startsWith('/') || /[^\x21-\x7e]|[\\;#?]/.test(path)) return false
  const segments = path.slice(1).split('/')
  if (segments.length > 64) return false
  if (segments.some((s, i) => s === '.' || s === '..' || (s === '' && i < segments.length - 1))) return false
  for (const m of path.matchAll(/%(.{0,2})/g)) {
    const hex = m[1] ?? ''
    if (!/^[0-9A-Fa-f]{2}$/.test(hex)) return false
    const octet = Number.parseInt(hex, 16)
    const char = String.fromCharCode(octet)
    if (octet < 0x20 || octet === 0x7f || '/\\;%'.includes(char) || UNRESERVED.test(char)) return false
  }
  return true
}

function hostIsCanonical(host: string): string | null {
  if (host === '' || host.includes(',')) return null
  const folded = host.toLowerCase().replace(/:\d+$/, '').replace(/\.$/, '')
  return /^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(folded) ? folded : null
}

function ruleFor(profile: ProfileDocument, method: string, path: string, host: string) {
  const base: string = profile.routes.base_path?.strip ?? ''
  let rest = path
  if (base !== '' && (path === base || path.startsWith(`${base}/`))) rest = path.slice(base.length)
  else if (profile.routes.base_path?.required) return null
  const wanted = method === 'HEAD' && profile.routes.head === 'as_get' ? 'GET' : method
  if (method === 'OPTIONS' && profile.routes.options !== 'mapped') return null
  const segments = rest.split('/').slice(1)
  const found: { rank: string; path: string; need: unknown }[] = []
  for (const rule of profile.routes.rules) {
    if (rule.host !== undefined && rule.host !== null && rule.host !== host) continue
    if (!Object.hasOwn(rule.methods, wanted)) continue
    const template: string[] = rule.path.split('/').slice(1)
    const subtree = template.at(-1) === '**'
    const fixed = subtree ? template.slice(0, -1) : template
    if (subtree ? segments.length < fixed.length : segments.length !== fixed.length) continue
    if (subtree && segments.length > fixed.length && segments.at(-1) === '') continue
    if (!fixed.every((t, i) => (t.startsWith('{') ? segments[i] !== '' : t === segments[i]))) continue
    const rank =
      (rule.host ? 'a' : 'b') + fixed.map(t => (t.startsWith('{') ? '1' : '0')).join('') + (subtree ? '2' : '')
    found.push({ rank, path: rule.path, need: rule.methods[wanted] })
  }
  return found.sort((x, y) => (x.rank < y.rank ? -1 : 1))[0] ?? null
}

function classOf(alphabet: string): string {
  return { base62: '0-9A-Za-z', hex: '0-9a-f', base64url: '0-9A-Za-z_-' }[alphabet] ?? ''
}

function innerFits(body: string, inner: string): boolean {
  const text = Buffer.from(body, 'base64url').toString('latin1')
  if (!/^[\w-]+$/.test(body) || Buffer.from(text, 'latin1').toString('base64url') !== body) return false
  const uuid = (v: number) => `[0-9a-f]{8}-[0-9a-f]{4}-${v}[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
  return new RegExp(`^${inner.replace('{uuidv7}', uuid(7)).replace('{uuidv4}', uuid(4))}$`).test(text)
}

/** Whether the secret has an issued form, an imported form, or none. */
function formsOf(profile: ProfileDocument, secret: string): { issued: boolean; imported: boolean } {
  const none = { issued: false, imported: false }
  if (secret.length > (profile.key.max_length ?? 256)) return none
  const environment = Object.values<{ prefix: string }>(profile.environments).find(e => secret.startsWith(e.prefix))
  if (environment === undefined) return none
  const body = secret.slice(environment.prefix.length)
  const { alphabet, secret_length: length, suffix = '' } = profile.key.issued
  const issued = new RegExp(`^[${classOf(alphabet)}]{${length}}[0-9A-Za-z]{6}${suffix}$`).test(body)
  const imported = (profile.key.imported ?? []).some((form: ProfileDocument) =>
    form.inner === undefined
      ? new RegExp(`^[${classOf(form.alphabet)}]{${form.length.min},${form.length.max}}$`).test(body)
      : innerFits(body, form.inner),
  )
  return { issued, imported }
}

function checksumHolds(profile: ProfileDocument, secret: string): boolean {
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  const tail = 6 + (profile.key.issued.suffix ?? '').length
  let value = crc32(secret.slice(0, -tail))
  let text = ''
  for (let i = 0; i < 6; i++, value = Math.floor(value / 62)) text = digits.charAt(value % 62) + text
  return secret.slice(-tail).startsWith(text)
}

/** The secret presented, or why there is not exactly one. */
function credentialOf(
  profile: ProfileDocument,
  headers: ModelRequest['headers'],
): { secret: string } | { reason: string } {
  const found: string[] = []
  let several = false
  for (const source of profile.credential.sources) {
    const lines = headers.filter(([name]) => name.toLowerCase() === source.header).map(([, value]) => value)
    if (lines.length > 1 || lines.some(value => value.includes(','))) several = true
    const value = lines[0] ?? ''
    if (source.scheme === null) {
      if (value.replace(/[ \t]/g, '') !== '') found.push(value)
      continue
    }
    const match = new RegExp(`^${source.scheme} +(.*)$`, 'is').exec(value)
    if (match !== null && (match[1] ?? '').replace(/[ \t]/g, '') !== '') found.push(match[1] ?? '')
    else if (match === null && source.bare && value.trim() !== '' && !/^\S+ /.test(value)) found.push(value)
  }
  if (several || found.length > 1) return { reason: 'multiple_credentials' }
  const [secret] = found
  return secret === undefined ? { reason: 'credential_missing' } : { secret }
}

function clientAddress(request: ModelRequest, hops: number): string | null {
  const lines = request.headers.filter(([name]) => name.toLowerCase() === 'x-forwarded-for').map(([, value]) => value)
  const chain = lines.join(',')
  const entries = lines.length === 0 ? [] : chain.split(',')
  if (chain.length > 4096 || entries.length > 20) return null
  let entry = (entries[entries.length - 1 - hops] ?? '').replace(/^[ \t]+|[ \t]+$/g, '')
  const bracketed = /^\[([^\]]*)\](?::([1-9]\d{0,4}))?$/.exec(entry)
  const ported = /^([\d.]+):([1-9]\d{0,4})$/.exec(entry)
  if (Number(bracketed?.[2] ?? ported?.[2] ?? 1) > 65535) return null
  entry = bracketed?.[1] ?? ported?.[1] ?? entry
  if (bracketed !== null && !entry.includes(':')) return null
  if (entry.includes(':')) entry = entry.replace(/%[\w.~-]+$/, '')
  if (isIP(entry) === 0 || entry.includes('%')) return null
  if (isIP(entry) === 4) return entry
  const hex = new URL(`http://[${entry}]/`).hostname.slice(1, -1)
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(hex)
  if (mapped === null) return entry.includes('.') ? null : hex
  const [high, low] = [Number.parseInt(mapped[1] ?? '', 16), Number.parseInt(mapped[2] ?? '', 16)]
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

function allows(allowlist: readonly string[], address: string): boolean {
  const family = isIP(address) === 4 ? 'ipv4' : 'ipv6'
  const list = new BlockList()
  for (const cidr of allowlist) {
    const [network = '', prefix] = cidr.split('/')
    if ((isIP(network) === 4) === (family === 'ipv4')) list.addSubnet(network, Number(prefix), family)
  }
  return list.check(address, family)
}

/** Rate limits are left to their own oracle (an exact log of events): worlds compared here have none that refuses. */
export function decideByModel(world: ModelWorld, request: ModelRequest): ModelDecision {
  const path = request.path.split('?')[0] ?? ''
  const host = hostIsCanonical(request.host)
  const chosen =
    request.profile !== undefined
      ? world.profiles.find(p => p.metadata.name === request.profile)
      : world.profiles.find(p => host !== null && (p.select?.hosts ?? []).includes(host))
  const end = (outcome: string, rule = '', requiredScope = '') => ({
    profile: chosen?.metadata.name ?? '',
    outcome,
    rule,
    requiredScope,
  })
  if (request.method === 'CONNECT' || !pathIsCanonical(path)) return end('request_malformed')
  if (chosen === undefined) return end('route_unmapped')
  const rule = ruleFor(chosen, request.method, path, host ?? '')
  if (rule?.need === 'public') return end('allow', rule.path)
  const credential = credentialOf(chosen, request.headers)
  if ('reason' in credential) return end(credential.reason, rule?.path)
  const forms = formsOf(chosen, credential.secret)
  if (!forms.issued && !forms.imported) return end('credential_malformed', rule?.path)
  if (!world.fresh) return end('authz_unavailable', rule?.path)
  const key = world.keys.find(k => k.profile === chosen.metadata.name && k.secret === credential.secret)
  if (key === undefined) {
    const mistyped = forms.issued && !forms.imported && !checksumHolds(chosen, credential.secret)
    return end(mistyped ? 'credential_check_failed' : 'credential_unknown', rule?.path)
  }
  const ended = (at: number | null) => at !== null && at <= world.now
  if (key.deleted) return end('deleted', rule?.path)
  if (key.revoked) return end('revoked', rule?.path)
  if (ended(key.graceEndAt) && (key.graceEndAt ?? 0) < (key.expireAt ?? Infinity)) return end('rotated_out', rule?.path)
  if (ended(key.expireAt)) return end('expired', rule?.path)
  if (key.organizationSuspended) return end('organization_suspended', rule?.path)
  if (key.suspended) return end('suspended', rule?.path)
  if (world.accepted !== null && !world.accepted.includes(key.environment))
    return end('environment_mismatch', rule?.path)
  for (const step of chosen.checks) {
    if (step === 'scope') {
      if (rule === null) {
        if (chosen.routes.unmapped !== 'authenticated') return end('route_unmapped')
        continue
      }
      if (rule.need === 'authenticated') continue
      const any = typeof rule.need === 'object' && rule.need !== null && 'any' in rule.need
      const names = (any ? (rule.need as { any: string[] }).any : [rule.need].flat()) as string[]
      const inAll = (name: string) => chosen.scopes.attributes?.[name]?.in_all !== false
      const missing = names.filter(name => !(key.all ? inAll(name) : key.scopes.includes(name)))
      if (any ? missing.length === names.length : missing.length > 0)
        return end('insufficient_scope', rule.path, missing.join(chosen.scopes.join ?? ', '))
    }
    if (step === 'ip') {
      if (key.allowlist.length === 0 && chosen.ip_rules.empty !== 'none') continue
      const address = clientAddress(request, world.hops)
      if (address === null) return end('ip_undeterminable', rule?.path)
      if (!allows(key.allowlist, address)) return end('ip_not_allowed', rule?.path)
    }
  }
  return end('allow', rule?.path)
}

// The shape of a profile file: every member, its default and its bounds. One source for reading, linting and editors.
// It knows single members only; what members mean to each other is the business of the lint-*.ts files.
import { z } from 'zod'
import { SHORT_NAME } from '../core/api-key-entry.ts'
import { denialReasons } from '../core/reason.ts'
import { facadeFaults, facadeFields } from './compiled-facade.ts'
import { DURATION_PATTERN, parseDurationMs } from './duration.ts'

/** Rules of one profile: far above any product we know, low enough that linting stays below a second. */
export const RULES_MAX = 2000
/** Methods of all rules together, four each: what a profile costs is counted in these. */
export const ROUTES_MAX = 8000
/** Characters of a path template. */
export const PATH_LENGTH_MAX = 1024
/** Environments of one profile; each costs a prefix comparison per check. */
export const ENVIRONMENTS_MAX = 8
/** Renderings of one profile: there are 19 reasons, so more can never be used. */
export const RENDERINGS_MAX = 64
/** Scopes of one profile: a key's set stays within 64 octets. */
export const SCOPES_MAX = 512
/** Methods of one rule: the registry of HTTP methods has about 40. */
const METHODS_MAX = 64
/** Members of any other mapping: far above what a person writes. */
const MEMBERS_MAX = 64
/** Headers that may carry the secret; each is read on every check. */
export const SOURCES_MAX = 8
/** Private ranges; compared one by one at the admin edge. */
export const PRIVATE_RANGES_MAX = 256
/** Hosts that select a profile. */
export const HOSTS_MAX = 64
/** Requests per window, see rate limits: the counters' arithmetic is exact up to here. */
export const LIMIT_MAX = 1_000_000
/** One second to 31 days, in milliseconds. */
export const WINDOW_MS_MIN = 1000
export const WINDOW_MS_MAX = 31 * 86_400_000
/** Self-test examples: each is one decision at load time. */
export const EXAMPLES_MAX = 500
/** Octets of a whole secret that a profile may accept: longer ones are refused before anything is hashed. */
export const SECRET_LENGTH_MAX = 4096
/** Characters of a text shown to clients before placeholders are filled. */
const TEXT_LENGTH_MAX = 1024
/** Characters of a JSON template, written without blanks: sixteen times what a denial's body may have when it is filled. */
export const TEMPLATE_LENGTH_MAX = 16_384

/** `%` and letters aside, what RFC 9110 allows in a field name; lower case, as HTTP/2 sends it. */
export const HEADER_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/
export const SCOPE_NAME = /^[A-Za-z0-9_.:-]{1,128}$/
const HOST = /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/
const ID_TEMPLATE = /^[A-Za-z0-9_-]{0,40}\{uuidv[47]\}[A-Za-z0-9_-]{0,40}$/
const KEY_TEXT = /^[A-Za-z0-9_.~+-]{1,64}$/

const text = (describe: string, max = TEXT_LENGTH_MAX) => z.string().min(1).max(max).meta({ description: describe })
const fitting = (pattern: RegExp, describe: string) =>
  z.string().regex(pattern, describe).meta({ description: describe })
const duration = (describe: string) =>
  z
    .string()
    .regex(DURATION_PATTERN, 'a whole number with a unit s, m, h or d, e.g. 24h')
    .transform(value => parseDurationMs(value) ?? 0)
    .meta({ description: `${describe} A whole number with a unit s, m, h or d.` })

/** A mapping with a bound on its members, which is reported as `limit`. */
const mapping = <K extends z.ZodType<string, string>, V extends z.ZodType>(name: K, value: V, max: number) =>
  z.record(name, value).refine(members => Object.keys(members).length <= max, {
    error: `has too many members; keep at most ${max}`,
    params: { limit: max },
  })

const headerName = fitting(HEADER_NAME, 'a lower-case HTTP header name')
const scopeName = fitting(SCOPE_NAME, 'a scope: 1–128 of letters, digits, _ . : -')
const documented = z
  .union([z.boolean(), z.literal('partial')], { error: 'true, partial or false' })
  .meta({ description: 'Whether an evidence document states this: true, partial or false (chosen by the profile).' })
const source = text('Where an evidence document states it: <id>:<line>[-<line>][,...]', 256)
/** A JSON template: strings may hold {placeholders}, `{$: name}` inserts a typed value. */
const jsonTemplate = z
  .json()
  .refine(template => JSON.stringify(template).length <= TEMPLATE_LENGTH_MAX, {
    error: `is too long; shorten it to at most ${TEMPLATE_LENGTH_MAX} characters`,
    params: { limit: TEMPLATE_LENGTH_MAX },
  })
  .meta({ id: 'template', description: 'JSON template: {$: name} inserts a typed value, "{name}" text; {{ }} escape.' })
const method = z.string().min(1).max(32)

const metadata = z.strictObject({
  name: fitting(SHORT_NAME, 'a name: a–z, then up to 62 of a–z 0–9 -'),
  version: z.int().min(1).max(2_147_483_647).meta({ description: 'Raised with every change.' }),
  sources: mapping(
    z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,15}$/, 'an id of letters, digits and _'),
    text('The document.'),
    MEMBERS_MAX,
  ).meta({ description: 'Evidence documents by the id that `source` pointers use.' }),
})

const select = z
  .strictObject({
    hosts: z.array(fitting(HOST, 'a lower-case host name without port')).max(HOSTS_MAX).default([]),
  })
  .prefault({})

const environments = mapping(
  fitting(SHORT_NAME, 'a name: a–z, then up to 62 of a–z 0–9 -'),
  z.strictObject({
    prefix: fitting(KEY_TEXT, 'a key prefix of letters, digits, _ . ~ + -'),
    label: text('For people.', 64),
  }),
  ENVIRONMENTS_MAX,
).meta({
  description: 'Environment name to key prefix; the order is that of matching, the first is the default.',
})

const credential = z.strictObject({
  sources: z
    .array(
      z.strictObject({
        header: headerName,
        scheme: fitting(/^[A-Za-z][A-Za-z0-9-]{0,31}$/, 'a scheme word').nullable(),
        bare: z.boolean().default(false).meta({ description: 'Accept the value without the scheme.' }),
      }),
    )
    .min(1)
    .max(SOURCES_MAX),
  forward: z.enum(['strip', 'keep']).meta({ description: 'Whether the upstream sees the source headers.' }),
})

const alphabet = z.enum(['base62', 'hex', 'base64url'])
const bodyLength = z.int().min(1).max(SECRET_LENGTH_MAX)

const key = z.strictObject({
  max_length: z.int().min(32).max(SECRET_LENGTH_MAX).default(256).meta({ description: 'Octets of the whole secret.' }),
  issued: z.strictObject({
    alphabet,
    secret_length: z.int().min(1).max(1024).meta({ description: 'Characters of the random core.' }),
    suffix: z.string().regex(/^[A-Za-z0-9_.~+-]{0,64}$/, 'letters, digits, _ . ~ + -, at most 64'),
  }),
  imported: z
    .array(
      z.union(
        [
          z.strictObject({ alphabet, length: z.strictObject({ min: bodyLength, max: bodyLength }) }),
          z.strictObject({
            encoding: z.literal('base64url'),
            inner: text('Decoded text: literals and {uuidv7} {uuidv4} {hex:N} {base62:N}.', 512),
          }),
        ],
        { error: '{alphabet, length: {min, max}} or {encoding: base64url, inner}' },
      ),
    )
    .max(16)
    .default([]),
})

const idTemplate = fitting(ID_TEMPLATE, 'a text with exactly one {uuidv7} or {uuidv4}, e.g. key_{uuidv7}')
const ids = z.strictObject({ api_key: idTemplate, organization: idTemplate, support: idTemplate.nullable() })

const scopeAttributes = z.strictObject({
  grantable_by: z
    .array(z.enum(['developer', 'operator']))
    .max(2)
    .default(['developer', 'operator']),
  in_all: z.boolean().default(true).meta({ description: 'Whether "all scopes" includes it.' }),
  documented: documented.default(true),
})

const scopes = z.strictObject({
  form: fitting(/^[A-Za-z0-9_.:{}-]{1,64}$/, 'a text with {resource} and {action}').default('{resource}:{action}'),
  resources: mapping(
    fitting(/^[A-Za-z0-9_.-]{1,64}$/, 'a resource name'),
    z
      .array(fitting(/^[A-Za-z0-9_.-]{1,64}$/, 'an action name'))
      .min(1)
      .max(SCOPES_MAX),
    SCOPES_MAX,
  ).default({}),
  names: z.array(scopeName).max(SCOPES_MAX).default([]),
  attributes: mapping(z.string(), scopeAttributes, SCOPES_MAX).default({}),
  empty: z.enum(['refuse', 'none', 'all']).meta({ description: 'What creating a key without scopes means.' }),
  join: fitting(/^[ -~]{1,8}$/, '1–8 printable ASCII characters').default(', '),
})

const requirement = z
  .union(
    [
      z.string().min(1),
      z.array(z.string().min(1)).min(1).max(16),
      z.strictObject({ any: z.array(z.string().min(1)).min(1).max(16) }),
    ],
    {
      error: 'a scope, a list of scopes, {any: [...]}, authenticated or public',
    },
  )
  .meta({ description: 'A scope, a list (all needed), {any: [...]}, authenticated or public.' })

const rule = z.strictObject({
  path: text('Template below the base path: literals, {parameter} segments, /** at the end.', PATH_LENGTH_MAX),
  methods: mapping(method, requirement, METHODS_MAX).refine(methods => Object.keys(methods).length > 0, {
    error: 'at least one method',
  }),
  host: fitting(HOST, 'a lower-case host name without port').optional(),
  documented,
  source: source.optional(),
})

const routes = z.strictObject({
  base_path: z.strictObject({ strip: z.string().max(PATH_LENGTH_MAX), required: z.boolean() }),
  trailing_slash: z.enum(['significant', 'ignore']),
  head: z.enum(['as_get', 'mapped']),
  options: z.enum(['unmapped', 'mapped', 'preflight_public']),
  unmapped: z.enum(['deny', 'authenticated']),
  rules: z.array(rule).max(RULES_MAX),
})

const prefixLength = z.int().nullable()
const ipRules = z.strictObject({
  empty: z.enum(['any', 'none']).meta({ description: 'What no allowlist entry means.' }),
  min_prefix: z.strictObject({
    v4: prefixLength.meta({ description: 'Broader entries are refused; null: no minimum.', minimum: 0, maximum: 32 }),
    v6: prefixLength.meta({ description: 'Broader entries are refused; null: no minimum.', minimum: 0, maximum: 128 }),
  }),
  max_entries: z.int().min(1).max(256).nullable().meta({ description: 'null: the limit of the engine, 256.' }),
  labels: z.strictObject({ allowed: z.boolean(), max_length: z.int().min(0).meta({ maximum: 256 }) }),
  private: z.enum(['reject', 'warn', 'allow']),
  private_ranges: z.array(z.string()).max(PRIVATE_RANGES_MAX),
  host_bits: z.enum(['reject', 'mask']),
  single_display: z.enum(['cidr', 'bare']),
})

const rotation = z.strictObject({
  grace: z.strictObject({
    default: duration('Grace period unless asked otherwise.'),
    min: duration('Shortest.'),
    max: duration('Longest, at most 30d.'),
  }),
  max_live_predecessors: z.int().min(1).max(16),
})

const expiry = z.strictObject({
  required: z.boolean(),
  max_lifetime: duration('Longest life of a key; null: no bound.').nullable(),
  min_ahead: duration('How far ahead an expiry must lie.').prefault('0s'),
})

/** Reasons that `charge_denied` may list: those of the steps after `state`, but for the limit's own refusal. */
const chargeableReasons = [
  'environment_mismatch',
  'route_unmapped',
  'insufficient_scope',
  'ip_undeterminable',
  'ip_not_allowed',
] as const
const limitNumber = z.int().min(0).max(LIMIT_MAX)
const window = duration('1s to 31d.')

const rateLimit = z.strictObject({
  default: limitNumber
    .nullable()
    .meta({ description: 'Requests per window and key; null: no limit; 0 denies always.' }),
  window: window.nullable(),
  algorithm: z.enum(['window_from_first_request', 'gcra']),
  burst: z
    .int()
    .min(1)
    .max(LIMIT_MAX)
    .nullable()
    .default(null)
    .meta({ description: 'gcra only: requests that may come at once; null: the limit.' }),
  routes: z
    .array(
      z.strictObject({
        path: text('A path of routes.rules.', PATH_LENGTH_MAX),
        methods: z.array(method).min(1).max(32),
        limit: limitNumber,
        window,
      }),
    )
    .max(256)
    .default([]),
  charge_denied: z.array(z.enum(chargeableReasons)).default([]),
  headers: z
    .array(headerName)
    .max(3)
    .refine(names => names.length === 0 || names.length === 3, {
      error: 'three names (limit, remaining, reset) or none',
    }),
})

const rendering = z.strictObject({
  status: z.int().meta({ minimum: 400, maximum: 599 }),
  code: text('Product error code; null: the product has none.').nullable(),
  message: text('Text template for `message` and for gRPC clients.'),
  headers: mapping(z.string(), z.string(), MEMBERS_MAX).default({}),
  body: jsonTemplate.nullable().default(null).meta({ description: 'Replaces errors.body; null: does not.' }),
  grpc: z.int().min(1).max(16).optional().meta({ description: 'gRPC status instead of that of errors.grpc.' }),
  source: source.optional(),
  for: mapping(z.string(), documented, MEMBERS_MAX).meta({
    description: 'Denial reason to documented mark.',
    propertyNames: { enum: [...denialReasons] },
  }),
})

/** gRPC status by HTTP status, unless a profile says otherwise (profiles.md c, last column). */
const grpcDefaults = { 400: 3, 401: 16, 403: 7, 429: 8, 503: 14 }

const errors = z.strictObject({
  content_type: fitting(/^[!-~][ -~]{0,127}$/, 'a media type'),
  headers: mapping(z.string(), z.string(), MEMBERS_MAX).meta({ description: 'On every denial.' }),
  body: jsonTemplate,
  grpc: mapping(z.string().regex(/^[45][0-9]{2}$/, 'an HTTP status'), z.int().min(1).max(16), MEMBERS_MAX)
    .default({})
    .transform((given): Readonly<Record<string, number>> => ({ ...grpcDefaults, ...given }))
    .meta({
      description: 'HTTP status to gRPC status; added to the defaults 400: 3, 401: 16, 403: 7, 429: 8, 503: 14.',
    }),
  renderings: mapping(fitting(/^[a-z][a-z0-9_-]{0,62}$/, 'a name: a–z, then a–z 0–9 _ -'), rendering, RENDERINGS_MAX),
})

const upstreamHeader = (name: string) => headerName.nullable().default(name)
const upstream = z
  .strictObject({
    organization: upstreamHeader('x-gatewarden-organization-id'),
    api_key: upstreamHeader('x-gatewarden-api-key-id'),
    environment: upstreamHeader('x-gatewarden-environment'),
    scope: upstreamHeader('x-gatewarden-scope'),
  })
  .prefault({})

/** Members of a usage record that a profile may keep, in their documented order. */
export const usageFields = [
  'time',
  'decision_id',
  'request_id',
  'organization_id',
  'api_key_id',
  'key_hint',
  'environment',
  'method',
  'host',
  'path',
  'route',
  'required_scope',
  'decision',
  'reason',
  'status',
  'client_ip',
  'direct_ip',
  'user_agent',
  'duration_ms',
  'bytes_in',
  'bytes_out',
  'support_id',
] as const
const csvDefault = [
  'time',
  'api_key_id',
  'key_hint',
  'method',
  'path',
  'status',
  'decision',
  'reason',
  'client_ip',
  'user_agent',
  'request_id',
] as const

const usageLog = z
  .strictObject({
    record: z.enum(['all', 'denied']).default('all'),
    fields: z
      .array(z.enum(usageFields))
      .min(1)
      .default([...usageFields]),
    filters: z
      .array(z.enum(['api_key', 'method', 'status', 'decision', 'reason', 'path', 'client_ip']))
      .default(['api_key', 'method', 'status']),
    metrics: jsonTemplate.nullable().default(null),
    csv: z.strictObject({ columns: z.array(z.enum(usageFields)).min(1) }).prefault({ columns: [...csvDefault] }),
    retention: duration('How long usage records are kept.').prefault('90d'),
  })
  .prefault({})

const timestamps = z.strictObject({
  format: z.enum(['rfc3339', 'YYYY-MM-DD HH:MM:SS']),
  offset: z.string().regex(/^[+-](?:0[0-9]|1[0-4]):[0-5][0-9]$/, 'an offset such as +00:00'),
})

const facadeRequestMember = z.strictObject({
  field: z.enum(facadeFields),
  title: text('Name of the member in messages.', 64),
  required: z.boolean().default(false),
  max_length: z.int().min(1).max(65_536).optional(),
  nullable: z.boolean().default(false),
})
const facadeAnswer = z.strictObject({ status: z.int().min(200).max(599), message: text('Text of `message`.') })
const facade = z
  .strictObject({
    create_api_key: z.strictObject({
      method,
      path: text('Where the product takes the call.', PATH_LENGTH_MAX),
      request: mapping(z.string(), facadeRequestMember, MEMBERS_MAX),
      success: facadeAnswer,
      body: jsonTemplate,
      invalid: facadeAnswer,
      field_messages: z.record(z.enum(facadeFaults), text('May use {title}, {value}, {max}.', 256)),
      invalid_body: jsonTemplate,
    }),
  })
  .nullable()
  .default(null)
  .meta({ description: 'Product-shaped HTTP endpoints; null: none.' })

const example = z.strictObject({
  key: z.string().max(SECRET_LENGTH_MAX).nullable().meta({ description: 'A secret, or null: no credential is sent.' }),
  scopes: z
    .array(z.string())
    .optional()
    .meta({ description: 'What the key holds; left out: the key is not in the table.' }),
  request: fitting(/^[^ ]{1,32} \/[^ ]*$/, 'METHOD and path, e.g. GET /v2/things'),
  expect: z.enum(['allow', ...denialReasons]),
})

export const profileSchema = z.strictObject({
  apiVersion: z.literal('gatewarden/v1'),
  kind: z.literal('Profile'),
  metadata,
  select,
  environments,
  credential,
  key,
  ids,
  scopes,
  routes,
  checks: z
    .array(z.string().meta({ enum: ['credential', 'state', 'environment', 'scope', 'ip', 'rate_limit'] }))
    .max(16),
  ip_rules: ipRules,
  rotation,
  expiry,
  rate_limit: rateLimit,
  errors,
  upstream,
  usage_log: usageLog,
  timestamps,
  facade,
  examples: z.array(example).max(EXAMPLES_MAX).default([]),
})

/** A profile after reading: defaults filled in, durations in milliseconds. */
export type ProfileDocument = z.output<typeof profileSchema>
export type RouteRuleDocument = ProfileDocument['routes']['rules'][number]
export type RenderingDocument = ProfileDocument['errors']['renderings'][string]
export type Documented = boolean | 'partial'

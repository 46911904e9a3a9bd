// The flags that describe an API key, and what they make of a message and its field mask. Create, update and rotate share them.
import { ApiKey, ScopeMode } from '../gen/gatewarden/admin/v1/resources.ts'
import { type Flags, type Invocation, type Io, UsageError } from './command.ts'
import { labelsOf } from './organizations.ts'
import { parseAllowlist, parseInstant, parseLimit } from './values.ts'

export const keyFlags = {
  name: { type: 'string', value: 'TEXT', help: 'name for people' },
  description: { type: 'string', value: 'TEXT', help: 'what it is for' },
  scope: { type: 'string', multiple: true, value: 'SCOPE', help: 'scope it holds; repeat for more' },
  'all-scopes': { type: 'boolean', help: 'every scope that the profile counts as full permission' },
  allow: {
    type: 'string',
    multiple: true,
    value: 'CIDR[=LABEL]',
    help: 'address block it may be used from; repeat for more, `none` for no list',
  },
  expires: { type: 'string', value: 'WHEN', help: 'instant or duration from now, such as 90d; `never`' },
  limit: {
    type: 'string',
    value: 'REQUESTS/WINDOW',
    help: 'own rate limit, such as 1000/1h; `default` for that of the profile',
  },
  label: { type: 'string', multiple: true, value: 'KEY=VALUE', help: 'label; repeat for more, `none` for none' },
} as const satisfies Flags

/** What the flags say: the fields, and the proto paths of those that were given. */
export interface KeyFields {
  readonly apiKey: ApiKey
  readonly mask: readonly string[]
}

/** Reads the key flags. @throws UsageError */
export function keyFields(invocation: Invocation, io: Io, name = '', environment = ''): KeyFields {
  const all = invocation.flag('all-scopes')
  const scopes = invocation.list('scope')
  if (all && scopes.length > 0) throw new UsageError('--scope and --all-scopes exclude each other; give one of them.')
  const allow = invocation.list('allow')
  const expires = invocation.text('expires')
  const limit = invocation.text('limit')
  const given: readonly (readonly [string, boolean])[] = [
    ['display_name', invocation.text('name') !== undefined],
    ['description', invocation.text('description') !== undefined],
    ['scope_mode', all || scopes.length > 0],
    ['scopes', all || scopes.length > 0],
    ['allowlist', allow.length > 0],
    ['expire_time', expires !== undefined],
    ['rate_limit', limit !== undefined],
    ['labels', invocation.list('label').length > 0],
  ]
  const fields = {
    name,
    environment,
    displayName: invocation.text('name') ?? '',
    description: invocation.text('description') ?? '',
    scopeMode: all ? ScopeMode.ALL : scopes.length > 0 ? ScopeMode.LISTED : ScopeMode.SCOPE_MODE_UNSPECIFIED,
    scopes,
    allowlist: allow.length === 1 && allow[0] === 'none' ? [] : parseAllowlist(allow),
    expireTime: expires === undefined || expires === 'never' ? undefined : parseInstant(expires, 'expires', io.now()),
    rateLimit: limit === undefined || limit === 'default' ? undefined : parseLimit(limit, 'limit'),
    labels: labelsOf(invocation),
  }
  return { apiKey: { ...ApiKey.create({}), ...fields }, mask: given.filter(([, set]) => set).map(([path]) => path) }
}

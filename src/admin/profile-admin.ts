// ProfileAdmin: which profiles the admin service has loaded, and the linter as a call. No RPC changes a profile.

import { microsFromUnixMs } from '../core/time.ts'
import type {
  GetProfileRequest,
  LintProfileRequest,
  LintProfileResponse,
  ListProfilesRequest,
  ListProfilesResponse,
  Profile,
} from '../gen/gatewarden/admin/v1/profile_admin.ts'
import type { CompiledProfile } from '../profile/compiled-profile.ts'
import { lintProfile } from '../profile/lint.ts'
import { invalidArgument, RpcError } from '../rpc/errors.ts'
import { type Admin, type Handler, query } from './command.ts'
import { pageSizeDefault, pageSizeMax } from './listing.ts'
import type { PageTokens } from './page-token.ts'
import { parseProfileName, profileName } from './resource-name.ts'
import { quoted } from './text-fields.ts'
import { timestampOf } from './wire-time.ts'

/** A profile that was loaded from its file. */
export interface LoadedProfile {
  readonly profile: CompiledProfile
  readonly findingsCount: number
  readonly loadedUnixMs: number
}

/** The profiles in force: the last good ones. */
export interface ProfileCatalog {
  list(): readonly LoadedProfile[]
}

export interface ProfileContext extends Admin {
  readonly profiles: ProfileCatalog
  readonly pageTokens: PageTokens
}

/** The handlers of the service, by method. */
export function profileAdmin(context: ProfileContext) {
  return {
    listProfiles: listProfiles(context),
    getProfile: getProfile(context),
    lintProfile: lint(context),
  }
}

/** Text of a profile, in octets; an inventory may be as long. */
const yamlOctetsMax = 256 * 1024

const binding = { listing: 'profiles', parent: '', filter: '', order: '', showDeleted: false }

function listProfiles(context: ProfileContext): Handler<ListProfilesRequest, ListProfilesResponse> {
  return query(context, {
    rpc: 'ProfileAdmin/ListProfiles',
    organizationOf: () => null,
    parse(request, violations) {
      if (request.pageSize < 0) violations.add('page_size', 'FIELD_INVALID', 'It must not be negative.')
      return { size: Math.min(request.pageSize || pageSizeDefault, pageSizeMax), token: request.pageToken }
    },
    async run(tx, { size, token }) {
      const after = token === '' ? [''] : context.pageTokens.open(token, binding, tx.now)
      if (after === null) throw foreignToken()
      const found = byName(context.profiles).filter(({ profile }) => profile.name > (after[0] ?? ''))
      const page = found.slice(0, size)
      const last = page.at(-1)?.profile.name
      const more = found.length > size && last !== undefined
      return {
        profiles: page.map(loaded => profileMessage(loaded, '')),
        nextPageToken: more ? context.pageTokens.issue(binding, [last], tx.now) : '',
      }
    },
  })
}

function byName(profiles: ProfileCatalog): LoadedProfile[] {
  return [...profiles.list()].sort((a, b) => (a.profile.name < b.profile.name ? -1 : 1))
}

function getProfile(context: ProfileContext): Handler<GetProfileRequest, Profile> {
  return query(context, {
    rpc: 'ProfileAdmin/GetProfile',
    organizationOf: () => null,
    parse({ name }, violations) {
      const profile = parseProfileName(name)
      if (profile !== undefined) return profile
      if (name === '') violations.add('name', 'FIELD_REQUIRED', 'Give profiles/{profile}.')
      else violations.add('name', 'FIELD_INVALID', `${quoted(name)} is not of the form profiles/{profile}.`)
      return null
    },
    async run(_, name) {
      const loaded = context.profiles.list().find(({ profile }) => profile.name === name)
      if (loaded !== undefined) return profileMessage(loaded, loaded.profile.yaml)
      const resource = { type: 'gatewarden.admin.v1/Profile', name: profileName(name) }
      throw new RpcError('PROFILE_UNKNOWN', `The profile ${name} is not loaded.`, { resource })
    },
  })
}

function lint(context: ProfileContext): Handler<LintProfileRequest, LintProfileResponse> {
  return query(context, {
    rpc: 'ProfileAdmin/LintProfile',
    organizationOf: () => null,
    parse(request, violations) {
      if (request.yaml === '') violations.add('yaml', 'FIELD_REQUIRED', 'Send the text of a profile.')
      for (const field of ['yaml', 'inventory'] as const) {
        if (Buffer.byteLength(request[field]) <= yamlOctetsMax) continue
        violations.add(field, 'FIELD_TOO_LONG', `It has more than ${yamlOctetsMax} octets.`)
      }
      return request
    },
    async run(_, { yaml, inventory, strict }) {
      const given = inventory === '' ? {} : { inventory }
      const { findings, digest } = lintProfile(yaml, { file: 'profile.yaml', ...given })
      return {
        digest: digest ?? '',
        findings: findings.map(({ code, level, field, line, message }) => ({
          code,
          level: strict && level === 'warning' ? 'error' : level,
          field,
          line,
          message,
        })),
      }
    },
  })
}

function profileMessage({ profile, findingsCount, loadedUnixMs }: LoadedProfile, yaml: string): Profile {
  const { management, policy } = profile
  return {
    name: profileName(profile.name),
    version: String(profile.version),
    digest: profile.digest,
    scopes: management.scopes.map(({ name, grantableBy, inAll }) => ({ name, grantableBy, inAll })),
    environments: management.environments.map(({ name }) => name),
    rules: policy.routes.rules.map(rule => ({
      methods: [rule.method],
      host: rule.host ?? '',
      path: rule.path,
      requiredScopes: rule.scopeNames,
      public: rule.access === 'public',
      anyScope: rule.mode === 'any',
    })),
    findingsCount,
    loadedTime: timestampOf(microsFromUnixMs(loadedUnixMs)),
    yaml,
  }
}

function foreignToken(): RpcError {
  const message = 'It is not one that this listing gave out within 24 hours.'
  return invalidArgument([{ field: 'page_token', reason: 'PAGE_TOKEN_INVALID', message }])
}

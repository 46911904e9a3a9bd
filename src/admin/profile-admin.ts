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
import type { JudgeText, LintOutcome, Verdict } from '../profile/lint-job.ts'
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
  /** The linter; it may be slow and must not hold up this thread. */
  readonly judgeProfile: JudgeText
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

/** The caller is known and the database is free again before the text is looked at, since that may take seconds. */
function lint(context: ProfileContext): Handler<LintProfileRequest, LintProfileResponse> {
  const admit = query<LintProfileRequest, LintProfileRequest, LintProfileRequest>(context, {
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
    run: async (_, request) => request,
  })
  return async (request, call) => {
    const { yaml, inventory, strict } = await admit(request, call)
    const job = { text: yaml, file: 'profile.yaml', inventory, deploymentEnvironment: 'production' }
    const outcome = await context.judgeProfile({ ...job, acceptedEnvironments: null })
    call.signal.throwIfAborted()
    const { findings, digest } = verdictOf(outcome)
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
  }
}

/** When to come again to a linter that others keep busy. */
const lintRetryMs = 1000

/** A text that costs too much has a finding that says so. @throws RpcError, or Error for what no caller can help */
function verdictOf(outcome: LintOutcome): Pick<Verdict, 'findings' | 'digest'> {
  if (outcome.kind === 'judged') return outcome.verdict
  const { reason, cause } = outcome
  if (reason === 'busy') {
    throw new RpcError('RATE_LIMITED', 'Too many other profiles wait to be linted.', { retryDelayMs: lintRetryMs })
  }
  if (reason !== 'costly') throw new Error(`the profile could not be linted: ${cause}`)
  const message = `the profile could not be judged: ${cause}; shorten or simplify it`
  return {
    digest: null,
    findings: [{ code: 'limit', level: 'error', file: '', field: '', line: 1, column: 1, message }],
  }
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

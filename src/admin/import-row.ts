// One row of an import, held against the profile: the same rules as for a new key, but a digest instead of a secret.
// A row never carries a secret; a hint that shows more than the last four characters is refused.
import type { Micros } from '../core/time.ts'
import type { ImportApiKeysRequest_Row } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { digestOfSha256, type Pepper } from '../keys/digest.ts'
import type { CompiledProfile, ManagementRules } from '../profile/compiled-profile.ts'
import {
  grantedScopes,
  readAllowlist,
  readEnvironment,
  readExpiry,
  readNewGrant,
  readRateLimit,
  requireGrantable,
} from './api-key-fields.ts'
import type { NewApiKey } from './api-key-rows.ts'
import { unusedLifecycle } from './create-api-key.ts'
import type { GrantClass } from './permission.ts'
import { checkLabels, checkLine, checkLines, descriptionMax, displayNameMax } from './text-fields.ts'
import { Violations } from './violations.ts'
import { microsOf } from './wire-time.ts'

/** A row understood; id, lineage and update time come with its insertion. */
export type ImportedKey = Omit<NewApiKey, 'id' | 'lineage'>

/** Under which circumstances rows are read. */
export interface ImportPlace {
  readonly organization: string
  readonly profile: CompiledProfile
  readonly pepper: Pepper
  readonly creator: string
  readonly grantClass: GrantClass | null
  readonly now: Micros
}

/** Octets of a SHA-256. */
const digestOctets = 32

/** What a hint shows after the prefix: an optional ellipsis and four characters. */
const hintTail = /^…?[A-Za-z0-9_-]{4}$/

/** Reads a row. @throws RpcError with every field that is wrong */
export function readImportRow(row: ImportApiKeysRequest_Row, place: ImportPlace): ImportedKey {
  const violations = new Violations()
  const rules = place.profile.management
  checkLine(row.displayName, 'display_name', displayNameMax, true, violations)
  checkLines(row.description, 'description', descriptionMax, violations)
  checkLabels(row.labels, 'labels', violations)
  const environment = requiredEnvironment(row.environment, rules, violations)
  if (row.digest.length !== digestOctets) {
    violations.add('digest', 'FIELD_INVALID', `The SHA-256 of the secret has ${digestOctets} octets.`)
  }
  checkHint(row.keyHint, environment, rules, violations)
  // No scopes are nothing here, whatever they mean in a creation: ALL must be said.
  const grant = readNewGrant(row.scopeMode, row.scopes, '', rules, 'none', violations)
  const allowlist = readAllowlist(row.allowlist, 'allowlist', place.profile, '', violations)
  const createAt = readCreateTime(row, place.now, violations)
  const times = { now: place.now, createAt, mayBePast: true }
  const expireAt = readExpiry(row.expireTime, 'expire_time', rules.expiry, times, violations)
  violations.throwIfAny()
  requireGrantable(grantedScopes(grant, rules), place.grantClass, rules)
  return {
    ...unusedLifecycle,
    ...grant,
    organization: place.organization,
    digest: digestOfSha256(place.pepper, row.digest),
    pepperId: place.pepper.id,
    form: 'IMPORTED',
    keyHint: row.keyHint,
    displayName: row.displayName,
    description: row.description,
    environment,
    allowlist: allowlist.entries,
    expireAt,
    rateLimit: readRateLimit(undefined, 'rate_limit', violations),
    labels: row.labels,
    rotatedFrom: null,
    creator: place.creator,
    createAt,
    updateAt: place.now,
  }
}

function requiredEnvironment(given: string, rules: ManagementRules, violations: Violations): string {
  if (given !== '') return readEnvironment(given, 'environment', rules, violations)
  violations.add('environment', 'FIELD_REQUIRED', 'Name the environment whose prefix the secret has.')
  return ''
}

function checkHint(hint: string, environment: string, rules: ManagementRules, violations: Violations): void {
  if (hint === '') {
    violations.add('key_hint', 'FIELD_REQUIRED', 'Give the prefix and the last four characters.')
    return
  }
  const prefix = rules.environments.find(candidate => candidate.name === environment)?.prefix
  if (prefix === undefined) return // the environment is wrong, and that was said
  if (!hint.startsWith(prefix)) {
    violations.add('key_hint', 'IMPORT_HINT_MISMATCH', `Keys of ${environment} start with ${prefix}`)
  } else if (!hintTail.test(hint.slice(prefix.length))) {
    violations.add('key_hint', 'FIELD_INVALID', 'After the prefix exactly the last four characters may follow.')
  }
}

function readCreateTime(row: ImportApiKeysRequest_Row, now: Micros, violations: Violations): Micros {
  if (row.createTime === undefined) return now
  const createAt = microsOf(row.createTime)
  if (typeof createAt === 'number' && createAt <= now) return createAt
  violations.add('create_time', 'FIELD_INVALID', 'It must be a time from 1970 until now.')
  return now
}

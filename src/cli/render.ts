// How results look to people: pairs of name and value, tables, one note about a secret. Text from the server is shown harmless.
import {
  type ApiKey,
  KeyForm,
  type Organization,
  RevokeReason,
  ScopeMode,
  State,
} from '../gen/gatewarden/admin/v1/resources.ts'
import { formatDuration, formatInstant } from './to-json.ts'
import { choiceName, type TimestampValue } from './values.ts'

/** Widest cell of a table; the rest is cut. */
const cellLengthMax = 60

/** Lines of `name  value`, without those that have no value. */
export function pairs(rows: readonly (readonly [string, string])[]): string {
  const shown = rows.filter(([, value]) => value !== '')
  const width = Math.max(0, ...shown.map(([name]) => name.length))
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${harmless(value)}\n`).join('')
}

/** A table with a head. The first column is a name to copy, so it is never cut. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [
    head,
    ...rows.map(row => row.map((cell, column) => (column === 0 ? harmless(cell) : cut(harmless(cell))))),
  ]
  const widths = head.map((_, column) => Math.max(...all.map(row => [...(row[column] ?? '')].length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => padded(cell, widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return all.map(row => `${line(row)}\n`).join('')
}

function padded(cell: string, width: number): string {
  return cell + ' '.repeat(Math.max(0, width - [...cell].length))
}

function cut(text: string): string {
  const points = [...text]
  return points.length <= cellLengthMax ? text : `${points.slice(0, cellLengthMax - 1).join('')}…`
}

/** Control and format characters as escapes: a name from elsewhere must not move the cursor or reorder a line. */
export function harmless(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, character => `\\u{${character.codePointAt(0)?.toString(16)}}`)
}

const time = (value: TimestampValue | undefined) => (value === undefined ? '' : formatInstant(value))

/** The name of an enum's number, as people write it. */
function choice(choices: Readonly<Record<string, number>>, value: number): string {
  const name = Object.keys(choices).find(each => choices[each] === value && value !== 0)
  return name === undefined ? '' : choiceName(name)
}

export function organizationText(organization: Organization): string {
  return pairs([
    ['name', organization.name],
    ['display name', organization.displayName],
    ['profile', organization.profile],
    ['state', organization.suspendTime === undefined ? 'active' : 'suspended'],
    ['suspended', time(organization.suspendTime)],
    ['labels', labels(organization.labels)],
    ['created', time(organization.createTime)],
    ['revision', String(organization.revision)],
    ['etag', organization.etag],
  ])
}

export function organizationTable(organizations: readonly Organization[]): string {
  return table(
    ['NAME', 'DISPLAY NAME', 'PROFILE', 'STATE'],
    organizations.map(each => [
      each.name,
      each.displayName,
      each.profile,
      each.suspendTime === undefined ? 'active' : 'suspended',
    ]),
  )
}

export function apiKeyText(key: ApiKey): string {
  return pairs([
    ['name', key.name],
    ['display name', key.displayName],
    ['description', key.description],
    ['state', choice(State, key.state)],
    ['hint', key.keyHint],
    ['environment', key.environment],
    ['scopes', key.scopeMode === ScopeMode.ALL ? 'all' : key.scopes.join(', ') || 'none'],
    [
      'allowlist',
      key.allowlist.map(entry => (entry.label === '' ? entry.cidr : `${entry.cidr} (${entry.label})`)).join(', ') ||
        'none',
    ],
    ['expires', time(key.expireTime) || 'never'],
    ['rate limit', limit(key)],
    ['labels', labels(key.labels)],
    ['form', choice(KeyForm, key.form)],
    ['pepper', key.pepperId],
    ['created', time(key.createTime)],
    ['updated', time(key.updateTime)],
    ['last used', time(key.lastUsedTime)],
    ['rotated from', key.rotatedFrom],
    ['rotated to', key.rotatedTo],
    ['rotated', time(key.rotateTime)],
    ['grace ends', time(key.graceEndTime)],
    ['suspended', reasoned(time(key.suspendTime), key.suspendReason)],
    [
      'revoked',
      reasoned(
        time(key.revokeTime),
        [choice(RevokeReason, key.revokeReason), key.revokeComment].filter(Boolean).join(': '),
      ),
    ],
    ['deleted', time(key.deleteTime)],
    ['purged', time(key.purgeTime)],
    ['creator', key.creator],
    ['revision', String(key.revision)],
    ['etag', key.etag],
  ])
}

export function apiKeyTable(keys: readonly ApiKey[]): string {
  return table(
    ['NAME', 'DISPLAY NAME', 'HINT', 'ENVIRONMENT', 'STATE', 'EXPIRES'],
    keys.map(key => [
      key.name,
      key.displayName,
      key.keyHint,
      key.environment,
      choice(State, key.state),
      time(key.expireTime) || 'never',
    ]),
  )
}

function limit(key: ApiKey): string {
  const { rateLimit } = key
  if (rateLimit === undefined) return ''
  const window = rateLimit.window === undefined ? '' : `/${formatDuration(rateLimit.window)}`
  return `${rateLimit.limit ?? 0n}${window}`
}

function labels(map: ReadonlyMap<string, string>): string {
  return [...map].map(([key, value]) => `${key}=${value}`).join(', ')
}

function reasoned(when: string, why: string): string {
  return when === '' || why === '' ? when : `${when} (${why})`
}

/** The one time a secret is shown. `name` is the key's. */
export function secretText(secret: string, alreadyDelivered: boolean, name = 'NAME'): string {
  if (alreadyDelivered) {
    return `The secret was delivered by an earlier call with this request id and cannot be shown again.\nIf it is lost: gatewarden keys rotate ${harmless(name)} --grace 0s\n`
  }
  if (secret === '') return ''
  return `\n  ${secret}\n\nThis is the secret. It is shown this once and stored nowhere: keep it now.\n`
}

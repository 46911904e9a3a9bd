// What people read when a call fails: code and reason, every field with the flag that sets it, how to mend it, the request id.
import { status } from '@grpc/grpc-js'
import { RpcFailure } from '../rpc/client.ts'
import { harmless } from './render.ts'

/** Flags by the last name of a proto field. */
const flagsOfFields: Readonly<Record<string, string>> = {
  display_name: '--name',
  description: '--description',
  environment: '--environment',
  scope_mode: '--all-scopes',
  scopes: '--scope',
  allowlist: '--allow',
  cidr: '--allow',
  label: '--allow',
  expire_time: '--expires',
  rate_limit: '--limit',
  limit: '--limit',
  window: '--limit',
  labels: '--label',
  profile: '--profile',
  organization_id: '--id',
  api_key_id: '--id',
  grace_period: '--grace',
  grace_end_time: '--until',
  revoke_reason: '--reason',
  comment: '--comment',
  cascade: '--cascade',
  reason: '--reason',
  filter: '--filter',
  order_by: '--order-by',
  request_id: '--request-id',
  etag: '--etag',
  timeout: '--timeout',
  columns: '--column',
  entries: 'CIDR',
  interval: '--since',
  group_by: '--by',
  max_entries: '--max-entries',
  min_requests: '--min-requests',
  widest_ipv4_prefix: '--widest-v4',
  widest_ipv6_prefix: '--widest-v6',
}

/** Mends of refusals that have one for people at a terminal. */
const mends: Readonly<Record<string, string>> = {
  ADMIN_KEY_INVALID: 'The admin key is unknown, expired or revoked: name another with --key-file.',
  ETAG_MISMATCH: 'Somebody changed it meanwhile: read it again and repeat with its etag.',
  REQUEST_ID_REUSED:
    'This --request-id belongs to another call: leave it out, or give a new UUID. The same call has the same instants: not a duration, which is counted anew each time.',
  KEY_ALREADY_ROTATED: 'It has a successor already: rotate that one.',
  PEPPER_NOT_PROPAGATED: 'Give every sidecar the new pepper first; `pepper_ids` of the sidecars shows who has it.',
  PEPPER_MISMATCH: 'The service runs with the wrong pepper file: put the right one there and start it anew.',
  STORE_UNAVAILABLE: 'The service cannot reach its database: try again shortly.',
  ORGANIZATION_UNKNOWN: '`gatewarden orgs list` shows the organizations.',
  EXPORT_LIMIT: 'Ask for less at a time: --since and --until, or a narrower --filter.',
  SCOPE_UNKNOWN: '`gatewarden profile show PROFILE` shows the scopes, `gatewarden orgs get ORGANIZATION` the profile.',
  SCOPES_EMPTY: '`gatewarden profile show PROFILE` shows the scopes, `gatewarden orgs get ORGANIZATION` the profile.',
  PROFILE_UNKNOWN: '`gatewarden profile show` shows the profiles.',
}

/** A failed call; `again`: its outcome is not known, and the same command with these flags is safe. */
export class CallFailure extends Error {
  override readonly name = 'CallFailure'
  readonly failure: RpcFailure
  readonly again: string

  constructor(failure: RpcFailure, again = '') {
    super(failure.message)
    this.failure = failure
    this.again = again
  }
}

const unsureCodes: ReadonlySet<status> = new Set([
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.CANCELLED,
  status.UNKNOWN,
  status.INTERNAL,
])

/** Whether the call may have been carried out although it failed. */
export function isUnsure(failure: RpcFailure): boolean {
  return (unsureCodes.has(failure.code) && !isUnreached(failure)) || failure.reason === 'REQUEST_IN_PROGRESS'
}

/** No connection came about: nothing was sent. grpc-js says so in its text only. */
function isUnreached({ code, reason, message }: RpcFailure): boolean {
  return code === status.UNAVAILABLE && reason === '' && message.startsWith('No connection established')
}

/** Codes by which servers answer that know nothing of us: a proxy, the port of the check. */
const foreignCodes: ReadonlySet<status> = new Set([
  status.UNIMPLEMENTED,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.NOT_FOUND,
  status.INTERNAL,
  status.UNKNOWN,
])
const foreignMend = 'This was not answered by the admin service: look at --server or GATEWARDEN_CLI_SERVER.'

/** The text of a failed call. */
export function failureText({ failure, again }: CallFailure): string {
  const lines = [`${failure.codeName} ${failure.reason}`.trimEnd().concat(`: ${harmless(failure.message)}`)]
  for (const { field, reason, description } of failure.violations) {
    const flag = flagOf(field)
    lines.push(`  ${harmless(field)}${flag === undefined ? '' : ` (${flag})`}: ${reason}: ${harmless(description)}`)
  }
  for (const [name, value] of failure.metadata) lines.push(`  ${harmless(name)}: ${harmless(value)}`)
  const mend = failure.reason === '' && foreignCodes.has(failure.code) ? foreignMend : mends[failure.reason]
  if (mend !== undefined) lines.push(`  ${mend}`)
  if (failure.retryDelayMs !== undefined)
    lines.push(`  Try again in ${Math.max(1, Math.ceil(failure.retryDelayMs / 1000))} s.`)
  if (again !== '') {
    lines.push(`  Whether the change was made is not known. The same command with ${again} is safe: it is made once.`)
  }
  if (failure.requestId !== '') lines.push(`  request id ${harmless(failure.requestId)}`)
  return `${lines.join('\n')}\n`
}

/** The same for scripts. */
export function failureJson({ failure, again }: CallFailure): unknown {
  return {
    error: {
      code: failure.codeName,
      reason: failure.reason,
      message: failure.message,
      metadata: Object.fromEntries(failure.metadata),
      violations: failure.violations,
      requestId: failure.requestId,
      ...(again === '' ? {} : { repeatWith: again }),
    },
  }
}

/** The sentence for a call that reached no service of ours; undefined for any other failure. */
export function unreachableText(error: unknown, address: string): string | undefined {
  if (!(error instanceof RpcFailure) || !isUnreached(error)) return undefined
  const cause = causeOf(error.message)
  const shown = cause === '' ? '' : ` (${harmless(cause)})`
  if (/certificate|SSL|TLS/i.test(cause)) {
    return `the service at ${address} speaks no TLS that --ca vouches for${shown}; name the authority of its certificate, and an address that the certificate holds.`
  }
  return (
    `no admin service answers at ${address}${shown}; start one with \`gatewarden serve\`, ` +
    'or name another with --server or GATEWARDEN_CLI_SERVER.'
  )
}

/** What grpc-js and OpenSSL say of a connection that did not come about, without their ornaments. */
function causeOf(message: string): string {
  const cause = /Last error: (.+?)(?:\. Resolution note:.*)?$/s.exec(message)?.[1] ?? ''
  return cause
    .replace(/^Error: /, '')
    .replace(/ \(\d{4}-[^)]*\)$/, '')
    .replace(/[0-9A-F]+:error:[0-9A-F]+:/, '')
    .replace(/:\.\.\/deps.*$/s, '')
    .trim()
}

/** The flag behind a field such as `api_key.allowlist[2].cidr`. */
function flagOf(field: string): string | undefined {
  const names = field.replace(/\[\d+\]/g, '').split('.')
  const known = names.toReversed().find(name => flagsOfFields[name] !== undefined)
  return known === undefined ? undefined : flagsOfFields[known]
}

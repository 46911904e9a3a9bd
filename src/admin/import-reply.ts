// What an import came to, row by row, and the reply that says so within the bound of a message.
import type { ImportApiKeysResponse, ImportApiKeysResponse_Result } from '../gen/gatewarden/admin/v1/api_key_admin.ts'
import { Status } from '../gen/google/rpc/status.ts'
import { RpcError } from '../rpc/errors.ts'
import { toRpcStatus, withoutKeys } from '../rpc/status.ts'
import type { AdminCall } from './admin-call.ts'
import type { ApiKeyContext } from './api-key-context.ts'

/** What became of one row. */
export type ImportOutcome =
  | { readonly kind: 'imported'; readonly row: number; readonly name: string }
  | { readonly kind: 'skipped'; readonly row: number }
  | { readonly kind: 'failed'; readonly row: number; readonly error: RpcError }
  /** As an earlier attempt of the call told it. */
  | { readonly kind: 'failed'; readonly row: number; readonly status: Status }

/** What has happened so far. */
export interface ImportTally {
  outcomes: ImportOutcome[]
  revision: bigint
  revisionToken: string
}

/** Octets of row errors with all their details; 10,000 failures must fit into a message of 4 MiB. */
const detailOctetsMax = 1024 * 1024

/** Characters of the text of a row error without details. */
const shortTextMax = 100

/** Successes listed in the reply; failures are all listed. */
const listedSuccessesMax = 1000

/** The reply to the whole call. */
export function importReply(
  total: ImportTally,
  call: AdminCall,
  context: Pick<ApiKeyContext, 'redact'> = {},
): ImportApiKeysResponse {
  const results: ImportApiKeysResponse_Result[] = []
  const counts = { imported: 0, skipped: 0, failed: 0 }
  let octets = 0
  for (const outcome of total.outcomes) {
    counts[outcome.kind]++
    if (outcome.kind === 'failed') {
      const withDetails = octets < detailOctetsMax
      const error =
        'status' in outcome
          ? toldAgain(outcome.status, withDetails)
          : rowError(outcome.error, call, context, withDetails)
      octets += Status.encode(error).finish().length
      results.push({ row: outcome.row, outcome: { $case: 'error', value: error } })
    } else if (outcome.kind === 'imported' && counts.imported <= listedSuccessesMax) {
      results.push({ row: outcome.row, outcome: { $case: 'name', value: outcome.name } })
    }
  }
  return { ...counts, results, revision: total.revision, revisionToken: total.revisionToken }
}

/**
 * What became of the rows that a reply is about; `rows` are their numbers. It lists every failure and, of as few rows as go in
 * together, every success: any other row was skipped.
 */
export function outcomesOf({ results }: ImportApiKeysResponse, rows: readonly number[]): readonly ImportOutcome[] {
  const listed = new Map(results.map(({ row, outcome }) => [row, outcome]))
  return rows.map(row => {
    const outcome = listed.get(row)
    if (outcome === undefined) return { kind: 'skipped', row }
    if (outcome.$case === 'name') return { kind: 'imported', row, name: outcome.value }
    return { kind: 'failed', row, status: outcome.value }
  })
}

/** The same within the same bound. */
function toldAgain(error: Status, withDetails: boolean): Status {
  if (withDetails) return error
  const details = error.details.filter(({ typeUrl }) => typeUrl.endsWith('/google.rpc.ErrorInfo'))
  return { ...error, message: error.message.slice(0, shortTextMax), details }
}

/** The error of a row. Where many rows fail the later ones keep reason and text only, so that the reply can be sent. */
function rowError(
  error: RpcError,
  call: AdminCall,
  context: Pick<ApiKeyContext, 'redact'>,
  withDetails: boolean,
): Status {
  const told = withoutKeys(error, text => context.redact?.(text) ?? text)
  const short = () => new RpcError(told.reason, told.message.slice(0, shortTextMax))
  return toRpcStatus(withDetails ? told : short(), call.callId)
}

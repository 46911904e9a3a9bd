// The etag of a row: opaque to callers, another one after every change of the row.
import { RpcError } from '../rpc/errors.ts'

/** The etag of a row's version. */
export function etagOf(version: bigint): string {
  return `v${version.toString(36)}`
}

/**
 * Refuses a call that was meant for another version of the row. An empty etag means any.
 * @throws RpcError ETAG_MISMATCH
 */
export function requireEtag(given: string, version: bigint): void {
  if (given === '' || given === etagOf(version)) return
  throw new RpcError(
    'ETAG_MISMATCH',
    'The resource has changed since it was read: read it again, then repeat the call.',
  )
}

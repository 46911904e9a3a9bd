// The hash chain of audit events: each row holds SHA-256(previous hash ‖ text of the row), from the first row on.
// The text is canonical, so it can be made again from the stored columns; the revision, known last, stands at its end.
import { createHash } from 'node:crypto'
import type { AuditRecord } from './admin-store.ts'
import { canonicalJson } from './canonical-json.ts'

/** What stands before the first row of a chain. */
export const chainStart = Buffer.alloc(32)

/** The text of an event without its revision. */
export function auditText(event: Omit<AuditRecord, 'text'>): string {
  const { organization, time, actor, action, resource, before, after, requestId, sourceIp, outcome } = event
  return canonicalJson([organization, time, actor, action, resource, before, after, requestId, sourceIp, outcome])
}

/** The hash of an event. The store computes the same in its last statement. */
export function chainHash(previous: Uint8Array, text: string, revision: bigint): Buffer {
  return createHash('sha256').update(previous).update(`${text}\n${revision}`, 'utf8').digest()
}

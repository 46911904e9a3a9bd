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

/** What a process did by itself: nobody called, so the row names no principal, no address and no request. */
export function ownEvent(
  event: Pick<AuditRecord, 'organization' | 'time' | 'action' | 'resource' | 'after'>,
): AuditRecord {
  const nobody = { principal: '', certificate_serial: '', admin_key_hint: '' }
  const whole = { ...event, actor: nobody, before: null, requestId: '', sourceIp: '', outcome: 'OK' }
  return { ...whole, text: auditText(whole) }
}

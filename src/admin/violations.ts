// Collects everything that is wrong with a request, so that the caller hears of all of it at once.
import { type FieldViolation, invalidArgument } from '../rpc/errors.ts'
import type { FieldReason } from '../rpc/reasons.ts'

/** The violations of one request, in the order found. */
export class Violations {
  private readonly found: FieldViolation[] = []

  add(field: string, reason: FieldReason, message: string): void {
    this.found.push({ field, reason, message })
  }

  get none(): boolean {
    return this.found.length === 0
  }

  /** @throws RpcError with all of them, if there are any */
  throwIfAny(): void {
    if (this.found.length > 0) throw invalidArgument(this.found)
  }
}

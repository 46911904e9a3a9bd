// Collects everything that is wrong with a request, so that the caller hears of all of it at once.
import { type FieldViolation, invalidArgument, RpcError } from '../rpc/errors.ts'
import type { FieldReason } from '../rpc/reasons.ts'

/** The violations of one request, in the order found. */
export class Violations {
  private readonly found: FieldViolation[] = []
  private suggestion = ''

  add(field: string, reason: FieldReason, message: string): void {
    this.found.push({ field, reason, message })
  }

  /** Notes what would be right; the first one goes into the error's metadata as `suggestion`. */
  suggest(text: string): void {
    if (this.suggestion === '') this.suggestion = text
  }

  get none(): boolean {
    return this.found.length === 0
  }

  /** @throws RpcError with all of them, if there are any */
  throwIfAny(): void {
    if (this.found.length === 0) return
    const error = invalidArgument(this.found)
    if (this.suggestion === '') throw error
    const metadata = { suggestion: this.suggestion }
    throw new RpcError(error.reason, error.message, { ...error.details, metadata })
  }
}

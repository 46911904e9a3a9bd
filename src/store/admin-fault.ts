// What of PostgreSQL's and the driver's errors admin can tell its callers: unavailable, or in conflict with another change.
// Anything else is a mistake of ours and passes as it is.
import { sqlState } from './store-error.ts'

/** Satisfies admin's `StoreFault`; the driver's error is the cause and stays in the log. */
export class AdminStoreFault extends Error {
  override readonly name = 'AdminStoreFault'
  readonly fault: 'unavailable' | 'conflict'

  constructor(fault: 'unavailable' | 'conflict', cause: unknown) {
    super(`the store is ${fault === 'conflict' ? 'in conflict' : 'unavailable'}`, { cause })
    this.fault = fault
  }
}

/** Lock timeout, serialization failure, deadlock. */
const conflictStates: ReadonlySet<string> = new Set(['55P03', '40001', '40P01'])

/** Statement timeout, read-only server, a transaction that idled too long, a full disk or too many connections. */
const unavailableStates = /^(?:57014|25006|25P03|53|57P|58|08)/

/** The fault behind an error of the driver, or the error itself. */
export function faultOf(error: unknown): unknown {
  const state = sqlState(error)
  if (state === undefined) return new AdminStoreFault('unavailable', error)
  if (conflictStates.has(state)) return new AdminStoreFault('conflict', error)
  return unavailableStates.test(state) ? new AdminStoreFault('unavailable', error) : error
}

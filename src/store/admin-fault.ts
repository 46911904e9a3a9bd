// What of PostgreSQL's and the driver's errors admin can tell its callers: unavailable, full, too slow a question, or in
// conflict with another change.
// Anything else is a mistake of ours and passes as it is.
import { sqlState } from './store-error.ts'

type Fault = 'unavailable' | 'conflict' | 'full' | 'slow'

/** Satisfies admin's `StoreFault`; the driver's error is the cause and stays in the log. */
export class AdminStoreFault extends Error {
  override readonly name = 'AdminStoreFault'
  readonly fault: Fault

  constructor(fault: Fault, cause: unknown) {
    super(`fault of the store: ${fault}`, { cause })
    this.fault = fault
  }
}

/** Lock timeout, serialization failure, deadlock. */
const conflictStates: ReadonlySet<string> = new Set(['55P03', '40001', '40P01'])

/** Disk full. */
const fullState = '53100'

/** Statement timeout, read-only server, a transaction that idled too long, too many connections. */
const unavailableStates = /^(?:57014|25006|25P03|53|57P|58|08)/

/** The fault behind an error of the driver, or the error itself. */
export function faultOf(error: unknown): unknown {
  const state = sqlState(error)
  if (state === undefined) return new AdminStoreFault('unavailable', error)
  if (conflictStates.has(state)) return new AdminStoreFault('conflict', error)
  if (state === fullState) return new AdminStoreFault('full', error)
  return unavailableStates.test(state) ? new AdminStoreFault('unavailable', error) : error
}

/** Statement timeout. */
const timeoutState = '57014'

/** The same for a question about the usage log: one that ran out of time was about too many rows. */
export function readFaultOf(error: unknown): unknown {
  return sqlState(error) === timeoutState ? new AdminStoreFault('slow', error) : faultOf(error)
}

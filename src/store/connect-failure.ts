// What the server says when it refuses a session, as one sentence that names the mend; anything else passes unchanged.
import { messageOf, StoreSetupError, sqlState } from './store-error.ts'

/** The error to report for a connection that could not be made. */
export function explainConnect(error: unknown, role: string): unknown {
  const state = sqlState(error)
  if (state === '22023' && messageOf(error).includes(role)) {
    return new StoreSetupError(`The database role ${role} is missing: run "gatewarden migrate".`, { cause: error })
  }
  if (state === '42501') {
    return new StoreSetupError(
      `The login of DATABASE_URL may not work as ${role}: let its administrator run "GRANT ${role} TO …".`,
      { cause: error },
    )
  }
  return explainLogin(error)
}

/** The same for a session as the login itself, without a role. */
export function explainLogin(error: unknown): unknown {
  const state = sqlState(error)
  if (state === '28P01' || state === '28000') {
    return new StoreSetupError('The database refuses the login of DATABASE_URL: mend its user or password.', {
      cause: error,
    })
  }
  if (state === '3D000') {
    return new StoreSetupError('The database that DATABASE_URL names does not exist: create it, or mend the name.', {
      cause: error,
    })
  }
  return error
}

// What goes wrong around the store in a way that a person must mend: its message is one sentence that names the mend.
// Never holds a secret, a statement or a driver's text in its message; those stay in `cause`, for the log.

/** A fault that ends the start. Print `message`, log `cause`. */
export class StoreSetupError extends Error {
  override readonly name = 'StoreSetupError'
}

/** SQLSTATE of a table that is not there: the schema is one version older than this build. */
export const undefinedTable = '42P01'

/** SQLSTATE of an error that PostgreSQL sent, or undefined for any other value. */
export function sqlState(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined
  // Every SQLSTATE has a digit; EPIPE and its like are five capitals too, and come from the socket.
  return /^(?=.*\d)[0-9A-Z]{5}$/.test(error.code) ? error.code : undefined
}

/** Message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

// What admin knows of one call. The RPC server's own call satisfies it; tests make one by hand.

/** One call of an admin RPC. */
export interface AdminCall {
  /** Joins the error, the log and the reply. */
  readonly callId: string
  /** The peer's address without port; empty on a unix socket. */
  readonly sourceAddress: string
  /** Unix milliseconds at which the caller stops waiting. */
  readonly deadlineUnixMs: number
  /** Aborts when the caller leaves or the deadline passes. */
  readonly signal: AbortSignal
  /** The value of a metadata name; undefined when absent or sent twice. */
  header(name: string): string | undefined
}

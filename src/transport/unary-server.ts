// The seam between how bytes arrive and what is decided: request bytes in, reply bytes out, one synchronous call.
// No promise stands in these signatures, so none can creep onto the path of a check (architecture.md section 6).

/** Call metadata that the handler asked for by name; values are text of printable ASCII. */
export interface CallMetadata {
  /** Value of the `index`-th wanted name; undefined when absent, present more than once, or not printable ASCII. */
  value(index: number): string | undefined
}

/** Takes the one reply of a call. Bytes are copied or written before the method returns; the caller may reuse its buffer. */
export interface ReplyWriter {
  /** Ends the call with status OK and one message, `bytes[start, end)`. */
  message(bytes: Uint8Array, start: number, end: number): void
  /** Ends the call with a gRPC status other than OK; `text` is for people and holds no secret. */
  fail(code: number, text: string): void
}

/** Handles one request message `bytes[start, end)`. When it returns, exactly one method of `reply` has been called. */
export type UnaryHandler = (
  bytes: Buffer,
  start: number,
  end: number,
  metadata: CallMetadata,
  reply: ReplyWriter,
) => void

/** What a transport serves. */
export interface UnaryService {
  /** Full method path, e.g. `/envoy.service.auth.v3.Authorization/Check`. Any other method is UNIMPLEMENTED. */
  readonly method: string
  /** Lower-case metadata names whose values the handler reads by position. */
  readonly metadataNames: readonly string[]
  readonly handler: UnaryHandler
  /** Called once after the requests of one read were handled and before their replies are flushed. */
  readonly endOfBatch: () => void
}

/** Where a transport listens: `host:port` or `unix:/path`. */
export type ListenAddress = string

/** A running server. */
export interface UnaryServer {
  /** Bound addresses, with the real port where 0 was asked for. */
  readonly addresses: readonly ListenAddress[]
  /** Stops taking new connections, sends GOAWAY, answers what is under way; resolves when all connections are gone or `deadlineMs` has passed. */
  drain(deadlineMs: number): Promise<void>
}

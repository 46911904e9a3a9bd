// COPY … FROM STDIN (FORMAT binary) through the pg driver, which knows the messages of the protocol but has no statement for it.
// One statement, one buffer; resolves with the rows taken, rejects with the server's error, and leaves the connection in order.
import type pg from 'pg'

/** Signature, flags and length of the header extension (PostgreSQL, COPY, binary format). */
const header = Buffer.from('PGCOPY\n\u00ff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')
const trailer = Buffer.from([0xff, 0xff])

/** What a connection of the driver has and its types do not tell. */
interface CopyConnection {
  query(text: string): void
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
  sendCopyFail(message: string): void
}

/** Copies rows in binary form. `statement` ends with `FROM STDIN (FORMAT binary)`. @returns rows taken */
export function copyIn(client: pg.ClientBase, statement: string, rows: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    client.query(new CopyIn(statement, rows, resolve, reject))
  })
}

/** A query as the driver's queue handles it: it calls these methods by the server's messages. */
class CopyIn {
  callback: (error: Error | null) => void
  private readonly statement: string
  private readonly rows: Buffer
  private readonly resolve: (count: number) => void
  private count = 0

  constructor(statement: string, rows: Buffer, resolve: (count: number) => void, reject: (error: Error) => void) {
    this.statement = statement
    this.rows = rows
    this.resolve = resolve
    this.callback = error => {
      if (error !== null) reject(error)
    }
  }

  submit(connection: unknown): void {
    toCopyConnection(connection).query(this.statement)
  }

  handleCopyInResponse(connection: unknown): void {
    const copy = toCopyConnection(connection)
    for (const part of [header, this.rows, trailer]) copy.sendCopyFromChunk(part)
    copy.endCopyFrom()
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    this.count = Number(/^COPY (\d+)$/.exec(text)?.[1] ?? 0)
  }

  handleReadyForQuery(): void {
    this.resolve(this.count)
  }

  handleError(error: Error): void {
    this.callback(error)
  }

  handleRowDescription(): void {}
  handleDataRow(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleCopyData(): void {}
}

function toCopyConnection(connection: unknown): CopyConnection {
  return connection as CopyConnection
}

// COPY … TO STDOUT (FORMAT binary) through the pg driver, which knows the messages of the protocol but has no statement for it: a third
// of the cost of rows that are texts. One statement; resolves with the rows given, rejects with the server's error.
// Nothing is known of what stands in a column: a value of another size than its form has is `undefined`, never a guess.
import type pg from 'pg'

/** How a column stands in binary, and as what it is given. A `name` is a text that many rows share. */
export type ColumnForm = 'text' | 'name' | 'names' | 'octets' | 'whole' | 'unixMicros'

/** Reads `bytes[start, end)`. The octets are the driver's: what is kept of them must be copied. */
type Reader = (bytes: Buffer, start: number, end: number) => unknown

/** Before the first row: signature, flags, and the length of an extension (PostgreSQL, COPY, binary format). */
const headerOctets = 19
/** Instead of the number of columns: there are no more rows. */
const END = -1

/**
 * Gives the rows of a query, each an array of values, as they come. Rejects with what `take` throws; the connection must be
 * destroyed then.
 * @param statement ends with `TO STDOUT (FORMAT binary)`
 * @param forms of its columns
 */
export function copyOut(
  client: pg.ClientBase,
  statement: string,
  forms: readonly ColumnForm[],
  take: (row: unknown[]) => void,
): Promise<number> {
  return new Promise((resolve, reject) => {
    client.query(new CopyOut(statement, forms.map(readerOf), take, resolve, reject))
  })
}

/** A query as the driver's queue handles it: it calls these methods by the server's messages. */
class CopyOut {
  callback: (error: Error | null) => void
  private readonly statement: string
  private readonly readers: readonly Reader[]
  private readonly take: (row: unknown[]) => void
  private readonly resolve: (count: number) => void
  private readonly reject: (error: unknown) => void
  private count = 0
  private isBegun = false
  private isFailed = false

  constructor(
    statement: string,
    readers: readonly Reader[],
    take: (row: unknown[]) => void,
    resolve: (count: number) => void,
    reject: (error: unknown) => void,
  ) {
    this.statement = statement
    this.readers = readers
    this.take = take
    this.resolve = resolve
    this.reject = reject
    this.callback = error => {
      if (error !== null) reject(error)
    }
  }

  submit(connection: unknown): void {
    ;(connection as { query(text: string): void }).query(this.statement)
  }

  /** The server sends a row a message, the header with the first one. */
  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    if (this.isFailed) return // what still arrives goes nowhere
    try {
      let at = 0
      if (!this.isBegun) {
        this.isBegun = true
        at = headerOctets + chunk.readInt32BE(headerOctets - 4)
      }
      while (at < chunk.length) at = this.readRow(chunk, at)
    } catch (error) {
      this.isFailed = true
      this.reject(error)
    }
  }

  /** @returns where it ends. @throws RangeError when it ends behind the message: a server of another kind. */
  private readRow(chunk: Buffer, start: number): number {
    const columns = chunk.readInt16BE(start)
    if (columns === END) return chunk.length
    const row: unknown[] = []
    let at = start + 2
    for (let column = 0; column < columns; column++) {
      const length = chunk.readInt32BE(at)
      at += 4
      if (at + length > chunk.length) throw new RangeError('a row of a COPY ends behind its message')
      row.push(length < 0 ? null : this.readers[column]?.(chunk, at, at + length))
      if (length > 0) at += length
    }
    this.count++
    this.take(row)
    return at
  }

  handleReadyForQuery(): void {
    this.resolve(this.count)
  }

  handleError(error: Error): void {
    this.callback(error)
  }

  handleCommandComplete(): void {}
  handleRowDescription(): void {}
  handleDataRow(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
}

function readerOf(form: ColumnForm): Reader {
  switch (form) {
    case 'text':
      return readText
    case 'name':
      return repeated(readText)
    case 'names':
      return repeated(readTexts)
    case 'octets':
      return copyOf
    case 'whole':
      return readWhole
    default:
      return readUnixMicros
  }
}

const noOctets = Buffer.alloc(0)

/** Up to here a loop is cheaper than a call of the platform: digests, names, most allowlists. */
const shortOctets = 64

function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  if (start === end) return noOctets
  const copy = Buffer.allocUnsafe(end - start)
  if (copy.length > shortOctets) bytes.copy(copy, 0, start, end)
  else for (let at = start; at < end; at++) copy[at - start] = bytes[at] ?? 0
  return copy
}

/** Values that a column is expected to alternate between; a power of two. */
const repeatedMax = 64

/** What many rows share is read once, and is the same value in all of them. */
function repeated(read: Reader): Reader {
  const known: Buffer[] = new Array<Buffer>(repeatedMax).fill(noOctets)
  const values: unknown[] = known.map(octets => read(octets, 0, 0))
  return (bytes, start, end) => {
    let hash = 0
    for (let at = start; at < end; at++) hash = (Math.imul(hash, 31) + (bytes[at] ?? 0)) | 0
    const place = (hash ^ (hash >>> 16)) & (repeatedMax - 1)
    const octets = known[place] ?? noOctets
    if (isSame(octets, bytes, start, end)) return values[place]
    known[place] = copyOf(bytes, start, end)
    values[place] = read(bytes, start, end)
    return values[place]
  }
}

function isSame(last: Buffer, bytes: Buffer, start: number, end: number): boolean {
  if (last.length !== end - start) return false
  for (let at = last.length - 1; at >= 0; at--) if (last[at] !== bytes[start + at]) return false
  return true
}

function readText(bytes: Buffer, start: number, end: number): string {
  return bytes.toString('utf8', start, end)
}

const noTexts: readonly string[] = Object.freeze([])

/** An array of one dimension: how many dimensions, flags, type, then length and lower bound of each, then the elements. */
function readTexts(bytes: Buffer, start: number, end: number): readonly (string | null)[] | undefined {
  if (end - start < 12) return undefined
  const dimensions = bytes.readInt32BE(start)
  if (dimensions === 0) return noTexts
  if (dimensions !== 1 || end - start < 20) return undefined
  const texts: (string | null)[] = []
  let at = start + 20
  for (let left = bytes.readInt32BE(start + 12); left > 0; left--) {
    if (at + 4 > end) return undefined
    const length = bytes.readInt32BE(at)
    at += 4
    texts.push(length < 0 ? null : readText(bytes, at, at + length))
    if (length > 0) at += length
  }
  return Object.freeze(texts)
}

function readWhole(bytes: Buffer, start: number, end: number): number | bigint | undefined {
  if (end - start === 2) return bytes.readInt16BE(start)
  if (end - start === 4) return bytes.readInt32BE(start)
  if (end - start !== 8) return undefined
  const high = bytes.readInt32BE(start)
  // A number where it is exact: a bigint is dear.
  if (high >= 0 && high < 2 ** 21) return high * 2 ** 32 + bytes.readUInt32BE(start + 4)
  return bytes.readBigInt64BE(start)
}

/** From the Unix epoch to PostgreSQL's, 2000-01-01. */
const postgresEpochUnixMicros = 946_684_800_000_000n

/** timestamptz. Infinity lies beyond all instants that may be stored. */
function readUnixMicros(bytes: Buffer, start: number, end: number): bigint | undefined {
  return end - start === 8 ? bytes.readBigInt64BE(start) + postgresEpochUnixMicros : undefined
}

// The gRPC status of responses of any server: a decoder of its own for the connection, told to keep that field's text.
import { CallHead, FieldMeanings } from '../../../src/transport/h2/call-head.ts'
import { createHpackTables, HpackDecoder } from '../../../src/transport/h2/hpack.ts'

const tables = createHpackTables(new FieldMeanings([], ['grpc-status']))

export class ResponseReader {
  private readonly decoder = new HpackDecoder(tables)
  private readonly head = new CallHead()

  /** Of one header block; undefined: it has none, as the head of a response before its message. */
  grpcStatus(block: Buffer): string | undefined {
    this.head.reset()
    if (!this.decoder.decode(block, 0, block.length, this.head)) throw new Error('a header block cannot be decoded')
    return this.head.values[0] ?? undefined
  }
}

// Load program: HTTP/1.1 requests to an Envoy over many connections, one request at a time on each. Takes a LoadOrder as JSON and
// prints a LoadResult. At a fixed rate a request waits for a free connection, and its latency counts from when it was meant.
import { connect, type NetConnectOpts, type Socket } from 'node:net'
import { socketOptions } from './check-client.ts'
import type { LoadOrder } from './load-result.ts'
import { type Loader, measure } from './measured-run.ts'
import { type BenchRequest, type MixName, requestsOf, toHttpRequest } from './requests.ts'

const readLength = 64 * 1024
const headEnd = Buffer.from('\r\n\r\n')

/** One connection with at most one request under way. */
class Connection {
  readonly socket: Socket
  status = 0
  intendedNs = 0
  private rest = Buffer.alloc(0)

  constructor(address: string, onAnswer: (connection: Connection, status: number) => void) {
    const read = Buffer.alloc(readLength)
    const callback = (count: number) => {
      const status = this.take(read.subarray(0, count))
      if (status !== undefined) onAnswer(this, status)
      return true
    }
    const onread = { buffer: read, callback }
    this.socket = connect({ ...socketOptions(address), onread, noDelay: true } as NetConnectOpts)
  }

  /** The status once the whole answer is there. Envoy's answers here all have a content-length. */
  private take(chunk: Buffer): number | undefined {
    const input = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    const head = input.indexOf(headEnd)
    const length = head < 0 ? undefined : /\r\ncontent-length: (\d+)/i.exec(input.toString('latin1', 0, head))?.[1]
    if (head >= 0 && input.length >= head + headEnd.length + Number(length ?? 0)) {
      this.rest = Buffer.alloc(0)
      return Number(input.toString('latin1', 9, 12))
    }
    this.rest = Buffer.from(input)
    return undefined
  }
}

class HttpLoader implements Loader {
  readonly counts = { answered: 0, wrong: 0, failed: 0 }
  readonly broken: Promise<never>
  onEnd: (intendedNs: number) => void = () => undefined
  private readonly requests: readonly { readonly octets: Buffer; readonly status: number }[]
  private readonly all: Connection[] = []
  private readonly idle: Connection[] = []
  private readonly waiting: number[] = []
  private next = 0
  private busy = 0
  private isClosed = false

  constructor(address: string, connections: number, requests: HttpLoader['requests']) {
    this.requests = requests
    this.broken = new Promise((_, reject) => {
      for (let i = 0; i < connections; i++) {
        const connection = new Connection(address, (each, status) => this.take(each, status))
        connection.socket.once('error', reject)
        connection.socket.once('close', () => reject(new Error('Envoy closed a connection')))
        this.all.push(connection)
      }
    })
    this.idle.push(...this.all)
    this.broken.catch(() => undefined)
  }

  get underWay(): number {
    return this.busy + this.waiting.length
  }

  keep(atOnce: number): void {
    this.isClosed = atOnce > 0
    if (this.isClosed) while (this.idle.length > 0) this.send(0)
  }

  sendAt(intendedNs: number): void {
    if (this.idle.length > 0) this.send(intendedNs)
    else this.waiting.push(intendedNs)
  }

  close(): void {
    for (const { socket } of this.all) {
      socket.removeAllListeners('close')
      socket.destroy()
    }
  }

  private send(intendedNs: number): void {
    const connection = this.idle.pop()
    const request = this.requests[this.next]
    if (connection === undefined || request === undefined) throw new Error('there is nothing to send')
    this.next = this.next + 1 === this.requests.length ? 0 : this.next + 1
    connection.status = request.status
    connection.intendedNs = intendedNs
    this.busy += 1
    connection.socket.write(request.octets)
  }

  private take(connection: Connection, status: number): void {
    this.busy -= 1
    if (status === connection.status) this.counts.answered += 1
    // Envoy's own answer when it got none from the authorizer.
    else if (status >= 500) this.counts.failed += 1
    else this.counts.wrong += 1
    if (connection.intendedNs > 0) this.onEnd(connection.intendedNs)
    this.idle.push(connection)
    const due = this.waiting.shift()
    if (due !== undefined) this.send(due)
    else if (this.isClosed) this.send(0)
  }
}

const order = JSON.parse(process.argv[2] ?? '') as LoadOrder

function expected({ status }: BenchRequest): number {
  if (order.expected === 'none') return 200
  return order.expected === 'key' && status === 403 ? 200 : status
}

const requests = requestsOf(order.mix as MixName).map(request => ({
  octets: toHttpRequest(request),
  status: expected(request),
}))
const loader = new HttpLoader(order.address, order.atOnce, requests)
const result = await measure(loader, order)
loader.close()
process.stdout.write(`${JSON.stringify(result)}\n`)

// A Check service on the world of check-world.ts, asked as a transport asks: requests side by side in a read, replies copied behind each
// other, the end of the batch told. Time is CPU time of the process, nearly immune to neighbours; every answer is counted.
import { createCheckHandler } from '../src/check/check-handler.ts'
import type { DecisionSink } from '../src/check/decision-sink.ts'
import { ALLOW } from '../src/core/reason.ts'
import { microsFromUnixMs } from '../src/core/time.ts'
import { CheckResponse } from '../src/gen/envoy/service/auth/v3/external_auth.ts'
import { LimitBuckets } from '../src/keys/limit-buckets.ts'
import type { CallMetadata, ReplyWriter } from '../src/transport/unary-server.ts'
import { keyCount, names, profiles, requestOf, secretOf, table } from './check-world.ts'

/** Requests of a list: enough that no API key and no path is hot. */
const requestCount = 10_000
/** Requests in one read of the socket. */
export const readDepth = 64
/** Longest request there is room for in a read. */
const requestOctetsMax = 2048

// A stride that is coprime to the number of keys spreads the requests over the whole table.
export const secretAt = (i: number) => secretOf((i * 7919) % keyCount)
/** `requestCount` requests. */
export const requestList = (make: (i: number) => Buffer) => Array.from({ length: requestCount }, (_, i) => make(i))
export const knownRequests = requestList(i => requestOf(i, secretAt(i)))
export const unknownRequests = requestList(i => requestOf(i, secretOf(keyCount + i)))

const metadata: CallMetadata = { value: () => '198.51.18.77' }
const startUnixMs = Date.UTC(2026, 2, 1)

/** Nanoseconds of CPU time that the process has used, all its threads. */
export function cpuNs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) * 1000
}

export class CheckStand {
  allows = 0
  denials = 0
  failures = 0
  readonly limits = new LimitBuckets(table)
  private readonly service: ReturnType<typeof createCheckHandler>
  private readonly reply: ReplyWriter
  private readonly out = Buffer.alloc(256 * 1024)
  private outAt = 0
  private replyStart = 0
  private readonly read = Buffer.alloc(readDepth * requestOctetsMax)
  private readonly starts = new Int32Array(readDepth + 1)
  private next = 0

  /** @param sink of decisions; absent: nothing is recorded */
  constructor(sink?: DecisionSink) {
    const now = microsFromUnixMs(startUnixMs)
    this.service = createCheckHandler({
      profiles: () => profiles,
      table,
      limits: this.limits,
      clock: {
        fresh: () => performance.now() >= 0 && Date.now() > 0,
        now: () => now + Math.floor(performance.now() * 1000),
      },
      environments: names.environments,
      clientAddress: { mode: 'grpc-metadata' },
      ownFailure: 'denied-503',
      observer: {
        add: (_, code) => {
          if (code === ALLOW) this.allows++
          else this.denials++
        },
        unexpected: () => {
          this.failures++
        },
      },
      ...(sink === undefined ? {} : { sink }),
    })
    // Copies the reply behind the one before it, as a transport has to.
    this.reply = {
      message: (bytes, start, end) => {
        if (this.outAt + end - start > this.out.length) this.outAt = 0
        this.replyStart = this.outAt
        this.out.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), this.outAt)
        this.outAt += end - start
      },
      fail: () => {
        this.failures++
      },
    }
  }

  /** Asks all of `list` and reads the replies. @throws when one is not what it should be; 0: allowed */
  verify(list: readonly Buffer[], expected: (i: number) => 0 | 401 | 403): void {
    for (const [i, request] of list.entries()) {
      this.askAlone(request)
      const { status, httpResponse } = CheckResponse.decode(this.out.subarray(this.replyStart, this.outAt))
      const passed =
        status?.code === 0 && httpResponse?.$case === 'okResponse' && httpResponse.value.headers.length === 4
      const refusal = httpResponse?.$case === 'deniedResponse' ? httpResponse.value.status?.code : undefined
      const wanted = expected(i)
      if (wanted === 0 ? !passed : refusal !== wanted) throw new Error('a check of the bench was answered wrongly')
    }
  }

  /** One request again and again, each a batch of its own. @returns nanoseconds of a check */
  measureOne(request: Buffer, count: number): number {
    const begin = cpuNs()
    for (let i = 0; i < count; i++) this.askAlone(request)
    return (cpuNs() - begin) / count
  }

  /** The requests of a list in turn, each a batch of its own: one in flight. @returns nanoseconds of a check */
  measureSingles(list: readonly Buffer[], count: number): number {
    const begin = cpuNs()
    for (let i = 0; i < count; i++) this.askAlone(this.nextOf(list))
    return (cpuNs() - begin) / count
  }

  /** The requests of a list in reads of `readDepth`. Putting a read together does not count. @returns as above */
  measureReads(list: readonly Buffer[], count: number): number {
    const { service, read, starts, reply } = this
    let total = 0
    for (let done = 0; done < count; done += readDepth) {
      for (let i = 0; i < readDepth; i++) {
        const request = this.nextOf(list)
        const start = starts[i] ?? 0
        read.set(request, start)
        starts[i + 1] = start + request.length
      }
      const begin = cpuNs()
      this.outAt = 0
      for (let i = 0; i < readDepth; i++) service.handler(read, starts[i] ?? 0, starts[i + 1] ?? 0, metadata, reply)
      service.endOfBatch()
      total += cpuNs() - begin
    }
    return total / count
  }

  private askAlone(request: Buffer): void {
    this.outAt = 0
    this.service.handler(request, 0, request.length, metadata, this.reply)
    this.service.endOfBatch()
  }

  private nextOf(list: readonly Buffer[]): Buffer {
    const request = list[this.next++ % list.length]
    if (request === undefined) throw new Error('there are requests')
    return request
  }
}

const sorted = (list: readonly number[] = []) => [...list].sort((a, b) => a - b)
export const median = (list: readonly number[] | undefined) => sorted(list)[(list?.length ?? 0) >> 1] ?? Number.NaN
export const range = (list: readonly number[] | undefined, digits = 0) =>
  `${sorted(list)[0]?.toFixed(digits)}–${sorted(list).at(-1)?.toFixed(digits)}`

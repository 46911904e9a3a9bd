// The receiving end of Envoy's access log stream: entries in, halves to the join. Every stream has a state of its own, since only
// its first message says whose it is; it ends after some minutes, so that Envoys spread over processes anew. Back-pressure:
// while the join has no room nothing is read, and Envoy buffers, then drops. No entry can end more than its stream.
import type { StreamAccessLogsMessage, StreamAccessLogsResponse } from '../gen/envoy/service/accesslog/v3/als.ts'
import { RpcError } from '../rpc/errors.ts'
import { readEntry, type UnusedEntry } from './als-entry.ts'
import type { AccessJoin } from './als-join.ts'
import { type AgeTimers, StreamAge } from './stream-age.ts'

/** What became of an entry. */
export type EntryOutcome =
  | UnusedEntry
  | 'taken'
  | 'duplicate'
  /** The profile keeps no record of such a request. */
  | 'not_recorded'
  /** Of a stream that never said whose it is. */
  | 'unidentified'
  | 'tcp'

export interface AlsOptions {
  readonly join: Pick<AccessJoin, 'add' | 'hasRoom' | 'room'>
  readonly timers: AgeTimers & { random(): number }
  /** Whether decisions of this profile and kind are recorded: for others nothing waits. */
  readonly isRecorded: (profile: string, allowed: boolean) => boolean
  /** A stream has begun: what the Envoy says of itself, cut. */
  readonly onStream: (stream: { readonly node: string; readonly cluster: string; readonly log: string }) => void
  /** Default: `streamAgeMs`. Suites set less. */
  readonly ageMs?: number
}

interface OpenStream {
  readonly age: StreamAge
  /** Aborts when the Envoy has gone. */
  readonly signal: AbortSignal
  /** Ends its wait for room. */
  wake: () => void
}

/** A stream's age at its end, ± 10 %: often enough to follow a rollout, seldom enough to cost nothing. */
export const streamAgeMs = 300_000
const ageJitter = 0.1
/** Characters kept of what an Envoy says of itself, for the log. */
const nameLengthMax = 128

export class AccessLogStreams {
  readonly counts = new Map<EntryOutcome, number>()
  /** Streams that have begun. */
  begun = 0
  /** Messages that were no messages. */
  malformedMessages = 0
  /** Times reading stood still because the join had no room. */
  pauses = 0
  private readonly options: AlsOptions
  private readonly streams = new Set<OpenStream>()
  private ending = false

  constructor(options: AlsOptions) {
    this.options = options
  }

  /** Streams that are open. */
  get open(): number {
    return this.streams.size
  }

  /** Handles one stream, to its end. */
  readonly handle = async (
    messages: AsyncIterable<StreamAccessLogsMessage>,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<StreamAccessLogsResponse> => {
    const { timers, ageMs = streamAgeMs } = this.options
    const age = new StreamAge(timers, ageMs * (1 + ageJitter * (2 * timers.random() - 1)))
    const stream: OpenStream = { age, signal, wake: () => undefined }
    signal.addEventListener('abort', () => stream.wake(), { once: true })
    if (this.ending) age.end()
    this.streams.add(stream)
    this.begun += 1
    try {
      await this.read(messages[Symbol.asyncIterator](), stream)
      return {}
    } catch (error) {
      if (error instanceof RpcError && error.reason === 'MESSAGE_MALFORMED') this.malformedMessages += 1
      throw error
    } finally {
      this.streams.delete(stream)
      age.close()
    }
  }

  /** Ends every stream, now and from now on. */
  endAll(): void {
    this.ending = true
    for (const stream of this.streams) {
      stream.age.end()
      stream.wake()
    }
  }

  private async read(messages: AsyncIterator<StreamAccessLogsMessage>, stream: OpenStream): Promise<void> {
    const { age } = stream
    let identified = false
    for (;;) {
      const next = messages.next()
      if (await age.endsBefore(next)) return
      const { done, value } = await next
      if (done === true) return
      identified ||= this.isIdentified(value)
      this.takeIn(value, identified)
      if (age.isOver || (!this.options.join.hasRoom && !(await this.findsRoom(stream)))) return
    }
  }

  /** False: the stream ends before there is room. */
  private async findsRoom(stream: OpenStream): Promise<boolean> {
    const { join } = this.options
    const { signal } = stream
    this.pauses += 1
    if (!signal.aborted && !this.ending) {
      await new Promise<void>(resolve => {
        stream.wake = resolve
        void join.room().then(resolve)
      })
    }
    return !signal.aborted && !this.ending && join.hasRoom
  }

  private isIdentified({ identifier }: StreamAccessLogsMessage): boolean {
    if (identifier === undefined) return false
    const { node, logName } = identifier
    this.options.onStream({ node: cut(node?.id), cluster: cut(node?.cluster), log: cut(logName) })
    return true
  }

  private takeIn({ logEntries }: StreamAccessLogsMessage, identified: boolean): void {
    if (logEntries === undefined) return
    const { length } = logEntries.value.logEntry
    if (!identified) this.count('unidentified', length)
    else if (logEntries.$case === 'tcpLogs') this.count('tcp', length)
    else for (const entry of logEntries.value.logEntry) this.count(this.outcomeOf(readEntry(entry)))
  }

  private outcomeOf(read: ReturnType<typeof readEntry>): EntryOutcome {
    if (read.half === null) return read.unused
    if (!this.options.isRecorded(read.profile, read.allowed)) return 'not_recorded'
    return this.options.join.add(read.half) ? 'taken' : 'duplicate'
  }

  private count(outcome: EntryOutcome, by = 1): void {
    this.counts.set(outcome, (this.counts.get(outcome) ?? 0) + by)
  }
}

function cut(text: string | undefined): string {
  return (text ?? '').slice(0, nameLengthMax)
}

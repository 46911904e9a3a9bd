// The receiving end of Envoy's access log stream: entries in, halves to the join. Every stream has a state of its own, since only
// its first message says whose it is; it ends after some minutes, so that Envoys spread over processes anew. Back-pressure:
// while the join has no room nothing is read, and Envoy buffers, then drops. No entry can end more than its stream.
import { AccessLogServiceService, type StreamAccessLogsResponse } from '../gen/envoy/service/accesslog/v3/als.ts'
import { RpcError } from '../rpc/errors.ts'
import type { ReadEntry, UnusedEntry } from './als-entry.ts'
import type { AccessJoin } from './als-join.ts'
import { type LogMessage, readLogMessage, type StreamIdentity } from './als-message.ts'
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
  /** A stream has said whose it is. */
  readonly onStream: (identity: StreamIdentity) => void
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

/** The service, with our own narrow reading of its messages. */
export const accessLogService = {
  streamAccessLogs: { ...AccessLogServiceService.streamAccessLogs, requestDeserialize: readLogMessage },
} as const

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
    messages: AsyncIterable<LogMessage>,
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

  private async read(messages: AsyncIterator<LogMessage>, stream: OpenStream): Promise<void> {
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

  private isIdentified({ identity }: LogMessage): boolean {
    if (identity === null) return false
    this.options.onStream(identity)
    return true
  }

  private takeIn({ entries, tcpEntries }: LogMessage, identified: boolean): void {
    if (!identified) {
      this.count('unidentified', entries.length + tcpEntries)
      return
    }
    this.count('tcp', tcpEntries)
    for (const entry of entries) this.count(this.outcomeOf(entry))
  }

  private outcomeOf(read: ReadEntry): EntryOutcome {
    if (read.half === null) return read.unused
    if (!this.options.isRecorded(read.profile, read.allowed)) return 'not_recorded'
    return this.options.join.add(read.half) ? 'taken' : 'duplicate'
  }

  private count(outcome: EntryOutcome, by = 1): void {
    if (by === 0) return
    this.counts.set(outcome, (this.counts.get(outcome) ?? 0) + by)
  }
}

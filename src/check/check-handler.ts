// One check, whole: request octets in, reply octets out, in one synchronous call that neither waits nor throws.
// Whatever goes wrong in here is our own failure and is answered as one; counting and usage can never change an answer
// that has been made.
import { type ClientAddressMode, type ClientAddressReader, compileClientAddress } from '../core/client-address.ts'
import { createDecision, type Decision, type DecisionState, decide } from '../core/decide.ts'
import type { KeyLookup, LimitCharger } from '../core/key-lookup.ts'
import type { NameTable } from '../core/names.ts'
import { clearRequest, createRequestView, type RequestView } from '../core/request-view.ts'
import { type Micros, unixMsFromMicros } from '../core/time.ts'
import type { CallMetadata, ReplyWriter, UnaryService } from '../transport/unary-server.ts'
import { type CheckProfile, type CheckProfiles, selectProfile } from './check-profiles.ts'
import { readCheckRequest, type UsedHeaders } from './check-request.ts'
import { type DecisionRecord, type DecisionSink, noSink } from './decision-sink.ts'
import { type Composed, type KeyNames, type OwnFailure, ReplyComposer } from './reply-composer.ts'

/** The method that Envoy calls. */
export const checkMethod = '/envoy.service.auth.v3.Authorization/Check'

/** Metadata entry with the client address in mode `grpc-metadata`; the shipped Envoy configuration sets it. */
export const clientAddressMetadata = 'x-gatewarden-client-ip'

/** gRPC status UNAVAILABLE: not decided, not charged. */
const unavailableStatus = 14

/** Whether the table may be used, and database time. Both are asked once a check, after its octets are in memory. */
export interface CheckClock {
  fresh(): boolean
  /** Database time; while it is not known yet any number will do, since `fresh` is false then. */
  now(): Micros
}

/** Takes what the process wants to know of its checks. */
export interface CheckObserver {
  /** Counts one decision. `profile` is the number of its name, -1: no profile matched. */
  add(profile: number, code: number): void
  /** Something was thrown on the path of a check; the check was answered with our own failure if it still could be. */
  unexpected(error: unknown): void
}

export interface CheckOptions {
  /** The profiles in force; asked once a check, so a swap governs from the next check on. */
  readonly profiles: () => CheckProfiles
  readonly table: KeyLookup & KeyNames
  readonly limits: LimitCharger
  readonly clock: CheckClock
  /** `Names.environments`. */
  readonly environments: Pick<NameTable, 'text' | 'size'>
  readonly clientAddress: ClientAddressMode
  readonly ownFailure: OwnFailure
  readonly observer: CheckObserver
  readonly sink?: DecisionSink
}

/** Makes the Check service. */
export function createCheckHandler(options: CheckOptions): UnaryService {
  const check = new Check(options)
  return {
    method: checkMethod,
    metadataNames: options.clientAddress.mode === 'grpc-metadata' ? [clientAddressMetadata] : [],
    handler: (bytes, start, end, metadata, reply) => check.answer(bytes, start, end, metadata, reply),
    endOfBatch: () => check.endOfBatch(),
  }
}

class Check {
  private readonly options: CheckOptions
  private readonly readClient: ClientAddressReader
  private readonly wantsMetadata: boolean
  private readonly used: UsedHeaders
  private readonly sink: DecisionSink
  private readonly state: DecisionState
  private readonly composer: ReplyComposer
  private readonly view: RequestView = createRequestView()
  private readonly decision: Decision = createDecision()
  private readonly record: { -readonly [K in keyof DecisionRecord]: DecisionRecord[K] }

  constructor(options: CheckOptions) {
    const { clientAddress, table, environments, ownFailure } = options
    this.options = options
    this.readClient = compileClientAddress(clientAddress)
    this.wantsMetadata = clientAddress.mode === 'grpc-metadata'
    this.used = usedHeaders(clientAddress)
    this.sink = options.sink ?? noSink
    this.state = { keys: table, limits: options.limits }
    this.composer = new ReplyComposer(table, environments, ownFailure, clientAddress.mode)
    const { values } = this.composer
    this.record = { request: this.view, decision: this.decision, values, profile: null, status: 0 }
  }

  answer(bytes: Buffer, start: number, end: number, metadata: CallMetadata, reply: ReplyWriter): void {
    const { view, decision, composer } = this
    let chosen: CheckProfile | null = null
    let isAnswered = false
    try {
      readCheckRequest(bytes, start, end, this.used, view)
      this.readClient(view, this.wantsMetadata ? metadata.value(0) : undefined)
      chosen = selectProfile(this.options.profiles(), view)
      const unixMs = this.decide(chosen)
      const composed = composer.compose(view, decision, chosen, unixMs)
      isAnswered = true
      this.send(composed, reply)
    } catch (error) {
      this.notice(error)
      if (!isAnswered) this.sendFailure(chosen, reply)
    }
    this.tell(chosen)
    clearRequest(view)
  }

  endOfBatch(): void {
    try {
      this.sink.endOfBatch()
    } catch (error) {
      this.notice(error)
    }
  }

  /** Decides, and gives the instant in Unix milliseconds. */
  private decide(chosen: CheckProfile | null): number {
    const { clock } = this.options
    const fresh = clock.fresh()
    const now = clock.now()
    decide(this.view, chosen === null ? null : chosen.profile.policy, this.state, fresh, now, this.decision)
    return unixMsFromMicros(now)
  }

  private send(composed: Composed, reply: ReplyWriter): void {
    const { buffer, start, end } = this.composer
    if (composed === 'message') reply.message(buffer.bytes, start, end)
    else reply.fail(unavailableStatus, 'authorization is temporarily unavailable')
  }

  /** Our own failure after a throw; when even the profile's shape throws, in that of no product. */
  private sendFailure(chosen: CheckProfile | null, reply: ReplyWriter): void {
    let composed: Composed
    try {
      composed = this.composer.composeFailure(this.decision, chosen, false)
    } catch (error) {
      this.notice(error)
      composed = this.composer.composeFailure(this.decision, chosen, true)
    }
    this.send(composed, reply)
  }

  /** Counting and usage, after the answer. */
  private tell(chosen: CheckProfile | null): void {
    const { record, decision } = this
    record.profile = chosen === null ? null : chosen.profile
    record.status = this.composer.status
    try {
      this.options.observer.add(chosen === null ? -1 : chosen.profile.policy.profile, decision.code)
      this.sink.record(record)
    } catch (error) {
      this.notice(error)
    }
  }

  private notice(error: unknown): void {
    try {
      this.options.observer.unexpected(error)
    } catch {
      // An observer that throws while it is told of a throw has nothing left to tell; the check goes on.
    }
  }
}

/** Headers that a decision reads as text of any kind; all others it reads are held against ASCII. */
function usedHeaders(mode: ClientAddressMode): UsedHeaders {
  const preflight = ['origin', 'access-control-request-method']
  switch (mode.mode) {
    case 'trusted-header':
      return [mode.header.toLowerCase(), ...preflight]
    case 'xff-hops':
    case 'xff-trusted-cidrs':
      return ['x-forwarded-for', ...preflight]
    default:
      return preflight
  }
}

// Keeps the table current and says whether it may be used: connects, loads, runs one cycle after the other, and repairs
// what fails. Guarantees freshness.md: while `fresh()` holds, the table has every change acknowledged 10 s ago or earlier.
// Must never serve part of a load, reuse a connection that failed, or let a hint decide anything.
import type { Micros } from '../core/time.ts'
import {
  CONNECT_TIMEOUT_MS,
  LOAD_JITTER_MS,
  LOAD_SLOT_PAUSE_MS,
  PAGE_REVISIONS,
  PAGE_REVISIONS_AFTER_TIMEOUT,
  READ_TIMEOUT_MS,
  THROWS_MAX,
} from './constants.ts'
import { type CycleOutcome, type FeedContext, runCycle, sendBeat } from './cycle.ts'
import { DbTime } from './db-time.ts'
import { ask, FeedFault } from './feed-fault.ts'
import { deafTo, type FeedObserver, type FeedState, type ReloadCause } from './feed-observer.ts'
import type { FeedClock, FeedConnection, FeedSource, FeedTimers } from './feed-source.ts'
import type { FeedTable } from './feed-table.ts'
import { Lease } from './lease.ts'
import { runLoad } from './load.ts'
import { Pace } from './pace.ts'

export interface FeedOptions {
  readonly source: FeedSource
  readonly clock: FeedClock
  readonly timers: FeedTimers
  readonly table: FeedTable
  readonly observer: FeedObserver
  /** Called on each change of `ready()`. */
  readonly onReadiness: (ready: boolean) => void
  /** Called once, after three throws in a row: the process should end. The feed has stopped and nothing is fresh. */
  readonly onFatal: (error: unknown) => void
  /** Longest wait before a load while no fleet runs, milliseconds. 0 where there can be no herd: one process, own database. */
  readonly loadJitterMs?: number
  /** Reported to the database with each beat; 0: stale_if_error is off. */
  readonly staleCapMs?: number
  /**
   * `write` (default): nothing is confirmed that a committed beat did not precede. `read`: the beat is sent, but a cycle
   * confirms without it once it has failed; only for databases that fence a former primary (freshness.md section 6).
   */
  readonly proof?: 'write' | 'read'
}

/** One per process. `start` once, `stop` once; the methods of the check path are synchronous and never throw. */
export class Feed {
  private readonly options: FeedOptions
  private readonly observer: FeedObserver
  private readonly lease: Lease
  private readonly pace: Pace
  private readonly context: FeedContext
  private connection: FeedConnection | null = null
  private running: Promise<void> | null = null
  private stopped = false
  private loaded = false
  private jittered = false
  private confirmedOnce = false
  private lastReady = false
  private lastState: FeedState = 'loading'
  private catchingUp = false
  private throws = 0
  /** Under `proof: read`: the last beat failed, and its connection with it; the next cycle goes without. */
  private beatFailed = false
  private pageRevisions = PAGE_REVISIONS

  constructor(options: FeedOptions) {
    const { clock, timers, table } = options
    this.options = options
    this.observer = deafTo(options.observer)
    this.pace = new Pace(clock, timers)
    const dbTime = new DbTime()
    this.lease = new Lease(clock, () => {
      dbTime.forget()
      this.observer.record({ type: 'suspend' })
      this.pace.hurry()
    })
    this.context = {
      clock,
      timers,
      table,
      observer: this.observer,
      lease: this.lease,
      dbTime,
      staleCapMs: options.staleCapMs ?? 0,
      applied: { revision: 0n, nonce: 0n },
      witness: { revision: 0n, nonce: 0n },
      timeline: null,
      blocked: false,
      wrongPeppers: [],
      liveSidecars: new Map(),
    }
  }

  /** R10. Whether the table may be used for the checks whose bytes are in memory now. Call once per batch. */
  fresh(): boolean {
    return this.lease.fresh()
  }

  /** R11. Whether a suspend is noticed now; `fresh` asks this itself. */
  suspended(): boolean {
    return this.lease.suspended()
  }

  /** Database time, the only clock for expiry. Infinity while it is not known: then nothing is fresh either. */
  dbNow(): Micros {
    return this.context.dbTime.now(this.options.clock.mono())
  }

  /**
   * Readiness: loaded and confirmed once since, and no row names a pepper this process lacks, or has with another content.
   * A lease that merely ends does not change it (faults.md section 5), a reload does.
   */
  ready(): boolean {
    return this.confirmedOnce && !this.options.table.isBlind()
  }

  /** Ids of own peppers that the database contradicts. */
  wrongPeppers(): readonly string[] {
    return this.context.wrongPeppers
  }

  /** Milliseconds since the start of the cycle that last confirmed; Infinity: none counts. */
  confirmAgeMs(): number {
    return this.lease.ageMs()
  }

  /** Live sidecars per profile, this one included, as of the last beat. */
  liveSidecars(): ReadonlyMap<string, number> {
    return this.context.liveSidecars
  }

  /** Last revision wholly applied. */
  appliedRevision(): bigint {
    return this.context.applied.revision
  }

  start(): void {
    if (this.running !== null || this.stopped) return
    this.observer.record({ type: 'reload', cause: 'boot' })
    this.running = this.run()
  }

  /**
   * Ends the feed: lets a cycle under way end, takes back the heartbeat, drops the connection. Resolves when nothing of
   * it runs any more, within two statement limits. The lease then merely runs out.
   */
  async stop(): Promise<void> {
    this.stopped = true
    this.pace.stop()
    if (!this.loaded) this.dropConnection() // a load may take a minute
    await this.running
    await this.leave()
    this.dropConnection()
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      try {
        await this.step()
      } catch (error) {
        await this.recover(error)
      }
    }
  }

  private async step(): Promise<void> {
    this.connection ??= await this.connect()
    if (this.stopped) return
    if (!this.loaded) return this.load(this.connection)
    const hinted = this.pace.takeHint()
    this.pace.begin()
    const startedAt = this.options.clock.mono()
    const outcome = await runCycle(this.context, this.connection, this.pageRevisions, !this.beatFailed)
    this.beatFailed = false
    if (outcome.kind === 'reload') return this.beginReload(outcome.cause)
    this.settle(outcome, hinted, this.options.clock.mono() - startedAt)
    if (outcome.kind === 'again') await this.options.timers.nextTurn()
    else await this.pace.untilNextCycle()
  }

  private async connect(): Promise<FeedConnection> {
    const { source, timers } = this.options
    return ask(
      timers,
      'connect',
      CONNECT_TIMEOUT_MS,
      () => source.connect(() => this.pace.hint()),
      late => late.destroy(),
    )
  }

  private async load(connection: FeedConnection): Promise<void> {
    if (!this.jittered) {
      if (!this.beatFailed) await sendBeat(this.context, connection)
      if (!this.fleetRuns()) await this.pace.upTo(this.options.loadJitterMs ?? LOAD_JITTER_MS)
      this.jittered = true
      if (this.stopped) return
    }
    if (!(await runLoad(this.context, connection))) return this.pace.about(LOAD_SLOT_PAUSE_MS)
    this.loaded = true
    this.pace.succeeded()
  }

  private async leave(): Promise<void> {
    const connection = this.connection
    if (connection?.leave === undefined) return
    try {
      await ask(this.options.timers, 'leave', READ_TIMEOUT_MS, async () => connection.leave?.())
    } catch (error) {
      this.observer.record({ type: 'fault', cause: 'leave', step: 'leave', error })
    }
  }

  /** Whether another sidecar is alive: then this is a single restart, not a herd. */
  private fleetRuns(): boolean {
    for (const count of this.context.liveSidecars.values()) if (count > 1) return true
    return false
  }

  private settle(outcome: Exclude<CycleOutcome, { kind: 'reload' }>, hinted: boolean, roundTripMs: number): void {
    this.pageRevisions = PAGE_REVISIONS
    this.pace.succeeded()
    if (outcome.changes > 0 && !hinted && !this.catchingUp) this.observer.record({ type: 'hint_missed' })
    this.catchingUp = outcome.kind === 'again'
    if (outcome.changes > 0 || outcome.kind === 'void' || outcome.kind === 'doubted') this.pace.hurry()
    if (outcome.kind === 'confirmed' || outcome.kind === 'doubted') {
      this.throws = 0
      this.confirmedOnce = true
      this.observer.record({ type: 'confirmed', roundTripMs, changes: outcome.changes })
    }
    this.note(outcome.kind)
  }

  private beginReload(cause: ReloadCause): void {
    this.observer.record({ type: 'reload', cause })
    this.lease.voidAll()
    this.loaded = false
    this.jittered = false
    this.confirmedOnce = false
    if (cause === 'history') {
      this.context.blocked = false
      this.context.dbTime.relearn()
    }
    this.note(cause)
    this.options.table.clear()
  }

  private async recover(error: unknown): Promise<void> {
    if (this.connection !== null) this.observer.record({ type: 'connection_killed' })
    this.dropConnection()
    if (this.stopped) return
    if (error instanceof FeedFault) {
      if (error.step === 'beat') this.beatFailed = this.options.proof === 'read'
      if (error.fault === 'timeout' && error.step === 'read') this.pageRevisions = PAGE_REVISIONS_AFTER_TIMEOUT
      this.observer.record({ type: 'fault', cause: error.fault, step: error.step, error: error.cause ?? error })
      this.note(error.message)
    } else if (!this.survive(error)) return
    await this.pace.untilRetry()
  }

  /** A bug threw: everything is loaded anew, or the feed ends. */
  private survive(error: unknown): boolean {
    this.lease.voidAll()
    this.observer.record({ type: 'threw', error })
    this.throws++
    if (this.throws >= THROWS_MAX) {
      this.stopped = true
      this.confirmedOnce = false
      this.note('apply threw')
      this.options.onFatal(error)
      return false
    }
    try {
      this.beginReload('apply')
    } catch (clearError) {
      this.observer.record({ type: 'threw', error: clearError }) // the load clears once more, and counts if it throws
    }
    return true
  }

  private dropConnection(): void {
    if (this.connection === null) return
    this.connection.destroy()
    this.connection = null
  }

  /** Reports the state and the readiness where they changed. */
  private note(reason: string): void {
    const state: FeedState = !this.loaded ? 'loading' : this.lease.fresh() ? 'fresh' : 'unconfirmed'
    if (state !== this.lastState) this.observer.record({ type: 'state', state, reason })
    this.lastState = state
    const ready = this.ready()
    if (ready === this.lastReady) return
    this.lastReady = ready
    this.options.onReadiness(ready)
  }
}

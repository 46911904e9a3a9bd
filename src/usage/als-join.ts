// Brings access-log halves to their decisions. The writer takes a half that came before its decision was stored; all others are
// sent to the store in batches, again and again for a while, since their decision may be stored later or by another process.
// Bounded: when too many wait for a first look, `hasRoom` says so and the streams are not read; orphans push out the oldest.
import { unixMsOfUuid7 } from '../core/uuid7.ts'
import { RecentIds } from './recent-ids.ts'
import type { AgeTimers } from './stream-age.ts'
import { UnjoinedCount } from './unjoined-count.ts'
import type { AccessHalf, TakeAccessHalf } from './usage-row.ts'

/** What joining needs of a store. */
export interface AccessHalfStore {
  /**
   * Fills in the halves of stored decisions, each once.
   * @returns decision id → whether this call filled it in, for the decisions that are stored
   * @throws when the database cannot be asked; a batch may be given again
   */
  join(halves: readonly AccessHalf[]): Promise<ReadonlyMap<string, boolean>>
  close(): Promise<void>
}

export interface JoinOptions {
  readonly store: AccessHalfStore
  /** Milliseconds that never go back. */
  readonly mono: () => number
  /** Unix milliseconds. */
  readonly wall: () => number
  readonly timers: AgeTimers
  /** The store began to fail, or answers again (undefined). */
  readonly onStore: (error: unknown) => void
  /** Default: `newMax`, `orphansMax`. Suites set less. */
  readonly bounds?: { readonly newMax: number; readonly orphansMax: number }
}

/** Halves that wait for a first look: five seconds of 20 000 requests/s, 50 MiB. */
export const newMax = 100_000
/** Halves that were looked for in vain and may yet find their decision: 50 MiB. */
export const orphansMax = 100_000
/** Reading goes on when this share of the room for new halves is free: not one stop and go for each half. */
const resumeShare = 0.2
/** Before each look: first longer than the writer lets a record rest, then what failovers and replays take. */
const delaysMs = [4000, 4000, 8000, 30_000, 120_000, 300_000] as const
/** Halves of one statement. */
const batchMax = 1000
const tickMs = 200
/** After an error of the store, doubled up to the second. */
const retryMs = 500
const retryMaxMs = 10_000
/** Decisions whose half came lately: a second one is a duplicate. What is forgotten is recognised by the store. */
const recentMax = 131_072

interface Waiting {
  readonly half: AccessHalf
  readonly dueMs: number
}

export class AccessJoin {
  private readonly options: JoinOptions
  private readonly newMax: number
  private readonly orphansMax: number
  /** By the looks so far; each in the order in which its halves are due. */
  private readonly levels: readonly Map<string, Waiting>[] = delaysMs.map(() => new Map())
  private readonly recent = new RecentIds(recentMax)
  private readonly unjoinedCount: UnjoinedCount
  /** Of the decisions that the writer is about to store: the halves that it took, and the decisions that had none. */
  private readonly taken = new Map<string, AccessHalf>()
  private readonly missed = new Set<string>()
  private waiters: (() => void)[] = []
  private cancelTick: (() => void) | undefined
  private round: Promise<void> | undefined
  private pauseMs = 0
  private stopped = false

  /** Decisions that got their half as they were stored, and later. */
  joinedAtOnce = 0
  joinedLater = 0
  /** Halves whose decision was never found. */
  givenUp = 0
  /** Halves pushed out by newer ones before their time was over. */
  pushedOut = 0

  constructor(options: JoinOptions) {
    this.options = options
    this.newMax = options.bounds?.newMax ?? newMax
    this.orphansMax = options.bounds?.orphansMax ?? orphansMax
    this.unjoinedCount = new UnjoinedCount(options.wall)
  }

  /** Halves that wait for their first look. */
  get newHalves(): number {
    return this.levels[0]?.size ?? 0
  }

  /** Halves that were looked for in vain so far. */
  get orphans(): number {
    return this.levels.reduce((count, level) => count + level.size, -this.newHalves)
  }

  /** Stored decisions older than ten minutes without their half, less those that others stored and this process joined. */
  get unjoined(): number {
    return this.unjoinedCount.value()
  }

  /** False: nothing more should be read until `room` resolves. */
  get hasRoom(): boolean {
    return this.newHalves < this.newMax
  }

  /** Resolves when there is room again, or at the stop. */
  room(): Promise<void> {
    if (this.hasRoom || this.stopped) return Promise.resolve()
    return new Promise(resolve => this.waiters.push(resolve))
  }

  /** Takes a half in. One beyond `hasRoom` is taken too, so that a message is never cut. @returns whether it is the first */
  add(half: AccessHalf): boolean {
    if (!this.recent.add(half.decisionId)) return false
    this.enqueue(0, half)
    this.schedule()
    return true
  }

  /** For the writer: the half of a decision that it is about to store. `settle` must follow. */
  readonly take: TakeAccessHalf = decisionId => {
    const half = this.taken.get(decisionId) ?? this.remove(decisionId)
    if (half === undefined) this.missed.add(decisionId)
    else this.taken.set(decisionId, half)
    return half
  }

  /** Whether the decisions that were asked for since the last call are stored now. Where not, their halves wait again. */
  settle(stored: boolean): void {
    if (stored) {
      this.joinedAtOnce += this.taken.size
      for (const decisionId of this.missed) this.unjoinedCount.missed(unixMsOfUuid7(decisionId))
    } else {
      for (const half of this.taken.values()) this.enqueue(0, half)
      this.schedule()
    }
    this.taken.clear()
    this.missed.clear()
    this.wake()
  }

  /** Looks once more for everything that has not been looked for. Resolves within `deadlineMs`, whatever the store does. */
  async stop(deadlineMs: number): Promise<void> {
    this.stopped = true
    this.cancelTick?.()
    for (const resolve of this.waiters.splice(0)) resolve()
    let isLate = false
    const lookForRest = async () => {
      await this.round
      while (!isLate && this.newHalves > 0) {
        if (!(await this.look(0, this.firstNew()))) break
      }
    }
    await new Promise<void>(resolve => {
      const cancel = this.options.timers.after(deadlineMs, () => {
        isLate = true
        resolve()
      })
      void lookForRest()
        .then(() => this.options.store.close())
        .catch(this.options.onStore)
        .finally(() => {
          cancel()
          resolve()
        })
    })
  }

  private remove(decisionId: string): AccessHalf | undefined {
    for (const level of this.levels) {
      const waiting = level.get(decisionId)
      if (waiting === undefined) continue
      level.delete(decisionId)
      return waiting.half
    }
    return undefined
  }

  private enqueue(index: number, half: AccessHalf): void {
    const level = this.levels[index]
    const delayMs = delaysMs[index]
    if (level === undefined || delayMs === undefined) {
      this.givenUp += 1
      return
    }
    level.set(half.decisionId, { half, dueMs: this.options.mono() + delayMs })
  }

  private schedule(delayMs: number = tickMs): void {
    if (this.cancelTick !== undefined || this.round !== undefined || this.stopped) return
    this.cancelTick = this.options.timers.after(delayMs, () => {
      this.cancelTick = undefined
      this.round = this.lookForDue().finally(() => {
        this.round = undefined
        if (this.levels.some(level => level.size > 0)) this.schedule(Math.max(tickMs, this.pauseMs))
      })
    })
  }

  /** All that is due, the newest level first: those are the likeliest to be found. Ends at the first error. */
  private async lookForDue(): Promise<void> {
    for (let index = 0; index < this.levels.length; index++) {
      for (;;) {
        const due = this.dueOf(index)
        if (due.length === 0) break
        if (this.stopped || !(await this.look(index, due))) return
      }
    }
  }

  private dueOf(index: number): AccessHalf[] {
    // Where room runs out, nobody waits to be looked for.
    const now = index === 0 && this.isCrowded ? Number.POSITIVE_INFINITY : this.options.mono()
    const due: AccessHalf[] = []
    for (const { half, dueMs } of this.levels[index]?.values() ?? []) {
      if (dueMs > now || due.length === batchMax) break
      due.push(half)
    }
    return due
  }

  private get isCrowded(): boolean {
    return this.newHalves > this.newMax * (1 - resumeShare)
  }

  private firstNew(): AccessHalf[] {
    const halves: AccessHalf[] = []
    for (const { half } of this.levels[0]?.values() ?? []) {
      if (halves.length === batchMax) break
      halves.push(half)
    }
    return halves
  }

  /** @returns false: the store did not answer, and everything is as it was. */
  private async look(index: number, halves: readonly AccessHalf[]): Promise<boolean> {
    let stored: ReadonlyMap<string, boolean>
    try {
      stored = await this.options.store.join(halves)
    } catch (error) {
      if (this.pauseMs === 0) this.options.onStore(error)
      this.pauseMs = Math.min(retryMaxMs, Math.max(retryMs, this.pauseMs * 2))
      return false
    }
    if (this.pauseMs > 0) this.options.onStore(undefined)
    this.pauseMs = 0
    for (const half of halves) this.place(index, half, stored.get(half.decisionId))
    this.pushOut()
    this.wake()
    return true
  }

  private place(index: number, half: AccessHalf, filled: boolean | undefined): void {
    const { decisionId } = half
    if (filled === true) {
      this.joinedLater += 1
      this.unjoinedCount.joined(unixMsOfUuid7(decisionId))
    }
    // What the writer took while the store was asked is not here any more.
    if (this.levels[index]?.delete(decisionId) && filled === undefined) this.enqueue(index + 1, half)
  }

  /** The orphans that have waited longest go first. */
  private pushOut(): void {
    let excess = this.orphans - this.orphansMax
    for (let index = this.levels.length - 1; index > 0 && excess > 0; index--) {
      for (const decisionId of this.levels[index]?.keys() ?? []) {
        if (excess <= 0) break
        this.levels[index]?.delete(decisionId)
        this.pushedOut += 1
        excess -= 1
      }
    }
  }

  private wake(): void {
    if (this.waiters.length === 0 || this.isCrowded) return
    for (const resolve of this.waiters.splice(0)) resolve()
  }
}

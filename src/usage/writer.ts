// Carries records from the spool into the database, beside the checks: a piece of a lane at a time, each exactly once, since a
// lane's position moves in the transaction that stores what lies before it. Nothing that fails here loses a record or ends the
// process; it waits and asks again where the lane stands.
import { type AdoptedRun, type AdoptOptions, adoptRuns, badSuffix } from './adopt.ts'
import { storedColumns, toTuples } from './batch.ts'
import { segmentHeaderLength } from './record-format.ts'
import { replayFile } from './replay-guard.ts'
import { ownerFile } from './run-owner.ts'
import { type Piece, recordsOf, type SegmentReader, toPiece } from './segment-reader.ts'
import { Settled } from './settled.ts'
import type { Spool } from './spool.ts'
import { isAbsent, isPassing, type SpoolFiles } from './spool-files.ts'
import { type LaneState, type Position, parseSegmentName, type Segment, spanOf, unstored } from './spool-segment.ts'
import type { TakeAccessHalf } from './usage-row.ts'
import type { UsageStore } from './usage-store.ts'

export interface WriterTimers {
  /** Resolves after `delayMs`: between two turns. */
  pause(delayMs: number): Promise<void>
  /** Resolves after `limitMs`: when an end in good order has taken too long. */
  expire(limitMs: number): Promise<void>
  /** 0 to 1. */
  random(): number
}

export interface WriterOptions extends AdoptOptions {
  readonly spool: Spool
  readonly store: UsageStore
  readonly timers: WriterTimers
  readonly mono: () => number
  /** Null: no access log is joined. */
  readonly takeHalf: TakeAccessHalf | null
  /** Called between two turns, at least once in `turnMs`. */
  readonly onTurn?: () => void
}

/** Between two looks at the spool when there is nothing to do: what people see of it lags no further. */
export const turnMs = 500
/** Between two looks for runs of processes that have ended. */
const adoptEveryMs = 10_000
/** Records rest this long where an access log is joined: a proxy sends its entries once a second. */
const restMs = 2500
const adoptAgainMs = 1000
/** After a failure of the database, doubling. */
const pauseMinMs = 50
const pauseMaxMs = 2000
/** Losses are told this often at most: while they go on they are few rows. */
const tellEveryMs = 10_000
/** Failed readings of a segment before it is set aside. */
const readFailuresMax = 5

/** What a turn has come to. */
type Turn = 'progress' | 'nothing' | 'failed'

export class UsageWriter {
  private readonly options: WriterOptions
  private readonly files: SpoolFiles
  private readonly reader: SegmentReader
  private readonly runs = new Map<LaneState, AdoptedRun>()
  private readonly readFailures = new Map<Segment, number>()
  private adoptAt = Number.NEGATIVE_INFINITY
  private tellAt = Number.NEGATIVE_INFINITY
  private pauseMs = pauseMinMs
  private hasFailed = false
  private stopping = false
  private running: Promise<void> | undefined
  private droppedTold = 0
  private readonly settled: Settled

  constructor(options: WriterOptions) {
    this.settled = new Settled(options.takeHalf === null ? 0 : restMs)
    this.options = options
    this.files = options.files
    this.reader = options.reader
  }

  start(): void {
    this.running ??= this.run()
  }

  /** Stops. Nothing is under way afterwards, unless `deadlineMs` ran out first. */
  async stop(deadlineMs: number): Promise<void> {
    this.stopping = true
    await Promise.race([this.running, this.options.timers.expire(deadlineMs)])
  }

  /** Stores what is there, for an end in good order. @returns whether nothing of this process is left. */
  async flush(deadlineMs: number): Promise<boolean> {
    const { mono, spool, counts } = this.options
    const end = mono() + deadlineMs
    await this.stop(deadlineMs)
    const isLeft = () => spool.lanes.some(lane => lane.isOwn && lane.segments.length > 0)
    spool.closeAll()
    while ((isLeft() || counts.losses.isUntold) && mono() < end) {
      const turn = await Promise.race([
        this.turn(spool.lanes.filter(lane => lane.isOwn)),
        this.options.timers.expire(Math.max(0, end - mono())).then((): Turn => 'failed'),
      ])
      if (turn !== 'progress') break
    }
    return !isLeft()
  }

  private async run(): Promise<void> {
    while (!this.stopping) {
      await this.adopt()
      this.options.onTurn?.()
      this.settled.note(this.options.spool.lanes, this.options.mono())
      const turn = await this.turn(this.options.spool.lanes)
      this.tellDrops()
      if (turn === 'progress') {
        this.pauseMs = pauseMinMs
        // Checks and the feed come first.
        await this.options.timers.pause(0)
      } else if (turn === 'nothing') {
        await this.options.timers.pause(turnMs)
      } else {
        await this.options.timers.pause(this.pauseMs * (0.5 + this.options.timers.random() / 2))
        this.pauseMs = Math.min(pauseMaxMs, this.pauseMs * 2)
      }
    }
  }

  private tellDrops(): void {
    const { counts, observer } = this.options
    if (counts.droppedTotal === this.droppedTold) return
    this.droppedTold = counts.droppedTotal
    observer.dropped(counts)
  }

  private async adopt(): Promise<void> {
    const { mono, observer, spool } = this.options
    if (mono() < this.adoptAt) return
    this.adoptAt = mono() + adoptEveryMs
    try {
      const known = new Set([...this.runs.values()].map(run => run.folder))
      const isWell = await adoptRuns(this.options, known, run => {
        for (const lane of run.lanes) {
          this.runs.set(lane, run)
          spool.adopt(lane)
        }
      })
      if (!isWell) this.adoptAt = mono() + adoptAgainMs
    } catch (error) {
      observer.noticed('the spool directory cannot be read; it is tried again', { error })
    }
  }

  /** One piece of each lane. */
  private async turn(lanes: readonly LaneState[]): Promise<Turn> {
    let turn: Turn = 'nothing'
    let failure: { readonly error: unknown } | undefined
    for (const lane of lanes) {
      // One lane must not hold up the others.
      try {
        if (await this.advance(lane)) turn = 'progress'
      } catch (error) {
        failure ??= { error }
      }
    }
    try {
      if (await this.tellLoss()) turn = 'progress'
    } catch (error) {
      failure ??= { error }
    }
    const { observer } = this.options
    if (failure !== undefined && !this.hasFailed) observer.storeFailed(failure.error)
    if (failure === undefined && turn === 'progress' && this.hasFailed) observer.storeRecovered()
    if (failure !== undefined) this.hasFailed = true
    else if (turn === 'progress') this.hasFailed = false
    return failure === undefined ? turn : 'failed'
  }

  /** Tells the database that records were given up. @returns whether it did. @throws when the database cannot be asked */
  private async tellLoss(): Promise<boolean> {
    const { counts, mono, sidecar, store } = this.options
    if (!counts.losses.isUntold || (mono() < this.tellAt && !this.stopping)) return false
    const loss = counts.losses.next()
    if (loss === null) return false
    await store.lose(sidecar, loss)
    counts.losses.settle()
    this.tellAt = mono() + tellEveryMs
    return true
  }

  /** @returns whether there was something to do. @throws when the database cannot be asked */
  private async advance(lane: LaneState): Promise<boolean> {
    const [segment] = lane.segments
    if (segment === undefined) return this.finishRun(lane)
    if (lane.stored === undefined) {
      await this.askPosition(lane)
      return true
    }
    const end = this.stopping ? segment.bytes : this.settled.bytes(lane, segment, this.options.mono())
    if (lane.at < end) return this.storePiece(lane, segment, lane.stored, end)
    if (segment.open || lane.at < segment.bytes) return false
    await this.complete(lane, segment)
    return true
  }

  private async storePiece(lane: LaneState, segment: Segment, from: Position | null, end: number): Promise<boolean> {
    const { store, takeHalf } = this.options
    const at = lane.at
    const guard = this.runs.get(lane)?.guard
    segment.held = true
    try {
      const got = await this.readOrSetAside(lane, segment, async () => {
        const octets = await this.reader.read(segment, at, end)
        const look = () => {
          const piece = toPiece(octets)
          return { piece, tuples: toTuples(piece, lane.sidecar, takeHalf) }
        }
        return guard === undefined || segment.path === null ? look() : guard.during(nameOf(segment.path), at, look)
      })
      if (got === undefined) return true
      const { piece, tuples } = got
      const to = { segment: segment.number, at: piece.end }
      if (tuples.starts.length === 0) {
        // Damage up to the end of the piece.
        lane.at = piece.end
        return true
      }
      const outcome = await store.store({
        sidecar: lane.sidecar,
        lane: lane.lane,
        from,
        to,
        columns: storedColumns,
        ...tuples,
      })
      if (outcome.kind !== 'stored') {
        // The lane is asked for before anything else is stored.
        lane.stored = undefined
        if (outcome.kind === 'unknown') throw outcome.error
        return true
      }
      lane.stored = to
      lane.at = piece.end
      this.count(lane, segment, piece, outcome.refused)
      if (!segment.open && lane.at >= segment.bytes) await this.complete(lane, segment)
      return true
    } finally {
      // While it is not known how much of it is stored, it must not be given up and counted as lost.
      if (lane.stored !== undefined) segment.held = false
    }
  }

  private count(lane: LaneState, segment: Segment, piece: Piece, refused: number): void {
    const { counts } = this.options
    const records = recordsOf(piece.frames)
    segment.stored += records
    counts.written += records - refused
    counts.drop(lane.lane, 'refused', refused, spanOf(segment, this.options.wall))
    if (!lane.isOwn) counts.replayed += records - refused
  }

  /** Undefined: the segment cannot be read and is none any more, or it may be readable later. */
  private async readOrSetAside<T>(lane: LaneState, segment: Segment, read: () => Promise<T>): Promise<T | undefined> {
    try {
      const got = await read()
      this.readFailures.delete(segment)
      return got
    } catch (error) {
      const failures = (this.readFailures.get(segment) ?? 0) + 1
      this.readFailures.set(segment, failures)
      if (isAbsent(error) || (failures >= readFailuresMax && !isPassing(error)))
        await this.setAside(lane, segment, error)
      else await this.options.timers.pause(pauseMinMs)
      return undefined
    }
  }

  private async setAside(lane: LaneState, segment: Segment, error: unknown): Promise<void> {
    const { counts, observer, spool } = this.options
    counts.drop(lane.lane, 'corrupt', unstored(segment), spanOf(segment, this.options.wall))
    counts.setAside += 1
    this.readFailures.delete(segment)
    if (segment.open) spool.closeAll()
    spool.forget(lane, segment)
    observer.noticed('a spool segment cannot be read; it was set aside', { file: segment.path, error })
    if (segment.path === null) return
    await this.files.rename(segment.path, segment.path + badSuffix).catch((failure: unknown) => {
      if (!isAbsent(failure)) observer.noticed('a spool segment cannot be renamed', { error: failure })
    })
  }

  /** A segment was read to its end: what is not stored by now was damaged since it was written. */
  private async complete(lane: LaneState, segment: Segment): Promise<void> {
    this.options.counts.drop(lane.lane, 'corrupt', unstored(segment), spanOf(segment, this.options.wall))
    await this.finish(lane, segment)
  }

  /** Nothing of a segment is needed any more. */
  private async finish(lane: LaneState, segment: Segment): Promise<void> {
    this.options.spool.forget(lane, segment)
    if (segment.path !== null) await this.remove(segment.path)
  }

  /** A file that stays is no loss: the position says that it is stored. */
  private async remove(path: string): Promise<void> {
    try {
      await this.files.remove(path)
    } catch (error) {
      this.options.counts.writeErrors += 1
      this.options.observer.noticed('a stored spool segment cannot be removed', { file: path, error })
    }
  }

  /** Asks the database where a lane stands, and goes on from there. */
  private async askPosition(lane: LaneState): Promise<void> {
    const position = await this.options.store.position(lane.sidecar, lane.lane)
    for (const segment of [...lane.segments]) {
      if (position !== null && segment.number < position.segment && !segment.open) await this.finish(lane, segment)
      else segment.held = false
    }
    const [oldest] = lane.segments
    const isInside = oldest !== undefined && position !== null && oldest.number === position.segment
    const at = isInside ? position.at : segmentHeaderLength
    if (isInside && at !== lane.at) {
      const stored = await this.readOrSetAside(lane, oldest, () => this.reader.countTo(oldest, at))
      if (stored === undefined) return // asked again
      oldest.stored = Math.min(stored, oldest.records)
    }
    lane.at = at
    lane.stored = position
  }

  /** The last lane of an adopted run is empty: its folder goes, then its positions. */
  private async finishRun(lane: LaneState): Promise<boolean> {
    const run = this.runs.get(lane)
    if (run === undefined || run.lanes.some(each => each.segments.length > 0)) return false
    const { spool, store } = this.options
    // Where a file stays its position stays as well, or it would be stored again.
    if (await this.removeRun(run)) await store.forget(run.sidecar)
    for (const each of run.lanes) {
      this.runs.delete(each)
      spool.release(each)
    }
    return true
  }

  /** @returns whether nothing of it is left. */
  private async removeRun({ folder }: AdoptedRun): Promise<boolean> {
    try {
      const names = await this.files.list(folder)
      const needless = names.filter(name => name === ownerFile || name === replayFile || parseSegmentName(name))
      for (const name of needless) await this.files.remove(`${folder}/${name}`)
      // What was set aside stays for people, and what another build has left for that.
      const isEmpty = needless.length === names.length
      if (isEmpty) await this.files.removeFolder(folder)
      return isEmpty
    } catch (error) {
      this.options.observer.noticed('an empty spool folder cannot be removed', { file: folder, error })
      return false
    }
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

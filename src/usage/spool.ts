// Where records wait for the database: append-only segment files, one write a batch, made while its replies wait.
// Nothing in here can fail a check: a disk that fails turns into bounded memory, and that into a counted loss. At the bound the
// oldest allowed records go first, whole files at a time; denied ones go only when there is nothing else.
import { join } from 'node:path'
import { finishFrame, writeSegmentHeader } from './frame.ts'
import type { RecordBuffer } from './record-buffer.ts'
import type { FrameSink } from './record-encoder.ts'
import { allowedLane, deniedLane, type Lane, segmentHeaderLength } from './record-format.ts'
import type { DropCause, SpoolCounts, SpoolObserver } from './spool-counts.ts'
import type { SpoolFiles } from './spool-files.ts'
import { createLane, type LaneState, type Segment, segmentName, spanOf, unstored } from './spool-segment.ts'

export interface SpoolOptions {
  /** Folder of this process's segments. */
  readonly folder: string
  /** Opens a new file in the folder, which is there then and known to be this process's. @throws when the disk does not let it */
  readonly create: (path: string) => number
  /** UUID of this process. */
  readonly sidecar: string
  readonly files: SpoolFiles
  readonly maxBytes: number
  readonly counts: SpoolCounts
  readonly observer: SpoolObserver
  /** Milliseconds that never go back. */
  readonly mono: () => number
  /** Unix milliseconds. */
  readonly wall: () => number
}

/** Segments that fit the bound: giving up the oldest costs a small part of what is kept. */
const segmentsInBound = 16
const segmentBytesMin = 131_072
/** Reading and giving up are by segment: not too much at once. */
const segmentBytesMax = 8_388_608
/** A segment is closed after this long, so that what is stored leaves the disk. */
export const segmentAgeMs = 60_000
/** Records kept while files cannot be written: seconds of heavy traffic, and little beside the key table. */
export const memoryBytesMax = 16_777_216
const memorySegmentBytes = 1_048_576
/** Pause after a failed write before files are tried again. */
export const diskRetryMs = 1000
/** Records older than this are no help to anybody who looks into the log. */
export const recordAgeMaxMs = 7 * 86_400_000

class OwnLane {
  readonly state: LaneState
  active: Segment | null = null
  /** Descriptor of `active`, if it is a file. */
  file = -1
  /** Of the next record. */
  sequence = 0
  number = 0
  openedAt = 0

  constructor(sidecar: string, lane: Lane) {
    this.state = createLane(sidecar, lane, true)
    // A process has an id of its own, so the database cannot know of its lanes yet.
    this.state.stored = null
  }
}

export class Spool implements FrameSink {
  readonly segmentBytes: number
  /** Lanes of processes that have ended; see adopt.ts. */
  readonly adopted: LaneState[] = []
  private readonly options: SpoolOptions
  private fileTotal = 0
  private memoryTotal = 0
  private readonly own: Readonly<Record<Lane, OwnLane>>
  /** When files may be tried again; null: nothing is wrong. */
  private retryAt: number | null = null

  constructor(options: SpoolOptions) {
    this.options = options
    this.segmentBytes = Math.max(
      segmentBytesMin,
      Math.min(segmentBytesMax, Math.floor(options.maxBytes / segmentsInBound)),
    )
    this.own = {
      1: new OwnLane(options.sidecar, allowedLane),
      2: new OwnLane(options.sidecar, deniedLane),
    }
  }

  /** All lanes, those of ended processes first. */
  get lanes(): readonly LaneState[] {
    return [...this.adopted, this.own[allowedLane].state, this.own[deniedLane].state]
  }

  /** Octets in files. */
  get fileBytes(): number {
    return this.fileTotal
  }

  /** Octets of memory taken while files could not be written. */
  get memoryBytes(): number {
    return this.memoryTotal
  }

  /** Writes one batch. Never throws. */
  append(lane: Lane, buffer: RecordBuffer): void {
    const own = this.own[lane]
    try {
      this.closeIfUnfit(own, buffer.at)
      finishFrame(buffer, own.sequence)
      if (this.write(own, buffer) || this.write(own, buffer)) {
        own.sequence += buffer.count
        this.options.counts.recorded += buffer.count
        return
      }
      this.dropBatch(lane, this.retryAt === null ? 'full' : 'memory', buffer.count)
    } catch (error) {
      this.failed(error)
      this.dropBatch(lane, 'memory', buffer.count)
    }
  }

  private dropBatch(lane: Lane, cause: DropCause, records: number): void {
    const now = this.options.wall()
    this.options.counts.drop(lane, cause, records, { from: now, to: now })
  }

  /** Closes what is old, gives up what is too old. Call it now and then. */
  tick(): void {
    const now = this.options.mono()
    for (const own of [this.own[allowedLane], this.own[deniedLane]]) {
      const { active } = own
      if (active === null || active.records === 0) continue
      const isStored = unstored(active) === 0 && active.bytes > this.segmentBytes / 8
      if (isStored || (active.memory === null && now - own.openedAt >= segmentAgeMs)) this.close(own)
    }
    const oldest = this.options.wall() - recordAgeMaxMs
    for (const state of this.lanes) {
      for (const segment of [...state.segments]) {
        if (!segment.open && !segment.held && segment.startedUnixMs < oldest) this.giveUp(state, segment, 'age')
      }
    }
  }

  /** Nothing is appended any more: closes the open segments. */
  closeAll(): void {
    this.close(this.own[allowedLane])
    this.close(this.own[deniedLane])
  }

  /** Takes over a lane of a process that has ended. */
  adopt(state: LaneState): void {
    this.adopted.push(state)
    for (const segment of state.segments) this.fileTotal += segment.bytes
  }

  /** Nothing is left of an adopted lane. */
  release(state: LaneState): void {
    const index = this.adopted.indexOf(state)
    if (index >= 0) this.adopted.splice(index, 1)
  }

  /** A segment is stored to its end, or given up by its reader: forgets it. The caller removes its file. */
  forget(state: LaneState, segment: Segment): void {
    const index = state.segments.indexOf(segment)
    if (index < 0) return
    state.segments.splice(index, 1)
    if (index === 0) state.at = segmentHeaderLength
    if (segment.memory === null) this.fileTotal -= segment.bytes
    else this.memoryTotal -= segment.memory.length
  }

  private closeIfUnfit(own: OwnLane, length: number): void {
    const { active } = own
    if (active === null) return
    const room = active.memory === null ? this.segmentBytes : active.memory.length
    if (active.bytes + length > room) this.close(own)
  }

  /** Where the next batch goes. What is in memory grows on until a file can be opened: each try would cost a segment. */
  private target(own: OwnLane, length: number): Segment | null {
    const { active } = own
    if (active === null) return this.begin(own, length)
    if (active.memory === null || this.options.mono() < (this.retryAt ?? 0)) return active
    return this.beginFile(own, length) ?? active
  }

  /** @returns false: it could not be written; the next attempt goes somewhere else. */
  private write(own: OwnLane, buffer: RecordBuffer): boolean {
    const segment = this.target(own, buffer.at)
    if (segment === null) return false
    if (segment.memory !== null) {
      segment.memory.set(buffer.bytes.subarray(0, buffer.at), segment.bytes)
    } else {
      if (!this.makeRoom('file', buffer.at, own)) return false
      try {
        this.writeWhole(own.file, buffer.bytes, buffer.at)
      } catch (error) {
        this.failed(error)
        this.repair(own, segment)
        return false
      }
      this.fileTotal += buffer.at
      if (this.retryAt !== null) {
        this.retryAt = null
        this.options.observer.spoolRecovered()
      }
    }
    segment.bytes += buffer.at
    segment.records += buffer.count
    return true
  }

  private writeWhole(file: number, bytes: Uint8Array, length: number): void {
    for (let at = 0; at < length; ) {
      const written = this.options.files.write(file, bytes, at, length)
      if (written <= 0) throw new Error('a write to the spool wrote nothing')
      at += written
    }
  }

  /** Takes away what half a write left. If that fails too, the sequence tells a later reader where the segment ends. */
  private repair(own: OwnLane, segment: Segment): void {
    try {
      this.options.files.truncate(own.file, segment.bytes)
    } catch (error) {
      this.failed(error)
    }
    this.close(own)
  }

  private begin(own: OwnLane, length: number): Segment | null {
    const now = this.options.mono()
    if (this.retryAt === null || now >= this.retryAt) {
      const segment = this.beginFile(own, length)
      if (segment !== null) return segment
      if (this.retryAt === null) return null
    }
    return this.beginMemory(own)
  }

  private beginFile(own: OwnLane, length: number): Segment | null {
    const { folder, wall } = this.options
    if (!this.makeRoom('file', length + segmentHeaderLength, own)) return null
    const number = own.number + 1
    const { lane } = own.state
    const path = join(folder, segmentName(lane, number))
    const header = { lane, number, sequence: own.sequence, startedUnixMs: wall() }
    let file = -1
    try {
      file = this.options.create(path)
      this.writeWhole(file, writeSegmentHeader(header), segmentHeaderLength)
    } catch (error) {
      this.failed(error)
      own.number = number
      if (file >= 0) this.abandon(file, path)
      return null
    }
    this.close(own)
    own.number = number
    own.file = file
    own.openedAt = this.options.mono()
    return this.activate(own, { ...header, path, memory: null })
  }

  private beginMemory(own: OwnLane): Segment | null {
    if (!this.makeRoom('memory', memorySegmentBytes, own)) return null
    own.number += 1
    const memory = Buffer.alloc(memorySegmentBytes)
    const header = { number: own.number, sequence: own.sequence, startedUnixMs: this.options.wall() }
    return this.activate(own, { ...header, path: null, memory })
  }

  private activate(
    own: OwnLane,
    {
      number,
      sequence,
      startedUnixMs,
      path,
      memory,
    }: Pick<Segment, 'number' | 'sequence' | 'startedUnixMs' | 'path' | 'memory'>,
  ): Segment {
    const segment: Segment = {
      number,
      sequence,
      startedUnixMs,
      endedUnixMs: null,
      path,
      memory,
      bytes: segmentHeaderLength,
      records: 0,
      stored: 0,
      open: true,
      held: false,
    }
    if (memory === null) this.fileTotal += segmentHeaderLength
    else this.memoryTotal += memory.length
    own.active = segment
    own.state.segments.push(segment)
    return segment
  }

  private close(own: OwnLane): void {
    const { active, file } = own
    if (active === null) return
    active.open = false
    active.endedUnixMs = this.options.wall()
    own.active = null
    own.file = -1
    if (file >= 0) this.closeFile(file)
    if (active.records === 0) {
      this.forget(own.state, active)
      this.removeFile(active)
    } else if (active.memory !== null) {
      // It keeps no more memory than it needs: how much there is bounds how many records wait.
      this.memoryTotal -= active.memory.length - active.bytes
      active.memory = Buffer.from(active.memory.subarray(0, active.bytes))
    }
  }

  private abandon(file: number, path: string): void {
    this.closeFile(file)
    try {
      this.options.files.removeNow(path)
    } catch (error) {
      this.failed(error)
    }
  }

  private closeFile(file: number): void {
    try {
      this.options.files.close(file)
    } catch (error) {
      this.failed(error)
    }
  }

  private removeFile({ path }: Segment): void {
    if (path === null) return
    try {
      this.options.files.removeNow(path)
    } catch (error) {
      this.failed(error)
    }
  }

  private failed(error: unknown): void {
    const { counts, mono, observer } = this.options
    counts.writeErrors += 1
    if (this.retryAt === null) observer.spoolFailed(error)
    this.retryAt = mono() + diskRetryMs
  }

  /** Gives up records until `length` more octets fit. @returns whether they do. */
  private makeRoom(kind: 'file' | 'memory', length: number, own: OwnLane): boolean {
    const bound = kind === 'file' ? this.options.maxBytes : memoryBytesMax
    while ((kind === 'file' ? this.fileTotal : this.memoryTotal) + length > bound) {
      const victim = this.findVictim(kind, own)
      if (victim === undefined) return false
      this.giveUp(victim.state, victim.segment, kind === 'file' ? 'full' : 'memory')
    }
    return true
  }

  /**
   * The oldest allowed segment, else the oldest denied one. Denied records never make way for allowed ones, and no
   * segment for its own next batch.
   */
  private findVictim(kind: 'file' | 'memory', own: OwnLane) {
    for (const lane of [allowedLane, deniedLane]) {
      if (lane === deniedLane && own.state.lane === allowedLane) return undefined
      for (const state of this.lanes) {
        if (state.lane !== lane) continue
        for (const segment of state.segments) {
          if ((kind === 'memory') !== (segment.memory !== null) || segment.held) continue
          if (segment.open && segment === own.active) continue
          if (segment.open) this.close(this.own[lane])
          return { state, segment }
        }
      }
    }
    return undefined
  }

  private giveUp(state: LaneState, segment: Segment, cause: DropCause): void {
    const { counts, wall } = this.options
    counts.drop(state.lane, cause, unstored(segment), spanOf(segment, wall))
    this.forget(state, segment)
    this.removeFile(segment)
  }
}

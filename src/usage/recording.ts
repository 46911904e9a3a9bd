// Recording as the check role runs it: encoder, spool and writer together, with the folder that is this process's own.
// It starts whatever the disk and the database do, and never stands in a check's way; what it cannot keep it counts.
import { join } from 'node:path'
import { RecordEncoder } from './record-encoder.ts'
import type { ProcessProbe } from './run-owner.ts'
import { markOwner, touchEveryMs, touchOwner, unmarkOwner } from './run-owner.ts'
import { SegmentReader } from './segment-reader.ts'
import { Spool } from './spool.ts'
import { SpoolCounts, type SpoolObserver } from './spool-counts.ts'
import { isAbsent, type SpoolFiles } from './spool-files.ts'
import type { TakeAccessHalf } from './usage-row.ts'
import type { UsageStore } from './usage-store.ts'
import { UsageWriter, type WriterTimers } from './writer.ts'

export interface RecordingOptions {
  /** The spool directory; processes may share one. */
  readonly directory: string
  readonly maxBytes: number
  /** UUID of this process. */
  readonly sidecar: string
  /** Name of the client-address mode. */
  readonly clientIpMode: string
  readonly files: SpoolFiles
  readonly probe: ProcessProbe
  readonly store: UsageStore
  readonly observer: SpoolObserver
  readonly timers: WriterTimers
  readonly mono: () => number
  readonly wall: () => number
  readonly takeHalf: TakeAccessHalf | null
}

export interface Recording {
  /** The sink of the check. */
  readonly encoder: RecordEncoder
  readonly spool: Spool
  readonly counts: SpoolCounts
  /**
   * No decision is recorded any more: stores what is there and ends. What does not get there within `deadlineMs` stays
   * in the spool for the next start.
   */
  end(deadlineMs: number): Promise<void>
}

/** Starts recording. Never throws: without a folder records are kept in memory until there is one. */
export function startRecording(options: RecordingOptions): Recording {
  const { directory, sidecar, files, probe, observer, mono, wall, store } = options
  const folder = join(directory, sidecar)
  const counts = new SpoolCounts()
  const ownFolder = new OwnFolder(options, folder, () => spool.closeAll())
  const spool = new Spool({ ...options, folder, create: path => ownFolder.create(path), counts })
  const encoder = new RecordEncoder({ sink: spool, clientIpMode: options.clientIpMode })
  ownFolder.make()
  const onTurn = () => {
    spool.tick()
    ownFolder.touch()
  }
  const reader = new SegmentReader(files)
  const writer = new UsageWriter({
    directory,
    sidecar,
    files,
    probe,
    reader,
    counts,
    observer,
    wall,
    mono,
    onTurn,
    spool,
    store,
    timers: options.timers,
    takeHalf: options.takeHalf,
  })
  writer.start()
  const end = async (deadlineMs: number) => {
    encoder.endOfBatch()
    const isStored = await writer.flush(deadlineMs)
    await ownFolder.leave(isStored)
    if (isStored) await forget(options)
    await store.close()
  }
  return { encoder, spool, counts, end }
}

/** Positions of a spool that is gone are of no use, and of no harm either. */
async function forget({ store, sidecar, observer }: RecordingOptions): Promise<void> {
  try {
    await store.forget(sidecar)
  } catch (error) {
    observer.noticed('the positions of this process cannot be removed', { error })
  }
}

/** The folder of this process and its mark. */
class OwnFolder {
  private readonly options: RecordingOptions
  private readonly folder: string
  private readonly onGone: () => void
  private touchAt: number
  private isMarked = false

  /** @param onGone somebody removed the folder: what is open is in no folder any more */
  constructor(options: RecordingOptions, folder: string, onGone: () => void) {
    this.options = options
    this.folder = folder
    this.onGone = onGone
    this.touchAt = options.mono() + touchEveryMs
  }

  /** At the start. A disk that does not let it is asked again with the first segment. */
  make(): void {
    try {
      this.open()
    } catch (error) {
      this.options.observer.spoolFailed(error)
    }
  }

  /** Opens a new file in it. */
  create(path: string): number {
    const { files } = this.options
    if (!this.isMarked) this.open()
    try {
      return files.create(path)
    } catch (error) {
      if (!isAbsent(error)) throw error
    }
    // Somebody removed the folder.
    this.open()
    return files.create(path)
  }

  /** Makes it under another name, so that nobody sees it without its mark and takes it for one that is given up. */
  private open(): void {
    const { directory, sidecar, files, probe } = this.options
    const unfinished = join(directory, `.${sidecar}`)
    files.makeFolder(unfinished)
    markOwner(files, unfinished, probe)
    files.renameNow(unfinished, this.folder)
    this.isMarked = true
  }

  touch(): void {
    const { files, mono, wall } = this.options
    if (mono() < this.touchAt || !this.isMarked) return
    this.touchAt = mono() + touchEveryMs
    touchOwner(files, this.folder, wall()).catch((error: unknown) => this.markAgain(error))
  }

  /** Whoever finds the folder without its mark takes it. */
  private markAgain(error: unknown): void {
    if (!this.isMarked) return // left meanwhile
    const { files, probe, observer } = this.options
    observer.noticed('the spool folder of this process cannot be marked', { error })
    if (!isAbsent(error)) return
    try {
      markOwner(files, this.folder, probe)
    } catch (failure) {
      if (!isAbsent(failure)) return // tried again with the next touch
      this.isMarked = false
      this.onGone()
    }
  }

  /** @param isEmpty nothing in it is needed any more */
  async leave(isEmpty: boolean): Promise<void> {
    const { files, observer } = this.options
    if (!this.isMarked) return
    this.isMarked = false
    try {
      await unmarkOwner(files, this.folder)
      if (isEmpty) await files.removeFolder(this.folder)
    } catch (error) {
      observer.noticed('the spool folder of this process cannot be left in order', { error })
    }
  }
}

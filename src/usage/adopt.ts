// What ended processes left in the spool directory: finds it, takes it over by renaming (so that one process does), and
// learns what is in it. Every folder is the run of one process; its name is the process's id, with the adopter's behind.
import { join } from 'node:path'
import { allowedLane, type Lane, lanes, segmentHeaderLength } from './record-format.ts'
import { ReplayGuard } from './replay-guard.ts'
import { hasLivingOwner, type ProcessProbe, unmarkOwner, untouchedMs } from './run-owner.ts'
import type { SegmentReader } from './segment-reader.ts'
import type { SpoolCounts, SpoolObserver } from './spool-counts.ts'
import { isAbsent, isPassing, type SpoolFiles } from './spool-files.ts'
import { createLane, type LaneState, parseSegmentName, type Segment } from './spool-segment.ts'

export interface AdoptOptions {
  /** The spool directory. */
  readonly directory: string
  /** UUID of this process. */
  readonly sidecar: string
  readonly files: SpoolFiles
  readonly probe: ProcessProbe
  readonly reader: SegmentReader
  readonly counts: SpoolCounts
  readonly observer: SpoolObserver
  readonly wall: () => number
}

/** A run of an ended process that is ours now. */
export interface AdoptedRun {
  readonly sidecar: string
  readonly folder: string
  readonly guard: ReplayGuard
  readonly lanes: readonly LaneState[]
}

const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
const unfinishedName = new RegExp(`^\\.${uuid}$`)
const folderName = new RegExp(`^(${uuid})(?:~(${uuid}))?$`)
/** Behind the name of a file that was set aside. */
export const badSuffix = '.bad'

/**
 * Takes over what can be taken over now.
 * @param known folders that were taken over before
 * @returns whether all went well; what did not is tried again at the next call
 */
export async function adoptRuns(
  options: AdoptOptions,
  known: ReadonlySet<string>,
  adopt: (run: AdoptedRun) => void,
): Promise<boolean> {
  let isWell = true
  for (const name of await options.files.list(options.directory)) {
    if (known.has(join(options.directory, name))) continue
    try {
      await removeUnfinished(name, options)
      const claimed = await claim(name, options)
      if (claimed !== undefined) adopt(await open(claimed, options))
    } catch (error) {
      isWell = false
      // Gone in between: another process took it over, or removed it.
      if (isAbsent(error)) continue
      options.observer.noticed('what another process left in the spool cannot be read; it is tried again', { error })
    }
  }
  return isWell
}

/** A process that died while it made its folder left one under another name, with nothing in it but its mark. */
async function removeUnfinished(name: string, { directory, files, probe, wall }: AdoptOptions): Promise<void> {
  if (!unfinishedName.test(name)) return
  const folder = join(directory, name)
  // One that has no mark yet may get it at any moment.
  if (wall() - (await files.changed(folder)) < untouchedMs) return
  if (await hasLivingOwner(files, folder, probe, wall())) return
  await unmarkOwner(files, folder)
  await files.removeFolder(folder)
}

interface Claimed {
  readonly sidecar: string
  readonly folder: string
}

async function claim(name: string, options: AdoptOptions): Promise<Claimed | undefined> {
  const { directory, sidecar: self, files, probe, wall } = options
  const [, sidecar, adopter] = folderName.exec(name) ?? []
  if (sidecar === undefined) return undefined
  const folder = join(directory, `${sidecar}~${self}`)
  if (adopter === self) return { sidecar, folder } // an attempt of ours that failed
  const owner = adopter ?? sidecar
  if (owner === self || (await hasLivingOwner(files, join(directory, owner), probe, wall()))) return undefined
  await files.rename(join(directory, name), folder)
  return { sidecar, folder }
}

async function open({ sidecar, folder }: Claimed, options: AdoptOptions): Promise<AdoptedRun> {
  const { files, observer } = options
  const guard = new ReplayGuard(files, folder, error => observer.noticed('a replay cannot be marked', { error }))
  const bad = await guard.open()
  if (bad !== undefined) {
    const path = join(folder, bad)
    await recordsOfFile(folder, bad, options)
      .then(told => setAside({ path, why: 'two starts died over a spool segment', told }, options))
      .catch((error: unknown) => unreadable(path, error, options))
    await guard.clear()
  }
  const names = await files.list(folder)
  const opened: LaneState[] = []
  for (const lane of lanes) {
    const state = createLane(sidecar, lane, false)
    state.segments.push(...(await openLane(lane, names, folder, guard, options)))
    const [oldest] = state.segments
    // How much of it is stored is not known yet.
    if (oldest !== undefined) oldest.held = true
    opened.push(state)
  }
  return { sidecar, folder, guard, lanes: opened }
}

/** What is known of the records of a file. */
interface Told {
  readonly lane?: Lane
  /** Absent: nobody can tell how many. */
  readonly records?: number
  /** Unix milliseconds. */
  readonly from?: number
}

/** Records of a segment into which nobody looks: by its header and the one behind it. */
async function recordsOfFile(folder: string, name: string, { files, reader }: AdoptOptions): Promise<Told> {
  const parsed = parseSegmentName(name)
  const header = await reader.readHeader(join(folder, name))
  if (parsed === undefined || header === undefined) return {}
  const behind = (await files.list(folder)).find(each => {
    const other = parseSegmentName(each)
    return other?.lane === parsed.lane && other.number === parsed.number + 1
  })
  const next = behind === undefined ? undefined : await reader.readHeader(join(folder, behind))
  const records = next === undefined ? 0 : Math.max(0, next.sequence - header.sequence)
  return { lane: parsed.lane, records, from: header.startedUnixMs }
}

/** A file whose header cannot be read was begun this long before its last change at most: it is closed after a minute. */
const unreadableSpanMs = 3_600_000

interface SetAside {
  readonly path: string
  readonly why: string
  readonly told?: Told
  readonly error?: unknown
}

/** Keeps a file for people to look at. Some of what is in it may be stored; that it may not be is what is told. */
async function setAside({ path, why, told = {}, error }: SetAside, options: AdoptOptions): Promise<undefined> {
  const { files, counts, observer } = options
  const changed = await files.changed(path)
  await files.rename(path, path + badSuffix)
  counts.setAside += 1
  const { lane = allowedLane, records = 0, from = changed - unreadableSpanMs } = told
  counts.lose(lane, 'set_aside', records, { from, to: changed })
  observer.noticed(`${why}; it was set aside`, { file: path + badSuffix, error })
}

/** Segments of a lane, oldest first. Read from the newest on, since each bounds the one before it. */
async function openLane(
  lane: Lane,
  names: readonly string[],
  folder: string,
  guard: ReplayGuard,
  options: AdoptOptions,
): Promise<Segment[]> {
  const numbered = names.flatMap(name => {
    const parsed = parseSegmentName(name)
    return parsed !== undefined && parsed.lane === lane ? [{ name, number: parsed.number }] : []
  })
  numbered.sort((a, b) => b.number - a.number)
  const segments: Segment[] = []
  for (const { name, number } of numbered) {
    const [next] = segments
    const guarded = <T>(at: number, look: () => T) => guard.during(name, at, look)
    const path = join(folder, name)
    const file = { path, lane, number, next, guarded }
    const segment = await openSegment(file, options).catch((error: unknown) => unreadable(path, error, options))
    if (segment !== undefined) segments.unshift(segment)
  }
  return segments
}

const cannotBeRead = 'a spool segment cannot be read'

interface SegmentFile {
  readonly path: string
  readonly lane: Lane
  readonly number: number
  /** The segment behind it. */
  readonly next: Segment | undefined
  readonly guarded: <T>(at: number, look: () => T) => T
}

async function openSegment(
  { path, lane, number, next, guarded }: SegmentFile,
  options: AdoptOptions,
): Promise<Segment | undefined> {
  const { files, reader, counts } = options
  const read = await reader.readHeader(path)
  const size = await files.size(path)
  // The header is written first and alone: its process did not come further.
  if (size <= segmentHeaderLength) return remove(path, options)
  const header = read?.lane === lane && read.number === number ? read : undefined
  const sequence = header?.sequence ?? 0
  const sequenceEnd = next?.sequence ?? Number.POSITIVE_INFINITY
  const range = { start: segmentHeaderLength, end: size, sequence, sequenceEnd }
  const survey = await reader.survey(path, range, guarded)
  if (header === undefined) {
    // Damaged, or of a format that another build reads: kept, whatever its length.
    return setAside({ path, why: cannotBeRead, told: { lane, records: survey.records } }, options)
  }
  // Between segments whose numbers follow each other nothing was kept elsewhere or given up.
  const behind = next !== undefined && next.number === number + 1 ? Math.max(0, sequenceEnd - survey.next) : 0
  const { startedUnixMs } = header
  if (survey.records === 0) {
    if (await reader.isTorn(path, size)) return remove(path, options)
    return setAside({ path, why: cannotBeRead, told: { lane, records: behind, from: startedUnixMs } }, options)
  }
  const endedUnixMs = await files.changed(path)
  counts.drop(lane, 'corrupt', survey.lost + behind, { from: startedUnixMs, to: endedUnixMs })
  return {
    number,
    sequence: header.sequence,
    startedUnixMs,
    endedUnixMs,
    path,
    memory: null,
    bytes: survey.bytes,
    records: survey.records,
    stored: 0,
    open: false,
    held: false,
  }
}

/** Its process died before a record was whole in it. */
async function remove(path: string, { files }: AdoptOptions): Promise<undefined> {
  await files.remove(path)
}

/** A file that cannot be read holds up no other. */
async function unreadable(path: string, error: unknown, options: AdoptOptions): Promise<undefined> {
  if (isPassing(error)) throw error
  if (!isAbsent(error)) await setAside({ path, why: cannotBeRead, error }, options)
}

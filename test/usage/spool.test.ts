// The spool under faults: whatever a disk does, no check notices, no torn record is ever read, nothing is there twice, and what is
// lost is counted to the record.
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type AdoptedRun, adoptRuns } from '../../src/usage/adopt.ts'
import { type Lane, segmentHeaderLength } from '../../src/usage/record-format.ts'
import { SegmentReader, toPiece } from '../../src/usage/segment-reader.ts'
import { diskRetryMs, memoryBytesMax, recordAgeMaxMs, segmentAgeMs } from '../../src/usage/spool.ts'
import { SpoolCounts } from '../../src/usage/spool-counts.ts'
import { realFiles } from '../../src/usage/spool-files.ts'
import { seededRandom } from '../oracle/random-worlds.ts'
import { until } from '../support/until.ts'
import { decodeFrames } from './decode-rows.ts'
import { faultyFiles, MemoryStore, probeOf, start, temporaryFolder } from './recording-stand.ts'

const allow: Lane = 1
const deny: Lane = 2
const MiB = 1_048_576

let folder: ReturnType<typeof temporaryFolder>
beforeEach(() => {
  folder = temporaryFolder()
})
afterEach(() => folder.remove())

const away = () => Object.assign(new MemoryStore(), { isAway: true })
const segmentsOf = (sidecar: string) => readdirSync(join(folder.path, sidecar)).filter(name => name.endsWith('.seg'))

const reader = 'ffffffff-0000-4000-8000-000000000000'

/** Everything that a start would find in the spool directory, by the ids of the records. */
async function found(directory = folder.path): Promise<{ ids: string[]; counts: SpoolCounts }> {
  const counts = new SpoolCounts()
  const segments = new SegmentReader(realFiles)
  const observer = { noticed: () => undefined, dropped: () => undefined } as never
  const runs: AdoptedRun[] = []
  const options = {
    directory,
    sidecar: reader,
    files: realFiles,
    probe: probeOf(new Set(), 'reader'),
    reader: segments,
    counts,
    observer,
    wall: () => Date.now(),
  }
  await adoptRuns(options, new Set(), run => runs.push(run))
  const ids: string[] = []
  for (const { lanes } of runs) {
    for (const lane of lanes) {
      for (const segment of lane.segments) {
        for (let at = segmentHeaderLength; at < segment.bytes; ) {
          const { bytes, frames, end } = toPiece(await segments.read(segment, at, segment.bytes))
          ids.push(...decodeFrames(bytes, frames, 'x').map(row => row.requestId))
          at = end
        }
      }
    }
  }
  return { ids, counts }
}

describe('a batch', () => {
  it('is one write a lane, and no other call of the file system once the segment is open', () => {
    const faulty = faultyFiles()
    const { batch } = start(folder.path, away(), { files: faulty.files })
    batch(allow, 'a')
    batch(deny, 'b')
    faulty.calls.length = 0
    batch(allow, 'c', 'd', 'e')
    batch(deny, 'f')
    expect(faulty.calls).toEqual(['write', 'write'])
  })

  it('is there for the next start as soon as it was handed over', async () => {
    const { batch } = start(folder.path, away())
    batch(allow, 'a', 'b')
    batch(deny, 'c')
    expect((await found()).ids.sort()).toEqual(['a', 'b', 'c'])
  })
})

describe('a torn or damaged segment', () => {
  const ids = ['a', 'b', 'c', 'd', 'e', 'f']
  /** A spool directory with one segment. */
  function copied(name: string, octets: Buffer) {
    const copy = temporaryFolder()
    mkdirSync(join(copy.path, dirname(name)))
    writeFileSync(join(copy.path, name), octets)
    return copy
  }

  function written(): { name: string; octets: Buffer; ends: number[] } {
    const recording = start(folder.path, away())
    const ends: number[] = []
    const name = () => join(recording.sidecar, segmentsOf(recording.sidecar)[0] ?? '')
    for (const [first, second] of [
      ['a', 'b'],
      ['c', 'd'],
      ['e', 'f'],
    ] as const) {
      recording.batch(allow, first, second)
      ends.push(statSync(join(folder.path, name())).size)
    }
    return { name: name(), octets: readFileSync(join(folder.path, name())), ends }
  }

  it('cut at any octet gives its whole batches and nothing else', async () => {
    const { name, ends, octets } = written()
    for (let cut = 0; cut <= octets.length; cut++) {
      const copy = copied(name, octets.subarray(0, cut))
      const { ids: left, counts } = await found(copy.path)
      expect(left, `cut at ${cut}`).toEqual(ids.slice(0, ends.filter(end => end <= cut).length * 2))
      expect(counts.losses.isUntold).toBe(false)
      copy.remove()
    }
  })

  it('changed in any octet gives none but true records, and counts those between', async () => {
    const { name, ends, octets } = written()
    for (let at = 0; at < octets.length; at++) {
      const changed = Buffer.from(octets)
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8))
      const copy = copied(name, changed)
      const { ids: left, counts } = await found(copy.path)
      const damaged = at < segmentHeaderLength ? -1 : ends.findIndex(end => at < end)
      const expected = damaged < 0 ? [] : ids.filter((_, index) => Math.floor(index / 2) !== damaged)
      expect(left, `octet ${at}`).toEqual(expected)
      // Of the last batch nobody can tell whether it was written whole.
      expect(counts.droppedTotal, `octet ${at}`).toBe(damaged < 0 ? 6 : damaged === 2 ? 0 : 2)
      copy.remove()
    }
  })

  it('that a newer build may have written stays for it, is counted where that can be, and told', async () => {
    const { name, octets, ends } = written()
    const [first = 0] = ends
    const changed = (magic: string, ...at: readonly number[]) => {
      const copy = Buffer.from(octets)
      for (const each of at) copy.write(magic, each, 'latin1')
      return copy
    }
    const newHeader = changed('GWS3', 0)
    const newFrames = changed('GWU3', segmentHeaderLength, ...ends.slice(0, -1))
    for (const [what, content, records] of [
      ['its header', newHeader, 6],
      ['its header and one batch', newHeader.subarray(0, first), 2],
      ['its batches', newFrames, 0],
      ['its only batch', newFrames.subarray(0, first), 0],
      ['its header and batches', changed('GWS3', 0).fill(0x41, 4), 0],
      ['an octet of its only batch', changed('!', first - 1).subarray(0, first), 0],
    ] as const) {
      const copy = copied(name, content)
      const { ids: left, counts } = await found(copy.path)
      expect(left, what).toEqual([])
      expect(counts.setAside, what).toBe(1)
      expect(counts.losses.next(), what).toMatchObject({ allowed: records })
      expect(counts.droppedTotal, what).toBe(records)
      const kept = join(copy.path, `${dirname(name)}~${reader}`, `${basename(name)}.bad`)
      expect(readFileSync(kept), what).toEqual(content)
      copy.remove()
    }
  })

  it('with anything behind its records gives its records', async () => {
    const seed = Number(process.env['SEED'] ?? 3)
    const random = seededRandom(seed)
    const { name, octets } = written()
    for (let run = 0; run < 100; run++) {
      const junk = Buffer.from(Array.from({ length: Math.floor(random() * 300) }, () => Math.floor(random() * 256)))
      if (run % 2 === 0) junk.write('GWU2', Math.floor(random() * junk.length), 'latin1')
      const copy = copied(name, Buffer.concat([octets, junk]))
      expect((await found(copy.path)).ids, `seed ${seed}, run ${run}`).toEqual(ids)
      copy.remove()
    }
  })
})

describe('a disk that fails', () => {
  it.each(['ENOSPC', 'EIO'])('with %s at any write loses nothing and repeats nothing', async code => {
    let now = 0
    const faulty = faultyFiles()
    const store = new MemoryStore()
    const recording = start(folder.path, store, { files: faulty.files, mono: () => now })
    const sent: string[] = []
    const send = () => {
      sent.push(`${sent.length}`)
      recording.batch(sent.length % 3 === 0 ? deny : allow, sent.at(-1) ?? '')
    }
    for (let i = 0; i < 20; i++) send()
    faulty.fail('write', code)
    for (let i = 0; i < 20; i++) send()
    expect(recording.spool.memoryBytes).toBeGreaterThan(0)
    faulty.fail('write', null)
    now += diskRetryMs
    for (let i = 0; i < 20; i++) send()
    await until('all are stored', () => store.rows.length === 60)
    expect(store.ids().sort()).toEqual(sent.sort())
    expect(recording.told).toEqual([expect.stringContaining(code), 'spool recovered'])
    expect(recording.counts.writeErrors).toBeGreaterThan(0)
    expect(recording.counts.droppedTotal).toBe(0)
    await recording.end(1000)
    expect(readdirSync(folder.path)).toEqual([])
  })

  it('in the middle of a write, whose truncation fails too, leaves nothing that is read twice', async () => {
    let now = 0
    const faulty = faultyFiles()
    const recording = start(folder.path, away(), { files: faulty.files, mono: () => now })
    recording.batch(allow, 'a')
    for (const octets of [0, 1, 23, 24, 60, 100_000]) {
      faulty.fail('truncate', 'EIO')
      faulty.shorten(octets)
      recording.batch(allow, `torn at ${octets}`)
      faulty.shorten(null)
      faulty.fail('truncate', null)
      now += diskRetryMs
      recording.batch(allow, `after ${octets}`)
    }
    // Of the records that were in memory the one is there that reached the disk whole, though the disk denied it.
    const { ids } = await found()
    const after = [0, 1, 23, 24, 60].map(octets => `after ${octets}`)
    expect(ids).toEqual(['a', ...after, 'torn at 100000', 'after 100000'])
  })

  it('from the start on costs memory within its bound, then the oldest allowed records, counted', () => {
    const faulty = faultyFiles()
    for (const call of ['makeFolder', 'create'] as const) faulty.fail(call, 'EROFS')
    const { batch, spool, counts } = start(folder.path, away(), { files: faulty.files })
    const ids = Array.from({ length: 100 }, (_, i) => `${i}`.padEnd(120, 'x'))
    batch(deny, ...ids)
    for (let i = 0; i < 1500; i++) batch(allow, ...ids)
    expect(spool.memoryBytes).toBeLessThanOrEqual(memoryBytesMax)
    expect(counts.recorded).toBe(150_100)
    expect(counts.drops().map(({ decision, cause }) => `${decision} ${cause}`)).toEqual(['allow memory'])
    const kept = spool.lanes.flatMap(lane => lane.segments).reduce((sum, segment) => sum + segment.records, 0)
    expect(kept + counts.droppedTotal).toBe(150_100)
  })
})

describe('the bound', () => {
  const ids = (prefix: string) => Array.from({ length: 50 }, (_, i) => `${prefix}.${i}`.padEnd(100, 'x'))

  it('is kept by giving up the oldest allowed records, and every denied one stays', async () => {
    const store = away()
    const { batch, spool, counts, end } = start(folder.path, store, { maxBytes: MiB })
    for (let i = 0; i < 200; i++) {
      batch(allow, ...ids(`a${i}`))
      if (i % 10 === 0) batch(deny, ...ids(`d${i}`))
      expect(spool.fileBytes).toBeLessThanOrEqual(MiB)
    }
    const [dropped] = counts.drops()
    expect(dropped).toMatchObject({ decision: 'allow', cause: 'full' })
    expect(counts.drops()).toHaveLength(1)
    store.isAway = false
    await until('what is left is stored', () =>
      spool.lanes.every(lane => lane.segments.every(each => each.records === each.stored)),
    )
    expect(store.rows).toHaveLength(counts.recorded - counts.droppedTotal)
    expect(store.rows.filter(row => row.decision === 'deny')).toHaveLength(1000)
    const kept = store.rows.filter(row => row.decision === 'allow').map(row => row.requestId)
    const all = Array.from({ length: 200 }, (_, i) => ids(`a${i}`)).flat()
    expect(kept).toEqual(all.slice(-kept.length))
    await end(1000)
  })

  it('reached by denied records alone costs the oldest of them, and allowed ones do not displace them', () => {
    const { batch, spool, counts } = start(folder.path, away(), { maxBytes: MiB })
    for (let i = 0; i < 200; i++) batch(deny, ...ids(`d${i}`))
    batch(allow, ...ids('late'))
    expect(spool.fileBytes).toBeLessThanOrEqual(MiB)
    expect(counts.drops()).toEqual([{ decision: 'deny', cause: 'full', records: expect.any(Number) }])
    for (let i = 0; i < 20; i++) batch(allow, ...ids(`a${i}`))
    const kept = spool.lanes.flatMap(lane => lane.segments).reduce((sum, segment) => sum + segment.records, 0)
    expect(kept + counts.droppedTotal).toBe(
      counts.recorded +
        counts
          .drops()
          .filter(each => each.decision === 'allow')
          .reduce((sum, each) => sum + each.records, 0),
    )
  })

  it('of age gives up what nobody asks for any more', async () => {
    let wall = Date.now()
    let now = 0
    const { batch, counts, spool } = start(folder.path, away(), { wall: () => wall, mono: () => now })
    batch(allow, 'old')
    now += segmentAgeMs
    await until('the segment is closed', () => spool.lanes[0]?.segments[0]?.open === false)
    wall += recordAgeMaxMs + 1
    await until('the record is given up', () => counts.droppedTotal === 1)
    expect(counts.drops()).toEqual([{ decision: 'allow', cause: 'age', records: 1 }])
  })
})

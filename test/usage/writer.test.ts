// The way from spool to store: whatever the store answers, whenever processes die and whoever takes over, every record is stored
// once.
import { existsSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Lane, segmentHeaderLength } from '../../src/usage/record-format.ts'
import { touchEveryMs, untouchedMs } from '../../src/usage/run-owner.ts'
import { diskRetryMs } from '../../src/usage/spool.ts'
import { realFiles, type SpoolFiles } from '../../src/usage/spool-files.ts'
import { seededRandom } from '../oracle/random-worlds.ts'
import { until } from '../support/until.ts'
import { faultyFiles, MemoryStore, nextSidecar, probeOf, start, temporaryFolder } from './recording-stand.ts'

let folder: ReturnType<typeof temporaryFolder>
beforeEach(() => {
  folder = temporaryFolder()
})
afterEach(() => folder.remove())

const laneOf = (number: number): Lane => (number % 4 === 0 ? 2 : 1)
const away = () => Object.assign(new MemoryStore(), { isAway: true })

describe('every record is stored once', () => {
  it('whether or not a commit is answered, in any order of failures', async () => {
    const seed = Number(process.env['SEED'] ?? 11)
    const random = seededRandom(seed)
    const store = new MemoryStore()
    store.before = () => {
      const draw = random()
      if (draw < 0.2) throw new Error('the statement failed')
      return draw < 0.4 ? 'unknown-stored' : draw < 0.6 ? 'unknown-lost' : 'store'
    }
    const recording = start(folder.path, store, { maxBytes: 8_388_608 })
    const sent: string[] = []
    for (let i = 0; i < 300; i++) {
      const ids = Array.from({ length: 1 + Math.floor(random() * 40) }, (_, n) => `${i}.${n}`)
      recording.batch(laneOf(i), ...ids)
      sent.push(...ids)
      store.isAway = random() < 0.1
      if (i % 10 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    store.isAway = false
    store.before = () => 'store'
    await until('all are stored', () => store.rows.length >= sent.length)
    await recording.end(2000)
    expect(store.ids().sort(), `seed ${seed}`).toEqual(sent.sort())
    expect(recording.counts.droppedTotal).toBe(0)
  })

  it('through any number of processes that die, one after the other', async () => {
    const seed = Number(process.env['SEED'] ?? 12)
    const random = seededRandom(seed)
    const store = new MemoryStore()
    const sent: string[] = []
    const living = new Set<string>()
    for (let life = 0; life < 25; life++) {
      const sidecar = nextSidecar()
      living.add(sidecar)
      // Each life has a store of its own in front of the same rows, which dies with it.
      const own = new MemoryStore()
      const dead = { yet: false }
      own.position = (...args) => (dead.yet ? new Promise(() => undefined) : store.position(...args))
      own.store = async batch => {
        if (random() < 0.3) throw new Error('the statement failed')
        if (dead.yet) return new Promise(() => undefined)
        const outcome = await store.store(batch)
        return dead.yet ? new Promise(() => undefined) : outcome
      }
      own.forget = sidecar => (dead.yet ? new Promise(() => undefined) : store.forget(sidecar))
      // Nor does it touch a file any more.
      const files = new Proxy(realFiles, {
        get: (target, name: keyof SpoolFiles) =>
          dead.yet ? () => new Promise(() => undefined) : (target[name] as (...values: unknown[]) => unknown),
      })
      const recording = start(folder.path, own, { sidecar, files, probe: probeOf(living, sidecar) })
      for (let i = 0; i < 20; i++) {
        const ids = Array.from({ length: 1 + Math.floor(random() * 5) }, (_, n) => `${life}.${i}.${n}`)
        recording.batch(laneOf(i), ...ids)
        sent.push(...ids)
        if (random() < 0.3) await new Promise(resolve => setTimeout(resolve, random() * 10))
      }
      dead.yet = true
      living.delete(sidecar)
    }
    // What the dead had begun in the file system still ends, as it does in a kernel.
    await new Promise(resolve => setTimeout(resolve, 50))
    const last = start(folder.path, store)
    await until('all are stored', () => store.rows.length >= sent.length)
    expect(store.ids().sort(), `seed ${seed}`).toEqual(sent.sort())
    await until('nothing else is left', () => readdirSync(folder.path).join() === last.sidecar)
    await last.end(2000)
    // A process that died between removing a folder and its positions left two.
    expect(store.positions.size).toBeLessThan(50)
  })

  it('when two processes find the same remains', async () => {
    const store = new MemoryStore()
    const dead = start(folder.path, away())
    for (let i = 0; i < 50; i++) dead.batch(laneOf(i), `${i}`)
    const living = new Set<string>()
    const starts = Array.from({ length: 4 }, () => {
      const sidecar = nextSidecar()
      living.add(sidecar)
      return start(folder.path, store, { sidecar, probe: probeOf(living, sidecar) })
    })
    await until('all are stored', () => store.rows.length >= 50)
    for (const each of starts) await each.end(1000)
    expect(store.ids().sort()).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`).sort())
    expect(starts.map(each => each.counts.replayed).reduce((sum, count) => sum + count, 0)).toBe(50)
  })

  it('when the adopter dies as well, and the next takes over from it', async () => {
    const store = new MemoryStore()
    const first = start(folder.path, away())
    first.batch(1, 'a')
    const second = start(folder.path, away())
    second.batch(1, 'b')
    await until('it was taken over', () =>
      readdirSync(folder.path).some(name => name === `${first.sidecar}~${second.sidecar}`),
    )
    const third = start(folder.path, store)
    await until('all are stored', () => store.rows.length === 2)
    await third.end(1000)
    expect(store.rows.map(row => `${row.requestId} ${row.sidecar}`).sort()).toEqual([
      `a ${first.sidecar}`,
      `b ${second.sidecar}`,
    ])
  })
})

describe('the folder of a process', () => {
  it('is left alone while its process lives', async () => {
    const living = new Set<string>()
    const sidecar = nextSidecar()
    living.add(sidecar)
    const first = start(folder.path, away(), { sidecar, probe: probeOf(living, sidecar) })
    first.batch(1, 'a')
    const store = new MemoryStore()
    const other = nextSidecar()
    living.add(other)
    const second = start(folder.path, store, { sidecar: other, probe: probeOf(living, other) })
    second.batch(1, 'b')
    await until('its own record is stored', () => store.rows.length === 1)
    await second.end(1000)
    expect(store.ids()).toEqual(['b'])
  })

  it('of another machine is taken over once its mark was untouched for long', async () => {
    let wall = Date.now()
    const foreign = { self: '1 1', namespace: 'there', isRunning: () => true }
    const first = start(folder.path, away(), { probe: foreign })
    first.batch(1, 'a')
    const store = new MemoryStore()
    const early = start(folder.path, store, { wall: () => wall })
    early.batch(1, 'b')
    await until('its own record is stored', () => store.rows.length === 1)
    await early.end(1000)
    expect(store.ids()).toEqual(['b'])
    wall += untouchedMs + 1000
    const late = start(folder.path, store, { wall: () => wall })
    await until('the other is stored', () => store.rows.length === 2)
    await late.end(1000)
  })

  it('keeps what a newer build may have left in it', async () => {
    const dead = start(folder.path, away())
    dead.batch(1, 'a')
    const files = ['a-00000002.seg2', 'index']
    for (const name of files) writeFileSync(join(folder.path, dead.sidecar, name), 'x')
    const store = new MemoryStore()
    const next = start(folder.path, store)
    const left = () =>
      readdirSync(join(folder.path, `${dead.sidecar}~${next.sidecar}`))
        .sort()
        .join()
    await until('its own record is stored and removed', () => store.rows.length === 1 && left() === files.join())
    await next.end(1000)
    expect(left()).toBe(files.join())
  })

  it('is removed with its positions after an end in good order, and kept for the next start otherwise', async () => {
    const store = new MemoryStore()
    const good = start(folder.path, store)
    good.batch(1, 'a')
    await good.end(2000)
    expect(store.closed).toBe(true)
    expect(store.positions.size).toBe(0)
    expect(readdirSync(folder.path)).toEqual([])
    const cut = start(folder.path, away())
    cut.batch(1, 'b')
    await cut.end(20)
    const next = start(folder.path, store)
    await until('it is stored', () => store.rows.length === 2)
    await next.end(1000)
    expect(store.ids()).toEqual(['a', 'b'])
  })
})

describe('the mark of a folder', () => {
  it.each([
    ['the disk was full', 'write', 'ENOSPC'],
    ['the directory could not be used', 'makeFolder', 'EACCES'],
    ['the folder could not get its name', 'renameNow', 'EROFS'],
  ] as const)('is there before its first segment, also where %s at the start', async (_, call, code) => {
    let now = 0
    const faulty = faultyFiles()
    faulty.fail(call, code)
    if (call !== 'write') faulty.fail('create', code)
    const living = new Set<string>()
    const sidecar = nextSidecar()
    living.add(sidecar)
    const options = { sidecar, files: faulty.files, probe: probeOf(living, sidecar), mono: () => now }
    const first = start(folder.path, away(), options)
    first.batch(1, 'a')
    for (const each of [call, 'create'] as const) faulty.fail(each, null)
    now += diskRetryMs
    first.batch(1, 'b')
    expect(readdirSync(join(folder.path, sidecar)).sort()).toEqual(['a-00000003.seg', 'owner'])
    // Another start leaves it alone.
    const store = new MemoryStore()
    const other = nextSidecar()
    living.add(other)
    const second = start(folder.path, store, { sidecar: other, probe: probeOf(living, other) })
    second.batch(1, 'c')
    await until('its own record is stored', () => store.rows.length === 1)
    await second.end(1000)
    expect(store.ids()).toEqual(['c'])
    expect(readdirSync(folder.path)).toEqual([sidecar])
  })

  it.each(['mark', 'folder'])(
    'is there again when somebody removed the %s, and no record is taken over',
    async what => {
      let now = 0
      const living = new Set<string>()
      const at = (...parts: readonly string[]) => join(folder.path, ...parts)
      const sidecar = nextSidecar()
      living.add(sidecar)
      const first = start(folder.path, away(), { sidecar, probe: probeOf(living, sidecar), mono: () => now })
      first.batch(1, 'a')
      rmSync(at(sidecar, what === 'mark' ? 'owner' : ''), { recursive: true })
      now += touchEveryMs
      await until('it was noticed', () => (what === 'mark' ? existsSync(at(sidecar, 'owner')) : first.told.length > 0))
      first.batch(1, 'b')
      const files = readdirSync(at(sidecar)).sort()
      expect(files).toEqual(what === 'mark' ? ['a-00000001.seg', 'owner'] : ['a-00000002.seg', 'owner'])
      const store = new MemoryStore()
      const other = nextSidecar()
      living.add(other)
      const second = start(folder.path, store, { sidecar: other, probe: probeOf(living, other) })
      second.batch(1, 'c')
      await until('its own record is stored', () => store.rows.length === 1)
      await second.end(1000)
      expect(store.ids()).toEqual(['c'])
      expect(readdirSync(at(sidecar)).sort()).toEqual(files)
    },
  )

  it('is there with the first segment of a folder that somebody removed', () => {
    const first = start(folder.path, away())
    rmSync(join(folder.path, first.sidecar), { recursive: true })
    first.batch(1, 'a')
    expect(readdirSync(join(folder.path, first.sidecar)).sort()).toEqual(['a-00000001.seg', 'owner'])
    expect(first.told).toEqual([])
  })

  it('of a process that died while it made its folder goes with it, once it is old', async () => {
    const [dead, young] = [`.${nextSidecar()}`, `.${nextSidecar()}`]
    for (const name of [dead, young]) {
      mkdirSync(join(folder.path, name))
      writeFileSync(join(folder.path, name, 'owner'), '1 1\ntest\n')
    }
    const past = (Date.now() - untouchedMs - 1000) / 1000
    utimesSync(join(folder.path, dead), past, past)
    const store = new MemoryStore()
    const recording = start(folder.path, store)
    await until('the old one is gone', () => !readdirSync(folder.path).includes(dead))
    expect(readdirSync(folder.path).sort()).toEqual([young, recording.sidecar].sort())
    await recording.end(1000)
    expect(recording.told).toEqual([])
  })
})

describe('a segment over which starts die', () => {
  /** What a start leaves that died while it read. */
  async function remains(deaths: number | null) {
    const dead = start(folder.path, away())
    dead.batch(1, 'a')
    dead.batch(2, 'b')
    const run = join(folder.path, dead.sidecar)
    if (deaths !== null) writeFileSync(join(run, 'replaying'), `a-00000001.seg 32 ${deaths}`)
    return run
  }

  it('is read again after the first death, and set aside after the second', async () => {
    await remains(0)
    const store = new MemoryStore()
    const second = start(folder.path, store)
    await until('both are stored', () => store.rows.length === 2)
    expect(second.counts.setAside).toBe(0)
    await second.end(1000)

    const run = await remains(1)
    const third = start(folder.path, store)
    await until('the other lane is stored', () => store.rows.length === 3)
    expect(store.ids().at(-1)).toBe('b')
    expect(third.counts.setAside).toBe(1)
    expect(third.told.some(text => text.includes('set aside'))).toBe(true)
    const kept = () => readdirSync(`${run}~${third.sidecar}`).join()
    await until('all but what was set aside is removed', () => kept() === 'a-00000001.seg.bad')
    await third.end(1000)
    const fourth = start(folder.path, store)
    fourth.batch(1, 'c')
    await until('the next start goes on', () => store.ids().includes('c'))
    await fourth.end(1000)
    expect(store.rows).toHaveLength(4)
  })

  it('is marked only while it is being looked at', async () => {
    await remains(null)
    const { files, calls } = faultyFiles()
    const store = new MemoryStore()
    const next = start(folder.path, store, { files })
    await until('both are stored', () => store.rows.length === 2)
    await next.end(1000)
    const marks = calls.flatMap((call, index) => (call === 'writeTextNow' ? [calls[index + 1]] : []))
    expect(marks.length).toBeGreaterThan(3)
    expect(new Set(marks)).toEqual(new Set(['removeNow']))
  })
})

describe('what cannot be read', () => {
  it('is set aside after some attempts, counted, and holds up nothing', async () => {
    const faulty = faultyFiles()
    const store = new MemoryStore()
    const recording = start(folder.path, store, { files: faulty.files })
    faulty.fail('read', 'EIO')
    recording.batch(1, 'a', 'b', 'c')
    await until('it was given up', () => recording.counts.droppedTotal === 3)
    faulty.fail('read', null)
    recording.batch(1, 'd')
    await until('the next one is stored', () => store.rows.length === 1)
    expect(recording.counts.drops()).toEqual([{ decision: 'allow', cause: 'corrupt', records: 3 }])
    expect(recording.counts.setAside).toBe(1)
    await recording.end(1000)
  })

  /** What an ended process left: two segments of allowed requests, one of denied ones. Who comes next lives. */
  function remains() {
    const dead = start(folder.path, away(), { probe: { ...probeOf(new Set(), 'dead'), isRunning: () => true } })
    dead.batch(1, 'a', 'b')
    dead.spool.closeAll()
    dead.batch(1, 'c')
    dead.batch(2, 'd')
    return { sidecar: dead.sidecar, run: join(folder.path, dead.sidecar) }
  }
  /** Files of which one cannot be read. */
  const failingAt = (name: string, code: () => string | null): SpoolFiles => ({
    ...realFiles,
    async read(path, position, target) {
      const now = code()
      if (now !== null && path.endsWith(name)) throw Object.assign(new Error(now), { code: now })
      return realFiles.read(path, position, target)
    },
  })

  it.each(['EIO', 'EACCES', 'EISDIR'])(
    'of what another process left for %s is set aside, told, and holds up nothing',
    async code => {
      const { run } = remains()
      if (code === 'EISDIR') {
        rmSync(join(run, 'a-00000001.seg'))
        mkdirSync(join(run, 'a-00000001.seg'))
      }
      const files = failingAt('a-00000001.seg', () => (code === 'EISDIR' ? null : code))
      const store = new MemoryStore()
      const next = start(folder.path, store, { files })
      await until('the others are stored, and it is told', () => store.rows.length === 2 && store.losses.size === 1)
      const left = () => readdirSync(`${run}~${next.sidecar}`).join()
      await until('it alone stays', () => left() === 'a-00000001.seg.bad')
      await next.end(1000)
      expect(store.ids().sort()).toEqual(['c', 'd'])
      expect(next.counts.setAside).toBe(1)
      expect(next.told).toEqual(['a spool segment cannot be read; it was set aside'])
    },
  )

  it('for want of descriptors or memory is read later', async () => {
    remains()
    let code: string | null = 'EMFILE'
    let now = 0
    const store = new MemoryStore()
    const files = failingAt('a-00000001.seg', () => code)
    const next = start(folder.path, store, { files, mono: () => now })
    await until('it was noticed', () => next.told.length > 0)
    code = null
    now += 1000
    await until('all are stored', () => store.rows.length === 4)
    expect(next.counts.setAside).toBe(0)
    await next.end(1000)
  })

  it('where the database asks how much of it is stored is set aside as well', async () => {
    const { sidecar } = remains()
    const store = new MemoryStore()
    store.positions.set(`${sidecar} 1`, { segment: 1, at: segmentHeaderLength + 1 })
    let asked = false
    const position = store.position.bind(store)
    store.position = (...of) => {
      asked = true
      return position(...of)
    }
    const next = start(folder.path, store, { files: failingAt('a-00000001.seg', () => (asked ? 'EIO' : null)) })
    await until('the others are stored', () => store.rows.length === 2)
    await next.end(1000)
    expect(store.ids().sort()).toEqual(['c', 'd'])
    expect(next.counts.drops()).toEqual([{ decision: 'allow', cause: 'corrupt', records: 2 }])
  })

  it('since it is gone, though starts died over it, holds up nothing', async () => {
    const { run } = remains()
    rmSync(join(run, 'a-00000001.seg'))
    writeFileSync(join(run, 'replaying'), 'a-00000001.seg 32 1')
    const store = new MemoryStore()
    const next = start(folder.path, store)
    await until('the others are stored', () => store.rows.length === 2)
    await until('nothing is left of it', () => readdirSync(folder.path).join() === next.sidecar)
    await next.end(1000)
  })

  it('because somebody removed the files is counted', async () => {
    const store = away()
    const recording = start(folder.path, store)
    recording.batch(1, 'a', 'b')
    rmSync(join(folder.path, recording.sidecar), { recursive: true })
    store.isAway = false
    await until('it was given up', () => recording.counts.droppedTotal === 2)
    recording.batch(1, 'c')
    await until('the next one is stored', () => store.rows.length === 1)
    await recording.end(1000)
  })

  it('is nothing of ours, which is left where it is', async () => {
    mkdirSync(join(folder.path, 'lost+found'))
    writeFileSync(join(folder.path, 'notes.txt'), 'x')
    const store = new MemoryStore()
    const recording = start(folder.path, store)
    recording.batch(1, 'a')
    await until('it is stored', () => store.rows.length === 1)
    await recording.end(1000)
    expect(recording.told).toEqual([])
    expect(readdirSync(folder.path).sort()).toEqual(['lost+found', 'notes.txt'])
  })
})

describe('records', () => {
  it('rest until the access log had its time, and are stored with its half', async () => {
    let now = 1000
    const asked: string[] = []
    const store = new MemoryStore()
    const recording = start(folder.path, store, {
      mono: () => now,
      takeHalf: id => {
        asked.push(id)
        return undefined
      },
    })
    recording.batch(1, 'a')
    await new Promise(resolve => setTimeout(resolve, 60))
    expect(store.rows).toEqual([])
    now += 3000
    await until('it is stored', () => store.rows.length === 1)
    expect(asked).toEqual(['0197c0ec-0000-7000-8000-000000000000'])
    recording.batch(1, 'b')
    await recording.end(1000)
    expect(store.ids()).toEqual(['a', 'b'])
  })
})

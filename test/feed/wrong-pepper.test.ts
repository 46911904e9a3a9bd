// A pepper whose content the database contradicts: found out with the page that shows it, before any row of that page is
// served, and forgotten with the page that no longer does.
import { describe, expect, it } from 'vitest'
import { digestOf, keyRow, organizationRow } from './support/rows.ts'
import { ScriptedServer } from './support/scripted-server.ts'
import { Sidecar } from './support/sidecar.ts'

const right = new Map([['p1', Buffer.from('proof of p1')]])
const other = new Map([['p1', Buffer.from('another proof')]])

function sidecarWithKey(): Sidecar {
  const sidecar = new Sidecar()
  sidecar.server.commitOrganization('org_1', organizationRow('org_1'))
  sidecar.commit(1, 1)
  return sidecar
}

function told(sidecar: Sidecar): readonly (readonly string[])[] {
  return sidecar.events.flatMap(event => (event.type === 'wrong_peppers' ? [event.pepperIds] : []))
}

describe('a pepper that the database contradicts', () => {
  it('is found out before the first confirm: the process is at no moment ready', async () => {
    const sidecar = sidecarWithKey()
    sidecar.server.proofs = other
    sidecar.feed.start()
    await sidecar.time.until(() => sidecar.feed.fresh())
    expect(sidecar.feed.ready()).toBe(false)
    await sidecar.time.advance(10_000)
    expect(sidecar.readiness).toEqual([])
    expect(sidecar.feed.wrongPeppers()).toEqual(['p1'])
    expect(told(sidecar)).toEqual([['p1']]) // once, not with each page
  })

  it('is none where the proof is that of the process, or where there is none', async () => {
    for (const proofs of [right, new Map<string, Uint8Array>()]) {
      const sidecar = sidecarWithKey()
      sidecar.server.proofs = proofs
      await sidecar.started()
      await sidecar.time.advance(5_000)
      expect(sidecar.readiness).toEqual([true])
      expect(told(sidecar)).toEqual([])
    }
  })

  it('is found out within one cycle when its proof comes after the load, and needs no change of a row for it', async () => {
    const sidecar = await sidecarWithKey().started()
    await sidecar.time.advance(5_000)
    sidecar.server.proofs = other
    await sidecar.time.advance(1_300)
    expect(sidecar.feed.ready()).toBe(false)
    expect(sidecar.feed.fresh()).toBe(true) // what is found is right: no lease ends for it
    expect(sidecar.readiness).toEqual([true, false])
    expect(sidecar.reloads()).toEqual(['boot'])
  })

  it('counts before the rows of the page that tells of it are stored, also while they are', async () => {
    const sidecar = await sidecarWithKey().started()
    await sidecar.time.advance(2_000)
    // The first key under it and its proof come with one page, which is so long that checks are answered in between.
    const rows = Array.from({ length: 500 }, (_, n) => [digestOf(100 + n), keyRow(100 + n)] as const)
    sidecar.server.commitApiKeys(rows)
    sidecar.server.proofs = other
    const seen: string[] = []
    sidecar.time.afterEvent = () => {
      const stored = sidecar.table.keys.size - 1
      if (stored > 0) seen.push(`${sidecar.table.wrong.join()} at ${stored < 500 ? 'some' : 'all'}`)
    }
    await sidecar.time.advance(3_000)
    expect(new Set(seen)).toEqual(new Set(['p1 at some', 'p1 at all']))
  })

  it('is left out of the heartbeats, so that admin makes no key that would be refused here', async () => {
    const sidecar = await sidecarWithKey().started()
    expect(sidecar.source.reports.at(-1)?.wrongPeppers).toEqual([])
    sidecar.server.proofs = other
    await sidecar.time.advance(3_000)
    expect(sidecar.source.reports.at(-1)?.wrongPeppers).toEqual(['p1'])
  })

  it('is one no longer when the database has no such proof any more', async () => {
    const sidecar = sidecarWithKey()
    sidecar.server.proofs = other
    sidecar.feed.start()
    await sidecar.time.advance(10_000)
    sidecar.server.proofs = right
    await sidecar.time.advance(1_300)
    expect(sidecar.readiness).toEqual([true])
    expect(told(sidecar)).toEqual([['p1'], []])
    await sidecar.time.advance(1_300)
    expect(sidecar.source.reports.at(-1)?.wrongPeppers).toEqual([])
  })

  it('is found out after a failover to a server with another proof, and after one to another database', async () => {
    const sidecar = await sidecarWithKey().started()
    const promoted = sidecar.server.fork('00000002')
    promoted.proofs = other
    sidecar.server.isolated = true
    sidecar.source.server = promoted
    await sidecar.time.until(() => sidecar.feed.wrongPeppers().length > 0)
    await sidecar.time.advance(1_000)
    expect([sidecar.feed.fresh(), sidecar.feed.ready()]).toEqual([true, false])

    const elsewhere = new ScriptedServer(sidecar.time)
    elsewhere.proofs = right
    for (let n = 0; n < 9; n++) elsewhere.commitApiKeys([[digestOf(50 + n), keyRow(50 + n)]])
    promoted.isolated = true
    sidecar.source.server = elsewhere
    await sidecar.time.until(() => sidecar.feed.ready())
    expect(sidecar.reloads()).toEqual(['boot', 'history'])
    expect(sidecar.feed.wrongPeppers()).toEqual([])

    const wrongOne = new ScriptedServer(sidecar.time)
    wrongOne.proofs = other
    for (let n = 0; n < 20; n++) wrongOne.commitApiKeys([[digestOf(80 + n), keyRow(80 + n)]])
    elsewhere.isolated = true
    sidecar.source.server = wrongOne
    await sidecar.time.until(() => sidecar.reloads().length === 3)
    await sidecar.time.until(() => sidecar.feed.fresh())
    expect(sidecar.feed.ready()).toBe(false)
  })
})

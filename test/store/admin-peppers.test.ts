// Proofs of peppers on a real server: the first to write one is believed, nobody replaces it, and whoever has another content
// is told so, also when two write at the same time.
import { randomBytes } from 'node:crypto'
import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { AdminStore } from '../../src/admin/admin-store.ts'
import { type PepperProof, proofsOf } from '../../src/admin/pepper-proofs.ts'
import { createAdminStore } from '../../src/store/admin-store.ts'
import { adminSession, createPool } from '../../src/store/pool.ts'
import { useTestDatabase } from '../support/test-database.ts'

const database = useTestDatabase()
let pool: pg.Pool
let store: AdminStore
let superuser: pg.Client

beforeAll(async () => {
  pool = createPool(database().database, { session: adminSession, connectionsMax: 8, onIdleError: () => undefined })
  store = createAdminStore(pool)
  superuser = database().client()
  await superuser.connect()
})
afterEach(() => superuser.query('DELETE FROM gatewarden.pepper_proofs'))
afterAll(async () => {
  await pool.end()
  await superuser.end()
})

const pepper = (id: string) => ({ id, bytes: randomBytes(32) })
const ofApiKeys = (...ids: readonly string[]) => proofsOf('api_keys', ids.map(pepper))

const prove = async (proofs: readonly PepperProof[]) =>
  (await store.transact(async tx => ({ end: 'commit', value: await tx.peppers.prove(proofs) }))).value
const contradicted = (proofs: readonly PepperProof[]) => store.read(tx => tx.peppers.findContradicted(proofs))

async function stored(): Promise<readonly PepperProof[]> {
  const { rows } = await superuser.query<{ purpose: 'api_keys'; pepper_id: string; proof: Buffer }>(
    'SELECT purpose, pepper_id, proof FROM gatewarden.pepper_proofs ORDER BY purpose, pepper_id',
  )
  return rows.map(row => ({ purpose: row.purpose, pepperId: row.pepper_id, proof: row.proof }))
}

describe('a proof', () => {
  it('is written when its id has none, and found again', async () => {
    const proofs = ofApiKeys('p1', 'p2')
    expect(await contradicted(proofs)).toEqual([])
    expect(await prove(proofs)).toEqual({ isKept: true, contradicted: [], written: proofs })
    expect(await stored()).toEqual(proofs)
    expect(await prove(proofs)).toEqual({ isKept: true, contradicted: [], written: [] })
    expect(await contradicted(proofs)).toEqual([])
  })

  it('of another content is told, beside the right one and a new one, and changes nothing', async () => {
    const [p1, p2] = ofApiKeys('p1', 'p2')
    const [wrong, fresh] = ofApiKeys('p2', 'p3')
    if (p1 === undefined || p2 === undefined || wrong === undefined || fresh === undefined) throw new Error('no proofs')
    await prove([p1, p2])
    expect(await contradicted([wrong, p1])).toEqual([wrong])
    expect(await prove([fresh, wrong, p1])).toEqual({ isKept: true, contradicted: [wrong], written: [fresh] })
    expect(await stored()).toEqual([p1, p2, fresh])
  })

  it('of admin keys is not one of API keys, whatever the ids are', async () => {
    const same = pepper('p1')
    const proofs = [...proofsOf('api_keys', [pepper('p1')]), ...proofsOf('admin_keys', [same])]
    expect(await prove(proofs)).toMatchObject({ contradicted: [] })
    expect(await contradicted(proofsOf('api_keys', [same]))).toHaveLength(1)
    expect(await contradicted(proofsOf('admin_keys', [same]))).toEqual([])
  })

  it('that two write at the same time with different contents is that of one, and the other is told', async () => {
    for (let round = 0; round < 10; round++) {
      const id = `race${round}`
      const writers = Array.from({ length: 4 }, () => ofApiKeys(`${id}b`, `${id}a`))
      const orders = writers.map((proofs, place) => (place % 2 === 0 ? proofs : proofs.toReversed()))
      const verdicts = await Promise.all(orders.map(prove))
      const ends = verdicts.map(({ contradicted: wrong }) => wrong.length)
      expect(ends.toSorted()).toEqual([0, 2, 2, 2])
      const winner = writers[ends.indexOf(0)] ?? []
      expect(await contradicted(winner)).toEqual([])
    }
  })

  it('of a transaction that is rolled back was never there', async () => {
    await store.transact(async tx => ({ end: 'rollback', value: await tx.peppers.prove(ofApiKeys('p1')) }))
    expect(await stored()).toEqual([])
  })

  it('is contradicted by nothing on a schema one version older, and the transaction goes on', async () => {
    await superuser.query('ALTER TABLE gatewarden.pepper_proofs RENAME TO to_come')
    try {
      const proofs = ofApiKeys('p1')
      const verdict = await store.transact(async tx => {
        const value = await tx.peppers.prove(proofs)
        await tx.propagation.head()
        return { end: 'commit', value }
      })
      expect(verdict.value).toEqual({ isKept: false, contradicted: [], written: [] })
      expect(await contradicted(proofs)).toEqual([])
    } finally {
      await superuser.query('ALTER TABLE gatewarden.to_come RENAME TO pepper_proofs')
    }
  })

  it('is taken back by the owner alone, as the documentation says', async () => {
    const [first, second] = [ofApiKeys('p1'), ofApiKeys('p1')]
    await prove(first)
    const statement = "DELETE FROM gatewarden.pepper_proofs WHERE purpose = 'api_keys' AND pepper_id = 'p1'"
    await expect(pool.query(statement)).rejects.toMatchObject({ code: '42501' })
    await superuser.query(`SET ROLE gw_owner; ${statement}; RESET ROLE`)
    expect(await prove(second)).toMatchObject({ contradicted: [], written: second })
    expect(await contradicted(first)).toEqual(first)
  })
})

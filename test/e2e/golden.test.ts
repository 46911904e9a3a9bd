// Every golden case through a real Envoy and the wired check role on real PostgreSQL: TCP and unix socket, both header forms. Each gets
// its documented answer, and leaves exactly the row of the usage log that it should.
import { expect, it } from 'vitest'
import { goldenCases } from '../core/cases.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { runGoldenCases } from './golden-run.ts'
import { expectedRows, type GoldenRow, storedRows } from './golden-usage.ts'

/** 94 cases, 1000 requests of a budget, the end of a lease, and the storing of each edge's rows. */
const limitMs = 180_000

for (const transport of ['tcp', 'unix'] as const) {
  const database = useTestDatabase()
  it(
    `every golden case gets its documented answer through Envoy over ${transport}, and leaves its row`,
    async () => {
      const forms = ['raw', 'map'] as const
      const client = database().client()
      await client.connect()
      const rows: GoldenRow[] = []
      const onGroup = async (cases: typeof goldenCases) => void rows.push(...(await storedRows(client, cases, forms)))
      try {
        const results = await runGoldenCases(database(), { transport, forms, onGroup })
        const wrong = results.filter(result => result.faults.length > 0)
        expect(wrong.map(({ id, form, title, faults }) => `${id} ${form} ${title}: ${faults.join('; ')}`)).toEqual([])
        expect(results).toHaveLength(goldenCases.length * 2)
        rows.sort((a, b) => (a.agent < b.agent ? -1 : 1))
        expect(rows).toEqual(expectedRows(goldenCases, forms))
      } finally {
        await client.end()
      }
    },
    limitMs,
  )
}

// Every golden case through a real Envoy and the wired check role on real PostgreSQL: TCP and unix socket, both header forms.
import { expect, it } from 'vitest'
import { goldenCases } from '../core/cases.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { runGoldenCases } from './golden-run.ts'

/** 94 cases, 1000 requests of a budget, and the end of a lease. */
const limitMs = 120_000

for (const transport of ['tcp', 'unix'] as const) {
  const database = useTestDatabase()
  it(
    `every golden case gets its documented answer through Envoy over ${transport}`,
    async () => {
      const results = await runGoldenCases(database(), { transport, forms: ['raw', 'map'] })
      const wrong = results.filter(result => result.faults.length > 0)
      expect(wrong.map(({ id, form, title, faults }) => `${id} ${form} ${title}: ${faults.join('; ')}`)).toEqual([])
      expect(results).toHaveLength(goldenCases.length * 2)
    },
    limitMs,
  )
}

// 200 SIGKILLs of check processes under load lose no answered check and store none twice; `npm run kills` does a thousand.
import { availableParallelism } from 'node:os'
import { afterAll, expect, it } from 'vitest'
import { killProcesses } from '../e2e/processes.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { drawSeed, killUnderLoad, reportText } from './usage-kills.ts'

const kills = Number(process.env['KILLS'] ?? 200)
/** Nearly all of it is starting Node: a second of CPU each on a slow core. */
const limitMs = 60_000 + kills * 3000

const database = useTestDatabase()
afterAll(killProcesses)

it('every answered check is in the usage log exactly once, however often its process is killed', {
  timeout: limitMs,
}, async () => {
  const seed = drawSeed()
  process.stdout.write(`seed ${seed}\n`)
  const report = await killUnderLoad({
    database: database(),
    kills,
    parallel: Math.max(4, availableParallelism()),
    seed,
  })
  process.stdout.write(`${reportText(report, seed)}\n`)
  expect(report.lost).toEqual([])
  expect(report).toMatchObject({ kills, doubled: 0, invented: 0, dropped: 0, setAside: 0, silent: 0 })
  // It was a test: there was load, on both lanes, and kills at every stage of a record's way.
  expect(report.answered).toBeGreaterThan(kills * 10)
  expect(report.allowed).toBeGreaterThan(report.answered / 10)
  expect(report.inStart).toBe(Math.floor(kills / 10))
  if (kills >= 100) expect(report.whileStoring).toBeGreaterThan(kills / 40)
})

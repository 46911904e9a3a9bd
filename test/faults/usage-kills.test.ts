// 200 SIGKILLs of check processes under load lose no answered check and store none twice; `npm run kills` does a thousand.
import { afterAll, expect, it } from 'vitest'
import { killProcesses } from '../e2e/processes.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { drawSeed, killUnderLoad, reportText } from './usage-kills.ts'

const kills = Number(process.env['KILLS'] ?? 200)
/** Most of it is starting Node two hundred times. */
const limitMs = 600_000

const database = useTestDatabase()
afterAll(killProcesses)

it('every answered check is in the usage log exactly once, however often its process is killed', {
  timeout: limitMs,
}, async () => {
  const seed = drawSeed()
  process.stdout.write(`seed ${seed}\n`)
  const report = await killUnderLoad({ database: database(), kills, parallel: 4, seed })
  process.stdout.write(`${reportText(report, seed)}\n`)
  expect(report.lost).toEqual([])
  expect(report).toMatchObject({ kills, doubled: 0, dropped: 0, setAside: 0, silent: 0 })
  expect(report.answered).toBeGreaterThan(kills * 10)
})

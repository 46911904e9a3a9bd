// `npm run demo -- --check`: every golden case through Envoy on the golden configuration, then the stories on the shipped one.
// One line a case; the last line is `N passed, M failed`.
import { runGoldenCases } from '../e2e/golden-run.ts'
import { startTestCluster } from '../support/postgres.ts'
import type { Print } from './show.ts'
import { startDemoStack } from './stack.ts'
import { stories } from './story.ts'
import { tell } from './tell.ts'

interface Count {
  passed: number
  failed: number
}

function line(print: Print, count: Count, name: string, faults: readonly string[]): void {
  if (faults.length === 0) count.passed += 1
  else count.failed += 1
  print(faults.length === 0 ? `ok      ${name}` : `FAILED  ${name}: ${faults.join('; ')}`)
}

async function golden(print: Print, count: Count): Promise<void> {
  const cluster = await startTestCluster()
  try {
    const database = await cluster.createDatabase()
    await runGoldenCases(database, {
      transport: 'unix',
      forms: ['raw'],
      onResult: result => line(print, count, `${result.id}  ${result.title}`, result.faults),
    })
  } finally {
    await cluster.stop()
  }
}

async function shipped(print: Print, count: Count): Promise<void> {
  const stack = await startDemoStack()
  try {
    for (const story of stories) {
      const told = await tell(stack, () => undefined, story)
      for (const { says, faults } of told.answers) line(print, count, `shipped  ${story.profile}: ${says}`, faults)
    }
  } finally {
    await stack.stop()
  }
}

/** Runs both sets; 0 when every answer was the expected one. */
export async function runChecks(print: Print): Promise<number> {
  const count: Count = { passed: 0, failed: 0 }
  await golden(print, count)
  await shipped(print, count)
  print(`${count.passed} passed, ${count.failed} failed`)
  return count.failed === 0 ? 0 : 1
}

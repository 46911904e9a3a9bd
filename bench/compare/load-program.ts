// Starts a load program on its core, waits for its one line, and never waits for ever.
import { runToEnd } from './bench-process.ts'
import { builtFile } from './built-file.ts'
import type { LoadOrder, LoadResult } from './load-result.ts'

/** Start, encoding 10 000 requests, and what is under way at the end. */
const slackMs = 60_000

/** @throws Error when the load could not go on */
export async function runLoad(
  program: 'check-load' | 'http-load',
  order: LoadOrder,
  core: number | null,
): Promise<LoadResult> {
  const command = [process.execPath, builtFile(`compare/${program}.js`), JSON.stringify(order)]
  const out = await runToEnd(command, { core }, order.warmUpMs + order.measureMs + slackMs)
  return JSON.parse(out) as LoadResult
}

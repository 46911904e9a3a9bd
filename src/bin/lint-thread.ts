// The thread that judges profile texts for a process, where the built program has its script. Each of its users has one of
// its own: whoever lints at the admin interface cannot keep a changed file waiting.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { createLintThread, type LintThread } from '../profile/lint-thread.ts'
import { packageRoot } from '../store/package-root.ts'

/** Starts nothing before the first text. */
export function openLintThread(): LintThread {
  return createLintThread({ script: pathToFileURL(join(packageRoot(), 'dist/src/profile/lint-worker.js')) })
}

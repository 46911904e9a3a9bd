// What a lint rule is: it names the blocks it reads, sees them typed, and reports findings. It never changes or throws.
import { type BlockName, type Blocks, hasBlocks, type Report } from './parse-document.ts'
import type { ProfileDocument } from './schema.ts'

/** Judges what members mean to each other. Runs only when every block it reads is sound. */
export type LintRule = (blocks: Blocks, report: Report) => void

/** A rule over the blocks `needs`. */
export function lintRule<K extends BlockName>(
  needs: readonly K[],
  run: (profile: Pick<ProfileDocument, K>, report: Report) => void,
): LintRule {
  return (blocks, report) => {
    if (hasBlocks(blocks, needs)) run(blocks, report)
  }
}

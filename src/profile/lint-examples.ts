// `example`: the self-test of a profile. Every example must be decided as it says, else the profile is refused.
import type { NameTable } from '../core/names.ts'
import type { CompiledProfile } from './compiled-profile.ts'
import type { Report } from './parse-document.ts'
import { type ExampleDocument, runExample } from './run-example.ts'

/** Runs the examples of a compiled profile, on its first host. */
export function lintExamples(
  examples: readonly ExampleDocument[],
  compiled: CompiledProfile,
  scopes: NameTable,
  report: Report,
): void {
  for (const [index, example] of examples.entries()) {
    const outcome = runExample(example, compiled.policy, compiled.hosts[0] ?? '', scopes)
    if (outcome === example.expect) continue
    const message = `\`${example.request}\` gives ${outcome} instead of ${example.expect}; correct the example or the rules`
    report('example', ['examples', index, 'expect'], message)
  }
}

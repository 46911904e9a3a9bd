// The three product profiles as the tests read them, and ways to compile and vary them.
import { readFileSync } from 'node:fs'
import { createNames, type Names } from '../../src/core/names.ts'
import type { CompiledProfile } from '../../src/profile/compiled-profile.ts'
import { formatFinding } from '../../src/profile/finding.ts'
import { lintProfile } from '../../src/profile/lint.ts'
import { type JudgeText, judge, verdictOf } from '../../src/profile/lint-job.ts'

export const products = ['bitbybit', 'billoget', 'bitgpt'] as const
export type Product = (typeof products)[number]

/** The text of `profiles/<name>.yaml`. */
export function profileText(name: Product): string {
  return readFileSync(new URL(`../../profiles/${name}.yaml`, import.meta.url), 'utf8')
}

export interface Deployment {
  readonly names?: Names
  readonly environment?: string
  readonly accepted?: readonly string[] | null
}

/** Compiles a text that must be free of errors. */
export function compileText(text: string, deployment: Deployment = {}): CompiledProfile {
  const { findings, compiled } = lintProfile(text, {
    file: 'test.yaml',
    compile: {
      names: deployment.names ?? createNames(),
      deploymentEnvironment: deployment.environment ?? 'production',
      acceptedEnvironments: deployment.accepted ?? null,
    },
  })
  if (compiled === undefined) throw new Error(findings.map(formatFinding).join('\n'))
  return compiled
}

/** Judges without a thread, by the same steps. */
export const judgeHere: JudgeText = async job => ({ kind: 'judged', verdict: verdictOf(judge(job)) })

/** The complete profile of no product, with every member of the schema. */
export function exampleText(): string {
  return readFileSync(new URL('example.yaml', import.meta.url), 'utf8')
}

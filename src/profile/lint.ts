// `gatewarden profile lint` as a function: reads, judges and compiles one profile text, all findings at once.
// The same function serves the command line, the admin call, start and reload; nothing is thrown for a bad text.
import { createNames } from '../core/names.ts'
import { type CompileOptions, compileProfile, type ProfileText } from './compile.ts'
import type { CompiledProfile } from './compiled-profile.ts'
import { profileDigest } from './digest.ts'
import {
  compareFindings,
  type FieldPath,
  type Finding,
  type FindingCode,
  findingLevels,
  formatPath,
  hasErrors,
} from './finding.ts'
import { lintDecision } from './lint-decision.ts'
import { lintEvidence } from './lint-evidence.ts'
import { lintExamples } from './lint-examples.ts'
import { lintFacade } from './lint-facade.ts'
import { lintKeys } from './lint-keys.ts'
import { lintLifecycle } from './lint-lifecycle.ts'
import { lintLimits } from './lint-limits.ts'
import { lintOverlap } from './lint-overlap.ts'
import { lintRenderings } from './lint-renderings.ts'
import { lintRoutes } from './lint-routes.ts'
import type { LintRule } from './lint-rule.ts'
import { lintScopes } from './lint-scopes.ts'
import { lintInventory, lintUnmapped } from './lint-unmapped.ts'
import { isComplete, parseBlocks, type Report } from './parse-document.ts'
import { readYaml } from './read-yaml.ts'
import type { ProfileDocument } from './schema.ts'

export interface LintOptions {
  /** Name shown in findings. */
  readonly file: string
  /** An OpenAPI document or lines of `METHOD path`: operations without a rule are reported. */
  readonly inventory?: string
  /** How the profile is compiled; by default for a production deployment, with names of its own. */
  readonly compile?: CompileOptions
}

export interface LintResult {
  readonly findings: readonly Finding[]
  /** Lower-case hex; null when the text could not be read as a mapping. */
  readonly digest: string | null
  /** Present when there is no error. */
  readonly compiled?: CompiledProfile
}

/** A broken file needs no thousandth error; the list also travels in an admin reply. Warnings and infos are bounded by what a profile may hold. */
export const ERRORS_MAX = 1000

const rules: readonly LintRule[] = [
  ...lintLimits,
  ...lintEvidence,
  ...lintKeys,
  ...lintScopes,
  ...lintRoutes,
  ...lintOverlap,
  ...lintUnmapped,
  ...lintRenderings,
  ...lintDecision,
  ...lintLifecycle,
  ...lintFacade,
]

/** Lints one profile. Never throws. */
export function lintProfile(text: string, options: LintOptions): LintResult {
  const { data, positions, faults } = readYaml(text)
  const findings: Finding[] = []
  let errors = 0
  const add = (code: FindingCode, field: string, offset: number, message: string) => {
    const level = findingLevels[code]
    const { line, column } = positions.placeOf(offset)
    if (level === 'error') errors++
    if (level !== 'error' || errors <= ERRORS_MAX)
      findings.push({ code, level, file: options.file, field, line, column, message })
    else if (errors === ERRORS_MAX + 1) {
      const note = `there are more than ${ERRORS_MAX} errors; mend these first`
      findings.push({
        code: 'limit',
        level: findingLevels.limit,
        file: options.file,
        field,
        line,
        column,
        message: note,
      })
    }
  }
  for (const fault of faults) add(fault.code, fault.field, fault.offset, fault.message)
  if (data === undefined) return { findings: findings.sort(compareFindings), digest: null }
  const unreadable = new Set(faults.map(fault => fault.field))
  const report = (code: FindingCode, path: FieldPath, message: string) => {
    // A value that could not be read is reported as that, not as a value of a wrong type too.
    if (code === 'type' && unreadable.has(formatPath(path))) return
    add(code, formatPath(path), positions.offsetOf(path), message)
  }
  const blocks = parseBlocks(data, report)
  for (const rule of rules) rule(blocks, report)
  if (options.inventory !== undefined) lintInventory(options.inventory)(blocks, report)
  const digest = profileDigest(data)
  const sound = hasErrors(findings) || !isComplete(blocks) ? undefined : blocks
  const compiled = sound === undefined ? undefined : compileSound(sound, { yaml: text, digest }, options, report)
  findings.sort(compareFindings)
  return compiled === undefined || hasErrors(findings) ? { findings, digest } : { findings, digest, compiled }
}

/** Compiles and runs the profile's own examples. */
function compileSound(
  profile: ProfileDocument,
  text: ProfileText,
  options: LintOptions,
  report: Report,
): CompiledProfile {
  const compile = options.compile ?? {
    names: createNames(),
    deploymentEnvironment: 'production',
    acceptedEnvironments: null,
  }
  const compiled = compileProfile(profile, text, compile)
  lintExamples(profile.examples, compiled, compile.names.scopes, report)
  return compiled
}

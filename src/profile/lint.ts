// `gatewarden profile lint` as a function: reads, judges and compiles one profile text, all findings at once.
// The same function serves the command line, the admin call, start and reload; nothing is thrown for a bad text.
// It may take a second: a process that answers checks calls it in a thread of its own (lint-thread.ts).
import { createNames } from '../core/names.ts'
import { type CompileOptions, compileProfile, type ProfileText } from './compile.ts'
import type { CompiledProfile } from './compiled-profile.ts'
import { profileDigest } from './digest.ts'
import { type FieldPath, type Finding, type FindingCode, formatPath } from './finding.ts'
import { FindingList } from './finding-list.ts'
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
import { type Positions, readYaml } from './read-yaml.ts'
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
  /** Present with `compiled`: what it was made of, as plain data that crosses threads. */
  readonly sound?: SoundProfile
}

/** A profile without errors before it is compiled. */
export interface SoundProfile {
  readonly document: ProfileDocument
  readonly claims: ClaimPlaces
}

/** Where a profile names what no two may have. */
export interface ClaimPlaces {
  readonly name: TextPlace
  /** In the order of `select.hosts`. */
  readonly hosts: readonly TextPlace[]
}

/** Both count from 1. */
export interface TextPlace {
  readonly line: number
  readonly column: number
}

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
  const list = new FindingList(options.file, positions)
  for (const fault of faults) list.add(fault.code, fault.field, fault.offset, fault.message)
  if (data === undefined) return { findings: list.sorted(), digest: null }
  const unreadable = new Set(faults.map(fault => fault.field))
  const report = (code: FindingCode, path: FieldPath, message: string) => {
    const field = formatPath(path)
    // A value that could not be read is reported as that, not as a value of a wrong type too.
    if (code !== 'type' || !unreadable.has(field)) list.add(code, field, positions.offsetOf(path), message)
  }
  const blocks = parseBlocks(data, report)
  for (const rule of rules) rule(blocks, report)
  if (options.inventory !== undefined) lintInventory(options.inventory)(blocks, report)
  const digest = profileDigest(data)
  if (list.hasErrors || !isComplete(blocks)) return { findings: list.sorted(), digest }
  const compiled = compileSound(blocks, { yaml: text, digest }, options, report)
  const findings = list.sorted()
  if (list.hasErrors) return { findings, digest }
  return { findings, digest, compiled, sound: { document: blocks, claims: claimsOf(blocks, positions) } }
}

function claimsOf({ select }: ProfileDocument, positions: Positions): ClaimPlaces {
  const placeOf = (path: FieldPath) => positions.placeOf(positions.offsetOf(path))
  return {
    name: placeOf(['metadata', 'name']),
    hosts: select.hosts.map((_, index) => placeOf(['select', 'hosts', index])),
  }
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
